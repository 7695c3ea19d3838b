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
            let others = if had == has { " others" } else { "" };
            return Err(format!("it has {had} classes, the data has {has}{others}"));
        }
        if before != now {
            return Err(format!(
                "it was trained on {} images and validated on {}, the data has {} and {}",
                before.train_images, before.val_images, now.train_images, now.val_images,
            ));
        }
        Ok(())
    }
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
