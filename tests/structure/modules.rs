//! Modules of a crate, the imports between them, and circles of imports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use proc_macro2::{Punct, Spacing, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, UseTree, Visibility};

/// Text of the source file at a path, if it exists.
type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// The modules of one crate, the root first, without those of tests.
pub struct Crate(Vec<Module>);

#[derive(Default)]
struct Module {
    file: PathBuf,
    parent: usize,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    /// Names brought in by `use`, with their paths.
    imports: Vec<(String, Vec<String>)>,
    globs: Vec<Vec<String>>,
    /// Paths in signatures, bodies and private `use`s.
    mentions: Vec<Vec<String>>,
}

/// File → imported file → items.
type Edges<'a> = BTreeMap<&'a Path, BTreeMap<&'a Path, BTreeSet<String>>>;

enum Found {
    Module(usize),
    Item(usize, String),
}

impl Crate {
    /// Reads the crate whose `lib.rs` or `main.rs` is `root`.
    ///
    /// # Panics
    /// If a file of it cannot be read or parsed.
    pub fn load(root: &Path, read: Read<'_>) -> Self {
        let mut modules = Self(Vec::new());
        modules.load_file(root, root.parent().unwrap_or(Path::new("")), 0, read);
        modules
    }

    /// Adds the module of `file`, whose child modules lie in `folder`.
    fn load_file(&mut self, file: &Path, folder: &Path, parent: usize, read: Read<'_>) -> usize {
        let text = read(file).unwrap_or_else(|| panic!("{} cannot be read", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.load_items(&parsed.items, file, folder, parent, read)
    }

    fn load_items(&mut self, items: &[Item], file: &Path, folder: &Path, parent: usize, read: Read<'_>) -> usize {
        let index = self.0.len();
        self.0.push(Module { file: file.to_owned(), parent, ..Module::default() });
        for item in items {
            match item {
                Item::Mod(child) if !is_left_out(&child.attrs) => {
                    let name = child.ident.to_string();
                    let inner = folder.join(&name);
                    let (flat, nested) = (folder.join(format!("{name}.rs")), inner.join("mod.rs"));
                    let loaded = match &child.content {
                        Some((_, items)) => self.load_items(items, file, &inner, index, read),
                        None if read(&flat).is_some() => self.load_file(&flat, &inner, index, read),
                        None => self.load_file(&nested, &inner, index, read),
                    };
                    self.0[index].children.insert(name, loaded);
                }
                Item::Mod(_) => {}
                item => {
                    self.0[index].items.extend(name_of(item));
                    self.0[index].visit_item(item);
                }
            }
        }
        index
    }

    /// Module or item of this crate that `path` means in the module `at`.
    fn resolve(&self, mut at: usize, path: &[String], seen: &mut Vec<(usize, String)>) -> Option<Found> {
        for (position, name) in path.iter().enumerate() {
            let last = position + 1 == path.len();
            match name.as_str() {
                "crate" => at = 0,
                "self" => {}
                "super" => at = self.0[at].parent,
                name => match self.look_up(at, name, last, seen) {
                    Some(Found::Module(module)) => at = module,
                    Some(item) => return Some(item),
                    // Made by a macro, unless it is another crate's.
                    None if path[0] == "crate" && !self.0[at].imports.iter().any(|(alias, _)| alias == name) => {
                        return Some(Found::Item(at, name.to_owned()));
                    }
                    None => return None,
                },
            }
        }
        Some(Found::Module(at))
    }

    /// Module or item that `name` refers to in the module `at`. A function may have the name of a module; a path that
    /// continues (not `last`) refers to the module.
    fn look_up(&self, at: usize, name: &str, last: bool, seen: &mut Vec<(usize, String)>) -> Option<Found> {
        let module = &self.0[at];
        let child = module.children.get(name).map(|&child| Found::Module(child));
        if child.is_some() && !last {
            return child;
        }
        if module.items.contains(name) {
            return Some(Found::Item(at, name.to_owned()));
        }
        let key = (at, name.to_owned());
        if seen.contains(&key) {
            return child;
        }
        seen.push(key);
        let mut imports = module.imports.iter().filter(|(alias, _)| alias == name);
        let imported = imports.find_map(|(_, path)| self.resolve(at, path, seen));
        let found = imported.or(child).or_else(|| {
            let mut globs = module.globs.iter();
            globs.find_map(|glob| match self.resolve(at, glob, seen)? {
                Found::Module(module) if module != at => self.look_up(module, name, last, seen),
                _ => None,
            })
        });
        seen.pop();
        found
    }

    /// One description for each circle of files, the smallest first. A `mod` or `pub use` alone imports nothing.
    pub fn circles(&self) -> Vec<String> {
        let mut edges = Edges::new();
        for (index, module) in self.0.iter().enumerate() {
            for path in &module.mentions {
                if let Some(Found::Item(owner, name)) = self.resolve(index, path, &mut Vec::new())
                    && self.0[owner].file != module.file
                {
                    let from = edges.entry(&module.file).or_default();
                    from.entry(&self.0[owner].file).or_default().insert(name);
                }
            }
        }
        let mut found = Vec::new();
        while let Some(circle) = shortest_circle(&edges) {
            let mut text = String::new();
            for (from, to) in circle.iter().zip(circle.iter().cycle().skip(1)) {
                let edges = edges.get_mut(from);
                let items = edges.and_then(|edges| edges.remove(to)).unwrap_or_default();
                let items: Vec<_> = items.iter().map(|item| format!("`{item}`")).collect();
                text += &format!("  {} uses {} of {}\n", from.display(), items.join(", "), to.display());
            }
            found.push(text);
        }
        found
    }
}

fn shortest_circle<'a>(edges: &Edges<'a>) -> Option<Vec<&'a Path>> {
    let circles = edges.keys().filter_map(|file| circle_through(file, edges));
    circles.min_by_key(Vec::len)
}

