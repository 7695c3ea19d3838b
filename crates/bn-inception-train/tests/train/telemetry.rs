//! Telemetry changes nothing in a run, and its records are in the log and in TensorBoard's files.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{self, dataset, missing, newest_checkpoint};
use bn_inception_train::run_log::{Confusion, Event, Histogram, LogReader, Record, surviving};
use bn_inception_train::{CheckpointEvery, Choices, Outcome, StopSignal, TrainConfig};
use serde_json::Value;

/// Six steps in two epochs, with telemetry after the first and then after every `every`-th.
fn config(recipe: &str, every: u64, data: &Path, out: &Path) -> TrainConfig {
    let choices = Choices {
        recipe: Some(recipe.to_owned()),
        preset: Some("caffe".to_owned()),
        width: Some(0.05),
        image_size: Some(40),
        epochs: Some(2),
        batch_size: Some(8),
        seed: Some(7),
        ..Choices::default()
    };
    TrainConfig {
        checkpoint_every: CheckpointEvery::Steps(2),
        telemetry_every: every,
        tensorboard: every > 0,
        ..common::config(data, out, choices)
    }
}

fn train(config: TrainConfig, stop: &StopSignal) -> Outcome {
    crate::common::train(config, stop).unwrap()
}

fn finish(config: TrainConfig) {
    let outcome = train(config, &StopSignal::new());
    assert!(matches!(outcome, Outcome::Finished(_)), "{outcome:?}");
}

fn records(out: &Path) -> Vec<Record> {
    let records = surviving(&out.join("run.jsonl")).unwrap();
    records.map(Result::unwrap).collect()
}

#[test]
fn looking_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), 3, [8, 6], 40);
    // The first recipe's dropout draws random numbers; the second averages its weights.
    for recipe in ["inception", "modern"] {
        let out = |every: u64| folder.path().join(format!("{recipe}-{every}"));
        for every in [0, 1, 4] {
            finish(config(recipe, every, &data, &out(every)));
        }
        let checkpoint = |every: u64| {
            let checkpoint = newest_checkpoint(&out(every));
            (checkpoint.model, checkpoint.velocity, checkpoint.average)
        };
        let weights = |every: u64| fs::read(out(every).join("model.safetensors")).unwrap();
        for every in [1, 4] {
            assert!(checkpoint(every) == checkpoint(0), "{recipe} {every}");
            assert!(weights(every) == weights(0), "{recipe} {every}");
        }
    }
}

#[test]
fn the_log_has_all_that_a_page_shows() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), 3, [8, 6], 40);
    let out = folder.path().join("out");
    finish(config("modern", 4, &data, &out));
    let mut reader = LogReader::open(&out.join("run.jsonl")).unwrap();
    while reader.next_record().unwrap().is_some() {}
    assert_eq!(reader.skipped(), 0);

    let (mut telemetry, mut validations, mut cams) = (Vec::new(), Vec::new(), Vec::new());
    let mut filters = 0;
    let events: Vec<_> = records(&out).into_iter().map(|record| record.event).collect();
    for event in &events {
        match event {
            Event::Telemetry(found) => telemetry.push(found.clone()),
            Event::Validation(found) => validations.push(found.clone()),
            Event::GradCam(found) => cams.push(found.clone()),
            Event::Filters(_) => filters += 1,
            Event::Step(facts) => assert!(facts.grad_norm.unwrap() > 0.0),
            _ => {}
        }
    }
    let Event::Start(start) = &events[0] else { panic!("{:?}", events[0]) };
    assert_eq!(start.telemetry_every, 4);
    assert_eq!(start.recipe["name"], "modern");
    assert_eq!(start.settings["batch-size"], 8);
    assert_eq!(start.dataset.len(), 16);
    assert!(!start.command.is_empty() && start.versions.contains_key("burn"));
    assert!(matches!(events.last(), Some(Event::Finished { step: 6 })));

    let steps: Vec<_> = telemetry.iter().map(|found| found.step).collect();
    assert_eq!(steps, [1, 4]);
    for found in &telemetry {
        assert_eq!((found.blocks.len(), found.activations.len()), (12, 11));
        assert!(found.blocks.iter().all(|block| block.grad_norm > 0.0));
        assert!(found.blocks.iter().all(|block| block.update_ratio > 0.0));
        assert!(found.activations.iter().all(|layer| layer.p15 <= layer.p85));
    }
    assert_eq!((validations.len(), filters, cams.len()), (2, 2, 2));
    for report in &validations {
        let correct: u64 = report.classes.iter().map(|class| class.correct).sum();
        assert_eq!(correct as f64 / 18.0, report.result.top1);
        let Some(Confusion::Matrix(matrix)) = &report.confusion else { panic!("three classes") };
        assert_eq!(matrix.iter().flatten().sum::<u64>(), 18);
        assert_eq!(report.samples.len(), 12);
        for sample in &report.samples {
            assert_eq!(sample.correct, sample.class == sample.predicted);
            assert!(sample.probability > 0.0 && sample.probability <= 1.0);
            assert!(data.join("val").join(&sample.file).exists());
        }
    }
    let files = |cam: &bn_inception_train::run_log::GradCam| -> Vec<String> {
        cam.overlays.iter().map(|one| one.file.clone()).collect()
    };
    assert_eq!(files(&cams[0]), files(&cams[1]));
    assert_eq!(files(&cams[0]).len(), 4);
}

