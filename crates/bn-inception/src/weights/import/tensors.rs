//! Tensors matched by name: all of the file's with all of the network's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bn_inception_formats::{Archive, Array, Format};
use burn::tensor::TensorData;

use super::error::{ImportError, WrongShape};
use super::layout::Unwrapped;
use super::{caffe, layout, onnx};
use crate::config::{Activation, BnInceptionConfig, StemKind};
use crate::plan::ChannelPlan;
use crate::preset::Preset;
use crate::state::{self, State};
use crate::weights::labels;
use crate::weights::metadata::Metadata;
use crate::weights::names::{GRAPH, Naming};
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
    /// Name of the last layer, if it is none of the usual ones: `embedding`, `head.fc`. One without a bias has a bias
    /// of 0.
    pub head: Option<String>,
    /// Layers and tensors of the file to leave out, by name.
    pub without: Vec<String>,
    /// True if the names of the tensors tell the preset; [`Self::config`] then only gives the width.
    pub preset_by_names: bool,
}

impl Import {
    /// A file with all tensors of exactly this network.
    pub fn new(config: BnInceptionConfig, preprocess: Preprocess) -> Self {
        Self {
            config,
            preprocess,
            classes: None,
            allow_missing_classifier: false,
            fix_gamma: false,
            head: None,
            without: Vec::new(),
            preset_by_names: false,
        }
    }

    /// A file with all tensors of the network that its names belong to ([`ImportError::PresetUnknown`] if they belong
    /// to several).
    pub fn by_names(preprocess: Preprocess) -> Self {
        Self { preset_by_names: true, ..Self::new(Preset::Caffe.config(), preprocess) }
    }
}

/// Key of the fact that the last layer is newly drawn.
pub(crate) const DRAWN_HEAD: &str = "last_layer";

/// The state of the network that `import` describes, from the tensors of `archive`, with its metadata. The two match.
///
/// # Errors
/// [`ImportError`], with every name concerned.
pub(crate) fn read(archive: Archive, import: &Import) -> Result<(State, Metadata), ImportError> {
    let (naming, state, metadata) = assemble(archive, import)?;
    match (Preset::of(&import.config), naming.presets) {
        (Some(found), [expected, ..]) if !import.preset_by_names && !naming.presets.contains(&found) => {
            Err(ImportError::Preset { source_name: naming.source, found, expected: *expected })
        }
        _ => Ok((state, metadata)),
    }
}

/// The same for a file of this project with the names of another, whose configuration is beyond doubt.
///
/// # Errors
/// [`ImportError`], with every name concerned.
pub(crate) fn restore(archive: Archive, import: &Import) -> Result<(State, Metadata), ImportError> {
    assemble(archive, import).map(|(_, state, metadata)| (state, metadata))
}

/// The naming of the tensors of `archive`, if it tells the preset. In an ONNX file the graph counts, not the names.
pub(crate) fn named_by(archive: Archive) -> Option<&'static Naming> {
    let tensors = match archive.format {
        Format::Onnx => return None,
        Format::Caffe => caffe::map(archive),
        _ => archive.tensors,
    };
    let (naming, _) = layout::recognized(tensors.keys(), ChannelPlan::Literal608)?;
    (!naming.presets.is_empty()).then_some(naming)
}

fn assemble(archive: Archive, import: &Import) -> Result<(&'static Naming, State, Metadata), ImportError> {
    let format = archive.format;
    let mut config = import.config.clone();
    let named = match format {
        Format::Onnx => {
            let mapped = onnx::map(archive, &config)?;
            config = mapped.config;
            Named::of_graph(format, config.plan, (mapped.tensors, mapped.origins), import)?
        }
        Format::Caffe => Named::of(format, caffe::map(archive), config.plan, import)?,
        _ => Named::of(format, archive.tensors, config.plan, import)?,
    };
    let naming = named.naming;
    let source = naming.source;
    if import.preset_by_names {
        let [preset, ..] = naming.presets else {
            return Err(ImportError::PresetUnknown { format, source_name: source });
        };
        config = preset.config().with_width(config.width);
    }
    let named = Named { plan: config.plan, ..named };
    config.classes = named.classes(import, config.classes)?;
    config.input_channels = config.input_channels.or(named.input_channels(&config));
    config.validate()?;
    let (state, drawn) = named.fill(&config, import)?;
    let mut facts = serde_json::Map::new();
    facts.insert("format".to_owned(), format.to_string().into());
    facts.insert("names".to_owned(), source.into());
    if drawn {
        facts.insert(DRAWN_HEAD.to_owned(), "drawn at random".into());
    }
    let labels = if drawn { labels::numbered(config.classes) } else { labels::of_classes(config.classes) };
    let metadata = Metadata { labels, config, preprocess: import.preprocess.clone(), temperature: None, facts };
    Ok((naming, state, metadata))
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
    /// The last layer, if the caller named it.
    head: Option<Head>,
}

/// Names of the tensors of a last layer.
struct Head {
    weight: String,
    bias: Option<String>,
}

impl Named {
    fn of(
        format: Format,
        mut tensors: BTreeMap<String, Array>,
        plan: ChannelPlan,
        import: &Import,
    ) -> Result<Self, ImportError> {
        let Some((naming, prefix)) = layout::recognized(tensors.keys(), plan) else {
            let names = std::mem::take(&mut tensors).into_keys().collect::<Vec<_>>();
            return Err(ImportError::UnknownNames { format, count: names.len(), names });
        };
        Self::chosen(format, naming, plan, layout::unwrapped(tensors, &prefix), import)
    }

