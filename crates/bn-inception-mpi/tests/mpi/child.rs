//! The processes of a job: this test program again, as a rank.

use std::path::Path;
use std::time::Duration;
use std::{fs, process, thread};

use bn_inception::DeviceSpec;
use bn_inception_mpi::Mpi;
use bn_inception_train::{CheckpointEvery, Choices, Display, Outcome, StopSignal, TrainConfig, Trainer};

pub const CASE: &str = "BN_INCEPTION_TEST_CASE";
pub const DATA: &str = "BN_INCEPTION_TEST_DATA";
pub const OUT: &str = "BN_INCEPTION_TEST_OUT";
pub const RESUME: &str = "BN_INCEPTION_TEST_RESUME";

/// Exit code of a run that was stopped and saved.
const STOPPED: i32 = 130;

/// `modern` averages its weights; `inception` has dropout. An epoch has 29 batches, and a step 4.
pub fn config(recipe: &str, data: &Path, out: &Path) -> TrainConfig {
    TrainConfig {
        data: Some(data.to_owned()),
        choices: Choices {
            recipe: Some(recipe.to_owned()),
            preset: Some("small".to_owned()),
            width: Some(0.05),
            image_size: Some(28),
            epochs: Some(4),
            batch_size: Some(8),
            accumulate: Some(4),
            seed: Some(7),
            ..Choices::default()
        },
        device: DeviceSpec::Named { backend: "flex", index: 0 },
        workers: 1,
        checkpoint_every: CheckpointEvery::Steps(3),
        display: Display::Quiet,
        ..TrainConfig::new(out)
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

#[test]
#[ignore = "started by the other tests, as a rank of a job"]
fn rank() {
    let (case, out) = (variable(CASE), variable(OUT));
    let out = Path::new(&out);
    let patience = Duration::from_secs(if case == "stall" { 2 } else { 60 });
    let mpi = Mpi::start(patience).unwrap();
    mpi.report_checkpoints_of(out);
    let group = mpi.group();
    let rank = group.rank();
    fs::write(out.with_extension(format!("{rank}.pid")), process::id().to_string()).unwrap();
    match case.as_str() {
        "panic" if rank == 1 => drop(thread::spawn(|| panic!("a bug"))),
        "stall" if rank == 1 => thread::sleep(Duration::from_secs(600)),
        "fail" => mpi.fail("the disk is full", 7),
        "panic" | "stall" => {}
        recipe => {
            if train(&mpi, recipe, out) {
                group.gather(&[]);
                // MPICH passes exit codes on after the end of MPI only.
                drop((group, mpi));
                process::exit(STOPPED);
            }
        }
    }
    group.gather(&[]);
    if matches!(case.as_str(), "panic" | "stall") {
        thread::sleep(Duration::from_secs(600));
    }
}

/// True if the run was stopped.
fn train(mpi: &Mpi, recipe: &str, out: &Path) -> bool {
    let mut config = config(recipe, variable(DATA).as_ref(), out);
    if std::env::var_os(RESUME).is_some() {
        config = TrainConfig { resume: true, choices: Choices::default(), ..config };
    }
    let stop = StopSignal::on_ctrl_c().unwrap();
    let trained = Trainer::with_group(config, mpi.group(), |_| ()).and_then(|trainer| trainer.run(&stop));
    match trained {
        Ok(ending) => matches!(ending, Outcome::Stopped { .. }),
        Err(error) => mpi.fail(&error.to_string(), 1),
    }
}
