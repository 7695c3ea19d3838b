//! The arrangement of the workspace: no circular imports between files, crates that depend downwards only, and
//! documentation that matches the files.

use std::path::Path;
use std::process::Command;

use modules::Crate;

mod modules;

/// The crates that each crate under `crates/` may depend on.
const ARROWS: [(&str, &[&str]); 9] = [
    ("bn-inception-kernels", &[]),
    ("bn-inception-formats", &[]),
    ("bn-inception-fetch", &[]),
    ("bn-inception-weights", &[]),
    ("bn-inception-dashboard", &[]),
    ("bn-inception-data", &[]),
    (
        "bn-inception",
        &[
            "bn-inception-kernels",
            "bn-inception-formats",
            "bn-inception-fetch",
            "bn-inception-weights",
            "bn-inception-data",
        ],
    ),
    ("bn-inception-train", &["bn-inception", "bn-inception-data", "bn-inception-dashboard"]),
    ("bn-inception-mpi", &["bn-inception-train"]),
];

#[test]
fn no_two_files_import_each_other_in_a_circle() {
    let workspace = metadata();
    let folder = workspace["workspace_root"].as_str().expect("a folder").to_owned() + "/";
    let mut circles = Vec::new();
    for package in workspace["packages"].as_array().expect("a list of packages") {
        for target in package["targets"].as_array().expect("a list of targets") {
            let kind = target["kind"][0].as_str().expect("a kind of target");
            if matches!(kind, "lib" | "bin" | "example") {
                let root = target["src_path"].as_str().expect("a path").trim_start_matches(&folder);
                let read = |path: &Path| std::fs::read_to_string(Path::new(&folder).join(path)).ok();
                circles.extend(Crate::load(Path::new(root), &read).circles());
            }
        }
    }
    let count = circles.len();
    assert!(count == 0, "{count} circle(s) of files that import each other:\n\n{}", circles.join("\n"));
}

#[test]
fn crates_depend_downwards_only() {
    let workspace = metadata();
    let members = workspace["packages"].as_array().expect("a list of packages");
    let names: Vec<_> = members.iter().filter_map(|member| member["name"].as_str()).collect();
    for member in members {
        let name = member["name"].as_str().expect("a name");
        if member["publish"].as_array().is_some_and(Vec::is_empty) {
            continue; // The programs and the tests stand above all crates.
        }
        let allowed = ARROWS.iter().find(|(from, _)| *from == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{name} is not in ARROWS of {}", file!()));
        for dependency in member["dependencies"].as_array().expect("a list of dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            let test_only = dependency["kind"] == "dev";
            assert!(
                test_only || !names.contains(&to) || allowed.contains(&to),
                "{name} depends on {to}; it may depend on {allowed:?} of this workspace"
            );
        }
    }
}

#[test]
fn leaves_need_no_tensor_library() {
    for leaf in ["bn-inception-kernels", "bn-inception-fetch", "bn-inception-dashboard"] {
        let tree = cargo(&["tree", "--offline", "--edges", "normal", "--prefix", "none", "--package", leaf]);
        let mut packages = tree.lines();
        let burn = packages.find(|package| package.starts_with("burn") || package.starts_with("cubecl"));
        assert_eq!(burn, None, "{leaf} depends on Burn");
    }
}

#[test]
fn circles_are_found_and_named() {
    check(
        "two files",
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub struct A(B);"),
            ("b.rs", "pub struct B; impl B { fn a(&self) -> Option<super::a::A> { None } }"),
        ],
        &["a.rs uses `B` of b.rs", "b.rs uses `A` of a.rs"],
    );
    check(
        "three files, by an alias, a module's name and a macro's argument",
        &[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::{b::{self as other}}; pub fn a() { other::b(); }"),
            ("b.rs", "use super::c; pub fn b() { assert!(c::deep::C > 0); }"),
            ("c.rs", "pub mod deep { pub const C: i32 = 1; fn f() { crate::a::a(); } }"),
        ],
        &["a.rs uses `b` of b.rs", "b.rs uses `C` of c.rs", "c.rs uses `a` of a.rs"],
    );
    check(
        "parent and child",
        &[
            ("lib.rs", "mod parent;"),
            ("parent/mod.rs", "mod child; pub struct Size; fn f() { child::walk(&Size); }"),
            ("parent/child.rs", "use super::*; pub fn walk(_: &Size) {}"),
        ],
        &["parent/mod.rs uses `walk` of parent/child.rs", "parent/child.rs uses `Size` of parent/mod.rs"],
    );
    check(
        "through re-exports, one of them of everything",
        &[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::*;"),
            ("a.rs", "use crate::B; pub struct A(B);"),
            ("b.rs", "pub struct B; pub fn b() -> crate::A { loop {} }"),
        ],
        &["a.rs uses `B` of b.rs", "b.rs uses `A` of a.rs"],
    );
    check(
        "an item that a macro makes",
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; macro_rules! make { ($name:ident) => { pub struct $name; } } make!(A);"),
            ("b.rs", "use crate::a::A; pub struct B;"),
        ],
        &["a.rs uses `B` of b.rs", "b.rs uses `A` of a.rs"],
    );
    check(
        "a function called as its module is",
        &[
            ("lib.rs", "mod b; mod run; pub use run::run;"),
            ("b.rs", "pub fn help() { crate::run() }"),
            ("run.rs", "use super::b; pub fn run() { b::help() }"),
        ],
        &["b.rs uses `run` of run.rs", "run.rs uses `help` of b.rs"],
    );
}

