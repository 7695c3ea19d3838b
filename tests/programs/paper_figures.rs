//! The program `paper-figures`, and the numbers it derives from the logs of runs.

use std::fs;
use std::path::Path;

use bn_inception_tests::{fail, succeed};
use bn_inception_train::Validation;
use bn_inception_train::data::{DrawnConfig, draw_dataset};
use bn_inception_train::run_log::{Event, RunLog, Start, WarningKind};
use serde_json::Value;

use outcome::{Course, Point, Reach, Results, Run, Spread};

// An example's own tests would take its program's place among the files that `cargo test` builds.
#[path = "../../examples/paper-figures/outcome.rs"]
mod outcome;

const FILES: [&str; 4] = ["figure2.svg", "figure2.png", "figure3.md", "figures.json"];
const RECIPES: [&str; 5] = ["inception", "bn-baseline", "bn-x5", "bn-x30", "bn-x5-sigmoid"];

#[test]
fn figures_of_five_runs_that_are_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    let config = DrawnConfig { classes: 3, train_per_class: 24, val_per_class: 4, size: 40, seed: 5 };
    draw_dataset(&data, &config).unwrap();
    let (data, place) = (data.display().to_string(), out.display().to_string());
    let arguments = |epochs| {
        let flags = ["--seeds", "1", "--width", "0.05", "--image-size", "32", "--device", "flex"];
        [&["--data", data.as_str(), "--out", &place, "--epochs", epochs], &flags[..]].concat()
    };
    let run = || succeed("paper-figures", &arguments("2"));
    let read = |name: &str| fs::read(out.join(name)).unwrap();
    let files = || FILES.map(read);
    let logs = || RECIPES.map(|recipe| read(&format!("{recipe}-0/run.jsonl")));

    let printed = run();
    let (first, first_logs) = (files(), logs());
    let table = String::from_utf8(read("figure3.md")).unwrap();
    assert!(printed.starts_with(&table) && printed.contains("figure2.svg"), "{printed}");
    for recipe in RECIPES {
        assert!(table.contains(&format!("\n| `{recipe}` | ")), "{table}");
    }
    assert!(
        table.contains("2 epochs: 4 steps") && table.contains("12 images") && !table.contains("Missing"),
        "{table}"
    );
    let numbers: Value = serde_json::from_slice(&read("figures.json")).unwrap();
    let curve = &numbers["recipes"][4]["runs"][0]["top1"];
    assert_eq!((&curve[0][0], &curve[1][0], &curve[2]), (&2.into(), &4.into(), &Value::Null));

    assert_eq!(run(), printed);
    assert!(files() == first && logs() == first_logs, "the second start changed something");
    fail("paper-figures", &arguments("3"), &["inception-0", "--epochs 3 (was: 2)", "--out"]);
    // The images of a class have other names.
    let class = fs::read_dir(format!("{data}/val")).unwrap().next().unwrap().unwrap().path();
    let image = fs::read_dir(&class).unwrap().next().unwrap().unwrap().path();
    let renamed = class.join("renamed.png");
    fs::rename(&image, &renamed).unwrap();
    fail("paper-figures", &arguments("2"), &["inception-0", "other data"]);
    fs::rename(&renamed, &image).unwrap();

    // One run was killed at its very end, and another one diverged.
    for recipe in ["bn-x5", "bn-x30"] {
        fs::remove_file(out.join(format!("{recipe}-0/summary.json"))).unwrap();
    }
    diverge(&out.join("bn-x30-0/run.jsonl"), 4);
    let diverged_log = read("bn-x30-0/run.jsonl");
    let printed = run();
    assert!(printed.contains("| `bn-x30` | seed 0 diverged after 4 steps |"), "{printed}");
    assert!(out.join("bn-x5-0/summary.json").exists(), "the killed run is finished");
    assert!(read("bn-x30-0/run.jsonl") == diverged_log, "the diverged run was repeated");
    let again: Value = serde_json::from_slice(&read("figures.json")).unwrap();
    assert_eq!(again["recipes"][2], numbers["recipes"][2]);
    assert_eq!(again["recipes"][3]["runs"][0]["diverged_after"], 4);
}

/// Ends the log as the trainer does when the loss is not finite.
fn diverge(log: &Path, step: u64) {
    let log = RunLog::open(log).unwrap();
    let message = "the loss is NaN".to_owned();
    log.write(Event::Warning { step, kind: WarningKind::NotFinite, message: message.clone() }).unwrap();
    log.write(Event::Failed { step, error: message }).unwrap();
}

