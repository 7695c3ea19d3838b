//! Each wrong input gives one clear line, and nothing is lost.

use std::fs;
use std::path::{Path, PathBuf};

use bn_inception::DeviceSpec;
use bn_inception_train::checkpoint::{Checkpoint, CheckpointFolder};
use bn_inception_train::{CheckpointEvery, Choices, Display, Outcome, StopSignal, TrainConfig, TrainError, Trainer};

fn dataset(folder: &Path, classes: usize) -> PathBuf {
    let folder = folder.join(format!("of-{classes}"));
    crate::common::dataset(&folder, classes, [4, 2], 16)
}

fn config(data: &Path, out: &Path) -> TrainConfig {
    TrainConfig {
        data: Some(data.to_owned()),
        choices: Choices {
            preset: Some("small".to_owned()),
            width: Some(0.05),
            image_size: Some(16),
            steps: Some(2),
            batch_size: Some(4),
            ..Choices::default()
        },
        device: "flex".parse::<DeviceSpec>().unwrap(),
        workers: 0,
        checkpoint_every: CheckpointEvery::Steps(1),
        display: Display::Quiet,
        ..TrainConfig::new(out)
    }
}

fn train(config: TrainConfig) -> Result<Outcome, TrainError> {
    crate::common::train(config, &StopSignal::new())
}

/// The error's message, which is one line and holds each of `parts`.
fn fails(config: TrainConfig, parts: &[&str]) -> String {
    let message = match train(config) {
        Ok(outcome) => panic!("expected an error about {parts:?}, found {outcome:?}"),
        Err(error) => error.to_string(),
    };
    for part in parts {
        assert!(message.contains(part), "`{message}` does not say `{part}`");
    }
    assert!(!message.contains('\n'), "{message}");
    message
}

/// Stops a run after its first step, and returns its output folder.
fn unfinished(folder: &Path, data: &Path) -> PathBuf {
    let out = folder.join("unfinished");
    let stop = StopSignal::new();
    stop.stop("a test");
    let trainer = Trainer::new(config(data, &out), |_| ()).unwrap();
    let outcome = trainer.run(&stop).unwrap();
    assert!(matches!(outcome, Outcome::Stopped { step: 1, .. }), "{outcome:?}");
    out
}

fn resumed(config: TrainConfig) -> TrainConfig {
    TrainConfig { resume: true, ..config }
}

#[test]
fn data_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), 2);
    let out = folder.path().join("out");

    fails(config(&folder.path().join("nowhere"), &out), &["nowhere", "does not exist"]);

    let no_val = folder.path().join("no-val");
    fs::create_dir_all(no_val.join("train/a")).unwrap();
    fs::copy(data.join("train/brick-cross/00000.JPEG"), no_val.join("train/a/0.jpg"))
        .or_else(|_| first_image(&data).and_then(|file| fs::copy(file, no_val.join("train/a/0.jpg"))))
        .unwrap();
    fails(config(&no_val, &out), &["no-val", "`val`"]);

    fs::create_dir_all(data.join("train/empty")).unwrap();
    fs::create_dir_all(data.join("val/empty")).unwrap();
    fails(config(&data, &out), &["empty", "no image"]);
    assert!(!out.exists(), "nothing was made for a run that cannot start");
}

fn first_image(data: &Path) -> std::io::Result<PathBuf> {
    let class = fs::read_dir(data.join("train"))?.next().unwrap()?;
    Ok(fs::read_dir(class.path())?.next().unwrap()?.path())
}

#[test]
fn broken_images() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), 2);
    let image = first_image(&data).unwrap();
    let bytes = fs::read(&image).unwrap();
    let name = image.file_name().unwrap().to_string_lossy().into_owned();
    for (kind, content) in [("cut", &bytes[..bytes.len() / 3]), ("text", b"no image")] {
        fs::write(&image, content).unwrap();
        let strict = TrainConfig { strict: true, ..config(&data, &folder.path().join(format!("strict-{kind}"))) };
        fails(strict, &[&name]);
        // One of eight images is more than one in a hundred.
        let lenient = config(&data, &folder.path().join(format!("lenient-{kind}")));
        fails(lenient, &[&name, "broken"]);
    }
}

#[test]
fn names_and_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), 2);
    let base = || config(&data, &folder.path().join("out"));
    let with = |change: fn(&mut Choices)| {
        let mut config = base();
        change(&mut config.choices);
        config
    };
    fails(with(|c| c.recipe = Some("adam".into())), &["adam", "bn-x30, bn-x5-sigmoid, modern, drawn"]);
    fails(with(|c| c.preset = Some("vgg".into())), &["vgg", "caffe"]);
    fails(with(|c| c.batch_size = Some(0)), &["batch-size"]);
    fails(with(|c| c.batch_size = Some(100)), &["8 images", "batch of 100"]);
    let error = "gpu9".parse::<DeviceSpec>().unwrap_err().to_string();
    assert!(error.contains("gpu9") && error.contains("flex"), "{error}");
}

