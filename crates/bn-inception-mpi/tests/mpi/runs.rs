//! Runs to the end, and runs that are cut short.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bn_inception_train::checkpoint::{Checkpoint, CheckpointFolder};
use bn_inception_train::data::{DrawnConfig, draw_dataset};
use bn_inception_train::{StopSignal, Trainer};

use crate::child::config;
use crate::job::{Job, kill_rank, steps};

/// Time in which a job has to end after one of its ranks has.
const END: Duration = Duration::from_secs(10);

/// 234 training and 102 validation images, one of each broken.
fn dataset(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    draw_dataset(&data, &DrawnConfig { classes: 6, train_per_class: 39, val_per_class: 17, size: 32, seed: 1 })
        .unwrap();
    for split in ["train", "val"] {
        let first = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
        fs::write(first(first(data.join(split))), "no image").unwrap();
    }
    data
}

fn alone(recipe: &str, data: &Path, out: &Path) {
    let trainer = Trainer::new(config(recipe, data, out), |_| ()).unwrap();
    trainer.run(&StopSignal::new()).unwrap();
}

/// The newest checkpoint in `out`, without the times.
fn ending(out: &Path) -> Checkpoint {
    let folder = CheckpointFolder::of_run(out);
    let newest = folder.steps().unwrap().pop().unwrap();
    let mut checkpoint = Checkpoint::load(&folder.file(newest)).unwrap();
    (checkpoint.progress.train_seconds, checkpoint.progress.wait_seconds) = (0.0, 0.0);
    checkpoint.progress.validations.iter_mut().for_each(|validation| validation.seconds = 0.0);
    checkpoint
}

fn assert_same(found: &Path, expected: &Path) {
    let (found, expected) = (ending(found), ending(expected));
    assert!(expected.progress.finished);
    assert_eq!(found.progress, expected.progress);
    assert!(found == expected, "weights, velocity or averages differ");
}

#[test]
fn a_job_ends_with_the_bits_of_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    for recipe in ["modern", "inception"] {
        let expected = folder.path().join(recipe);
        alone(recipe, &data, &expected);
        for ranks in [2, 4] {
            let out = folder.path().join(format!("{recipe}-{ranks}"));
            let Some(job) = Job::start(ranks, recipe, &data, &out, false) else { return };
            job.finish();
            assert_same(&out, &expected);
        }
    }
}

#[test]
fn a_job_whose_rank_is_killed_ends_and_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let (expected, out) = (folder.path().join("whole"), folder.path().join("cut"));
    alone("modern", &data, &expected);
    for (ranks, killed, at) in [(2, 1, 4), (4, 2, 11), (2, 0, 17)] {
        let Some(mut job) = Job::start(ranks, "modern", &data, &out, at > 4) else { return };
        job.until(|| steps(&out) >= at);
        kill_rank("KILL", &out, killed);
        let (status, text) = job.end(END);
        assert!(!status.success(), "{text}");
    }
    Job::start(4, "modern", &data, &out, true).unwrap().finish();
    assert_same(&out, &expected);
}

#[test]
fn a_signal_saves_on_every_rank_at_the_same_step() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let (expected, out) = (folder.path().join("whole"), folder.path().join("stopped"));
    alone("modern", &data, &expected);
    let Some(mut job) = Job::start(2, "modern", &data, &out, false) else { return };
    job.until(|| steps(&out) >= 5);
    job.signal("USR1");
    let (status, text) = job.end(Duration::from_secs(60));
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(fs::read_to_string(out.join("run.jsonl")).unwrap().contains("\"event\":\"interrupted\""));
    assert_eq!(ending(&out).progress.step as usize, steps(&out), "nothing is lost");
    Job::start(4, "modern", &data, &out, true).unwrap().finish();
    assert_same(&out, &expected);
}

#[test]
fn a_failure_of_one_rank_ends_the_job_and_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let checkpoints = CheckpointFolder::of_run(&out);
    fs::create_dir_all(checkpoints.path()).unwrap();
    fs::write(checkpoints.file(12), "").unwrap();
    let newest = format!("the newest checkpoint is {}", checkpoints.file(12).display());
    for (case, what) in [
        ("panic", "rank 1: a thread panicked"),
        ("stall", "rank 1: error: stalled for 2 s, while the other ranks wait"),
        ("fail", "rank 0: error: the disk is full"),
    ] {
        let Some(job) = Job::start(2, case, folder.path(), &out, false) else { return };
        let (status, text) = job.end(2 * END);
        assert!(!status.success());
        assert!(text.contains(&format!("{what}; {newest}")), "{case}: {text}");
        assert_eq!(text.matches("the disk is full").count(), usize::from(case == "fail"), "{text}");
    }
}