#[test]
fn a_log_tells_divergence_from_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let log = RunLog::open(&path).unwrap();
    let validated = |step, top1| {
        let result = Validation { step, epoch: 1, top1, top5: 1.0, loss: 1.0, images: 50, seconds: 0.1 };
        log.write(Event::Validation(Box::new(result.into()))).unwrap();
    };
    let resume = |step| log.write(Event::Resume { step, device: "flex".to_owned() }).unwrap();
    log.write(Event::Start(Box::new(Start { seed: 3, ..Start::default() }))).unwrap();
    validated(10, 0.25);
    validated(20, 0.5);
    // Killed between this validation and its checkpoint, so the step is validated again.
    resume(20);
    validated(20, 0.5);
    let message = "the gradients' norm is inf".to_owned();
    log.write(Event::Warning { step: 21, kind: WarningKind::NotFinite, message }).unwrap();
    log.write(Event::Failed { step: 22, error: "the disk is full".to_owned() }).unwrap();
    let crashed = Course::read(&path).unwrap();
    assert_eq!(crashed.start.map(|start| start.seed), Some(3));
    assert_eq!(crashed.points, [Point { step: 10, top1: 0.25 }, Point { step: 20, top1: 0.5 }]);
    assert_eq!((crashed.images, crashed.diverged_after), (50, None));

    resume(20);
    diverge(&path, 25);
    assert_eq!(Course::read(&path).unwrap().diverged_after, Some(25));
    resume(20);
    assert_eq!(Course::read(&path).unwrap().diverged_after, None);
}

fn results(runs: &[(&'static str, u64, &[f64], Option<u64>)]) -> Results {
    let mut results = Results::default();
    for &(recipe, seed, top1, diverged_after) in runs {
        let points = top1.iter().zip(1..).map(|(top1, epoch)| Point { step: 100 * epoch, top1: *top1 });
        let course = Course { points: points.collect(), images: 400, diverged_after, ..Course::default() };
        results.add(Run { recipe, seed, course });
    }
    results
}

#[test]
fn steps_to_the_best_of_another_run() {
    let results = results(&[
        ("fast", 1, &[0.5, 0.7], None),
        ("slow", 1, &[0.25, 0.25, 0.25, 0.5], None),
        ("slow", 0, &[0.125, 0.375, 0.5, 0.5], None),
        ("fast", 0, &[0.375, 0.5], None),
        ("fast", 2, &[0.9], None),
        ("weak", 0, &[0.375], None),
        ("weak", 1, &[0.75], None),
        ("wild", 0, &[0.5], Some(150)),
        ("wild", 1, &[0.125], Some(150)),
    ]);
    // Seed 2 has no run of `slow`.
    assert_eq!(results.reaches("fast", "slow"), [(0, Reach::After(200)), (1, Reach::After(100))]);
    assert_eq!(results.steps("fast", "slow"), Some(150.0));
    // The first of the best: 300 and 400 steps.
    assert_eq!(results.steps("slow", "slow"), Some(350.0));
    assert_eq!(results.times_fewer("fast", "slow"), Some(350.0 / 150.0));
    assert_eq!(results.times_fewer("slow", "slow"), Some(1.0));
    assert_eq!(results.reaches("weak", "slow"), [(0, Reach::Never), (1, Reach::After(100))]);
    assert_eq!(results.reaches("wild", "slow"), [(0, Reach::After(100)), (1, Reach::Diverged(150))]);
    for recipe in ["weak", "wild", "unknown"] {
        assert_eq!(results.steps(recipe, "slow"), None, "{recipe}");
        assert_eq!(results.times_fewer(recipe, "slow"), None, "{recipe}");
    }
    // What diverged is no mark for others.
    assert_eq!(results.reaches("fast", "wild"), []);
}

#[test]
fn best_accuracies_and_their_noise() {
    let results = results(&[
        ("a", 0, &[0.25, 0.5], None),
        ("a", 1, &[0.5, 0.75], None),
        ("b", 0, &[1.0], None),
        ("c", 0, &[0.5], Some(100)),
    ]);
    assert_eq!(results.best("a"), Some(Spread { mean: 0.625, low: 0.5, high: 0.75 }));
    assert_eq!(results.best("c"), None);
    assert_eq!((results.difference("b", "a"), results.difference("c", "a")), (Some(0.5), None));
    let curve = results.curve("a");
    assert_eq!(curve[0], (100, Spread { mean: 0.375, low: 0.25, high: 0.5 }));
    assert_eq!((curve.len(), results.curve("c").len()), (2, 0));
    let noise = results.noise().unwrap();
    assert_eq!((noise.images, noise.standard_error, noise.seed_range), (400, 0.025, Some(0.25)));
    assert_eq!(noise.threshold, 0.25, "two seeds differ by more than counting explains");
    assert_eq!(Results::default().noise(), None);
}

#[test]
fn counting_errors_of_one_seed() {
    let noise = results(&[("a", 0, &[0.5], None)]).noise().unwrap();
    assert_eq!(noise.seed_range, None);
    assert!((noise.threshold - 1.96 * 2.0_f64.sqrt() * 0.025).abs() < 1e-12, "{noise:?}");
}
