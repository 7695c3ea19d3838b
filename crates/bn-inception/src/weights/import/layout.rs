//! Place of the network in a file: wrappers put a prefix before its names, and other layers stand beside it.
//!
//! | file | network | beside it |
//! |---|---|---|
//! | `nn.DataParallel`, `torch.compile`, Lightning, in any order | `module.`, `_orig_mod.`, `model.` | |
//! | temporal segment networks | `module.base_model.` | `module.new_fc` |
//! | Proxy-Anchor | `model.` | `model.embedding` |
//! | Multi-Similarity, XBM | `backbone.` | `head.fc` |

use std::collections::{BTreeMap, BTreeSet};

use bn_inception_formats::Array;

use super::error::ImportError;
use crate::plan::ChannelPlan;
use crate::weights::names::{NAMINGS, Naming};

/// Tensors that identify a naming, one for each kind of name.
const TELLING: [&str; 8] = [
    "stem.conv1.weight",
    "stem.conv2_reduce.weight",
    "stem.conv2.weight",
    "3a.conv_3x3.weight",
    "3a.reduce_3x3.weight",
    "3a.conv_double_1.weight",
    "5b.conv_3x3.weight",
    "3a.conv_3x3.norm.running_mean",
];

/// Tensors by their names without wrappers, and the file's own names of those that had one.
pub(super) type Unwrapped = (BTreeMap<String, Array>, BTreeMap<String, String>);

/// The naming of the network among `names`, and the prefix that it has there; `None` if no name is known.
pub(super) fn recognized<'a>(
    names: impl Iterator<Item = &'a String> + Clone,
    plan: ChannelPlan,
) -> Option<(&'static Naming, String)> {
    let mut best: Option<(usize, &'static Naming, &str)> = None;
    for naming in NAMINGS {
        let telling: Vec<_> = TELLING.iter().flat_map(|name| naming.of(plan, name)).collect();
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        for name in names.clone() {
            let prefixes = telling.iter().filter_map(|end| name.strip_suffix(end.as_str()));
            for prefix in prefixes.filter(|prefix| prefix.is_empty() || prefix.ends_with('.')) {
                *found.entry(prefix).or_default() += 1;
            }
        }
        for (prefix, count) in found {
            let better = best.is_none_or(|(most, _, held)| (count, held.len()) > (most, prefix.len()));
            if better {
                best = Some((count, naming, prefix));
            }
        }
    }
    best.map(|(_, naming, prefix)| (naming, prefix.to_owned()))
}

/// Takes `prefix` off the network's names, and off other names as much of it as they share: `new_fc` for
/// `module.new_fc` beside `module.base_model.`.
pub(super) fn unwrapped(tensors: BTreeMap<String, Array>, prefix: &str) -> Unwrapped {
    let (inside, beside): (Vec<_>, Vec<_>) = tensors.into_iter().partition(|(name, _)| name.starts_with(prefix));
    let ends = prefix.rmatch_indices('.').map(|(at, dot)| at + dot.len());
    let outer: Vec<_> = ends.skip(1).map(|end| &prefix[..end]).collect();
    let mut origins = BTreeMap::new();
    let mut network: BTreeMap<String, Array> = BTreeMap::new();
    let inside = inside.into_iter().map(|(name, array)| (name[prefix.len()..].to_owned(), name, array));
    let beside = beside.into_iter().map(|(name, array)| {
        let shorter = outer.iter().find_map(|outer| name.strip_prefix(outer));
        (shorter.unwrap_or(&name).to_owned(), name, array)
    });
    // Those of the network first: a name beside it never takes the place of one of its own.
    for (short, name, array) in inside.chain(beside) {
        let key = if network.contains_key(&short) { name.clone() } else { short };
        if key != name {
            origins.insert(key.clone(), name);
        }
        network.insert(key, array);
    }
    (network, origins)
}

/// Removes the tensor or the layer called `layer`, by its name in the file or without wrappers.
///
/// # Errors
/// [`ImportError::NoLayer`] if there is none.
pub(super) fn remove((tensors, origins): &mut Unwrapped, layer: &str) -> Result<(), ImportError> {
    let belongs = |name: &String| {
        let rest = name.strip_prefix(layer);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']))
    };
    let before = tensors.len();
    let layers = layers(tensors);
    tensors.retain(|name, _| !belongs(name) && !origins.get(name).is_some_and(belongs));
    if tensors.len() == before { Err(ImportError::NoLayer { name: layer.to_owned(), layers }) } else { Ok(()) }
}

/// The name among `tensors` of the tensor that the file, or the file without wrappers, calls `name`.
pub(super) fn find((tensors, origins): &Unwrapped, name: String) -> Option<String> {
    if tensors.contains_key(&name) {
        return Some(name);
    }
    origins.iter().find(|(_, origin)| **origin == name).map(|(short, _)| short.clone())
}

/// The layers that could be a last one: those with a matrix.
pub(super) fn layers(tensors: &BTreeMap<String, Array>) -> Vec<String> {
    let matrices = tensors.iter().filter(|(_, array)| array.shape.len() == 2 && array.shape[0] > 1);
    let names = matrices.filter_map(|(name, _)| name.strip_suffix(".weight").map(str::to_owned));
    names.collect::<BTreeSet<_>>().into_iter().collect()
}
