//! The table of weights that have a name: `registry.toml`, typed.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::checksum::Checksum;

/// Weights that can be asked for by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The name to ask for them by.
    pub name: String,
    /// One line about them.
    pub about: String,
    /// Name of the network they belong to: `paper`, `caffe`, `onnx`, `mxnet`, `tf_slim` or `small`.
    pub preset: String,
    /// Multiplier of the preset's channels.
    #[serde(default = "full_width")]
    pub width: f64,
    /// Where they are published; absent where they are built into this crate.
    pub url: Option<String>,
    /// Name of the file, here and in the cache.
    pub file: String,
    /// What kind of file it is.
    pub format: Format,
    /// Its length in bytes, where it is published.
    pub size: Option<u64>,
    /// What its content has to add up to.
    pub checksum: Checksum,
    /// Number of classes.
    pub classes: usize,
    /// Names of the classes, in the order of the logits.
    pub labels: Labels,
    /// What is done to an image before it enters the network.
    pub preprocess: Preprocessing,
    /// How good they are said to be.
    pub accuracy: Accuracy,
    /// Terms of use.
    pub licence: String,
    /// What else one has to know.
    pub note: Option<String>,
}

fn full_width() -> f64 {
    1.0
}

/// Formats of weight files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// This project's own, with configuration, preprocessing and labels inside.
    Safetensors,
    /// A pickled PyTorch `state_dict`.
    PyTorch,
    /// An ONNX graph.
    Onnx,
    /// A list of MXNet NDArrays.
    MxNet,
}

/// Where the class names are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Labels {
    /// A list known by name.
    Known(KnownLabels),
    /// The names themselves.
    Listed(Vec<String>),
}

/// Lists of class names that need not be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnownLabels {
    /// The 1,000 classes of ImageNet (ILSVRC 2012) in the order of their WordNet ids.
    ImageNet,
}

/// What the network's authors did to an image: `(range(byte) − mean) / std` for each channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Order of the channels.
    pub color: ColorOrder,
    /// Interval that the byte values 0 to 255 are mapped to.
    pub range: PixelRange,
    /// Subtracted from each channel, in the order of `color` and the units of `range`.
    pub mean: [f32; 3],
    /// Divides each channel, in the order of `color` and the units of `range`.
    pub std: [f32; 3],
    /// Side of the square input in pixels.
    pub size: u32,
    /// How an image of another size becomes that square.
    pub resize: Resize,
    /// How pixels in between are computed.
    pub interpolation: Interpolation,
}

/// Which colour the first channel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColorOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red: Caffe's order, from OpenCV.
    Bgr,
}

/// The interval that the byte values 0–255 are mapped to, before mean and deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelRange {
    /// 0 to 255, unchanged.
    Byte,
    /// 0 to 1.
    Unit,
    /// −1 to 1.
    Signed,
}

/// How the whole image becomes the network's square, for evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// The short side is scaled to this many pixels, the aspect kept, and the centre square cut out.
    ShortSide(u32),
    /// This fraction of each side is cut from the centre, then scaled to the square, the aspect lost.
    CentralFraction(f64),
}

/// The filter used for scaling; each widens with the reduction (antialiasing), as Pillow's do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Triangle filter.
    Bilinear,
    /// Catmull-Rom cubic (a = −0.5).
    Bicubic,
}

/// An accuracy somebody reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    /// Percent of images whose class came first.
    pub top1: f64,
    /// Percent of images whose class was among the first five.
    pub top5: f64,
    /// Of which images.
    pub of: String,
    /// Who says so.
    pub source: String,
}

/// The file at the top of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registry {
    weights: Vec<Entry>,
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let registry: Registry =
        toml::from_str(include_str!("../registry.toml")).expect("embedded, and parsed by a test");
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
    /// The file itself, where it is built into this crate.
    pub fn built_in(&self) -> Option<&'static [u8]> {
        BUILT_IN
            .iter()
            .find(|(file, _)| *file == self.file)
            .map(|(_, bytes)| *bytes)
    }
}

/// Files that are part of the crate.
const BUILT_IN: &[(&str, &[u8])] = &[(
    "imagenette.safetensors",
    include_bytes!("../imagenette.safetensors"),
)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        let names: Vec<_> = entries().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["imagenette", "cadene", "onnx-v2-9", "mxnet-0126"]);
        for entry in entries() {
            let name = &entry.name;
            assert_eq!(entry.url.is_none(), entry.built_in().is_some(), "{name}");
            if let Some(url) = &entry.url {
                assert!(url.ends_with(&format!("/{}", entry.file)), "{name}: {url}");
            }
            // A file name must not lead out of the cache folder.
            assert_eq!(std::path::Path::new(&entry.file).components().count(), 1);
            match &entry.labels {
                Labels::Known(KnownLabels::ImageNet) => assert_eq!(entry.classes, 1000, "{name}"),
                Labels::Listed(labels) => assert_eq!(entry.classes, labels.len(), "{name}"),
            }
            assert!(entry.accuracy.top1 < entry.accuracy.top5, "{name}");
            assert!(!entry.licence.is_empty() && !entry.accuracy.source.is_empty());
            let card = format!("{}/{name}.md", env!("CARGO_MANIFEST_DIR"));
            let card = std::fs::read_to_string(&card).unwrap_or_else(|e| panic!("{card}: {e}"));
            assert!(card.starts_with(&format!("# {name}\n")), "{name}");
            assert!(card.contains(&entry.licence), "{name}: licence");
            assert!(card.contains(&entry.accuracy.top1.to_string()), "{name}");
        }
    }

    #[test]
    fn built_in_files_are_what_the_table_says() {
        for entry in entries() {
            let Some(bytes) = entry.built_in() else {
                continue;
            };
            assert_eq!(entry.size, Some(bytes.len() as u64));
            let found = entry
                .checksum
                .of(&mut &bytes[..], bytes.len() as u64)
                .unwrap();
            assert!(entry.checksum.accepts(&found), "{}: {found}", entry.name);
        }
    }

    #[test]
    fn names_are_found() {
        assert_eq!(named("cadene").unwrap().format, Format::PyTorch);
        assert!(named("resnet").is_none());
    }
}
