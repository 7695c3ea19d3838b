//! The embedded dataset as its readers see it: files on disk.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bn_inception_data::drawn::{DrawnConfig, DrawnDataset, DrawnError, class_names, draw_dataset};

/// Names the folder for `endless_drawing`.
const ENDLESS: &str = "DRAWN_TEST_ENDLESS_DIR";

fn small() -> DrawnConfig {
    DrawnConfig { classes: 3, train_per_class: 4, val_per_class: 2, size: 32, seed: 7 }
}

/// Every file under `root` with its bytes, by relative path.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn draw_with_threads(dir: &Path, config: &DrawnConfig, threads: usize) -> DrawnDataset {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(|| draw_dataset(dir, config)).unwrap()
}

#[test]
fn bytes_are_the_same_for_any_number_of_threads() {
    let home = tempfile::tempdir().unwrap();
    let [one, many] = ["one", "many"].map(|name| home.path().join(name));
    draw_with_threads(&one, &small(), 1);
    draw_with_threads(&many, &small(), 5);
    assert_eq!(tree(&one), tree(&many));

    let other = home.path().join("other");
    draw_dataset(&other, &DrawnConfig { seed: 8, ..small() }).unwrap();
    let (ours, theirs) = (tree(&one), tree(&other));
    assert!(ours.keys().eq(theirs.keys()));
    assert!(ours.iter().all(|(name, bytes)| theirs[name] != *bytes));
}

#[test]
fn the_layout_is_that_of_imagenet_and_every_file_decodes() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("a/b/drawn");
    let dataset = draw_dataset(&root, &small()).unwrap();
    let expected = DrawnDataset { root: root.clone(), images: 18, reused: false };
    assert_eq!(dataset, expected);

    let mut files = tree(&root);
    assert!(files.remove(Path::new("manifest.json")).is_some());
    let mut names = Vec::new();
    for (split, images) in [("train", 4), ("val", 2)] {
        for class in &class_names()[..3] {
            names.extend((0..images).map(|i| PathBuf::from(format!("{split}/{class}/{i:05}.JPEG"))));
        }
    }
    assert!(files.keys().eq(&names), "{:?}", files.keys());

    for (name, bytes) in &files {
        assert_eq!(image::guess_format(bytes).unwrap(), image::ImageFormat::Jpeg);
        let picture = image::load_from_memory(bytes).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), (32, 32), "{}", name.display());
        let (least, most) = picture.iter().fold((255, 0), |(l, m), &v| (v.min(l), v.max(m)));
        assert!(most - least > 60, "{} is nearly blank", name.display());
    }
    let mut distinct: Vec<_> = files.values().collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 18, "every image is its own");
    assert_eq!(fs::read_dir(home.path().join("a/b")).unwrap().count(), 1, "no draft stays behind");
}

#[test]
fn a_complete_dataset_is_reused_and_an_empty_folder_taken_over() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("drawn");
    fs::create_dir(&root).unwrap();
    assert!(!draw_dataset(&root, &small()).unwrap().reused);

    let marked = root.join("val/brick-disc/00001.JPEG");
    fs::write(&marked, "drawn once").unwrap();
    let again = draw_dataset(&root, &small()).unwrap();
    assert!(again.reused);
    assert_eq!(again.images, 18);
    assert_eq!(fs::read(&marked).unwrap(), b"drawn once");
}

/// Name, damage to a complete dataset, and words of the refusal.
type Refusal = (&'static str, fn(&Path), &'static [&'static str]);

#[test]
fn anything_else_in_the_folder_is_refused_and_kept() {
    let cases: [Refusal; 6] = [
        ("foreign", |root| fs::remove_file(root.join("manifest.json")).unwrap(), &["something other"]),
        ("unreadable", |root| fs::write(root.join("manifest.json"), "{").unwrap(), &["something other"]),
        (
            "older",
            |root| {
                let path = root.join("manifest.json");
                let text = fs::read_to_string(&path).unwrap();
                fs::write(&path, text.replace("\"schema\": 1", "\"schema\": 0")).unwrap();
            },
            &["another drawn dataset", "\"schema\":0", "\"schema\":1"],
        ),
        (
            "other seed",
            |root| {
                fs::remove_dir_all(root).unwrap();
                draw_dataset(root, &DrawnConfig { seed: 99, ..small() }).unwrap();
            },
            &["\"seed\":99", "\"seed\":7"],
        ),
        (
            "missing image",
            |root| fs::remove_file(root.join("train/brick-disc/00002.JPEG")).unwrap(),
            &["damaged", "train/brick-disc has 3 of 4"],
        ),
        (
            "empty image",
            |root| fs::write(root.join("val/brick-cross/00000.JPEG"), "").unwrap(),
            &["damaged", "val/brick-cross has 1 of 2"],
        ),
    ];
    let home = tempfile::tempdir().unwrap();
    for (name, spoil, words) in cases {
        let root = home.path().join(name);
        draw_dataset(&root, &small()).unwrap();
        spoil(&root);
        let before = tree(&root);
        let message = draw_dataset(&root, &small()).unwrap_err().to_string();
        for word in words.iter().copied().chain([root.to_str().unwrap()]) {
            assert!(message.contains(word), "{name}: {message:?} lacks {word:?}");
        }
        assert_eq!(tree(&root), before, "{name}: changed");
    }
}

#[test]
fn a_file_in_the_way_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "mine").unwrap();
    let error = draw_dataset(&file, &small()).unwrap_err();
    assert!(matches!(error, DrawnError::Occupied { .. }), "{error}");
    assert!(draw_dataset(&file.join("inside"), &small()).is_err());
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn numbers_out_of_range_are_refused_before_anything_is_written() {
    let cases = [
        ("classes", DrawnConfig { classes: 11, ..small() }),
        ("classes", DrawnConfig { classes: 1, ..small() }),
        ("train_per_class", DrawnConfig { train_per_class: 0, ..small() }),
        ("val_per_class", DrawnConfig { val_per_class: 0, ..small() }),
        ("size", DrawnConfig { size: 15, ..small() }),
    ];
    let home = tempfile::tempdir().unwrap();
    for (field, config) in cases {
        let message = draw_dataset(&home.path().join("new"), &config).unwrap_err().to_string();
        assert!(message.contains(field), "{message}");
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_killed_drawing_leaves_nothing_half_valid() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("drawn");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "drawn::endless_drawing"])
        .env(ENDLESS, &root)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The child would draw for hours: it is killed as soon as its first image is on disk.
    let has_drawn = || tree(home.path()).keys().any(|name| name.extension().is_some());
    while !has_drawn() {
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    assert!(!root.exists());
    assert!(!draw_dataset(&root, &small()).unwrap().reused);
    assert!(draw_dataset(&root, &small()).unwrap().reused);
}

/// Draws until it is killed. Fails unless the test above has started it.
#[test]
#[ignore = "the process that a_killed_drawing_leaves_nothing_half_valid starts and kills"]
fn endless_drawing() {
    let root = std::env::var_os(ENDLESS).expect("started by the test that kills it");
    let config = DrawnConfig { train_per_class: 100_000, ..small() };
    draw_dataset(root.as_ref(), &config).unwrap();
}
