//! The drawn classes: five silhouettes meet five textures.

use super::shapes::{self, Shape};
use super::texture::{self, Texture};

/// A class of drawn images.
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) texture: Texture,
}

const fn class(name: &'static str, shape: Shape, texture: Texture) -> Class {
    Class { name, shape, texture }
}

/// Sorted by name, so that a class's row is also its index in any folder-per-class reader.
pub(super) const CLASSES: [Class; 10] = [
    class("brick-cross", shapes::cross, texture::BRICK),
    class("brick-disc", shapes::disc, texture::BRICK),
    class("checkered-heart", shapes::heart, texture::CHECKERED),
    class("checkered-ring", shapes::ring, texture::CHECKERED),
    class("dotted-ring", shapes::ring, texture::DOTTED),
    class("dotted-star", shapes::star, texture::DOTTED),
    class("striped-disc", shapes::disc, texture::STRIPED),
    class("striped-star", shapes::star, texture::STRIPED),
    class("swirled-cross", shapes::cross, texture::SWIRLED),
    class("swirled-heart", shapes::heart, texture::SWIRLED),
];

/// Labels of the drawn classes in index order, which are also the names of their folders.
pub fn class_names() -> Vec<&'static str> {
    CLASSES.iter().map(|class| class.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The promise of the dataset: neither the silhouette nor the texture alone names a class.
    #[test]
    fn every_shape_and_texture_occurs_twice() {
        let names = class_names();
        assert!(names.is_sorted());
        for part in 0..2 {
            for name in &names {
                let word = name.split('-').nth(part);
                let uses = names.iter().filter(|other| other.split('-').nth(part) == word);
                assert_eq!(uses.count(), 2, "{name}");
            }
        }
    }
}
