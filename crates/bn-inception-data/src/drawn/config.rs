//! Size and seed of a drawn dataset.

use serde::{Deserialize, Serialize};

use super::classes::CLASSES;
use super::error::DrawnError;

/// Configuration of a drawn dataset. The same configuration gives the same bytes for any number of threads; only the
/// mathematical functions of another platform may differ in a last bit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawnConfig {
    /// Number of classes, the first of [`class_names`](super::class_names): 2 to 10.
    pub classes: usize,
    /// Training images per class, at least 1.
    pub train_per_class: usize,
    /// Validation images per class, at least 1.
    pub val_per_class: usize,
    /// Side of the square images in pixels, 16 to 1024.
    pub size: u32,
    /// Seed. Image `i` of a class depends on it, the split, the class and `i` alone.
    pub seed: u64,
}

impl Default for DrawnConfig {
    /// Ten classes of 400 training and 50 validation images at 72 pixels: a few seconds of drawing, some 12 MB.
    fn default() -> Self {
        Self { classes: CLASSES.len(), train_per_class: 400, val_per_class: 50, size: 72, seed: 2015 }
    }
}

impl DrawnConfig {
    /// Images per class of a split: 0 is training, 1 validation.
    pub(super) fn per_class(&self, split: usize) -> usize {
        [self.train_per_class, self.val_per_class][split]
    }

    /// Number of images in both splits together.
    pub(super) fn images(&self) -> usize {
        self.classes * (self.train_per_class + self.val_per_class)
    }

    pub(super) fn check(&self) -> Result<(), DrawnError> {
        let bounds = [
            ("classes", self.classes, 2, CLASSES.len()),
            ("train_per_class", self.train_per_class, 1, 100_000),
            ("val_per_class", self.val_per_class, 1, 100_000),
            ("size", self.size as usize, 16, 1024),
        ];
        for (field, found, least, most) in bounds {
            if !(least..=most).contains(&found) {
                return Err(DrawnError::OutOfRange { field, found, least, most });
            }
        }
        Ok(())
    }
}
