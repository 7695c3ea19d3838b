//! From a file's tensors to a network: files of other projects.
//!
//! Such files say little about themselves. The caller says which network ([`Import::config`]) and which pixels
//! ([`Import::preprocess`]) belong to them; names, shapes and completeness are then checked without exception: every
//! tensor of the file is used and every parameter of the network is filled, or there is an [`ImportError`].

mod caffe;
mod error;
mod names;
mod onnx;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bn_inception_formats::{Archive, Array, Format};
use burn::tensor::TensorData;

use crate::config::{Activation, BnInceptionConfig};
use crate::labels;
use crate::plan::ChannelPlan;
use crate::preprocess::Preprocess;
use crate::preset::Preset;
use crate::state::{self, State};
use crate::weights::Metadata;
pub use error::{ImportError, WrongShape};
pub use names::Names;
use names::{GRAPH, NAMINGS, Naming};

/// What a file of another project does not say about itself.
///
/// ```
/// use bn_inception::import::Import;
/// use bn_inception::{Preprocess, Preset};
///
/// let import = Import::new(Preset::Caffe.config(), Preprocess::cadene());
/// assert_eq!(import.classes, None); // as many as the file's last layer has
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// The network; its number of classes is replaced by the file's.
    pub config: BnInceptionConfig,
    /// What is done to an image before it enters the network.
    pub preprocess: Preprocess,
    /// The number of classes that the file must have. Without it the file decides, but for one case: 1001 where
    /// the configuration has 1000, or the other way round, is refused, because it shifts every label by one.
    pub classes: Option<usize>,
    /// Whether the last layer may be missing in the file, for fine-tuning. It is then drawn anew with
    /// [`Self::classes`] or the configuration's number of classes.
    pub allow_missing_classifier: bool,
    /// Whether every γ counts as 1 whatever the file holds: MXNet's `fix_gamma`.
    pub fix_gamma: bool,
}

impl Import {
    /// A file of exactly this network, all of it.
    pub fn new(config: BnInceptionConfig, preprocess: Preprocess) -> Self {
        Self {
            config,
            preprocess,
            classes: None,
            allow_missing_classifier: false,
            fix_gamma: false,
        }
    }
}

/// The state of the network that `import` describes from the tensors of `archive`, and all there is to say about
/// it.
///
/// # Errors
/// [`ImportError`], with every name concerned.
pub(crate) fn state(
    archive: Archive,
    import: &Import,
) -> Result<(State, Metadata), ImportError> {
    let format = archive.format;
    let mut config = import.config.clone();
    let named = match format {
        Format::Onnx => {
            let mapped = onnx::map(archive, &config)?;
            config = mapped.config;
            Named {
                format,
                naming: &GRAPH,
                plan: config.plan,
                tensors: mapped.tensors,
                origins: mapped.origins,
            }
        }
        Format::Caffe => Named::of(format, caffe::map(archive), config.plan)?,
        _ => Named::of(format, archive.tensors, config.plan)?,
    };
    config.classes = named.classes(import)?;
    config.validate()?;
    let source_name = named.naming.source;
    let state = named.fill(&config, import)?;
    let metadata = Metadata {
        labels: labels::of_classes(config.classes),
        config,
        preprocess: import.preprocess.clone(),
        facts: [
            ("format", format.to_string()),
            ("names", source_name.to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value.into()))
        .into_iter()
        .collect(),
    };
    Ok((state, metadata))
}

/// A file's tensor as Burn holds it on the host.
pub(crate) fn data(array: Array) -> TensorData {
    let shape = array.shape.clone();
    TensorData::new(array.into_values(), shape)
}

/// Tensors whose naming is known.
struct Named {
    format: Format,
    naming: &'static Naming,
    plan: ChannelPlan,
    tensors: BTreeMap<String, Array>,
    /// The file's own names of tensors that were renamed.
    origins: BTreeMap<String, String>,
}

/// What wrappers put in front of every name: `DataParallel`, Lightning, TSN.
const WRAPPERS: [&str; 4] = ["module.", "model.", "base_model.", "net."];

