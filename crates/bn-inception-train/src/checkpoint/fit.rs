//! Checks that a checkpoint matches a network and its data.

use super::file::{Arrays, Checkpoint, DataFacts};
use crate::optim::Flat;

impl Checkpoint {
    /// Checks that the checkpoint has all values of a network, that each has the right length, and that it has averages
    /// if and only if `averages` is set. The error names the first mismatch.
    pub(crate) fn check_network(&self, values: &Flat, averages: bool) -> Result<(), String> {
        check_arrays(&self.model, values, "weight", true)?;
        check_arrays(&self.velocity, values, "velocity", false)?;
        check_arrays(&self.average, values, "average", averages)
    }

    /// Checks that a resumed run has the same data as before. The error names the difference.
    pub(crate) fn check_data(&self, now: &DataFacts) -> Result<(), String> {
        let before = &self.data;
        if before.classes != now.classes {
            let (had, has) = (before.classes.len(), now.classes.len());
            let (gone, new) = (lacking(&before.classes, &now.classes), lacking(&now.classes, &before.classes));
            let change = match (gone, new) {
                (Some(gone), Some(new)) => format!("class folder `{gone}` is gone, `{new}` is new"),
                (Some(gone), None) => format!("class folder `{gone}` is gone"),
                (None, Some(new)) => format!("class folder `{new}` is new"),
                (None, None) => "in another order".to_owned(),
            };
            return Err(format!("it has {had} classes, the data has {has}: {change}"));
        }
        let known = before.has_files() && now.has_files();
        let changed = || {
            let train = first_changed("train", &before.classes, &before.train_files, &now.train_files);
            train.or_else(|| first_changed("val", &before.classes, &before.val_files, &now.val_files))
        };
        let changed = if known { changed() } else { None };
        if (before.train_images, before.val_images) != (now.train_images, now.val_images) {
            let first = changed.map_or_else(String::new, |folder| format!("; the first difference is in {folder}"));
            return Err(format!(
                "it was trained on {} images and validated on {}, the data has {} and {}{first}",
                before.train_images, before.val_images, now.train_images, now.val_images,
            ));
        }
        match changed {
            Some(folder) => Err(format!("the images in {folder} have other names than before")),
            None => Ok(()),
        }
    }
}

/// The first of `names` that is not among `others`.
fn lacking<'a>(names: &'a [String], others: &[String]) -> Option<&'a String> {
    names.iter().find(|name| !others.contains(name))
}

/// `SPLIT/CLASS` of the first class whose fingerprint differs.
fn first_changed(split: &str, classes: &[String], before: &[String], now: &[String]) -> Option<String> {
    let mut pairs = classes.iter().zip(before.iter().zip(now));
    let (class, _) = pairs.find(|(_, (before, now))| before != now)?;
    Some(format!("{split}/{class}"))
}

/// Checks that each array belongs to a value of the network and has its length; with `all`, that none is missing.
fn check_arrays(arrays: &Arrays, expected: &Flat, kind: &str, all: bool) -> Result<(), String> {
    for (name, values) in arrays {
        let Some(slot) = expected.slot(name) else {
            return Err(format!("the network has no {kind} `{name}`"));
        };
        let (found, expected) = (values.len(), slot.range.len());
        if found != expected {
            return Err(format!("{kind} `{name}` has {found} values, expected {expected}"));
        }
    }
    match expected.index().iter().find(|slot| !arrays.contains_key(&slot.name)) {
        Some(slot) if all => Err(format!("{kind} `{}` is missing", slot.name)),
        _ => Ok(()),
    }
}