/// Files of the shortest circle through `start`.
fn circle_through<'a>(start: &'a Path, edges: &Edges<'a>) -> Option<Vec<&'a Path>> {
    let mut queue = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = queue.pop_front() {
        let imported = edges.get(way[way.len() - 1]).into_iter();
        for &next in imported.flat_map(BTreeMap::keys) {
            if next == start {
                return Some(way);
            }
            if seen.insert(next) {
                queue.push_back([&way[..], &[next]].concat());
            }
        }
    }
    None
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// True for modules of tests, and for files borrowed from them by `#[path]`.
fn is_left_out(attributes: &[Attribute]) -> bool {
    is_test(attributes) || attributes.iter().any(|attribute| attribute.path().is_ident("path"))
}

/// True under `#[cfg(test)]` and `#[cfg(all(test, …))]`.
fn is_test(attributes: &[Attribute]) -> bool {
    let condition = |attribute: &Attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string().replace(' ', ""),
        _ => String::new(),
    };
    let mut conditions = attributes.iter().map(condition);
    conditions.any(|condition| condition == "test" || condition.starts_with("all(test,"))
}

impl Module {
    /// Records the names that `tree` imports; `path` leads to it.
    fn import(&mut self, tree: &UseTree, mut path: Vec<String>, private: bool) {
        let (name, alias) = match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                return self.import(&tree.tree, path, private);
            }
            UseTree::Group(group) => {
                let trees = group.items.iter();
                return trees.for_each(|tree| self.import(tree, path.clone(), private));
            }
            UseTree::Glob(_) => return self.globs.push(path),
            UseTree::Name(tree) if tree.ident == "self" => (None, path.last().cloned().unwrap_or_default()),
            UseTree::Name(tree) => (Some(&tree.ident), tree.ident.to_string()),
            UseTree::Rename(tree) => (Some(&tree.ident), tree.rename.to_string()),
        };
        path.extend(name.map(ToString::to_string));
        if private {
            self.mentions.push(path.clone());
        }
        self.imports.push((alias, path));
    }

    /// Paths such as `a::b` in the arguments of macros and attributes; a single word may be anything there.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let end = TokenTree::Punct(Punct::new(';', Spacing::Alone));
        for token in tokens.into_iter().chain([end]) {
            match token {
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Ident(name) if colons == 2 && !path.is_empty() => {
                    path.push(name.to_string());
                    colons = 0;
                }
                other => {
                    let ended = std::mem::take(&mut path);
                    self.mentions.extend((ended.len() > 1).then_some(ended));
                    colons = 0;
                    match other {
                        TokenTree::Ident(name) => path.push(name.to_string()),
                        TokenTree::Group(group) => self.scan(group.stream()),
                        _ => {}
                    }
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Const(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Macro(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, method: &'ast syn::ImplItemFn) {
        if !is_test(&method.attrs) {
            visit::visit_impl_item_fn(self, method);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let private = matches!(item.vis, Visibility::Inherited);
        self.import(&item.tree, Vec::new(), private && item.leading_colon.is_none());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names = path.segments.iter().map(|segment| segment.ident.to_string());
            self.mentions.push(names.collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.scan(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.scan(list.tokens.clone());
        visit::visit_meta_list(self, list);
    }
}
