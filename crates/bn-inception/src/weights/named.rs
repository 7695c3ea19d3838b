//! From an entry of the registry to a network.

use bn_inception_weights::{Entry, KnownLabels, Labels, Store};
use serde_json::json;

use super::{Metadata, WeightsProblem, parse};
use crate::import::Import;
use crate::labels;
use crate::preset::Preset;
use crate::state::State;

/// The tensors of `entry`, and what its table says about them. `import` must be absent: the table knows.
pub(super) fn read(
    entry: &Entry,
    import: Option<&Import>,
    store: &Store,
) -> Result<(State, Metadata), WeightsProblem> {
    if import.is_some() {
        return Err(WeightsProblem::HasConfiguration);
    }
    let bytes = store.bytes(entry)?;
    if entry.built_in().is_some() {
        return parse(bytes, None);
    }
    let preset: Preset = entry.preset.parse()?;
    let config = preset.config().with_width(entry.width);
    let import = Import {
        classes: Some(entry.classes),
        ..Import::new(config, entry.preprocess.clone())
    };
    let (state, mut metadata) = parse(bytes, Some(&import))?;
    metadata.labels = match &entry.labels {
        Labels::Known(KnownLabels::ImageNet) => {
            let classes = labels::imagenet().iter();
            classes.map(|(_, name)| (*name).to_owned()).collect()
        }
        Labels::Listed(labels) => labels.clone(),
    };
    metadata.facts.extend([
        ("name".to_owned(), json!(entry.name)),
        ("source".to_owned(), json!(entry.url)),
        ("checksum".to_owned(), json!(entry.checksum.to_string())),
        ("licence".to_owned(), json!(entry.licence)),
        ("reported_accuracy".to_owned(), json!(entry.accuracy)),
        ("note".to_owned(), json!(entry.note)),
    ]);
    Ok((state, metadata))
}

#[cfg(test)]
mod tests {
    use bn_inception_weights::{entries, named};

    use super::*;
    use crate::preprocess::Preprocess;

    #[test]
    fn every_entry_describes_a_network() {
        for entry in entries() {
            let preset: Preset = entry.preset.parse().unwrap();
            let config = preset.config().with_width(entry.width);
            config.with_classes(entry.classes).validate().unwrap();
            entry.preprocess.check().unwrap();
        }
    }

    #[test]
    fn the_built_in_file_says_the_same_as_its_entry() {
        for entry in entries() {
            let Some(bytes) = entry.built_in() else {
                continue;
            };
            let (_, metadata) = parse(bytes, None).unwrap();
            let preset: Preset = entry.preset.parse().unwrap();
            let config = preset.config().with_width(entry.width);
            let config = config.with_classes(entry.classes);
            let config = config.with_input_size(metadata.config.input_size);
            assert_eq!(metadata.config, config);
            assert_eq!(metadata.preprocess, entry.preprocess);
            assert_eq!(Labels::Listed(metadata.labels), entry.labels);
        }
    }

    #[test]
    fn preprocessings_have_one_value() {
        for (name, preprocess) in [
            ("cadene", Preprocess::cadene()),
            ("onnx-v2-9", Preprocess::onnx()),
            ("mxnet-0126", Preprocess::mxnet()),
            ("imagenette", Preprocess::imagenet(128)),
        ] {
            let entry = named(name).unwrap();
            assert_eq!(entry.preprocess, preprocess, "{name}");
        }
    }
}