#[test]
fn an_output_folder_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), 2);
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    fails(config(&data, &file.join("out")), &["cannot write", "file"]);
    fails(config(&data, &file), &["file"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn runs_are_neither_overwritten_nor_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), 2);
    let out = unfinished(folder.path(), &data);
    fails(config(&data, &out), &["unfinished", "--resume", "--out"]);

    let mut other = resumed(config(&data, &out));
    other.choices.width = Some(0.5);
    other.choices.steps = Some(3);
    fails(other, &["--width 0.5 (was: 0.05)", "--steps 3 (was: 2)"]);

    let more_classes = resumed(config(&dataset(folder.path(), 3), &out));
    fails(more_classes, &["2 classes", "3", "is new"]);

    let nowhere = resumed(config(&data, &folder.path().join("nowhere")));
    fails(nowhere, &["nothing to resume", "nowhere"]);

    train(resumed(config(&data, &out))).unwrap();
    fails(resumed(config(&data, &out)), &["finished", "nothing is left"]);
    fails(config(&data, &out), &["holds a finished run"]);
}

#[test]
fn one_process_writes_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), 2);
    let new = folder.path().join("new");
    let first = Trainer::new(config(&data, &new), |_| ()).unwrap();
    fails(config(&data, &new), &["another process trains in", "new", "--out"]);
    drop(first);

    let out = unfinished(folder.path(), &data);
    let first = Trainer::new(resumed(config(&data, &out)), |_| ()).unwrap();
    fails(resumed(config(&data, &out)), &["another process trains in", "unfinished"]);
    fails(config(&data, &out), &["unfinished run"]);
    // Nothing is left of a lock whose holder is gone.
    drop(first);
    train(resumed(config(&data, &out))).unwrap();
    let log = fs::read_to_string(out.join("run.jsonl")).unwrap();
    assert_eq!(log.matches("\"event\":\"finished\"").count(), 1);
}

#[test]
fn data_that_changed_since_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), 3);
    let out = unfinished(folder.path(), &data);
    let resume = || resumed(config(&data, &out));
    let class = |split: &str, class: &str| data.join(split).join(class);
    let mut classes: Vec<_> =
        fs::read_dir(data.join("train")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    classes.sort();
    let second = classes[1].to_string_lossy().into_owned();

    // As many images as before, one of them under another name.
    let image = fs::read_dir(class("train", &second)).unwrap().next().unwrap().unwrap().path();
    let renamed = image.with_file_name("renamed.jpg");
    fs::rename(&image, &renamed).unwrap();
    fails(resume(), &["step-00000001.ckpt", &format!("train/{second}"), "other names"]);
    fs::remove_file(&renamed).unwrap();
    fails(resume(), &["trained on 12 images", "11", &format!("the first difference is in train/{second}")]);

    for split in ["train", "val"] {
        fs::rename(class(split, &second), folder.path().join(split)).unwrap();
    }
    fails(resume(), &["3 classes", "has 2", &format!("class folder `{second}` is gone")]);
    for split in ["train", "val"] {
        fs::rename(folder.path().join(split), class(split, &second)).unwrap();
    }

    // A checkpoint of an earlier version knows numbers only: it is resumed, and says so.
    fs::write(&renamed, fs::read(first_image(&data).unwrap()).unwrap()).unwrap();
    fails(resume(), &["other names"]);
    let file = CheckpointFolder::of_run(&out).file(1);
    let mut checkpoint = Checkpoint::load(&file).unwrap();
    (checkpoint.data.train_files, checkpoint.data.val_files) = (Vec::new(), Vec::new());
    checkpoint.save(&file).unwrap();
    let mut said = Vec::new();
    let trainer = Trainer::new(resume(), |line| said.push(line.to_owned())).unwrap();
    assert!(said.iter().any(|line| line.contains("names of the data are not compared")), "{said:?}");
    trainer.run(&StopSignal::new()).unwrap();
}

#[test]
fn checkpoints_that_are_damaged_or_foreign() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), 2);
    let out = unfinished(folder.path(), &data);
    let checkpoints = CheckpointFolder::of_run(&out);
    assert_eq!(checkpoints.steps().unwrap(), [0, 1]);
    let file = checkpoints.file(1);
    let bytes = fs::read(&file).unwrap();
    let resume = || resumed(config(&data, &out));

    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    fails(resume(), &["step-00000001.ckpt", "cut short", "step-00000000.ckpt"]);

    let mut other = Checkpoint::load(&checkpoints.file(0)).unwrap();
    other.model.remove("classifier.bias").unwrap();
    other.save(&file).unwrap();
    fails(resume(), &["step-00000001.ckpt", "classifier.bias"]);

    // The message's advice works: without the damaged file, the run continues from the one before.
    fs::remove_file(&file).unwrap();
    train(resume()).unwrap();
}

#[test]
fn training_that_diverges() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), 2);
    let out = unfinished(folder.path(), &data);
    let file = CheckpointFolder::of_run(&out).file(1);
    let mut checkpoint = Checkpoint::load(&file).unwrap();
    for bias in checkpoint.model.get_mut("classifier.bias").unwrap() {
        *bias = f32::MAX;
    }
    for weight in checkpoint.model.get_mut("classifier.weight").unwrap() {
        *weight = f32::MAX;
    }
    checkpoint.save(&file).unwrap();
    let message = fails(
        resumed(config(&data, &out)),
        &["the loss is", "at step 2", "last good checkpoint", "step-00000001.ckpt"],
    );
    let log = fs::read_to_string(out.join("run.jsonl")).unwrap();
    let last = log.lines().last().unwrap();
    assert!(last.contains("\"failed\"") && last.contains("at step 2"), "{last} {message}");
}
