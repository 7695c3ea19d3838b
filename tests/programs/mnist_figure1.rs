//! `mnist-figure1` on a few made-up digits.

use std::fs;
use std::path::Path;

use bn_inception_tests::{fail, succeed};
use bn_inception_train::OutputLock;

/// Two idx files with this many images.
fn write_part(folder: &Path, part: &str, count: u8) {
    let idx = |axes: u8, lengths: &[u8], content: Vec<u8>| {
        let lengths = lengths.iter().flat_map(|length| [0, 0, 0, *length]);
        [0, 0, 8, axes].into_iter().chain(lengths).chain(content).collect::<Vec<u8>>()
    };
    let pixels = (0..usize::from(count) * 28 * 28).map(|pixel| (pixel * 31 % 256) as u8);
    let digits = (0..count).map(|image| image % 10);
    fs::write(folder.join(format!("{part}-images-idx3-ubyte")), idx(3, &[count, 28, 28], pixels.collect())).unwrap();
    fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), idx(1, &[count], digits.collect())).unwrap();
}

#[test]
fn one_process_draws_a_figure_once() {
    let folder = tempfile::tempdir().unwrap();
    write_part(folder.path(), "train", 120);
    write_part(folder.path(), "t10k", 20);
    let out = folder.path().join("out");
    let names = [folder.path(), &out].map(|path| path.display().to_string());
    let arguments = ["--data", &names[0], "--out", &names[1], "--steps", "4"];

    fs::create_dir(&out).unwrap();
    let lock = OutputLock::take(&out, |line| panic!("{line}")).unwrap();
    fail("mnist-figure1", &arguments, &["another process trains in"]);
    drop(lock);
    succeed("mnist-figure1", &arguments);
    assert!(out.join("figure1.svg").exists());
    fail("mnist-figure1", &arguments, &["holds a figure; choose another --out"]);
    fs::remove_file(out.join("figure1.json")).unwrap();
    fail("mnist-figure1", &arguments, &["holds a run that was broken off; choose another --out"]);
}
