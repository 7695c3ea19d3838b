//! The programs that find, list and convert weights.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use bn_inception_tests::{missing, program, succeed};
use bn_inception_train::data::{DrawnConfig, draw_dataset};
use serde_json::Value;
use tempfile::TempDir;

/// A cache, and a folder for output.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cache")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = program(name);
        command.env("BN_INCEPTION_HOME", self.path("cache"));
        command.args(arguments).output().unwrap()
    }

    /// The only line of a failing run, which must contain `parts`.
    fn fails(&self, name: &str, arguments: &[&str], parts: &[&str]) {
        let output = self.run(name, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{name} {arguments:?} succeeded");
        assert_eq!(stderr.trim().lines().count(), 1, "{stderr}");
        for part in ["error: "].iter().chain(parts) {
            assert!(stderr.contains(part), "`{stderr}` does not say `{part}`");
        }
    }
}

/// An image in place of a photograph.
fn image(folder: &Path) -> String {
    let config = DrawnConfig { classes: 2, train_per_class: 1, val_per_class: 1, size: 224, seed: 5 };
    draw_dataset(&folder.join("data"), &config).unwrap();
    let class = fs::read_dir(folder.join("data/val")).unwrap().next().unwrap();
    let file = fs::read_dir(class.unwrap().path()).unwrap().next().unwrap();
    file.unwrap().path().display().to_string()
}

fn logits(weights: &str, image: &str) -> Vec<f64> {
    let arguments = ["--weights", weights, "--device", "flex", "--json", "--logits", image];
    let answer: Value = serde_json::from_str(&succeed("classify", &arguments)).unwrap();
    let logits = answer[0]["logits"].as_array().unwrap();
    logits.iter().map(|v| v.as_f64().unwrap()).collect()
}

/// ‖a − b‖ / ‖b‖.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    let size: f64 = b.iter().map(|b| b.powi(2)).sum();
    (difference / size).sqrt()
}

