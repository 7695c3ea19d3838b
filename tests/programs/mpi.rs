//! `train-imagenet` under `mpirun`.

use std::process::Output;

use bn_inception_tests::{missing, mpirun, program, run};
use bn_inception_train::checkpoint::{Checkpoint, CheckpointFolder};
use serde_json::Value;

use crate::{Trained, borrowed};

/// A run on `ranks` processes beside that of `trained`; `None`, which is said, where that is impossible.
fn launch(ranks: usize, trained: &Trained, arguments: &[&str]) -> Option<Output> {
    let help = run("train-imagenet", &["--help"]).stdout;
    if !String::from_utf8_lossy(&help).contains("--stall-minutes") {
        missing("mpi", "train-imagenet is built without --features mpi");
        return None;
    }
    let mut command = mpirun(ranks, trained.path("").as_ref())?;
    let path = program("train-imagenet").get_program().to_owned();
    Some(command.arg(path).args(arguments).output().unwrap())
}

#[test]
fn two_processes_train_one_network() {
    let trained = Trained::new();
    let arguments = |out: &str| {
        let mut arguments = trained.train(out);
        arguments.extend(["--accumulate", "2", "--dashboard", "off", "--json"].map(str::to_owned));
        arguments
    };
    let Some(output) = launch(2, &trained, &borrowed(&arguments("two"))) else { return };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["settings"]["accumulate"], 2);
    assert_eq!(errors.matches("output: ").count(), 1, "rank 0 alone speaks: {errors}");

    assert!(run("train-imagenet", &borrowed(&arguments("one"))).status.success());
    let weights = |out: &str| {
        let folder = CheckpointFolder::of_run(trained.path(out).as_ref());
        let newest = folder.steps().unwrap().pop().unwrap();
        Checkpoint::load(&folder.file(newest)).unwrap().average
    };
    assert!(weights("one") == weights("two"));
}

#[test]
fn an_error_that_all_processes_have_is_one_line() {
    let trained = Trained::new();
    let mut arguments = trained.train("out");
    arguments.extend(["--accumulate", "3"].map(str::to_owned));
    let Some(output) = launch(2, &trained, &borrowed(&arguments)) else { return };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    let line = "rank 0: error: --accumulate 3 cannot be shared by 2 ranks; choose a multiple of 2; ";
    assert_eq!(errors.matches("error: ").count(), 1, "{errors}");
    assert!(errors.contains(line), "{errors}");
}

#[test]
fn several_processes_need_the_feature() {
    let help = run("train-imagenet", &["--help"]).stdout;
    if String::from_utf8_lossy(&help).contains("--stall-minutes") {
        return; // Another build of the program: the tests above are about it.
    }
    for variable in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"] {
        let output = program("train-imagenet").env(variable, "2").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let expected = "error: launched as 2 processes, but built without --features mpi\n";
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    }
}
