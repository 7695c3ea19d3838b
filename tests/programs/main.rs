//! The programs as run by a person or a script.

#![allow(clippy::unwrap_used)] // a failed setup step is a failed test

mod embeddings;
mod mnist_figure1;
mod mpi;
mod pack;
mod paper_figures;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bn_inception_tests::{fail, program, succeed};
use bn_inception_train::data::{DrawnConfig, draw_dataset};
use serde_json::Value;
use tempfile::TempDir;

/// A drawn dataset of three classes and a network trained on it for a few steps.
struct Trained {
    folder: TempDir,
}

impl Trained {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = DrawnConfig { classes: 3, train_per_class: 10, val_per_class: 4, size: 40, seed: 5 };
        draw_dataset(&folder.path().join("data"), &config).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn train(&self, out: &str) -> Vec<String> {
        let text = "--preset small --width 0.25 --image-size 28 --epochs 2 --batch-size 8 --device flex";
        let mut arguments: Vec<String> = text.split(' ').map(str::to_owned).collect();
        arguments.extend(["--data".into(), self.path("data"), "--out".into(), self.path(out)]);
        arguments
    }
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn first_image(class: &Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(class).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.remove(0)
}

#[test]
fn train_validate_classify() {
    let trained = Trained::new();
    let printed = succeed("train-imagenet", &borrowed(&trained.train("out")));
    assert!(printed.lines().last().unwrap().starts_with("validation: top-1"), "{printed}");

    let summary = fs::read_to_string(trained.path("out/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    for key in [
        "val_top1",
        "val_top5",
        "val_images",
        "steps",
        "images_per_second",
        "data_wait_fraction",
        "device",
        "broken_images",
    ] {
        assert!(!summary[key].is_null(), "summary.json lacks {key}");
    }
    assert_eq!(summary["steps"], 6);
    assert_eq!(summary["val_images"], 12);

    let weights = trained.path("out/model.safetensors");
    let data = trained.path("data");
    let arguments = ["--weights", &weights, "--data", &data, "--device", "flex", "--json"];
    let validated: Value = serde_json::from_str(&succeed("validate", &arguments)).unwrap();
    assert_eq!(validated["images"], 12);
    let difference = validated["top1"].as_f64().unwrap() - summary["val_top1"].as_f64().unwrap();
    assert!(difference.abs() < 1e-9, "validate and train-imagenet measure the same");

    let class = fs::read_dir(trained.path("data/val")).unwrap().next().unwrap().unwrap().path();
    let image = first_image(&class).display().to_string();
    let arguments = ["--weights", &weights, "--device", "flex", "--top", "2", "--json", "--logits"];
    let arguments: Vec<&str> = arguments.into_iter().chain([image.as_str(), image.as_str()]).collect();
    let answers: Value = serde_json::from_str(&succeed("classify", &arguments)).unwrap();
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["image"], image);
    assert_eq!(answers[0]["logits"].as_array().unwrap().len(), 3);
    let predictions = answers[0]["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 2);
    assert!(predictions[0]["probability"].as_f64() >= predictions[1]["probability"].as_f64());
    assert!(predictions[0]["label"].is_string() && predictions[0]["class"].is_u64());

    // A finished run is never overwritten.
    fail("train-imagenet", &borrowed(&trained.train("out")), &["finished", "--out"]);
}

#[test]
fn classify_says_what_is_wrong_and_answers_the_rest() {
    let trained = Trained::new();
    succeed("train-imagenet", &borrowed(&trained.train("out")));
    let weights = trained.path("out/model.safetensors");
    let with = |weights: &str, image: &str, parts: &[&str]| {
        fail("classify", &["--weights", weights, "--device", "flex", image], parts);
    };
    let missing = trained.path("missing.safetensors");
    with(&missing, "x.jpg", &["missing.safetensors", "no such file", "imagenette"]);

    let whole = fs::read(&weights).unwrap();
    let broken = trained.path("broken.safetensors");
    fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
    let broken_is = |part| with(&broken, "x.jpg", &["broken.safetensors", part]);
    broken_is("safetensors file: damaged or cut short");
    fs::write(&broken, "<html>404</html>").unwrap();
    broken_is("not a weight file: it is an HTML page");
    fs::write(&broken, "").unwrap();
    broken_is("the file is empty");
    fs::write(&broken, b"\xff\xd8\xff\xe0").unwrap();
    broken_is("not a weight file: it is a JPEG image");

    fail("classify", &["--device", "gpu", "x.jpg"], &["unknown device `gpu`", "flex"]);
    fail("classify", &["--device", "rocm", "x.jpg"], &["`rocm` is not"]);

    let text = trained.path("text.jpg");
    fs::write(&text, "no image").unwrap();
    let arguments = ["--weights", &weights, "--device", "flex", "--json", text.as_str()];
    let output = bn_inception_tests::run("classify", &arguments);
    assert!(!output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "[]");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let [note, line] = stderr.trim().lines().collect::<Vec<_>>()[..] else { panic!("two lines: {stderr}") };
    assert!(note.starts_with("note: ") && note.contains("knows 3 classes"), "{note}");
    assert!(line.contains("text.jpg: not a JPEG, PNG, WebP, GIF, BMP or TIFF image"), "{line}");
}

#[test]
fn classify_takes_folders_and_lists() {
    let trained = Trained::new();
    let folder = trained.path("data/train");
    fs::write(trained.path("data/train/notes.txt"), "no image").unwrap();
    let lines = |arguments: &[&str]| -> Vec<String> {
        let printed = succeed("classify", &[&["--device", "flex", "--batch-size", "7"][..], arguments].concat());
        printed.lines().map(str::to_owned).collect()
    };
    // All formats say the same, in the order of the files, whatever the number of workers.
    let table = lines(&["--csv", "--top", "2", "--workers", "0", &folder]);
    assert_eq!((table.len(), table[0].as_str()), (1 + 2 * 30, "image,rank,class,label,probability"));
    let objects = lines(&["--jsonl", "--top", "2", "--workers", "3", &folder]);
    assert_eq!(objects.len(), 30);
    let objects: Vec<Value> = objects.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let array: Vec<Value> = serde_json::from_str(&lines(&["--json", "--top", "2", &folder]).join("\n")).unwrap();
    assert_eq!(array, objects);
    let names: Vec<String> = objects.iter().map(|object| object["image"].as_str().unwrap().to_owned()).collect();
    assert!(names.is_sorted());
    for (index, name) in names.iter().enumerate() {
        let predicted = &objects[index]["predictions"][0];
        let label = predicted["label"].as_str().unwrap();
        assert!(table[1 + 2 * index].starts_with(&format!("{name},1,{},{label},", predicted["class"])));
    }
    // A list, from a file and from standard input; a missing file is an error, and the others have their answers.
    let list = trained.path("list");
    fs::write(&list, format!("{}\r\n\nabsent.jpg\n{}", names[3], names[1])).unwrap();
    for argument in [list.as_str(), "-"] {
        let stdin = Stdio::from(fs::File::open(&list).unwrap());
        let output = program("classify").args(["--device", "flex", "--jsonl", argument]).stdin(stdin).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("error: absent.jpg: cannot be read"), "{stderr}");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let found: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!([&found[0]["image"], &found[1]["image"]], [&names[3], &names[1]].map(|name| &**name));
    }
    fail("classify", &[&trained.path("data/train/notes.txt")], &["notes.txt: neither an image nor a list of files"]);
    // A reader that has seen enough is no error.
    let mut classify = program("classify");
    let mut classify = classify.arg(&folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(classify.stdout.take());
    let output = classify.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !stderr.contains("error"), "{stderr}");
}

#[test]
fn validate_reports_classes_and_images() {
    let trained = Trained::new();
    let mut train = trained.train("out");
    train.extend(["--dashboard".to_owned(), "off".to_owned()]);
    succeed("train-imagenet", &borrowed(&train));
    let (weights, data) = (trained.path("out/model.safetensors"), trained.path("data"));
    let (matrix, table) = (trained.path("matrix.csv"), trained.path("table.csv"));
    let one = ["--data", &data, "--device", "flex", "--json", "--weights", &weights];
    let flags = ["--per-class", "--confusion", &matrix, "--predictions", &table];
    let result: Value = serde_json::from_str(&succeed("validate", &[&one[..], &flags].concat())).unwrap();
    let classes = result["classes"].as_array().unwrap();
    assert_eq!(classes.len(), 3);
    let right: f64 = classes.iter().map(|class| class["top1"].as_f64().unwrap() * 4.0).sum();
    assert!((right / 12.0 - result["top1"].as_f64().unwrap()).abs() < 1e-9);
    let matrix = fs::read_to_string(matrix).unwrap();
    let cells: Vec<Vec<&str>> = matrix.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((cells.len(), cells[0].len()), (4, 4));
    let diagonal: usize = (1..4).map(|class| cells[class][class].parse::<usize>().unwrap()).sum();
    assert_eq!(diagonal as f64, right);
    assert!(
        cells[1..].iter().all(|row| row[1..].iter().map(|cell| cell.parse::<usize>().unwrap()).sum::<usize>() == 4)
    );
    let table = fs::read_to_string(table).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 12);
    assert_eq!(rows.iter().filter(|row| row[4] == "1" && row[1] == row[2]).count() as f64, right);
    // Several weights are measured one after the other.
    let both: Value =
        serde_json::from_str(&succeed("validate", &[&one[..], &["--weights", weights.as_str()]].concat())).unwrap();
    assert_eq!([&both[0]["top1"], &both[1]["top1"]], [&result["top1"]; 2]);
    assert_eq!(both[1]["weights"], weights);
    // A temperature, which multiplies with one that the weights have.
    let calibrated = trained.path("calibrated.safetensors");
    let calibrate = |weights: &str| -> Value {
        let flags = ["--data", &data, "--device", "flex", "--json", "--weights", weights, "--temperature", &calibrated];
        serde_json::from_str(&succeed("validate", &flags)).unwrap()
    };
    let first = calibrate(&weights);
    assert_eq!(first["calibration_error"], result["calibration_error"]);
    assert_eq!([&first["calibration"]["fitted_images"], &first["calibration"]["other_images"]], [6, 6]);
    let temperature = first["calibration"]["temperature"].as_f64().unwrap();
    let again = calibrate(&calibrated);
    assert_eq!(again["top1"], result["top1"]);
    assert!(
        temperature != 1.0 && (again["calibration"]["temperature"].as_f64().unwrap() - 1.0).abs() < 1e-3,
        "{again}"
    );
    let text = succeed("validate", &["--data", &data, "--device", "flex", "--weights", &weights, "--per-class"]);
    assert_eq!(text.lines().count(), 1 + 1 + 3, "{text}");
}