#[test]
fn names_are_listed() {
    let place = Place::new();
    let table = place.run("list-weights", &[]);
    let table = String::from_utf8(table.stdout).unwrap();
    for part in ["imagenette", "built in", "onnx-v2-9", "to download", "45.0 MB", "73.52"] {
        assert!(table.contains(part), "{table}");
    }
    assert!(table.contains(&place.path("cache")), "{table}");
    fs::write(place.path("cache/bn_inception-52deb4733.pth"), "by hand").unwrap();
    let json = place.run("list-weights", &["--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let cadene = &json.as_array().unwrap()[1];
    assert_eq!(cadene["name"], "cadene");
    assert_eq!(cadene["place"], "in the cache");
    let checksum = "52deb473314542a5c2f87e9e6f26f4ca42fe863d15f986414dbae8c2dfdd2353";
    assert_eq!(cadene["checksum"]["sha256"], checksum);
    assert_eq!(cadene["preprocess"]["color"], "bgr");
    assert!(cadene["path"].as_str().unwrap().ends_with("52deb4733.pth"));
}

#[test]
fn offline_says_how_to_do_without() {
    let place = Place::new();
    let arguments = ["--weights", "cadene", "--offline", "--device", "flex", "x.jpg"];
    let file = place.path("cache/bn_inception-52deb4733.pth");
    let parts = ["offline", "http://data.lip6.fr/", "sha256 52deb4733", &file];
    place.fails("classify", &arguments, &parts);
    // Files put there by hand are verified.
    fs::write(&file, "<html>").unwrap();
    place.fails("classify", &arguments, &[&file, "checksum", "expected sha256 52deb4733", "delete it"]);
    let data = place.folder.path().display().to_string();
    fs::create_dir_all(place.path("val/tench")).unwrap();
    fs::write(place.path("val/tench/1.jpg"), "").unwrap();
    let arguments = ["--weights", "onnx-v2-9", "--offline", "--data", &data];
    place.fails("validate", &arguments, &["offline", "inception-v2-9.onnx"]);
    let to = place.path("y.onnx");
    let arguments = ["--from", "mxnet-0126", "--offline", "--to", &to];
    place.fails("convert", &arguments, &["offline", "git blob d3860e77"]);
}

#[test]
fn names_know_their_network() {
    let place = Place::new();
    let parts = ["leave out `--preset`"];
    let arguments = ["--weights", "cadene", "--preset", "caffe", "--preprocess", "cadene", "x.jpg"];
    place.fails("classify", &arguments, &parts);
    place.fails("classify", &["--weights", "resnet", "x.jpg"], &["no weights of that name", "cadene"]);
}

#[test]
fn converted_weights_answer_the_same() {
    let place = Place::new();
    let image = image(place.folder.path());
    let expected = logits("imagenette", &image);
    for (file, flags, bound) in [
        ("a.safetensors", &[][..], 1e-6),
        ("b.safetensors", &["--half"], 1e-6), // the source has halves already
        ("c.safetensors", &["--names", "cadene"], 1e-6),
        ("d.safetensors", &["--fold"], 1e-6),
        ("e.bpk", &[], 1e-6),
        ("f.bpk", &["--half"], 1e-6),
        ("g.onnx", &[], 1e-5),
        ("h.onnx", &["--fold"], 1e-5),
    ] {
        let to = place.path(file);
        let mut arguments = vec!["--from", "imagenette", "--to", &to];
        arguments.extend(flags);
        let said = succeed("convert", &arguments);
        assert!(said.starts_with(&to), "{said}");
        let difference = distance(&logits(&to, &image), &expected);
        assert!(difference < bound, "{file}: {difference:.1e}");
    }
    // Its facts are still there.
    let text = fs::read(place.path("g.onnx")).unwrap();
    let text = String::from_utf8_lossy(&text);
    for part in ["English springer", "short_side", "non-commercial research"] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn convert_refuses_what_it_cannot_write() {
    let place = Place::new();
    let to = |name: &str| place.path(name);
    for (target, flags, part) in [
        (to("x.pth"), &[][..], "only .safetensors, .bpk, .onnx"),
        (to("x"), &[], "only .safetensors"),
        (to("x.onnx"), &["--half"], "do not go with .onnx"),
        (to("x.onnx"), &["--names", "cadene"], "do not go with .onnx"),
        (to("nowhere/x.bpk"), &[], "nowhere/x.bpk: No such file"),
    ] {
        let mut arguments = vec!["--from", "imagenette", "--to", &target];
        arguments.extend(flags);
        place.fails("convert", &arguments, &[part]);
        assert!(!Path::new(&target).exists());
    }
}

/// A `.pth` of pretrainedmodels' BNInception becomes our file, its own again and an ONNX graph; PyTorch and ONNX
/// Runtime find the same tensors and compute the same logits.
#[test]
fn python_reads_back_what_was_converted() {
    let python = std::env::var("BN_INCEPTION_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let place = Place::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/read_back.py");
    let python = |step: &str| {
        let mut command = Command::new(&python);
        command.arg(script).arg(step).arg(place.folder.path()).output()
    };
    match python("make") {
        Ok(output) if output.status.success() => {}
        Ok(output) if output.status.code() == Some(77) => {
            missing("torch", String::from_utf8_lossy(&output.stderr).trim());
            return;
        }
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            missing("python", &error.to_string());
            return;
        }
    }
    let pth = place.path("random.pth");
    let foreign = ["--preset", "caffe", "--preprocess", "cadene"];
    for (file, flags) in [
        ("ours.safetensors", &[][..]),
        ("theirs.safetensors", &["--names", "cadene"]),
        ("theirs-half.safetensors", &["--names", "cadene", "--half"]),
        ("plain.onnx", &[]),
        ("folded.onnx", &["--fold"]),
    ] {
        let to = place.path(file);
        let mut arguments = vec!["--from", &pth, "--to", &to];
        arguments.extend(foreign);
        arguments.extend(flags);
        succeed("convert", &arguments);
    }
    let checked = python("check").unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let theirs = fs::read_to_string(place.path("logits.json")).unwrap();
    let theirs: Vec<f64> = serde_json::from_str(&theirs).unwrap();
    for file in ["ours.safetensors", "theirs.safetensors", "plain.onnx", "folded.onnx"] {
        let ours = logits(&place.path(file), &place.path("image.png"));
        let difference = distance(&ours, &theirs);
        assert!(difference < 1e-4, "{file}: {difference:.1e}");
    }
}
