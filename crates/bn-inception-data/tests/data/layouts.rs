//! The same photographs as folders, as ImageNet's archives, as Kaggle's folders and as shards: the same dataset, batches
//! and broken images.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bn_inception_data::{
    Augment, DatasetError, ImageDataset, ImageLoader, LoaderOptions, Preprocess, Split, fingerprint,
};
use burn::tensor::Device;
use flate2::Compression;
use flate2::write::GzEncoder;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::loader::{Bits, OPTIONS, SIZE, bits, pictures};

const META: &[u8] = include_bytes!("../fixtures/devkit/meta.mat");
/// Number of each class in the development kit, as `META` has them.
const NUMBERS: [(&str, u32); 3] = [("class2", 1), ("class0", 2), ("class1", 3)];

/// One image: class, file name, bytes.
pub type Image = (String, String, Vec<u8>);

/// Datasets of the same images below one folder.
pub struct Layouts {
    folder: tempfile::TempDir,
    pub train: Vec<Image>,
    pub val: Vec<Image>,
}

/// A tar archive of `files`, each a path and its bytes.
pub fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

impl Layouts {
    pub fn new() -> Self {
        let images = |each: usize, name: &dyn Fn(usize, usize) -> String| -> Vec<Image> {
            let folder = pictures(3, each);
            let mut images = Vec::new();
            for number in 0..each {
                for class in 0..3 {
                    let ending = if number % 2 == 0 { "png" } else { "jpg" };
                    let bytes = fs::read(folder.path().join(format!("class{class}/{number:04}.{ending}"))).unwrap();
                    images.push((format!("class{class}"), name(class, number), bytes));
                }
            }
            images
        };
        let train = images(15, &|class, number| format!("class{class}_{number}.JPEG"));
        let val = images(7, &|class, number| format!("ILSVRC2012_val_{:08}.JPEG", 3 * number + class + 1));
        Self { folder: tempfile::tempdir().unwrap(), train, val }
    }

