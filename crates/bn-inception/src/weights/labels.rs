//! The names of ImageNet's 1000 classes.

use std::sync::OnceLock;

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
        _ => (0..classes).map(|class| format!("class {class}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_classes_in_index_order() {
        assert_eq!(imagenet().len(), 1000);
        assert_eq!(imagenet()[0], ("n01440764", "tench"));
        assert_eq!(of_folder("n03028079"), "church");
        assert_eq!(of_folder("striped-disc"), "striped-disc");
    }
}
