//! Tensors matched by name: all of the file's with all of the network's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bn_inception_formats::{Archive, Array, Format};
use burn::tensor::TensorData;

use super::error::{ImportError, WrongShape};
use super::{caffe, onnx};
use crate::config::{Activation, BnInceptionConfig};
use crate::plan::ChannelPlan;
use crate::preset::Preset;
use crate::state::{self, State};
use crate::weights::labels;
use crate::weights::metadata::Metadata;
use crate::weights::names::{GRAPH, NAMINGS, Naming};
use bn_inception_data::Preprocess;

/// Description of a file of another project, which does not state its network itself.
///
/// ```
/// use bn_inception::weights::Import;
/// use bn_inception::{Preprocess, Preset};
///
/// let import = Import::new(Preset::Caffe.config(), Preprocess::cadene());
/// assert_eq!(import.classes, None); // as many as the file's last layer has
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// The network; its number of classes is replaced by the file's.
    pub config: BnInceptionConfig,
    /// Preparation of an image before it enters the network.
    pub preprocess: Preprocess,
    /// Number of classes that the file must have. If `None`, the file decides, with one exception: 1001 where the
    /// configuration has 1000, or vice versa, is an error, because it shifts every label by one.
    pub classes: Option<usize>,
    /// True if the last layer may be missing in the file, for fine-tuning. It is then newly drawn, with
    /// [`Self::classes`] or the configuration's number of classes.
    pub allow_missing_classifier: bool,
    /// True if every γ counts as 1 whatever the file holds: MXNet's `fix_gamma`.
    pub fix_gamma: bool,
}

impl Import {
    /// A file with all tensors of exactly this network.
    pub fn new(config: BnInceptionConfig, preprocess: Preprocess) -> Self {
        Self { config, preprocess, classes: None, allow_missing_classifier: false, fix_gamma: false }
    }
}

/// The state of the network that `import` describes, from the tensors of `archive`, with its metadata. The two match.
///
/// # Errors
/// [`ImportError`], with every name concerned.
pub(crate) fn read(archive: Archive, import: &Import) -> Result<(State, Metadata), ImportError> {
    let format = archive.format;
    let mut config = import.config.clone();
    let named = match format {
        Format::Onnx => {
            let mapped = onnx::map(archive, &config)?;
            config = mapped.config;
            Named { format, naming: &GRAPH, plan: config.plan, tensors: mapped.tensors, origins: mapped.origins }
        }
        Format::Caffe => Named::of(format, caffe::map(archive), config.plan)?,
        _ => Named::of(format, archive.tensors, config.plan)?,
    };
    config.classes = named.classes(import)?;
    config.validate()?;
    let source = named.naming.source;
    let state = named.fill(&config, import)?;
    let facts = [("format", format.to_string()), ("names", source.to_owned())];
    let metadata = Metadata {
        labels: labels::of_classes(config.classes),
        config,
        preprocess: import.preprocess.clone(),
        facts: facts.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect(),
    };
    Ok((state, metadata))
}

/// A file's tensor as Burn holds it on the host.
pub(crate) fn data(array: Array) -> TensorData {
    let shape = array.shape.clone();
    TensorData::new(array.into_values(), shape)
}

/// Tensors with a known naming.
struct Named {
    format: Format,
    naming: &'static Naming,
    plan: ChannelPlan,
    tensors: BTreeMap<String, Array>,
    /// The file's own names of tensors that were renamed.
    origins: BTreeMap<String, String>,
}

/// Prefixes that wrappers add to every name: `DataParallel`, Lightning, TSN.
const WRAPPERS: [&str; 4] = ["module.", "model.", "base_model.", "net."];

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

impl Named {
    fn of(format: Format, mut tensors: BTreeMap<String, Array>, plan: ChannelPlan) -> Result<Self, ImportError> {
        while let Some(wrapper) =
            WRAPPERS.iter().find(|wrapper| !tensors.is_empty() && tensors.keys().all(|key| key.starts_with(**wrapper)))
        {
            let unwrapped = tensors.into_iter();
            tensors = unwrapped.map(|(key, array)| (key[wrapper.len()..].to_owned(), array)).collect();
        }
        let known = |naming: &Naming| {
            let names = TELLING.iter().flat_map(|name| naming.of(plan, name));
            names.filter(|key| tensors.contains_key(key)).count()
        };
        let best = NAMINGS.into_iter().max_by_key(|naming| known(naming));
        match best.filter(|naming| known(naming) > 0) {
            Some(naming) => Ok(Self { format, naming, plan, tensors, origins: BTreeMap::new() }),
            None => {
                Err(ImportError::UnknownNames { format, count: tensors.len(), names: tensors.into_keys().collect() })
            }
        }
    }