    fn write(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn folders(&self) -> PathBuf {
        for (split, images) in [("train", &self.train), ("val", &self.val)] {
            for (class, file, bytes) in images {
                self.write(&format!("folders/{split}/{class}/{file}"), bytes);
            }
        }
        self.folder.path().join("folders")
    }

    pub fn kaggle(&self) -> PathBuf {
        for (class, file, bytes) in &self.train {
            self.write(&format!("kaggle/ILSVRC/Data/CLS-LOC/train/{class}/{file}"), bytes);
        }
        for (_, file, bytes) in &self.val {
            self.write(&format!("kaggle/ILSVRC/Data/CLS-LOC/val/{file}"), bytes);
        }
        self.write("kaggle/LOC_val_solution.csv", self.solution().as_bytes());
        self.folder.path().join("kaggle")
    }

    fn solution(&self) -> String {
        let rows =
            self.val.iter().rev().map(|(class, file, _)| {
                format!("{},{class} 1 2 30 40 {class} 5 6 7 8\n", file.trim_end_matches(".JPEG"))
            });
        "ImageId,PredictionString\n".to_owned() + &rows.collect::<String>()
    }

    /// ImageNet's archives in the folder `name`, without labels.
    pub fn archives(&self, name: &str) -> PathBuf {
        // Not in the order of the classes.
        let classes = ["class1", "class2", "class0"].map(|class| {
            let files = self.train.iter().filter(|image| image.0 == class);
            let files: Vec<_> = files.map(|(_, file, bytes)| (file.clone(), bytes.clone())).collect();
            (format!("{class}.tar"), archive(&files))
        });
        self.write(&format!("{name}/ILSVRC2012_img_train.tar"), &archive(&classes));
        let val: Vec<_> = self.val.iter().map(|(_, file, bytes)| (file.clone(), bytes.clone())).collect();
        self.write(&format!("{name}/ILSVRC2012_img_val.tar"), &archive(&val));
        self.folder.path().join(name)
    }

    fn ground_truth(&self) -> String {
        let number = |class: &str| NUMBERS.iter().find(|(known, _)| *known == class).unwrap().1;
        self.val.iter().map(|(class, ..)| format!("{}\n", number(class))).collect()
    }

    /// ImageNet's archives with the development kit's archive.
    pub fn ilsvrc(&self) -> PathBuf {
        let dir = self.archives("ilsvrc");
        let kit = archive(&[
            ("ILSVRC2012_devkit_t12/readme.txt".to_owned(), b"nothing".to_vec()),
            ("ILSVRC2012_devkit_t12/data/meta.mat".to_owned(), META.to_vec()),
            (
                "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt".to_owned(),
                self.ground_truth().into_bytes(),
            ),
        ]);
        let mut file =
            GzEncoder::new(File::create(dir.join("ILSVRC2012_devkit_t12.tar.gz")).unwrap(), Compression::fast());
        file.write_all(&kit).unwrap();
        file.finish().unwrap();
        dir
    }

    /// Shards of a few images each, in any order, with class numbers in `.cls` or in `.json`.
    pub fn shards(&self) -> PathBuf {
        for (part, images, object) in [("train", &self.train, false), ("validation", &self.val, true)] {
            for (number, images) in images.chunks(8).enumerate() {
                let files = images.iter().rev().flat_map(|(class, file, bytes)| {
                    let key = format!("{class}/{}", file.trim_end_matches(".JPEG"));
                    let label = class.trim_start_matches("class");
                    let label = if object {
                        (format!("{key}.json"), format!(r#"{{"label": {label}, "filename": "{file}"}}"#))
                    } else {
                        (format!("{key}.cls"), label.to_owned())
                    };
                    [(label.0, label.1.into_bytes()), (format!("{key}.JPEG"), bytes.clone())]
                });
                let name = format!("shards/three-{part}-{number:04}.tar");
                self.write(&name, &archive(&files.collect::<Vec<_>>()));
            }
        }
        self.write("shards/classes.txt", b"class0\nclass1\nclass2\n");
        self.folder.path().join("shards")
    }

    /// One archive of the folders.
    pub fn tree(&self) -> PathBuf {
        let parts = [("train", &self.train), ("val", &self.val)].into_iter();
        let files = parts.flat_map(|(split, images)| {
            let path = move |class: &str, file: &str| format!("./three/{split}/{class}/{file}");
            images.iter().map(move |(class, file, bytes)| (path(class, file), bytes.clone()))
        });
        self.write("three.tar", &archive(&files.collect::<Vec<_>>()))
    }

    pub fn all(&self) -> Vec<PathBuf> {
        vec![self.folders(), self.ilsvrc(), self.kaggle(), self.shards(), self.tree()]
    }
}

pub fn error<T>(result: Result<T, DatasetError>) -> String {
    let error = result.err().expect("an error").to_string();
    assert!(!error.contains('\n'), "one line: {error}");
    error
}

fn train_loader(path: &Path, workers: usize) -> ImageLoader {
    let dataset = ImageDataset::open_split(path, Split::Train).unwrap();
    let options = LoaderOptions { workers, ..OPTIONS };
    ImageLoader::train(dataset, Preprocess::imagenet(SIZE), Augment::new(SIZE, 0.08, 0.5), options, &Device::flex())
        .unwrap()
}

fn val_loader(path: &Path, workers: usize) -> ImageLoader {
    let dataset = ImageDataset::open_split(path, Split::Val).unwrap();
    let options = LoaderOptions { workers, ..OPTIONS };
    ImageLoader::eval(dataset, Preprocess::imagenet(SIZE), options, &Device::flex()).unwrap()
}

fn batches(loader: &ImageLoader, epoch: u64, from: usize) -> Vec<Bits> {
    loader.iter_from(epoch, from).map(|batch| bits(batch.unwrap())).collect()
}

#[test]
fn every_layout_is_the_same_dataset() {
    let layouts = Layouts::new();
    let paths = layouts.all();
    for split in [Split::Train, Split::Val] {
        let open = |path: &PathBuf| ImageDataset::open_split(path, split).unwrap();
        let expected = open(&paths[0]);
        assert_eq!(expected.classes(), ["class0", "class1", "class2"]);
        for path in &paths[1..] {
            // The second time from the index.
            for found in [open(path), open(path)] {
                let path = path.display();
                assert_eq!(found.classes(), expected.classes(), "{path}");
                assert_eq!(fingerprint([&found]), fingerprint([&expected]), "{path}");
                assert_eq!(found.class_fingerprints(), expected.class_fingerprints(), "{path}");
                assert_eq!(found.left_out().len(), 0, "{path}");
                for index in 0..expected.len() {
                    assert_eq!(found.name(index), expected.name(index));
                    assert_eq!(found.bytes(index).unwrap(), expected.bytes(index).unwrap());
                }
            }
        }
    }
    let validation = ImageDataset::open_validation(&paths[4]).unwrap();
    assert_eq!(validation.len(), 21);
}

#[test]
fn every_layout_gives_the_same_batches() {
    let layouts = Layouts::new();
    let paths = layouts.all();
    let expected = batches(&train_loader(&paths[0], 0), 1, 0);
    let expected_val = batches(&val_loader(&paths[0], 0), 0, 0);
    assert_eq!((expected.len(), expected_val.len()), (5, 3));
    for path in &paths[1..] {
        for workers in [0, 1, 4] {
            let loader = train_loader(path, workers);
            assert!(batches(&loader, 1, 0) == expected, "{}, {workers} workers", path.display());
            assert!(batches(&val_loader(path, workers), 0, 0) == expected_val, "{}", path.display());
            // Two ranks' parts.
            for rank in [0, 1] {
                let share = loader.iter_of(1, (rank..5).step_by(2)).map(|batch| bits(batch.unwrap()));
                assert!(share.eq(expected.iter().skip(rank).step_by(2).cloned()), "rank {rank}");
            }
        }
    }
}

#[test]
fn every_layout_goes_on_from_any_position() {
    let layouts = Layouts::new();
    let paths = layouts.all();
    let loaders: Vec<_> = paths.iter().map(|path| train_loader(path, 2)).collect();
    let epochs: Vec<_> = (0..4).map(|epoch| batches(&loaders[0], epoch, 0)).collect();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    for _ in 0..100 {
        let (epoch, from) = (random.random_range(0..4), random.random_range(0..=5));
        let loader = &loaders[random.random_range(0..loaders.len())];
        assert!(batches(loader, epoch as u64, from) == epochs[epoch][from..], "epoch {epoch} from {from}");
    }
}

#[test]
fn the_kits_folder_and_other_lists_tell_the_same_classes() {
    let layouts = Layouts::new();
    let expected = fingerprint([&ImageDataset::open_split(layouts.folders(), Split::Val).unwrap()]);
    let classes: String = layouts.val.iter().map(|(class, ..)| format!("{class}\n")).collect();
    let kit = "ILSVRC2012_devkit_t12/data";
    for (name, files) in [
        (
            "kit",
            vec![
                (format!("{kit}/meta.mat"), META.to_vec()),
                (format!("{kit}/ILSVRC2012_validation_ground_truth.txt"), layouts.ground_truth().into_bytes()),
            ],
        ),
        ("solution", vec![("LOC_val_solution.csv".to_owned(), layouts.solution().into_bytes())]),
        ("list", vec![("imagenet_2012_validation_synset_labels.txt".to_owned(), classes.into_bytes())]),
    ] {
        let dir = layouts.archives(name);
        let line = error(ImageDataset::open_split(&dir, Split::Val));
        assert!(line.contains("does not hold the classes of the validation images: ILSVRC2012_devkit"), "{line}");
        for (file, bytes) in files {
            layouts.write(&format!("{name}/{file}"), &bytes);
        }
        for path in [dir.clone(), dir.join("ILSVRC2012_img_val.tar")] {
            let found = ImageDataset::open_validation(path).unwrap();
            assert_eq!(fingerprint([&found]), expected, "{name}");
        }
    }
}

#[test]
fn classes_of_shards_without_names_are_numbers() {
    let layouts = Layouts::new();
    let dir = layouts.shards();
    fs::remove_file(dir.join("classes.txt")).unwrap();
    let found = ImageDataset::open_split(&dir, Split::Train).unwrap();
    assert_eq!(found.classes(), ["0", "1", "2"]);
    assert_eq!(found.name(0), "0/class0/class0_0.JPEG");
    let card =
        r#"{"features": {"image": {"_type": "Image"}, "label": {"names": ["a", "b", "c"], "_type": "ClassLabel"}}}"#;
    fs::write(dir.join("dataset_info.json"), card).unwrap();
    assert_eq!(ImageDataset::open_split(&dir, Split::Val).unwrap().classes(), ["a", "b", "c"]);
    let shard = dir.join("three-validation-0001.tar");
    assert_eq!(ImageDataset::open_validation(&shard).unwrap().len(), 8);
}

#[test]
fn what_is_missing_has_its_own_line() {
    let layouts = Layouts::new();
    let line = |path: &Path, split| error(ImageDataset::open_split(path, split));

    let empty = layouts.write("empty/notes.txt", b"");
    let empty = empty.parent().unwrap();
    let expected = format!("{} holds no dataset: expected train/CLASS/*.jpg and val/CLASS/*.jpg, ", empty.display());
    assert!(line(empty, Split::Train).starts_with(&expected));
    assert!(error(ImageDataset::open_validation(empty)).starts_with(&expected));

    let kaggle = layouts.kaggle();
    fs::write(kaggle.join("LOC_val_solution.csv"), "ImageId,PredictionString\n").unwrap();
    assert!(line(&kaggle, Split::Val).ends_with("LOC_val_solution.csv has no class of this image"));
    fs::remove_file(kaggle.join("LOC_val_solution.csv")).unwrap();
    assert!(line(&kaggle.join("ILSVRC"), Split::Val).contains("does not hold LOC_val_solution.csv"));

    let shards = layouts.shards();
    fs::write(shards.join("classes.txt"), "class0\nclass1\n").unwrap();
    assert!(line(&shards, Split::Train).ends_with("an image has class 2, but there are names of 2 classes"));
    fs::copy(shards.join("three-train-0000.tar"), shards.join("four-train-0000.tar")).unwrap();
    assert!(line(&shards, Split::Train).contains("a shard of another dataset than four-train-0000.tar"));
    for (name, files, expected) in [
        ("none", vec![("a.jpg", "")], "a.jpg: it has no class: expected a file .cls"),
        ("text", vec![("a.jpg", ""), ("a.cls", "dog")], "a.jpg: its class in a.cls is no number: \"dog\""),
        ("two", vec![("a.jpg", ""), ("a.png", ""), ("a.cls", "0")], "a.jpg: its key has a second image, a.png"),
        ("only", vec![("a.cls", "0")], "holds no image of the `train` part; expected KEY.jpg with KEY.cls"),
    ] {
        let files: Vec<_> = files.into_iter().map(|(path, text)| (path.to_owned(), text.into())).collect();
        let shard = layouts.write(&format!("{name}/x-train-0.tar"), &archive(&files));
        let line = line(shard.parent().unwrap(), Split::Train);
        assert!(line.contains(expected), "{line}");
    }
    let line = line(&layouts.tree().parent().unwrap().join("none/x-train-0.tar"), Split::Val);
    assert!(line.ends_with("expected train/CLASS/*.jpg and val/CLASS/*.jpg"), "{line}");
}