fn fixture(name: &str) -> String {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let fixtures = crates.join("bn-inception-formats/tests/fixtures");
    fixtures.join(name).display().to_string()
}

#[test]
fn classify_with_files_of_other_projects() {
    let image = fixture("image.png");
    let expected = fs::read_to_string(fixture("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let expected: Vec<f64> = serde_json::from_value(expected["logits"].clone()).unwrap();
    // The names of the others tell the preset.
    for (file, preset) in [("zip.pth", ""), ("folded.onnx", "--preset caffe "), ("bn.caffemodel", "")] {
        let weights = fixture(file);
        let flags = format!("{preset}--preprocess cadene --width 0.05 --device flex --json --logits");
        let arguments = flags.split(' ').chain(["--weights", &weights, &image]);
        let answer = succeed("classify", &arguments.collect::<Vec<_>>());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let logits: Vec<f64> = serde_json::from_value(answer[0]["logits"].clone()).unwrap();
        let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let difference: Vec<_> = logits.iter().zip(&expected).map(|(a, b)| a - b).collect();
        assert!(norm(&difference) < 1e-4 * norm(&expected), "{file}: {logits:?}");
    }
}

#[test]
fn classify_refuses_the_wrong_file_in_one_line() {
    let weights = fixture("zip.pth");
    let refuse = |flags: &str, weights: &str, parts: &[&str]| {
        let arguments = flags.split(' ').chain(["--device", "flex", "--weights", weights, "x.png"]);
        fail("classify", &arguments.collect::<Vec<_>>(), parts);
    };
    refuse("--top 1", &weights, &["zip.pth: PyTorch file (zip) without configuration", "`--preprocess cadene`"]);
    refuse("--top 1", &fixture("kept.onnx"), &["ONNX file without configuration", "--preset"]);
    refuse("--top 1", &fixture("bn.caffemodel"), &["Caffe model without configuration", "`--preprocess caffe`"]);
    let narrow = "--preprocess cadene --width 0.05 --preset";
    refuse(&format!("{narrow} onnx"), &weights, &["zip.pth", "unused conv1_7x7_s2.bias", "fits preset caffe"]);
    refuse(&format!("{narrow} mxnet"), &weights, &["zip.pth", "Cadene's names", "preset caffe, not of mxnet"]);
    refuse(&format!("{narrow} caffe"), &fixture("mxnet.params"), &["MXNet's names", "preset mxnet, not of caffe"]);
    refuse(&format!("{narrow} caffe"), &fixture("module.pth"), &["module.pth", "save `model.state_dict()` instead"]);
    refuse(&format!("{narrow} caffe"), &fixture("xbm.pth"), &["xbm.pth", "unused head.fc.bias", "`--head head.fc`"]);
    let headless = "caffe --without head.fc --allow-missing fc";
    refuse(&format!("{narrow} {headless}"), &fixture("xbm.pth"), &["xbm.pth: its last layer is drawn at random"]);
    refuse(&format!("{narrow} caffe --classes 1001"), &weights, &["5 classes, expected 1001"]);
    refuse(
        "--preset caffe --preprocess cadene",
        &weights,
        &["zip.pth", "conv1_7x7_s2.weight [8, 3, 7, 7] instead of [64, 3, 7, 7]"],
    );
    refuse(&format!("{narrow} caffe"), "imagenette", &["imagenette", "leave out `--preset`"]);
    refuse("--preset resnet --preprocess cadene", &weights, &["--preset", "unknown preset `resnet`"]);
    refuse("--preset caffe --preprocess bgr", &weights, &["--preprocess", "unknown preprocessing `bgr`"]);

    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.pth").display().to_string();
    let whole = fs::read(&weights).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    refuse(&format!("{narrow} caffe"), &cut, &["cut.pth: PyTorch file (zip): damaged or cut short"]);
}

#[test]
fn labels_name_the_classes() {
    let (weights, image) = (fixture("zip.pth"), fixture("image.png"));
    let folder = tempfile::tempdir().unwrap();
    let labels = folder.path().join("labels.txt").display().to_string();
    fs::write(&labels, "ant\nbee\ncat\ndog\neel\n").unwrap();
    let flags = "--preprocess cadene --width 0.05 --device flex --labels";
    let arguments: Vec<_> = flags.split(' ').chain([labels.as_str(), "--weights", &weights, &image]).collect();
    let printed = succeed("classify", &arguments);
    assert!(["ant", "bee", "cat", "dog", "eel"].iter().all(|name| printed.contains(name)), "{printed}");
    fs::write(&labels, "ant\n\nbee\n").unwrap();
    fail("classify", &arguments, &["labels.txt", "line 2 has no label"]);
    fs::write(&labels, "ant\nbee\n").unwrap();
    fail("classify", &arguments, &["labels.txt", "zip.pth", "2 labels for 5 classes"]);
}

#[test]
fn checkpoints_are_weights() {
    let trained = Trained::new();
    succeed("train-imagenet", &borrowed(&trained.train("out")));
    let checkpoint = trained.path("out/checkpoints/step-00000006.ckpt");
    let data = trained.path("data");
    let validate = |weights: &str| {
        let arguments = ["--weights", weights, "--data", &data, "--device", "flex", "--json"];
        let validated: Value = serde_json::from_str(&succeed("validate", &arguments)).unwrap();
        validated["top1"].as_f64().unwrap()
    };
    let to = trained.path("converted.safetensors");
    succeed("convert", &["--from", &checkpoint, "--to", &to]);
    assert_eq!(validate(&checkpoint), validate(&to));
    let class = fs::read_dir(trained.path("data/val")).unwrap().next().unwrap().unwrap().path();
    let (image, label) = (first_image(&class), class.file_name().unwrap().display().to_string());
    let classify = ["--weights", &checkpoint, "--device", "flex", "--top", "3", &image.display().to_string()];
    assert!(succeed("classify", &classify).contains(&label));
    let out = trained.path("tuned");
    let tune = ["--weights", &checkpoint, "--data", &data, "--out", &out, "--device", "flex"];
    succeed("fine-tune", &[&tune[..], &["--epochs", "1", "--batch-size", "8"]].concat());

    let foreign = ["--weights", &checkpoint, "--preprocess", "cadene", "x.png"];
    fail("classify", &foreign, &["step-00000006.ckpt", "leave out `--preset`"]);
    let whole = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, &whole[..whole.len() - 1]).unwrap();
    fail("classify", &["--weights", &checkpoint, "x.png"], &["step-00000006.ckpt is cut short"]);
}

#[test]
fn validate_refuses_what_the_weights_do_not_know() {
    let trained = Trained::new();
    succeed("train-imagenet", &borrowed(&trained.train("out")));
    let weights = trained.path("out/model.safetensors");
    let other = trained.path("other");
    let image = first_image(&PathBuf::from(trained.path("data/val")).join("brick-cross"));
    fs::create_dir_all(format!("{other}/zebra")).unwrap();
    fs::copy(image, format!("{other}/zebra/1.JPEG")).unwrap();
    let validate = |data: &str, parts: &[&str]| {
        fail("validate", &["--weights", &weights, "--device", "flex", "--data", data], parts);
    };
    validate(&other, &["`zebra`", "3 classes"]);
    validate(&trained.path("nowhere"), &["nowhere"]);
}

#[test]
fn fine_tune_teaches_other_classes() {
    let trained = Trained::new();
    succeed("train-imagenet", &borrowed(&trained.train("base")));
    let base = trained.path("base/model.safetensors");

    // Two of the classes under other names are two new classes.
    let data = trained.path("other");
    for split in ["train", "val"] {
        fs::create_dir_all(format!("{data}/{split}")).unwrap();
        for (old, new) in [("brick-cross", "plus"), ("checkered-heart", "love")] {
            let old = trained.path(&format!("data/{split}/{old}"));
            fs::rename(old, format!("{data}/{split}/{new}")).unwrap();
        }
    }
    let out = trained.path("tuned");
    let tune = |more: &[&str]| {
        let fixed = [
            "--weights",
            &base,
            "--data",
            &data,
            "--out",
            &out,
            "--batch-size",
            "8",
            "--epochs",
            "1",
            "--device",
            "flex",
            "--json",
        ];
        let mut arguments: Vec<String> = fixed.iter().map(|&argument| argument.to_owned()).collect();
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        arguments
    };
    fail("fine-tune", &borrowed(&tune(&["--freeze", "6a"])), &["--freeze", "`6a`", "stem, 3a"]);
    let summary = succeed("fine-tune", &borrowed(&tune(&["--freeze", "4e", "--seed", "3"])));
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((&summary["classes"], &summary["steps"]), (&2.into(), &2.into()));
    assert_eq!(summary["settings"]["fine-tune"]["freeze"], "4e");

    // The new weights know the new classes and are evaluated like any others: one by one, by crops, together.
    let weights = format!("{out}/model.safetensors");
    let both = format!("{weights},{weights}");
    let validate = |arguments: &[&str]| -> Value {
        let mut all = vec!["--data", &data, "--device", "flex", "--json"];
        all.extend(arguments);
        serde_json::from_str(&succeed("validate", &all)).unwrap()
    };
    let single = validate(&["--weights", &weights]);
    assert_eq!(single["top1"], summary["val_top1"]);
    assert_eq!((&single["images"], &single["crops"]), (&8.into(), &1.into()));
    let twice = validate(&["--ensemble", &both]);
    assert_eq!((&twice["top1"], &twice["models"]), (&single["top1"], &2.into()));
    let many = validate(&["--weights", &weights, "--crops", "144"]);
    assert_eq!((&many["images"], &many["crops"]), (&8.into(), &144.into()));
    // More workers, other batches: the same.
    let again = validate(&["--weights", &weights, "--crops", "144", "--workers", "3", "--batch-size", "5"]);
    assert_eq!(again["top1"], many["top1"]);

    let mixed = format!("{weights},{base}");
    let arguments = ["--ensemble", &mixed, "--data", &data, "--device", "flex"];
    fail("validate", &arguments, &["model 2", "lacks `love`, `plus`", "`brick-disc`"]);
    let arguments = ["--weights", &weights, "--data", &data, "--crops", "12"];
    fail("validate", &arguments, &["`12`", "1, 10 or 144"]);
}

#[test]
fn programs_that_start_together_have_runs_of_their_own() {
    let trained = Trained::new();
    let start = || {
        let mut train = program("train-imagenet");
        let arguments = trained.train("unused");
        let out = arguments.iter().position(|argument| argument == "--out").unwrap();
        train.args(&arguments[..out]).args(["--dashboard", "off"]).current_dir(trained.folder.path());
        train.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [start(), start()];
    for process in both {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for out in ["runs/1", "runs/2"] {
        assert!(Path::new(&trained.path(out)).join("summary.json").exists(), "{out} has no result");
    }
    // A run that is refused leaves no folder behind.
    let mut train = program("train-imagenet");
    train.args(["--data", "nowhere", "--dashboard", "off"]).current_dir(trained.folder.path());
    assert_eq!(train.output().unwrap().status.code(), Some(1));
    assert!(!Path::new(&trained.path("runs/3")).exists());
}

#[test]
fn every_wrong_argument_has_one_exit_code() {
    let trained = Trained::new();
    let (data, out) = (trained.path("data"), trained.path("out"));
    let train = ["--data", &data, "--out", &out, "--dashboard", "off"];
    let run = trained.path("run");
    fs::create_dir(&run).unwrap();
    fs::write(format!("{run}/run.jsonl"), "").unwrap();
    let cases: [(&str, &[&str]); 24] = [
        ("train-imagenet", &["--width", "wide"]),
        ("train-imagenet", &["--width", "-1"]),
        ("train-imagenet", &["--batch-size", "0"]),
        ("train-imagenet", &["--recipe", "adam"]),
        ("train-imagenet", &["--preset", "vgg"]),
        ("train-imagenet", &["--device", "gpu9"]),
        ("train-imagenet", &["--epochs", "1", "--steps", "1"]),
        ("train-imagenet", &["--dashboard", "8015"]),
        ("train-imagenet", &["--dashboard-token", "short", "--dashboard", "127.0.0.1:0"]),
        ("classify", &["--device", "gpu9", "x.jpg"]),
        ("classify", &["--logits", "x.jpg"]),
        ("validate", &["--crops", "12", "--data", &data]),
        ("validate", &["--weights", "a", "--weights", "b", "--confusion", "x.csv", "--data", &data]),
        ("validate", &["--temperature", "x.safetensors", "--crops", "10", "--data", &data]),
        ("validate", &["--temperature", "x.txt", "--data", &data]),
        ("convert", &["--from", "imagenette", "--to", "weights.txt"]),
        ("convert", &["--from", "imagenette", "--to", "weights.onnx", "--end-point", "6a"]),
        ("convert", &["--from", "imagenette", "--to", "weights.bpk", "--end-point", "5b"]),
        ("embed", &["--to", "x.txt", &data]),
        ("embed", &["--to", "x.npy", "--end-point", "6a", &data]),
        ("embed", &["--to", "x.npy", "--pool", "median", &data]),
        ("search", &["x.npy", "--to", "x.pdf"]),
        ("bench", &["--input-size", "1"]),
        ("dashboard", &["--listen", "8015", &run]),
    ];
    for (name, arguments) in cases {
        let mut program = program(name);
        if name == "train-imagenet" {
            let last = if arguments.contains(&"--dashboard") { 4 } else { 6 };
            program.args(&train[..last]);
        }
        let output = program.args(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name} {arguments:?}: {stderr}");
        assert!(stderr.lines().any(|line| line.starts_with("error: ")), "{name} {arguments:?}: {stderr}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn json_that_cannot_be_printed_is_a_failure() {
    let trained = Trained::new();
    let mut train = program("train-imagenet");
    train.args(trained.train("out")).args(["--json", "--dashboard", "off"]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = train.stdout(full).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("error: cannot print the summary") && last.contains("summary.json"), "{stderr}");
    assert!(Path::new(&trained.path("out/summary.json")).exists());
}

#[test]
fn an_unknown_instruction_set_is_refused_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    for device in ["flex", "auto"] {
        let mut train = program("train-imagenet");
        train.env("BN_INCEPTION_ISA", "sse9").args(["--dashboard", "off", "--device", device, "--out", &out]);
        let output = train.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains("sse9") && stderr.lines().count() == 1, "{stderr}");
    }
    assert!(!folder.path().join("out").exists());
}

#[test]
fn every_program_explains_itself() {
    for name in ["train-imagenet", "fine-tune", "classify", "validate", "embed", "search", "paper-figures"] {
        let help = succeed(name, &["--help"]);
        assert!(help.contains("Usage:") && help.contains("--device"), "{name}: {help}");
        assert!(succeed(name, &["--version"]).contains(env!("CARGO_PKG_VERSION")));
    }
}
