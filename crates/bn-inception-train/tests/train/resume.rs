//! A run that is killed or stopped and then resumed ends with the same bits as one that was not.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::{self, finish, newest_checkpoint, train};
use bn_inception_train::checkpoint::Checkpoint;
use bn_inception_train::{Choices, Outcome, StopSignal, TrainConfig};

/// Set in the child processes of [`killed_runs_resume_to_the_same_bits`]: the run's name.
const CHILD_CASE: &str = "BN_INCEPTION_TEST_CASE";
const CHILD_DATA: &str = "BN_INCEPTION_TEST_DATA";
const CHILD_OUT: &str = "BN_INCEPTION_TEST_OUT";
const CHILD_RESUME: &str = "BN_INCEPTION_TEST_RESUME";

/// `modern` averages its weights; `inception` has dropout; the latter accumulates and clips too.
fn config(case: &str, data: &Path, out: &Path) -> TrainConfig {
    let (accumulate, clip_norm) = match case {
        "inception" => (Some(2), Some(0.5)),
        _ => (None, None),
    };
    let choices = Choices {
        recipe: Some(case.to_owned()),
        preset: Some("small".to_owned()),
        width: Some(0.05),
        image_size: Some(28),
        epochs: Some(5),
        batch_size: Some(4),
        accumulate,
        clip_norm,
        seed: Some(7),
        ..Choices::default()
    };
    common::config(data, out, choices)
}

/// With another number of workers, which makes no difference.
fn resumed(config: TrainConfig) -> TrainConfig {
    TrainConfig { workers: 3, ..crate::common::resumed(config) }
}

/// The newest checkpoint in `out`, without the times, which differ from run to run.
fn ending(out: &Path) -> Checkpoint {
    let mut checkpoint = newest_checkpoint(out);
    let progress = &mut checkpoint.progress;
    (progress.train_seconds, progress.wait_seconds) = (0.0, 0.0);
    for validation in &mut progress.validations {
        validation.seconds = 0.0;
    }
    checkpoint
}

fn events(out: &Path, event: &str) -> usize {
    let log = fs::read_to_string(out.join("run.jsonl")).unwrap_or_default();
    log.matches(&format!("\"event\":\"{event}\"")).count()
}

pub fn assert_same(found: &Path, expected: &Path) {
    let (found_end, expected_end) = (ending(found), ending(expected));
    assert!(expected_end.progress.finished);
    assert_eq!(found_end.progress, expected_end.progress);
    assert!(found_end == expected_end, "weights, velocity or averages differ");
}

/// The process that [`killed_runs_resume_to_the_same_bits`] starts and kills.
#[test]
#[ignore = "started by killed_runs_resume_to_the_same_bits, in a process of its own"]
fn child_process() {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (case, data, out) = (variable(CHILD_CASE), variable(CHILD_DATA), variable(CHILD_OUT));
    let config = config(&case, data.as_ref(), out.as_ref());
    let resume = std::env::var_os(CHILD_RESUME).is_some();
    finish(if resume { resumed(config) } else { config });
}

fn spawn(case: &str, data: &Path, out: &Path, resume: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--ignored", "resume::child_process"])
        .env(CHILD_CASE, case)
        .env(CHILD_DATA, data)
        .env(CHILD_OUT, out)
        .stdout(Stdio::null());
    if resume {
        command.env(CHILD_RESUME, "1");
    }
    command.spawn().unwrap()
}

#[test]
fn killed_runs_resume_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = crate::common::dataset(folder.path(), 3, [10, 3], 32);
    for case in ["modern", "inception"] {
        let whole = folder.path().join(format!("{case}-whole"));
        finish(config(case, &data, &whole));
        let steps = ending(&whole).progress.step as usize;

        let killed = folder.path().join(format!("{case}-killed"));
        // Each kill comes some steps after the previous one; no result depends on when.
        let mut kills = 0;
        for after in [1, steps / 3, steps / 2] {
            let mut child = spawn(case, &data, &killed, kills > 0);
            while events(&killed, "step") <= after && child.try_wait().unwrap().is_none() {
                thread::sleep(Duration::from_millis(2));
            }
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                break;
            }
            kills += 1;
        }
        assert!(kills > 0, "the first process cannot be done after two steps of {steps}");
        if ending(&killed).progress.finished && killed.join("summary.json").exists() {
            panic!("a run that was killed is not finished");
        }
        finish(resumed(config(case, &data, &killed)));
        assert_eq!(events(&killed, "resume"), kills);
        assert_same(&killed, &whole);
        let weights = |out: &Path| fs::read(out.join("model.safetensors")).unwrap();
        assert!(weights(&killed) == weights(&whole), "{case}: other weights are shipped");
    }
}

#[test]
fn a_stopped_run_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = crate::common::dataset(folder.path(), 3, [10, 3], 32);
    let whole = folder.path().join("whole");
    finish(config("bn-x5", &data, &whole));

    // A signal given beforehand stops each run after one step.
    let stopped = folder.path().join("stopped");
    let stop = StopSignal::new();
    stop.stop("a test");
    for step in 1..=9 {
        let config = config("bn-x5", &data, &stopped);
        let config = if step == 1 { config } else { resumed(config) };
        match train(config, &stop).unwrap() {
            // The seventh step ends an epoch: a run may stop before the validation.
            Outcome::Stopped { step: found, .. } => assert!(found <= step && found > 0),
            Outcome::Finished(_) => panic!("it was stopped"),
        }
    }
    finish(resumed(config("bn-x5", &data, &stopped)));
    assert_same(&stopped, &whole);
}
