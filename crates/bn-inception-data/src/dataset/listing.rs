//! The images of one part of a dataset, and where their bytes lie.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::archive::Archive;

/// All images of one part of a dataset.
#[derive(Debug)]
pub(super) struct Listing {
    /// The folder or archive that messages name.
    pub(super) root: PathBuf,
    /// Names of the classes, in the order of their indices.
    pub(super) classes: Vec<String>,
    /// Images in the order of class and name; at least one.
    pub(super) samples: Vec<Sample>,
    pub(super) archives: Vec<Archive>,
    /// Files that are no samples.
    pub(super) left_out: Vec<PathBuf>,
}

/// Name, class and place of one image; ImageNet has 1.3 million of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    /// `CLASS/FILE`, the same in all layouts.
    pub(super) name: Box<Path>,
    pub(super) class: u32,
    pub(super) place: Place,
}

/// Place of an image's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The file `root/NAME`.
    Folder,
    /// The file `root/FILE`: not in a folder of its class.
    Flat,
    /// A range of an archive.
    Range { archive: u32, offset: u64, length: u64 },
}

impl Listing {
    /// Path of `sample`; within an archive, the archive's path with the sample's name.
    pub(super) fn path(&self, sample: &Sample) -> PathBuf {
        match sample.place {
            Place::Folder => self.root.join(&sample.name),
            Place::Flat => self.root.join(sample.name.file_name().unwrap_or_default()),
            Place::Range { archive, .. } => self.archives[archive as usize].path.join(&sample.name),
        }
    }
}

/// Puts samples in the order that all layouts share: by class, then by name.
pub(super) fn sort(samples: &mut [Sample]) {
    let place = |sample: &Sample| match sample.place {
        Place::Folder | Place::Flat => (0, 0),
        Place::Range { archive, offset, .. } => (archive, offset),
    };
    samples.sort_by(|a, b| {
        let order = a.class.cmp(&b.class).then_with(|| a.name.cmp(&b.name));
        order.then_with(|| place(a).cmp(&place(b)))
    });
}

/// Class names in order, and samples that carry the index of theirs, from pairs of class name and sample.
pub(super) fn classify(pairs: Vec<(String, Box<Path>, Place)>) -> (Vec<String>, Vec<Sample>) {
    let classes: BTreeSet<&String> = pairs.iter().map(|(class, ..)| class).collect();
    let classes: Vec<String> = classes.into_iter().cloned().collect();
    let index = |class: &String| classes.partition_point(|known| known < class) as u32;
    let mut samples: Vec<_> =
        pairs.into_iter().map(|(class, name, place)| Sample { name, class: index(&class), place }).collect();
    sort(&mut samples);
    (classes, samples)
}