    /// The file's name of the tensor that we call `name`: the one it has, or the one it should have.
    fn key(&self, name: &str) -> String {
        let keys = self.naming.of(self.plan, name);
        let found = keys.iter().find(|key| self.tensors.contains_key(*key));
        let key = found.or(keys.first()).cloned();
        key.unwrap_or_else(|| name.to_owned())
    }

    fn has_classifier(&self) -> bool {
        self.tensors.contains_key(&self.key("classifier.weight"))
    }

    fn classes(&self, import: &Import) -> Result<usize, ImportError> {
        let last = self.tensors.get(&self.key("classifier.weight"));
        let usual = import.config.classes;
        let Some(&found) = last.and_then(|last| last.shape.first()) else {
            return Ok(import.classes.unwrap_or(usual));
        };
        let expected = match import.classes {
            Some(classes) => classes,
            None if [found, usual] == [1001, 1000] || [found, usual] == [1000, 1001] => usual,
            None => found,
        };
        if found == expected { Ok(found) } else { Err(ImportError::Classes { found, expected }) }
    }

    /// Matches the file's tensors with our names: all of them, with all of the network's.
    fn fill(mut self, config: &BnInceptionConfig, import: &Import) -> Result<State, ImportError> {
        let expected = config.tensors();
        let mut drawn = State::new();
        if import.allow_missing_classifier && !self.has_classifier() {
            drawn = new_classifier(&expected, config.activation);
        }
        let differences = self.differences(&expected, &drawn);
        if !differences.is_none() {
            return Err(ImportError::Tensors {
                format: self.format,
                source_name: self.naming.source,
                fitting: self.fitting(config, &drawn),
                missing: differences.missing,
                unused: differences.unused,
                shapes: differences.shapes,
            });
        }
        let mut state = drawn;
        for name in expected.into_keys() {
            if let Some(mut array) = self.tensors.remove(&self.key(&name)) {
                if import.fix_gamma && name.ends_with(".gamma") {
                    let ones = vec![1.0; array.shape.iter().product()];
                    array = Array::new(array.shape, ones);
                }
                state.insert(name, data(array));
            }
        }
        Ok(state)
    }

    fn differences(&self, expected: &BTreeMap<String, Vec<usize>>, drawn: &State) -> Differences {
        let keys = self.tensors.keys();
        let mut unused: BTreeSet<&String> = keys.filter(|key| !self.naming.is_counter(key)).collect();
        let (mut missing, mut shapes) = (Vec::new(), Vec::new());
        for (name, expected) in expected {
            if drawn.contains_key(name) {
                continue;
            }
            let key = self.key(name);
            let Some(array) = self.tensors.get(&key) else {
                missing.push(key);
                continue;
            };
            unused.remove(&key);
            if array.shape != *expected {
                shapes.push(WrongShape {
                    key: self.shown(key),
                    expected: expected.clone(),
                    found: array.shape.clone(),
                });
            }
        }
        missing.sort();
        // Filters first: a vector's length follows from its filter's.
        shapes.sort_by_key(|shape| (Reverse(shape.expected.len()), shape.key.clone()));
        let unused = unused.into_iter().cloned().collect();
        Differences { missing, unused, shapes }
    }

    /// `key` with the file's own name where that is another.
    fn shown(&self, key: String) -> String {
        match self.origins.get(&key) {
            Some(origin) if *origin != key => format!("{key} ({origin})"),
            _ => key,
        }
    }

    /// Presets, with the width of `config`, that all tensors would fit.
    fn fitting(&self, config: &BnInceptionConfig, drawn: &State) -> Vec<Preset> {
        let fits = |preset: &Preset| {
            let config = preset.config().with_width(config.width).with_classes(config.classes);
            self.differences(&config.tensors(), drawn).is_none()
        };
        Preset::ALL.into_iter().filter(fits).collect()
    }
}

/// A newly drawn classifier of the shapes in `expected`, with a bias of 0.
fn new_classifier(expected: &BTreeMap<String, Vec<usize>>, activation: Activation) -> State {
    let [weight, bias] = ["classifier.weight", "classifier.bias"];
    let zeros = TensorData::zeros::<f32, _>(expected[bias].clone());
    let weights = state::drawn(weight, &expected[weight], activation, 0);
    State::from([(weight.to_owned(), weights), (bias.to_owned(), zeros)])
}

/// Differences between a file's tensors and a network's.
struct Differences {
    missing: Vec<String>,
    unused: Vec<String>,
    shapes: Vec<WrongShape>,
}

impl Differences {
    fn is_none(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty() && self.shapes.is_empty()
    }
}
