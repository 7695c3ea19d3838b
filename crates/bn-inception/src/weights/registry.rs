//! Weights by name: the table `registry.toml`, typed. Each entry has a model card in the folder `weights`.

use std::sync::LazyLock;

use bn_inception_fetch::{Checksum, Source};
use bn_inception_formats::Format;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::import::Import;
use super::labels;
use crate::preset::Preset;
use bn_inception_data::Preprocess;

/// Weights available by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name on command lines and in [`named`].
    pub name: String,
    /// Description in one line.
    pub about: String,
    /// Network they belong to.
    #[serde(with = "preset_name")]
    pub preset: Preset,
    /// Multiplier of the preset's channels.
    #[serde(default = "full_width")]
    pub width: f64,
    /// Address of the file; absent if it is built in.
    pub url: Option<String>,
    /// Name of the file, here and in the cache.
    pub file: String,
    /// Format of the file.
    #[serde(with = "FormatName")]
    pub format: Format,
    /// Length of the file in bytes, if published.
    pub size: Option<u64>,
    /// Checksum of the file.
    pub checksum: Checksum,
    /// Number of classes.
    pub classes: usize,
    /// Names of the classes, in the order of the logits.
    pub labels: Labels,
    /// Preparation of an image before it enters the network.
    pub preprocess: Preprocess,
    /// Reported accuracy.
    pub accuracy: Accuracy,
    /// Terms of use.
    pub licence: String,
    /// Further remarks.
    pub note: Option<String>,
}

fn full_width() -> f64 {
    1.0
}

/// Names of the classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// The 1,000 classes of ImageNet (ILSVRC 2012) in the order of their WordNet ids.
    ImageNet,
    /// The names themselves.
    #[serde(untagged)]
    Listed(Vec<String>),
}

impl Labels {
    /// The names, in the order of the logits.
    pub fn names(&self) -> Vec<String> {
        match self {
            Labels::ImageNet => labels::of_classes(1000),
            Labels::Listed(names) => names.clone(),
        }
    }
}

/// A reported accuracy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    /// Percentage of images whose class is ranked first.
    pub top1: f64,
    /// Percentage of images whose class is ranked among the first five.
    pub top5: f64,
    /// Images it was measured on.
    pub of: String,
    /// Source of the report.
    pub source: String,
}

/// The table's names of formats.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Format", rename_all = "lowercase")]
enum FormatName {
    #[serde(rename = "pytorch_zip")]
    PyTorchZip,
    /// The format of 2018 and before, when the published files were written.
    #[serde(rename = "pytorch")]
    PyTorchLegacy,
    Onnx,
    MxNet,
    Caffe,
    Safetensors,
    Burnpack,
}

/// A preset as its name.
mod preset_name {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::preset::Preset;

    pub(super) fn serialize<S: Serializer>(preset: &Preset, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(preset.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Preset, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// The whole table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registry {
    weights: Vec<Entry>,
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let registry: Registry = toml::from_str(bn_inception_weights::REGISTRY).expect("embedded, and parsed by a test");
    registry.weights
});

/// Every entry, in the order of the table.
pub fn entries() -> &'static [Entry] {
    &ENTRIES
}

/// The entry called `name`.
pub fn named(name: &str) -> Option<&'static Entry> {
    entries().iter().find(|entry| entry.name == name)
}

impl Entry {
    /// The file to download; `None` if it is built in.
    pub fn source(&self) -> Option<Source> {
        Some(Source {
            url: self.url.clone()?,
            file: self.file.clone(),
            size: self.size,
            checksum: self.checksum.clone(),
        })
    }

    /// The file itself, if it is built in; never without the feature `embedded-weights`.
    pub fn built_in(&self) -> Option<&'static [u8]> {
        let mut files = bn_inception_weights::BUILT_IN.iter();
        files.find(|(file, _)| *file == self.file).map(|(_, bytes)| *bytes)
    }

    /// The entry's network and preprocessing, which the file does not state itself.
    pub(crate) fn import(&self) -> Import {
        let config = self.preset.config().with_width(self.width);
        Import { classes: Some(self.classes), ..Import::new(config, self.preprocess.clone()) }
    }

    /// Facts for the metadata of the entry's weights.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (String, Value)> {
        let facts = [
            ("name", json!(self.name)),
            ("source", json!(self.url)),
            ("checksum", json!(self.checksum.to_string())),
            ("licence", json!(self.licence)),
            ("reported_accuracy", json!(self.accuracy)),
            ("note", json!(self.note)),
        ];
        facts.into_iter().map(|(key, value)| (key.to_owned(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        let names: Vec<_> = entries().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["imagenette", "cadene", "onnx-v2-9", "mxnet-0126"]);
        for entry in entries() {
            let name = &entry.name;
            assert_eq!(entry.url.is_none() && cfg!(feature = "embedded-weights"), entry.built_in().is_some(), "{name}");
            if let Some(url) = &entry.url {
                assert!(url.ends_with(&format!("/{}", entry.file)), "{name}: {url}");
            }
            // A file name must not lead out of the cache folder.
            assert_eq!(std::path::Path::new(&entry.file).components().count(), 1);
            assert_eq!(entry.classes, entry.labels.names().len(), "{name}");
            assert!(entry.accuracy.top1 < entry.accuracy.top5, "{name}");
            assert!(!entry.licence.is_empty() && !entry.accuracy.source.is_empty());
            let card = format!("{}/../../weights/{name}.md", env!("CARGO_MANIFEST_DIR"));
            let card = std::fs::read_to_string(&card).unwrap_or_else(|e| panic!("{card}: {e}"));
            assert!(card.starts_with(&format!("# {name}\n")), "{name}");
            assert!(card.contains(&entry.licence), "{name}: licence");
            assert!(card.contains(&entry.accuracy.top1.to_string()), "{name}");
        }
    }

    #[test]
    fn every_entry_describes_a_network() {
        for entry in entries() {
            let import = entry.import();
            import.config.with_classes(entry.classes).validate().unwrap();
            import.preprocess.check().unwrap();
        }
    }

    #[test]
    fn built_in_files_are_what_the_table_says() {
        for entry in entries() {
            let Some(bytes) = entry.built_in() else {
                continue;
            };
            assert_eq!(entry.size, Some(bytes.len() as u64));
            let found = entry.checksum.of(bytes);
            assert!(entry.checksum.accepts(&found), "{}: {found}", entry.name);
        }
    }

    #[test]
    fn names_are_found() {
        assert_eq!(named("cadene").unwrap().format, Format::PyTorchLegacy);
        assert!(named("resnet").is_none());
    }

    #[test]
    fn preprocessings_have_one_value() {
        for (name, preprocess) in [
            ("cadene", Preprocess::cadene()),
            ("onnx-v2-9", Preprocess::onnx()),
            ("mxnet-0126", Preprocess::mxnet()),
            ("imagenette", Preprocess::imagenet(128)),
        ] {
            assert_eq!(named(name).unwrap().preprocess, preprocess, "{name}");
        }
    }
}
