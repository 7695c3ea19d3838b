//! The gallery: pages of few and many runs at the widths of a phone and of screens, light, dark and printed.
//!
//! With `BN_INCEPTION_GALLERY=FOLDER` the pictures are kept there.

use std::env;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::browser::{Browser, Tab};
use crate::comparing::{drawn_runs, gallery, serve};
use crate::pages::chart;
use crate::{nothing_is_wrong, open, panels};

const RUNS: [usize; 4] = [1, 6, 64, 100];
const WIDTHS: [u32; 3] = [390, 1280, 1920];

#[test]
fn pages_fit_whatever_the_number_of_runs() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let kept = env::var("BN_INCEPTION_GALLERY").ok();
    for runs in RUNS {
        let folder = gallery(runs, 300);
        let (_server, address) = serve(folder.path());
        for width in WIDTHS {
            for look in ["light", "dark", "print"] {
                // One look is enough to see whether a page fits.
                if kept.is_none() && look != "light" {
                    continue;
                }
                let tab = open(&browser, &address);
                tab.resize(width, 1000);
                tab.evaluate(&format!(
                    "(() => {{ const theme = document.querySelector('#theme'); theme.value = '{}';
                    theme.dispatchEvent(new Event('change')); }})()",
                    if look == "dark" { "dark" } else { "light" }
                ));
                drawn_runs(&tab, runs);
                assert!(panels(&tab).contains(&"Ranks".to_owned()));
                assert_eq!(tab.evaluate("document.querySelectorAll('[aria-label=Ranks] tbody tr').length"), 4);
                fits(&tab, runs, width);
                if let Some(kept) = &kept {
                    keep(&tab, &Path::new(kept).join(format!("{runs}-{width}-{look}")), look);
                }
                nothing_is_wrong(&tab);
                tab.close();
            }
        }
    }
}

/// Nothing is cut off at the sides, and a chart is as high with a hundred runs as with one.
fn fits(tab: &Tab, runs: usize, width: u32) {
    let overflow = tab.evaluate("document.documentElement.scrollWidth - innerWidth");
    assert!(overflow.as_i64().unwrap() <= 0, "{runs} runs at {width} pixels: {overflow} pixels too wide");
    let heights = ["Loss", "Learning rate"].map(|title| tab.evaluate(&format!("{}.place.clientHeight", chart(title))));
    let height = if width < 640 { 260 } else { 290 };
    assert_eq!(heights, [json!(height), json!(height)], "{runs} runs at {width} pixels");
    let tallest =
        "Math.max(...[...document.querySelectorAll('#comparison .panel')].map((panel) => panel.clientHeight))";
    assert!(tab.evaluate(tallest).as_u64().unwrap() < 560, "{runs} runs at {width} pixels: {}", tab.evaluate(tallest));
}

fn keep(tab: &Tab, path: &Path, look: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let (bytes, extension) = if look == "print" { (tab.print(), "pdf") } else { (tab.picture(), "png") };
    fs::write(path.with_extension(extension), bytes).unwrap();
}