#[test]
fn arrangements_without_a_circle_pass() {
    check(
        "a diamond, declared and re-exported above",
        &[
            ("lib.rs", "mod a; mod b; mod c; mod d; pub use a::A; pub use d::D;"),
            ("a.rs", "use crate::{b::B, c::C}; pub struct A(B, C);"),
            ("b.rs", "use crate::D; pub struct B(D);"),
            ("c.rs", "use super::d::D as Base; pub struct C(Base);"),
            ("d.rs", "pub struct D;"),
        ],
        &[],
    );
    check(
        "tests beside the code",
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub struct A(B);"),
            ("b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
        ],
        &[],
    );
    check(
        "a variable called as a module is, an item of another crate",
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub use other::Other; use crate::b::B; pub fn f(b: B) { drop(b) }"),
            ("b.rs", "use crate::a::Other; pub struct B; fn f(a: B) { drop(a) }"),
        ],
        &[],
    );
}

/// Expects one circle with these lines in the crate of `files`, or none if there are no lines.
fn check(case: &str, files: &[(&str, &str)], lines: &[&str]) {
    let read = |path: &Path| files.iter().find(|(file, _)| Path::new(file) == path).map(|(_, text)| (*text).to_owned());
    let found = Crate::load(Path::new("lib.rs"), &read).circles();
    assert_eq!(found.len(), usize::from(!lines.is_empty()), "{case}: {found:#?}");
    for line in lines {
        assert!(found[0].contains(line), "{case}: `{line}` is not in\n{}", found[0]);
    }
}

#[test]
fn links_in_the_documentation_lead_to_files() {
    let workspace = metadata();
    let root = Path::new(workspace["workspace_root"].as_str().expect("a folder"));
    let packages = workspace["packages"].as_array().expect("a list of packages").iter();
    let manifests = packages.filter_map(|package| Path::new(package["manifest_path"].as_str()?).parent());
    let mut dead = Vec::new();
    for folder in manifests.map(Path::to_owned).chain([root.to_owned(), root.join("docs")]) {
        let files = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("a file").path());
        for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
            let text = std::fs::read_to_string(&file).expect("a text");
            let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
            let local = targets.filter(|target| !target.contains("://"));
            let missing = local.filter(|target| !folder.join(target).exists());
            dead.extend(missing.map(|target| format!("{}: {target}", file.display())));
        }
    }
    assert!(dead.is_empty(), "links to files that do not exist: {dead:#?}");
}

#[test]
fn the_cookbook_shows_its_recipes_as_they_are() {
    let workspace = metadata();
    let root = Path::new(workspace["workspace_root"].as_str().expect("a folder"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("a text");
    let (page, manifest) = (read("docs/cookbook.md"), read("examples/Cargo.toml"));
    let folder = std::fs::read_dir(root.join("examples/cookbook")).expect("a folder");
    let mut wrong = Vec::new();
    let mut recipes = 0;
    for file in folder.map(|entry| entry.expect("a file").file_name().into_string().expect("a name")) {
        recipes += 1;
        let text = read(&format!("examples/cookbook/{file}"));
        let code: Vec<_> = text.lines().skip_while(|line| line.starts_with("//!") || line.is_empty()).collect();
        // The page links to the file and then shows it.
        let shown = page.split_once(&format!("(../examples/cookbook/{file})"));
        let shown = shown.and_then(|(_, rest)| rest.split_once("```rust\n")?.1.split_once("\n```"));
        if shown.is_none_or(|(block, _)| block != code.join("\n")) {
            wrong.push(format!("docs/cookbook.md shows another text than examples/cookbook/{file}"));
        }
        if !manifest.contains(&format!("path = \"cookbook/{file}\"")) {
            wrong.push(format!("examples/Cargo.toml does not compile cookbook/{file}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(page.matches("```rust\n").count(), recipes, "blocks of docs/cookbook.md, one a recipe");
}

fn metadata() -> serde_json::Value {
    let text = cargo(&["metadata", "--offline", "--no-deps", "--format-version", "1"]);
    serde_json::from_str(&text).expect("cargo metadata is JSON")
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).output();
    let output = output.expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}
