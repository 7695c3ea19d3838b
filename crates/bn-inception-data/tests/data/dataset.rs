//! Folder-per-class trees: images found, their order, and the error for every wrong folder.

use std::fs;
use std::path::Path;

use bn_inception_data::{ImageDataset, Split, fingerprint};
use image::{ImageFormat, RgbImage};

/// Creates a tree of empty files in a new folder.
fn tree(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        if file.ends_with('/') {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    }
    folder
}

fn error<T>(result: Result<T, impl std::error::Error>) -> String {
    let error = result.err().expect("an error").to_string();
    assert!(!error.contains('\n'), "one line: {error}");
    error
}

#[test]
fn classes_and_images_are_sorted() {
    let dir = tree(&[
        "train/n02/b.JPEG",
        "train/n02/a.jpg",
        "train/n01/x.PNG",
        "train/n01/images/deep.jpeg",
        "train/n01/notes.txt",
        "train/n01/._x.PNG",
        "train/.cache/c.jpg",
        "train/README.jpg",
    ]);
    let images = ImageDataset::open_split(dir.path(), Split::Train).unwrap();
    assert_eq!(images.classes(), ["n01", "n02"]);
    let found: Vec<_> = (0..images.len())
        .map(|i| {
            let path = images.path(i);
            let path = path.strip_prefix(images.root()).unwrap().to_path_buf();
            (images.class(i), path)
        })
        .collect();
    let expected = [(0, "n01/images/deep.jpeg"), (0, "n01/x.PNG"), (1, "n02/a.jpg"), (1, "n02/b.JPEG")];
    assert_eq!(found, expected.map(|(c, p)| (c, Path::new(p).to_path_buf())));
    let left_out: Vec<_> = images.left_out().iter().map(|path| path.strip_prefix(images.root()).unwrap()).collect();
    assert_eq!(left_out, [Path::new("README.jpg"), Path::new("n01/notes.txt")]);
    assert_eq!(images.others_of_class(1).collect::<Vec<_>>(), [0]);
    assert_eq!(images.others_of_class(2).collect::<Vec<_>>(), [3]);
}

#[test]
fn each_wrong_folder_has_its_own_line() {
    let dir = tree(&["train/a/1.jpg", "train/b/1.jpg", "file", "empty/", "hollow/a/", "one/a/t.txt"]);
    let at = |name: &str| dir.path().join(name);
    let path = |name: &str| at(name).display().to_string();

    let line = error(ImageDataset::open(at("absent")));
    assert_eq!(line, format!("data folder {} does not exist", path("absent")));
    let line = error(ImageDataset::open_split(at("absent"), Split::Train));
    assert_eq!(line, format!("data folder {} does not exist", path("absent")));
    for line in [error(ImageDataset::open(at("file"))), error(ImageDataset::open_split(at("file"), Split::Val))] {
        assert_eq!(line, format!("{} is neither a folder nor a tar archive (*.tar)", path("file")));
    }
    for line in
        [error(ImageDataset::open_split(dir.path(), Split::Val)), error(ImageDataset::open_validation(dir.path()))]
    {
        let root = dir.path().display();
        assert_eq!(line, format!("{root} has no `val` folder; expected {root}/{{train,val}}/CLASS/*.jpg"));
    }
    let line = error(ImageDataset::open(at("empty")));
    assert!(line.starts_with(&format!("{} holds no class folders", path("empty"))), "{line}");
    for folder in ["hollow", "one"] {
        let line = error(ImageDataset::open(at(folder)));
        let class = at(folder).join("a");
        assert!(line.starts_with(&format!("class folder {}", class.display())), "{line}");
    }
}

#[test]
fn train_and_val_must_have_the_same_classes() {
    let dir = tree(&[
        "train/a/1.jpg",
        "train/b/1.jpg",
        "val/a/1.jpg",
        "val/c/1.jpg",
        "val/d/1.jpg",
        "val/e/1.jpg",
        "val/f/1.jpg",
        "val/g/1.jpg",
        "val/h/1.jpg",
    ]);
    let train = ImageDataset::open_split(dir.path(), Split::Train).unwrap();
    let val = ImageDataset::open_split(dir.path(), Split::Val).unwrap();
    assert!(train.check_same_classes(&train).is_ok());
    let line = error(train.check_same_classes(&val));
    assert!(line.contains("only in the first: b; only in the second: c, d, e, f, g and 1 more"), "{line}");
}

#[test]
fn validation_takes_val_or_the_folder_itself() {
    let dir = tree(&["set/train/a/1.jpg", "set/val/a/1.jpg", "set/val/a/2.jpg", "plain/b/1.jpg"]);
    let set = ImageDataset::open_validation(dir.path().join("set")).unwrap();
    assert_eq!((set.len(), set.classes()[0].as_str()), (2, "a"));
    let plain = ImageDataset::open_validation(dir.path().join("plain")).unwrap();
    assert_eq!((plain.len(), plain.classes()[0].as_str()), (1, "b"));
}

#[test]
fn images_are_found_by_content() {
    let dir = tree(&["a/1.jpg", "a/2.PNG", "b/1.jpeg"]);
    let before = ImageDataset::open(dir.path()).unwrap();
    assert_eq!(before.left_out(), [] as [&Path; 0]);
    // What is no image changes no sample and no fingerprint.
    for (name, text) in [("a/notes.txt", "BM is no bitmap"), ("b/empty", ""), ("labels.csv", "a,b")] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let same = ImageDataset::open(dir.path()).unwrap();
    assert_eq!(fingerprint([&same]), fingerprint([&before]));
    assert_eq!(fingerprint([&same]), "ca678f0d94552921");
    assert_eq!(same.left_out(), ["a/notes.txt", "b/empty", "labels.csv"].map(|name| dir.path().join(name)));
    for (name, format) in [
        ("a/3.webp", ImageFormat::WebP),
        ("a/4", ImageFormat::Gif),
        ("b/2.dat", ImageFormat::Bmp),
        ("b/3.tif", ImageFormat::Tiff),
        ("b/4.jfif", ImageFormat::Jpeg),
    ] {
        RgbImage::new(2, 2).save_with_format(dir.path().join(name), format).unwrap();
    }
    let all = ImageDataset::open(dir.path()).unwrap();
    let names: Vec<_> = (0..all.len()).map(|index| all.name(index)).collect();
    assert_eq!(names, ["a/1.jpg", "a/2.PNG", "a/3.webp", "a/4", "b/1.jpeg", "b/2.dat", "b/3.tif", "b/4.jfif"]);
    assert_eq!(all.left_out(), same.left_out());
}
