//! The names of ImageNet's 1000 classes.

use std::sync::OnceLock;

use serde_json::Value;

static TABLE: &str = include_str!("imagenet_classes.tsv");

/// The ImageNet-1k classes in index order, as (WordNet id, name).
pub fn imagenet() -> &'static [(&'static str, &'static str)] {
    static CLASSES: OnceLock<Vec<(&str, &str)>> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let lines = TABLE.lines();
        lines.filter_map(|line| line.split_once('\t')).collect()
    })
}

/// The name of an ImageNet class folder (`n03028079` is `church`); any other folder is its own name.
pub fn of_folder(folder: &str) -> &str {
    let classes = imagenet().iter();
    let mut found = classes.filter(|(id, _)| *id == folder);
    found.next().map_or(folder, |(_, name)| name)
}

/// Names for the logits of a file without labels: ImageNet's for 1000 classes and, after a background class, for 1001;
/// `class 0`, `class 1`, … for any other number.
pub fn of_classes(classes: usize) -> Vec<String> {
    let names = imagenet().iter().map(|(_, name)| (*name).to_owned());
    match classes {
        1000 => names.collect(),
        1001 => std::iter::once("background".to_owned()).chain(names).collect(),
        _ => numbered(classes),
    }
}

/// `class 0`, `class 1`, …
pub(crate) fn numbered(classes: usize) -> Vec<String> {
    (0..classes).map(|class| format!("class {class}")).collect()
}

/// A file that lists no labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// JSON of another kind.
    #[error(
        "no list of labels: {reason}; expected one name a line, a JSON list, or ImageNet's `{{\"0\": [id, name], …}}`"
    )]
    Json {
        /// The fault.
        reason: String,
    },
    /// A line without a name.
    #[error("line {line} has no label")]
    Blank {
        /// Its number, from 1.
        line: usize,
    },
}

/// The labels in the text of a file: one name a line, a JSON list of names, or a JSON object from index to name or to
/// `[id, name]`, such as ImageNet's class index.
///
/// ```
/// use bn_inception::weights::labels;
///
/// assert_eq!(labels::parse("cat\ndog\n")?, ["cat", "dog"]);
/// assert_eq!(labels::parse(r#"{"1": ["n02", "dog"], "0": ["n01", "cat"]}"#)?, ["cat", "dog"]);
/// # Ok::<(), bn_inception::weights::labels::LabelsError>(())
/// ```
///
/// # Errors
/// [`LabelsError`], which names the line or the index.
pub fn parse(text: &str) -> Result<Vec<String>, LabelsError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with(['{', '[']) {
        return parse_json(text).map_err(|reason| LabelsError::Json { reason });
    }
    let lines = text.trim_end().lines().map(str::trim);
    let lines = lines.enumerate().map(|(index, line)| match line {
        "" => Err(LabelsError::Blank { line: index + 1 }),
        name => Ok(name.to_owned()),
    });
    lines.collect()
}

fn parse_json(text: &str) -> Result<Vec<String>, String> {
    let name = |value: &Value| match value {
        Value::String(name) => Some(name.clone()),
        Value::Array(pair) => pair.get(1)?.as_str().map(str::to_owned),
        _ => None,
    };
    let nameless = |index: usize| format!("no name for class {index}");
    match serde_json::from_str(text).map_err(|error| error.to_string())? {
        Value::Array(list) => {
            let names = list.iter().enumerate();
            names.map(|(index, value)| value.as_str().map(str::to_owned).ok_or_else(|| nameless(index))).collect()
        }
        Value::Object(map) => {
            let names =
                (0..map.len()).map(|index| map.get(&index.to_string()).and_then(name).ok_or_else(|| nameless(index)));
            names.collect()
        }
        _ => Err("neither a list nor an object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_labels() {
        assert_eq!(parse("a\r\n b c \n\n").unwrap(), ["a", "b c"]);
        assert_eq!(parse(r#"["a", "b"]"#).unwrap(), ["a", "b"]);
        assert_eq!(parse(r#" {"0": "a", "1": ["n1", "b"]}"#).unwrap(), ["a", "b"]);
        let said = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(said("a\n\nb"), "line 2 has no label");
        for (text, part) in [("[1]", "class 0"), (r#"{"0": "a", "2": "b"}"#, "class 1"), ("{", "EOF")] {
            let message = said(text);
            assert!(message.contains(part) && !message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn a_thousand_classes_in_index_order() {
        assert_eq!(imagenet().len(), 1000);
        assert_eq!(imagenet()[0], ("n01440764", "tench"));
        assert_eq!(of_folder("n03028079"), "church");
        assert_eq!(of_folder("striped-disc"), "striped-disc");
    }
}