/// Content of the event files in `folder` by TensorBoard's own reader; `None` where that is not installed.
fn read_tensorboard(folder: &Path) -> Option<Value> {
    let python = std::env::var("BN_INCEPTION_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/train/read_tensorboard.py");
    let installed = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        missing("python", &format!("{python} has no tensorboard package"));
        return None;
    }
    let output = Command::new(&python).arg(script).arg(folder).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// `[[step, value], …]` as TensorBoard stores it, in `f32`.
fn series(found: &Value, tag: &str) -> Vec<(u64, f32)> {
    let points = found["scalars"][tag].as_array();
    let points = points.unwrap_or_else(|| panic!("no {tag}")).iter();
    let pair = |point: &Value| (point[0].as_u64().unwrap(), point[1].as_f64().unwrap() as f32);
    points.map(pair).collect()
}

fn assert_same_histogram(found: &Value, expected: &Histogram) {
    // TensorBoard's `f64`s went through JSON, whose reader may be one unit in the last place off.
    let close = |found: &Value, expected: f64| {
        let found = found.as_f64().unwrap();
        let difference = (found - expected).abs();
        assert!(difference <= 1e-12 * expected.abs(), "{found} {expected}");
    };
    close(&found["min"], expected.min.into());
    close(&found["max"], expected.max.into());
    close(&found["sum"], expected.sum);
    close(&found["sum_squares"], expected.sum_squares);
    let bins = |name: &str| found[name].as_array().unwrap().clone();
    let (limits, counts) = (bins("limits"), bins("counts"));
    assert_eq!((limits.len(), counts.len()), (30, 30));
    for (found, edge) in limits.iter().zip(&expected.edges()[1..]) {
        close(found, (*edge).into());
    }
    for (found, count) in counts.iter().zip(&expected.counts) {
        close(found, *count as f64);
    }
}

#[test]
fn tensorboard_reads_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), 3, [8, 6], 40);
    let out = folder.path().join("out");
    // Stopped before its end and resumed from there, so that TensorBoard has nothing to forget, but two files to read.
    let first = config("bn-baseline", 2, &data, &out);
    let stop = StopSignal::new();
    stop.stop("a test");
    let outcome = train(first.clone(), &stop);
    assert!(matches!(outcome, Outcome::Stopped { .. }));
    finish(TrainConfig { resume: true, choices: Choices::default(), ..first });
    let Some(found) = read_tensorboard(&out.join("tensorboard")) else {
        return;
    };

    let events: Vec<_> = records(&out).into_iter().map(|record| record.event).collect();
    let of = |value: &dyn Fn(&Event) -> Option<(u64, f64)>| -> Vec<(u64, f32)> {
        let points = events.iter().filter_map(value);
        points.map(|(step, value)| (step, value as f32)).collect()
    };
    let step = |get: fn(&bn_inception_train::run_log::StepFacts) -> f64| {
        of(&|event| match event {
            Event::Step(facts) => Some((facts.step, get(facts))),
            _ => None,
        })
    };
    assert_eq!(step(|facts| facts.loss).len(), 6);
    assert_eq!(series(&found, "train/loss"), step(|facts| facts.loss));
    assert_eq!(series(&found, "train/learning_rate"), step(|facts| facts.lr));
    assert_eq!(series(&found, "train/gradient_norm"), step(|facts| facts.grad_norm.unwrap()));
    let validation = of(&|event| match event {
        Event::Validation(report) => Some((report.result.step, report.result.top1)),
        _ => None,
    });
    assert_eq!(series(&found, "validation/top1"), validation);

    let mut looks = 0;
    for event in &events {
        let Event::Telemetry(telemetry) = event else {
            continue;
        };
        for block in &telemetry.blocks {
            let parts = [("weights", Some(&block.weights)), ("gamma", block.gamma.as_ref())];
            for (kind, expected) in parts {
                let Some(expected) = expected else { continue };
                let tag = format!("{kind}/{}", block.block);
                let one = &found["histograms"][&tag][looks];
                assert_eq!(one[0].as_u64(), Some(telemetry.step), "{tag}");
                assert_same_histogram(&one[1], expected);
            }
        }
        looks += 1;
    }
    assert_eq!(looks, 4, "steps 1, 2, 4 and 6");
    let image = |tag: &str| found["images"][tag][0][3].as_str().map(str::to_owned);
    assert_eq!(image("filters").as_deref(), Some("8950"), "a PNG");
    assert_eq!(image("grad_cam/0").as_deref(), Some("ffd8"), "a JPEG");
}
