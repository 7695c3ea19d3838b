//! `pack`: datasets into shards.

use std::fs;
use std::path::{Path, PathBuf};

use bn_inception_tests::{fail, succeed};
use bn_inception_train::data::{DrawnConfig, ImageDataset, Split, draw_dataset, fingerprint};
use tempfile::TempDir;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/fixtures");

/// A drawn dataset of three classes.
fn drawn() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = DrawnConfig { classes: 3, train_per_class: 10, val_per_class: 4, size: 40, seed: 5 };
    draw_dataset(&data, &config).unwrap();
    (folder, data)
}

fn pack(from: &Path, to: &Path, more: &[&str]) -> Vec<String> {
    let paths = ["--from", from.to_str().unwrap(), "--to", to.to_str().unwrap()];
    paths.iter().chain(more).map(|&text| text.to_owned()).collect()
}

fn run(from: &Path, to: &Path, more: &[&str]) -> String {
    let arguments = pack(from, to, more);
    succeed("pack", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn refuse(from: &Path, to: &Path, more: &[&str], parts: &[&str]) {
    let arguments = pack(from, to, more);
    fail("pack", &arguments.iter().map(String::as_str).collect::<Vec<_>>(), parts);
}

fn open(path: &Path) -> [ImageDataset; 2] {
    [Split::Train, Split::Val].map(|split| ImageDataset::open_split(path, split).unwrap())
}

fn files(path: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()))
        .filter(|(name, _)| !name.ends_with(".index"))
        .collect();
    files.sort();
    files
}

#[test]
fn the_shards_are_the_same_dataset() {
    let (folder, data) = drawn();
    let to = folder.path().join("shards");
    let printed = run(&data, &to, &["--shard-size", "8"]);
    assert!(printed.starts_with("train: 30 images of 3 classes in "), "{printed}");
    assert!(to.join("bn-inception.train.index").is_file());
    let (before, after) = (open(&data), open(&to));
    assert_eq!(fingerprint(&before), fingerprint(&after));
    for (before, after) in before.iter().zip(&after) {
        for index in 0..before.len() {
            assert_eq!(before.bytes(index).unwrap(), after.bytes(index).unwrap());
        }
    }
    // A shard is mixed from the classes.
    let shards: Vec<_> = (0..30).map(|index| after[0].path(index)).collect();
    let shard = |path: &Path| path.ancestors().nth(2).unwrap().to_owned();
    assert!(shards.iter().filter(|path| shard(path) == shard(&shards[0])).count() <= 8);
    assert!(shards[..10].iter().any(|path| shard(path) != shard(&shards[0])));

    // Started again, the missing shards are written as they were, and shards can be packed again.
    let all = files(&to);
    fs::remove_file(to.join("images-train-0001.tar")).unwrap();
    fs::remove_file(to.join("images-val-0001.tar")).unwrap();
    run(&data, &to, &["--shard-size", "8"]);
    assert!(files(&to) == all);
    let again = folder.path().join("again");
    run(&to, &again, &["--shard-size", "8"]);
    assert!(files(&again) == all);

    refuse(&data, &to, &["--shard-size", "9"], &["packed with other flags", "another folder"]);
    refuse(&data, &data, &[], &["the folder is not empty"]);
    refuse(&folder.path().join("nowhere"), &to, &[], &["nowhere does not exist"]);
    refuse(&data, &to, &["--quality", "80"], &["required arguments"]);
}

#[test]
fn photographs_get_smaller() {
    let (folder, data) = drawn();
    // Neither is scaled: one is no image, one small enough.
    let class = fs::read_dir(data.join("train")).unwrap().map(|class| class.unwrap().path()).min().unwrap();
    fs::write(class.join("00003.JPEG"), "<html>").unwrap();
    image::RgbImage::new(20, 30).save_with_format(class.join("00004.JPEG"), image::ImageFormat::Jpeg).unwrap();
    image::RgbImage::new(80, 40).save(class.join("00005.x.png")).unwrap();
    let to = folder.path().join("small");
    run(&data, &to, &["--short-side", "20"]);
    let (before, after) = (open(&data), open(&to));
    assert_eq!(before[0].len(), after[0].len());
    for index in 0..after[0].len() {
        let (bytes, old) = (after[0].bytes(index).unwrap(), before[0].bytes(index).unwrap());
        let name = before[0].name(index);
        let expected = match name.rsplit('/').next().unwrap() {
            "00003.JPEG" | "00004.JPEG" if index < 11 => {
                assert!(bytes == old, "{name}");
                continue;
            }
            "00005.x.png" => {
                assert!(after[0].name(index).ends_with("/00005_x.jpg"));
                (40, 20)
            }
            _ => (20, 20),
        };
        assert!(bytes.starts_with(&[0xff, 0xd8]), "{name}");
        assert_eq!(after[0].decode(index).unwrap().dimensions(), expected, "{name}");
    }
}

#[test]
fn hugging_faces_parquet_files_are_packed() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("shards");
    let printed = run(Path::new(FIXTURES), &to, &["--shard-size", "5"]);
    assert!(printed.contains("train: 11 images of 3 classes") && printed.contains("val: 6 images"), "{printed}");
    let [train, val] = open(&to);
    assert_eq!(train.classes(), ["n00000001", "n00000002", "n00000003"]);
    let names: Vec<_> = (0..4).map(|index| train.name(index)).collect();
    let expected = ["picture_0000", "picture_0003", "picture_0006", "picture_0009"];
    assert_eq!(names, expected.map(|name| format!("n00000001/{name}.JPEG")));
    for index in 0..train.len() {
        let number: u32 = train.name(index)[18..22].parse().unwrap();
        // The generator's first pixel, up to JPEG's rounding; colours that wrap around beside it are blurred.
        let (red, expected) = (train.decode(index).unwrap().get_pixel(0, 0).0[0], number * 31 % 256);
        assert!(expected > 240 || u32::from(red).abs_diff(expected) < 10, "image {number}: {red}");
    }
    assert_eq!(val.name(0), "n00000001/ILSVRC2012_val_00000000.JPEG");
    let all = files(&to);
    fs::remove_file(to.join("images-train-0001.tar")).unwrap();
    run(Path::new(FIXTURES), &to, &["--shard-size", "5"]);
    assert!(files(&to) == all);
}