    fn of_graph(format: Format, plan: ChannelPlan, tensors: Unwrapped, import: &Import) -> Result<Self, ImportError> {
        Self::chosen(format, &GRAPH, plan, tensors, import)
    }

    /// Tensors with the caller's choice of layers.
    fn chosen(
        format: Format,
        naming: &'static Naming,
        plan: ChannelPlan,
        mut tensors: Unwrapped,
        import: &Import,
    ) -> Result<Self, ImportError> {
        for layer in &import.without {
            layout::remove(&mut tensors, layer)?;
        }
        let head = import.head.as_ref().map(|layer| {
            let find = |tensor| layout::find(&tensors, naming.of_last(layer, tensor)?);
            let missing = || ImportError::NoLayer { name: layer.clone(), layers: layout::layers(&tensors.0) };
            Ok::<_, ImportError>(Head { weight: find("weight").ok_or_else(missing)?, bias: find("bias") })
        });
        let head = head.transpose()?;
        let (tensors, origins) = tensors;
        Ok(Self { format, naming, plan, tensors, origins, head })
    }

    /// The file's name of the tensor that we call `name`: the one it has, or the one it should have.
    fn key(&self, name: &str) -> String {
        match (&self.head, name) {
            (Some(head), "classifier.weight") => return head.weight.clone(),
            (Some(Head { bias: Some(bias), .. }), "classifier.bias") => return bias.clone(),
            _ => {}
        }
        let keys = self.naming.of(self.plan, name);
        let found = keys.iter().find(|key| self.tensors.contains_key(*key));
        let key = found.or(keys.first()).cloned();
        key.unwrap_or_else(|| name.to_owned())
    }

    fn has_classifier(&self) -> bool {
        self.tensors.contains_key(&self.key("classifier.weight"))
    }

    /// Number of classes, for a network that usually has `usual`.
    fn classes(&self, import: &Import, usual: usize) -> Result<usize, ImportError> {
        let last = self.tensors.get(&self.key("classifier.weight"));
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

    /// Channels that the first convolution of the file reads, if they are other than those of colour images, and all
    /// else of it is as in the network of `config`.
    fn input_channels(&self, config: &BnInceptionConfig) -> Option<usize> {
        let name = "stem.conv1.weight";
        let found = self.tensors.get(&self.key(name))?;
        let expected = config.tensors().remove(name)?;
        let same = |axis: usize| found.shape.get(axis) == expected.get(axis);
        let channels = *found.shape.get(1)?;
        (config.stem == StemKind::Plain && [0, 2, 3].into_iter().all(same) && channels != 3).then_some(channels)
    }

    /// Matches the file's tensors with our names: all of them, with all of the network's. True if the last layer is
    /// newly drawn.
    fn fill(mut self, config: &BnInceptionConfig, import: &Import) -> Result<(State, bool), ImportError> {
        let expected = config.tensors();
        let mut drawn = State::new();
        let no_head = import.allow_missing_classifier && !self.has_classifier();
        if no_head {
            drawn = new_classifier(&expected, config.activation);
        } else if let Some(Head { bias: None, .. }) = self.head {
            drawn.insert("classifier.bias".to_owned(), TensorData::zeros::<f32, _>([config.classes]));
        }
        let differences = self.differences(&expected, &drawn);
        if !differences.is_none() {
            let (format, source_name) = (self.format, self.naming.source);
            if let Some(layer) = self.beside(&differences) {
                let Differences { missing, unused, .. } = differences;
                return Err(ImportError::Layers { format, source_name, missing, unused, layer });
            }
            return Err(ImportError::Tensors {
                format,
                source_name,
                fitting: self.fitting(config, &drawn),
                missing: differences.missing,
                unused: differences.unused,
                shapes: differences.shapes,
            });
        }
        let mut state = drawn;
        for name in expected.keys().cloned().collect::<Vec<_>>() {
            if let Some(mut array) = self.tensors.remove(&self.key(&name)) {
                if import.fix_gamma && name.ends_with(".gamma") {
                    let ones = vec![1.0; array.shape.iter().product()];
                    array = Array::new(array.shape, ones);
                }
                array.shape = expected.get(&name).cloned().unwrap_or(array.shape);
                state.insert(name, data(array));
            }
        }
        Ok((state, no_head))
    }

    /// An unused layer that may be the last one, if the others are those of the network.
    fn beside(&self, differences: &Differences) -> Option<String> {
        let ours = ["weight", "bias"].map(|tensor| self.key(&format!("classifier.{tensor}")));
        let sound = differences.shapes.is_empty() && differences.missing.iter().all(|name| ours.contains(name));
        let mut layers = layout::layers(&self.tensors).into_iter().filter(|_| sound);
        layers.find(|layer| differences.unused.contains(&format!("{layer}.weight")))
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
            if !fits(&array.shape, expected) {
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
            let config = BnInceptionConfig {
                width: config.width,
                classes: config.classes,
                input_channels: config.input_channels,
                ..preset.config()
            };
            self.differences(&config.tensors(), drawn).is_none()
        };
        let named = |preset: &Preset| self.naming.presets.is_empty() || self.naming.presets.contains(preset);
        Preset::ALL.into_iter().filter(named).filter(fits).collect()
    }
}

/// True if a tensor of shape `found` can take the place of one of shape `expected`: they are the same or, for the
/// vectors of batch normalisation as Caffe's blobs hold them, `[1, C]` and the like instead of `[C]`.
fn fits(found: &[usize], expected: &[usize]) -> bool {
    let vector = || expected.len() == 1 && found.iter().filter(|size| **size != 1).eq(expected);
    found == expected || vector()
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
