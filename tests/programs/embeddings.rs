//! The programs that make vectors of images and find those that are alike.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bn_inception::Embeddings;
use bn_inception::image::{ImageFormat, Rgb, RgbImage};
use bn_inception_tests::{fail, program, run, succeed};
use bn_inception_train::data::{DrawnConfig, FileList, draw_dataset, write_npy};
use serde_json::Value;
use tempfile::TempDir;

use super::fixture;

/// A folder of four drawn classes with ten images each.
struct Photos(TempDir);

impl Photos {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = DrawnConfig { classes: 4, train_per_class: 10, val_per_class: 1, size: 40, seed: 5 };
        draw_dataset(&folder.path().join("data"), &config).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn info(&self, array: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path(&format!("{array}.json"))).unwrap()).unwrap()
    }
}

#[test]
fn embed_and_search() {
    let photos = Photos::new();
    let (folder, array) = (photos.path("data/train"), photos.path("x.npy"));
    // A file of another kind, one that is broken, and one whose name does not tell.
    fs::write(photos.path("data/train/notes.txt"), "no image").unwrap();
    fs::write(photos.path("data/train/broken.jpg"), "no image").unwrap();
    RgbImage::new(50, 40).save_with_format(photos.path("data/train/black"), ImageFormat::WebP).unwrap();
    let output = run("embed", &[&folder, "--to", &array, "--normalise", "--device", "flex"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("1 file is of another kind and left out") && stderr.contains("notes.txt"), "{stderr}");
    assert!(stderr.contains("broken.jpg: not a JPEG, PNG"), "{stderr}");
    assert!(!Path::new(&photos.path("x.npy.partial")).exists());
    let info = photos.info("x.npy");
    let names: Vec<String> = serde_json::from_value(info["names"].clone()).unwrap();
    assert_eq!((names.len(), info["left_out"].as_array().unwrap().len()), (41, 2));
    assert!(names[0].ends_with("data/train/black"), "{}", names[0]);
    let vectors = Embeddings::read(&array).unwrap();
    assert_eq!((vectors.rows(), vectors.dimension), (41, 512));

    // A row's neighbours are the same whether it is asked for by name or as an image; the image finds itself first.
    let (page, table) = (photos.path("a.html"), photos.path("a.csv"));
    let json = photos.path("a.json");
    succeed("search", &[&array, "--count", "3", "--to", &page, "--to", &table, "--to", &json, "--device", "flex"]);
    let found: Vec<Value> = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(found.len(), 41);
    let first = &found[1];
    assert_eq!((first["query"].as_str(), first["neighbours"].as_array().unwrap().len()), (Some(&*names[1]), 3));
    let by_name = succeed("search", &[&array, "--query", &names[1], "--count", "3"]);
    let expected = first["neighbours"][0]["name"].as_str().unwrap();
    assert!(by_name.lines().nth(1).unwrap().ends_with(expected), "{by_name}");
    let copy = photos.path("copy.png");
    fs::copy(&names[1], &copy).unwrap();
    let by_image = succeed("search", &[&array, "--query", &copy, "--count", "4"]);
    let lines: Vec<_> = by_image.lines().collect();
    assert!(lines[0] == copy && lines[1].ends_with(&names[1]) && lines[1].contains("1.0000"), "{by_image}");
    assert!(lines[2].ends_with(expected), "{by_image}");
    let by_vectors = succeed("search", &[&array, "--query", &array, "--count", "1"]);
    assert_eq!(by_vectors.lines().count(), 2 * 41);
    let page = fs::read_to_string(page).unwrap();
    assert_eq!((page.matches("<figure").count(), page.matches("data:image/jpeg").count()), (4 * 41, 4 * 41));
    assert_eq!(fs::read_to_string(table).unwrap().lines().count(), 1 + 3 * 41);
    assert!(!page.contains("http"), "the page refers to others");
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let photos = Photos::new();
    let mut files = FileList::below(Path::new(&photos.path("data/train"))).unwrap().images;
    assert_eq!(files.len(), 40);
    // A pipe in the place of an image: the run waits for it as long as it is left to.
    let pipe = photos.0.path().join("pipe.jpg");
    let image = std::mem::replace(&mut files[27], pipe.clone());
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let list: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    fs::write(photos.path("list"), list.join("\n")).unwrap();
    let (list, array, partial) = (photos.path("list"), photos.path("x.npy"), photos.path("x.npy.partial"));
    let arguments = [&list, "--to", &array, "--device", "flex", "--batch-size", "8", "--workers", "1"];

    let mut interrupted = program("embed");
    let mut interrupted = interrupted.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    let three_batches = 3 * 8 * 512 * 4;
    while fs::metadata(&partial).map_or(0, |file| file.len()) < three_batches {
        assert!(started.elapsed() < Duration::from_secs(300) && interrupted.try_wait().unwrap().is_none());
        sleep(Duration::from_millis(20));
    }
    fail("embed", &arguments, &["x.npy.partial: another process is writing it"]);
    interrupted.kill().unwrap();
    interrupted.wait().unwrap();
    assert!(!Path::new(&array).exists());
    // The third batch, cut short as by a crash, is computed again.
    let cut = fs::OpenOptions::new().write(true).open(&partial).unwrap();
    cut.set_len(fs::metadata(&partial).unwrap().len() - 100).unwrap();
    fs::remove_file(&pipe).unwrap();
    fs::copy(image, &pipe).unwrap();

    let output = run("embed", &arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("goes on after 16 of 40 files"), "{stderr}");
    assert!(!Path::new(&partial).exists());
    let whole = photos.path("y.npy");
    succeed("embed", &[&list, "--to", &whole, "--device", "flex", "--batch-size", "8", "--workers", "3"]);
    assert_eq!(fs::read(&array).unwrap(), fs::read(&whole).unwrap());
    assert_eq!(photos.info("x.npy"), photos.info("y.npy"));
    // What another run left is not used.
    fs::write(&partial, "{}\nof another run").unwrap();
    let output = run("embed", &arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("of another run, and begun anew"), "{stderr}");
    assert_eq!(fs::read(&array).unwrap(), fs::read(&whole).unwrap());
}

#[test]
fn arrays_and_stacks_of_images_are_inputs_of_flow() {
    let photos = Photos::new();
    let (weights, flow) = (fixture("flow.pth"), fixture("flow.npy"));
    let flags =
        ["--weights", &weights, "--preset", "caffe", "--preprocess", "flow", "--width", "0.05", "--device", "flex"];
    let with = |arguments: &[&str]| succeed("embed", &[arguments, &flags[..]].concat());
    let expected = fs::read_to_string(fixture("flow_features.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let array = photos.path("flow.safetensors");
    for (key, pool, end_point) in
        [("average", "average", "5b"), ("max", "max", "5b"), ("classifier of sum", "sum", "classifier")]
    {
        with(&[&flow, "--to", &array, "--pool", pool, "--end-point", end_point]);
        let found = Embeddings::read(&array).unwrap();
        let expected: Vec<Vec<f32>> = serde_json::from_value(expected[key].clone()).unwrap();
        let expected = expected.concat();
        let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
        let difference = norm(&mut found.values.iter().zip(&expected).map(|(a, b)| a - b));
        assert!(difference < 1e-4 * norm(&mut expected.iter().copied()), "{key}");
        assert_eq!(found.name(1), format!("{flow}#1"));
    }

    // Ten grey images of the mean are ten channels of zeros; nine are an example of another network.
    let grey = photos.path("grey.png");
    RgbImage::from_pixel(224, 224, Rgb([128; 3])).save(&grey).unwrap();
    let mut zeros = Vec::new();
    write_npy(&mut zeros, &[5, 224, 224], &[0.0; 5 * 224 * 224]).unwrap();
    fs::write(photos.path("half.npy"), zeros).unwrap();
    let line = |count: usize| vec![grey.as_str(); count].join("\t");
    let half = photos.path("half.npy");
    fs::write(photos.path("list"), format!("{}\n{}\n{half}\t{half}\n", line(10), line(9))).unwrap();
    with(&[&photos.path("list"), "--to", &array]);
    let found = Embeddings::read(&array).unwrap();
    assert_eq!(found.rows(), 2);
    assert_eq!(found.values[..found.dimension], found.values[found.dimension..]);
    let left_out = photos.info("flow.safetensors")["left_out"][0]["reason"].as_str().unwrap().to_owned();
    assert!(left_out.contains("shape [9, 224, 224], expected 10 channels"), "{left_out}");
    // A folder of such a network is one of arrays.
    let folder = photos.path("data");
    let arguments = [&[folder.as_str(), "--to", &array][..], &flags].concat();
    fail("embed", &arguments, &["no arrays found"]);
}

#[test]
fn what_cannot_be_embedded_or_searched_is_one_line() {
    let photos = Photos::new();
    let (array, image) = (photos.path("x.npy"), fixture("image.png"));
    fail("embed", &["nowhere", "--to", &array], &["nowhere: No such file"]);
    fail("embed", &[&fixture("zip.pth"), "--to", &array], &["zip.pth: neither an image nor a list of files"]);
    fs::write(photos.path("list"), "a.jpg\nb.jpg").unwrap();
    fail("embed", &[&photos.path("list"), "--to", &array], &["list: neither an image nor a list of files"]);
    fs::write(photos.path("list"), format!("a.jpg\n{}", photos.path("list"))).unwrap();
    fail("embed", &[&photos.path("list"), "--to", &array], &["none of 2 files has a vector"]);
    assert!(!Path::new(&array).exists() && !Path::new(&photos.path("x.npy.partial")).exists());
    fail("search", &[&array], &["x.npy", "No such file"]);
    let mut bytes = Vec::new();
    write_npy(&mut bytes, &[2, 3], &[1.0; 6]).unwrap();
    fs::write(&array, bytes).unwrap();
    fail("search", &[&array, "--query", &image], &["x.npy: nothing beside it says by which weights"]);
    assert_eq!(succeed("search", &[&array, "--device", "flex"]), "0\n  1.0000  1\n1\n  1.0000  0\n");
    // A reader that has seen enough is no error.
    let mut search = program("search");
    let mut search = search.arg(&array).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(search.stdout.take());
    let output = search.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn vectors_are_scored_by_their_folders() {
    let photos = Photos::new();
    let array = photos.path("x.npy");
    succeed("embed", &[&photos.path("data/train"), "--to", &array, "--device", "flex"]);
    let printed = succeed("search", &[&array, "--scores", "--json", "--device", "flex"]);
    let scores: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!([&scores["queries"], &scores["alone"], &scores["classes"]], [40, 0, 4]);
    let recall: Vec<(usize, f64)> = serde_json::from_value(scores["recall"].clone()).unwrap();
    assert!(recall.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) && recall.len() == 4, "{recall:?}");
    let [precision, average] = ["r_precision", "map_at_r"].map(|name| scores[name].as_f64().unwrap());
    assert!(0.0 < average && average <= precision && precision < 1.0, "{scores}");
    let text = succeed("search", &[&array, "--scores", "--device", "flex"]);
    assert!(text.starts_with("recall@1 ") && text.contains("40 queries of 4 classes"), "{text}");
    fail("search", &[&array, "--scores", "--query", "x.jpg"], &["cannot be used with"]);
    let mut bytes = Vec::new();
    write_npy(&mut bytes, &[2, 2], &[1.0, 0.0, 0.0, 1.0]).unwrap();
    fs::write(photos.path("y.npy"), bytes).unwrap();
    fail("search", &[&photos.path("y.npy"), "--scores"], &["row 0 is called 0, which names no folder"]);
}
