//! A page of thumbnails: each query, and what is like it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Cursor;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bn_inception::decode_file;
use bn_inception::image::codecs::jpeg::JpegEncoder;
use bn_inception::image::imageops::thumbnail;
use rayon::prelude::*;

use crate::found::{Found, Near};

/// Queries on the page; of more, evenly spaced ones are shown.
const QUERIES: usize = 100;

/// Longer side of a thumbnail in pixels.
const SIDE: u32 = 144;

/// Quality of a thumbnail's JPEG, 1 to 100.
const QUALITY: u8 = 80;

const STYLE: &str = "
:root { color-scheme: light dark; font: 14px/1.4 system-ui, sans-serif; }
body { margin: 1.5rem; }
h1 { font-size: 1.2rem; margin: 0; }
p { margin: .2rem 0 1.2rem; opacity: .75; }
section { display: flex; gap: .6rem; overflow-x: auto; padding: .6rem 0; border-top: 1px solid #8884; }
figure { margin: 0; flex: none; width: 144px; }
figure:first-child { padding-right: .8rem; border-right: 3px solid #8886; }
figure div { width: 144px; height: 144px; display: grid; place-items: center; background: #8882; }
img { max-width: 144px; max-height: 144px; }
figcaption { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: 12px; }
b { font-variant-numeric: tabular-nums; }
";

/// The page, which refers to no other file.
pub fn page(found: &[Found], vectors: &Path) -> String {
    let shown: Vec<&Found> = if found.len() <= QUERIES {
        found.iter().collect()
    } else {
        (0..QUERIES).map(|index| &found[index * found.len() / QUERIES]).collect()
    };
    let names: BTreeSet<&str> = shown
        .iter()
        .flat_map(|found| found.neighbours.iter().map(|near| near.name.as_str()).chain([found.query.as_str()]))
        .collect();
    let thumbnails: BTreeMap<&str, Option<String>> =
        names.into_par_iter().map(|name| (name, picture(Path::new(name)))).collect();
    let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    page += "<meta name=\"viewport\" content=\"width=device-width\">\n<title>Nearest neighbours</title>\n";
    let _ = writeln!(page, "<style>{STYLE}</style>\n<h1>{}</h1>", escaped(&vectors.display().to_string()));
    let count = match (shown.len(), found.len()) {
        (shown, all) if shown < all => format!("{shown} of {all} queries, evenly spaced"),
        (shown, _) => format!("{shown} queries"),
    };
    let _ = writeln!(page, "<p>{count}, each followed by its nearest neighbours and their cosines</p>");
    for Found { query, neighbours } in shown {
        page += "<section>\n";
        figure(&mut page, query, None, &thumbnails);
        for Near { name, cosine, .. } in neighbours {
            figure(&mut page, name, Some(*cosine), &thumbnails);
        }
        page += "</section>\n";
    }
    page
}

fn figure(page: &mut String, name: &str, cosine: Option<f32>, thumbnails: &BTreeMap<&str, Option<String>>) {
    let (title, base) = (escaped(name), escaped(name.rsplit('/').next().unwrap_or(name)));
    let picture = match thumbnails.get(name) {
        Some(Some(data)) => format!("<img src=\"{data}\" alt=\"{title}\" loading=\"lazy\">"),
        _ => "no picture".to_owned(),
    };
    let cosine = cosine.map_or_else(String::new, |cosine| format!("<b>{cosine:.3}</b> "));
    let caption = format!("<figcaption>{cosine}{base}</figcaption>");
    let _ = writeln!(page, "<figure title=\"{title}\"><div>{picture}</div>{caption}</figure>");
}

/// A thumbnail of the image at `path` as a data URL; `None` if it is no image.
fn picture(path: &Path) -> Option<String> {
    let image = decode_file(path).ok()?;
    let (width, height) = image.dimensions();
    let scale = f64::from(SIDE) / f64::from(width.max(height)).max(f64::from(SIDE));
    let scaled = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let small = thumbnail(&image, scaled(width), scaled(height));
    let mut bytes = Cursor::new(Vec::new());
    small.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY)).ok()?;
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes.into_inner())))
}

/// Text in HTML, also between quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            other => escaped.push(other),
        }
    }
    escaped
}