impl Named {
    fn of(
        format: Format,
        mut tensors: BTreeMap<String, Array>,
        plan: ChannelPlan,
    ) -> Result<Self, ImportError> {
        while let Some(wrapper) = WRAPPERS.iter().find(|wrapper| {
            !tensors.is_empty() && tensors.keys().all(|key| key.starts_with(**wrapper))
        }) {
            let unwrapped = tensors.into_iter();
            tensors = unwrapped
                .map(|(key, array)| (key[wrapper.len()..].to_owned(), array))
                .collect();
        }
        let known = |naming: &Naming| {
            let layers = [
                "stem.conv1.weight",
                "stem.conv2_reduce.weight",
                "stem.conv2.weight",
            ];
            let blocks = [
                "3a.conv_3x3.weight",
                "3a.reduce_3x3.weight",
                "3a.conv_double_1.weight",
                "5b.conv_3x3.weight",
                "3a.conv_3x3.norm.running_mean",
            ];
            let names = layers
                .iter()
                .chain(&blocks)
                .flat_map(|name| naming.of(plan, name));
            names.filter(|key| tensors.contains_key(key)).count()
        };
        let best = NAMINGS.into_iter().max_by_key(|naming| known(naming));
        match best.filter(|naming| known(naming) > 0) {
            Some(naming) => Ok(Self {
                format,
                naming,
                plan,
                tensors,
                origins: BTreeMap::new(),
            }),
            None => Err(ImportError::UnknownNames {
                format,
                count: tensors.len(),
                names: tensors.into_keys().collect(),
            }),
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
        match found == expected {
            true => Ok(found),
            false => Err(ImportError::Classes { found, expected }),
        }
    }

    /// Sorts the file's tensors by our names; all of them, into all of the network.
    fn fill(
        mut self,
        config: &BnInceptionConfig,
        import: &Import,
    ) -> Result<State, ImportError> {
        let expected = config.tensors();
        let mut drawn = State::new();
        if import.allow_missing_classifier && !self.has_classifier() {
            drawn = new_classifier(&expected, config.activation);
        }
        let Differences {
            missing,
            unused,
            shapes,
        } = self.differences(&expected, &drawn);
        if !(missing.is_empty() && unused.is_empty() && shapes.is_empty()) {
            return Err(ImportError::Tensors {
                format: self.format,
                source_name: self.naming.source,
                missing,
                unused,
                shapes,
                fitting: self.fitting(config, &drawn),
            });
        }
        let mut state = drawn;
        for (name, shape) in expected {
            if let Some(array) = self.tensors.remove(&self.key(&name)) {
                let fixed = import.fix_gamma && name.ends_with(".gamma");
                let values = match fixed {
                    true => vec![1.0; shape.iter().product()],
                    false => array.into_values(),
                };
                state.insert(name, TensorData::new(values, shape));
            }
        }
        Ok(state)
    }

    fn differences(&self, expected: &BTreeMap<String, Vec<usize>>, drawn: &State) -> Differences {
        let weights = self
            .tensors
            .keys()
            .filter(|key| !self.naming.is_counter(key));
        let mut unused: BTreeSet<&String> = weights.collect();
        let (mut missing, mut shapes) = (Vec::new(), Vec::new());
        for (name, shape) in expected
            .iter()
            .filter(|(name, _)| !drawn.contains_key(*name))
        {
            let key = self.key(name);
            let expected = shape.clone();
            match self.tensors.get(&key).map(|array| array.shape.clone()) {
                None => missing.push(key),
                Some(found) => {
                    unused.remove(&key);
                    if found != expected {
                        let key = self.shown(key);
                        shapes.push(WrongShape {
                            key,
                            expected,
                            found,
                        });
                    }
                }
            }
        }
        missing.sort();
        // Filters first: a vector's length follows from its filter's.
        shapes.sort_by_key(|shape| (Reverse(shape.expected.len()), shape.key.clone()));
        let unused = unused.into_iter().cloned().collect();
        Differences {
            missing,
            unused,
            shapes,
        }
    }

    /// `key` with the file's own name where that is another.
    fn shown(&self, key: String) -> String {
        match self.origins.get(&key) {
            Some(origin) if *origin != key => format!("{key} ({origin})"),
            _ => key,
        }
    }

    /// Presets of the width of `config` into which all tensors would go.
    fn fitting(&self, config: &BnInceptionConfig, drawn: &State) -> Vec<Preset> {
        let fits = |preset: &Preset| {
            let config = preset
                .config()
                .with_width(config.width)
                .with_classes(config.classes);
            let expected = config.tensors();
            let Differences {
                missing,
                unused,
                shapes,
            } = self.differences(&expected, drawn);
            missing.is_empty() && unused.is_empty() && shapes.is_empty()
        };
        Preset::ALL.into_iter().filter(fits).collect()
    }
}

/// A freshly drawn classifier of the shapes in `expected`, with a bias of 0.
fn new_classifier(expected: &BTreeMap<String, Vec<usize>>, activation: Activation) -> State {
    let [weight, bias] = ["classifier.weight", "classifier.bias"];
    let zeros = TensorData::zeros::<f32, _>(expected[bias].clone());
    let weights = state::drawn(weight, &expected[weight], activation, 0);
    State::from([(weight.to_owned(), weights), (bias.to_owned(), zeros)])
}

/// How a file's tensors differ from a network's.
struct Differences {
    missing: Vec<String>,
    unused: Vec<String>,
    shapes: Vec<WrongShape>,
}
