//! Keys of images in shards.

use std::collections::HashSet;

use crate::image::Image;

/// Endings that readers of shards take for images.
const ENDINGS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// First bytes of formats, and their endings.
const STARTS: [(&[u8], &str); 7] = [
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG", "png"),
    (b"RIFF", "webp"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
];

/// The key of each image: its name without the ending, in which a dot would begin the ending, and different from all
/// others.
pub fn keys(images: &[Image]) -> Vec<String> {
    let mut used = HashSet::new();
    let mut unique = |wanted: String| {
        let mut key = wanted.clone();
        let mut number = 1;
        while !used.insert(key.clone()) {
            number += 1;
            key = format!("{wanted}-{number}");
        }
        key
    };
    images
        .iter()
        .map(|image| {
            let (folder, file) = image.name.rsplit_once('/').unwrap_or(("", &image.name));
            let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem).replace('.', "_");
            unique(if folder.is_empty() { stem } else { format!("{folder}/{stem}") })
        })
        .collect()
}

/// The ending for `bytes`: the name's own or, if it has none of an image, that of the bytes' format. A file that was
/// `rewritten` is JPEG.
pub fn ending(image: &Image, bytes: &[u8], rewritten: bool) -> String {
    let own = image.name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let fits = |known: &&str| known.eq_ignore_ascii_case(own) && (!rewritten || known.starts_with('j'));
    if ENDINGS.iter().any(fits) {
        return own.to_owned();
    }
    let found = STARTS.iter().find(|(start, _)| bytes.starts_with(start));
    found.map_or("jpg", |(_, ending)| ending).to_owned()
}
