//! Start and end of the programs that train.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bn_inception_train::checkpoint::CheckpointFolder;
use bn_inception_train::{Outcome, RunSummary};

use crate::{Failure, exit_code};

/// Folder of the runs that were given none.
const RUNS: &str = "runs";

/// Exit code of a run that was stopped and saved.
pub(crate) const STOPPED: u8 = 130;

/// The output folder of a run.
pub struct OutFolder {
    path: PathBuf,
    /// It was created for this run.
    is_new: bool,
}

impl OutFolder {
    /// The folder `given`; otherwise a new `runs/N` after the last one or, to resume, the last one that can be resumed.
    ///
    /// # Errors
    /// [`Failure`] if the new folder cannot be created.
    pub fn choose(given: Option<PathBuf>, resume: bool) -> Result<Self, Failure> {
        match given {
            Some(path) => Ok(Self { path, is_new: false }),
            None if resume => {
                let last = last_number(Path::new(RUNS), true).unwrap_or(1);
                Ok(Self { path: Path::new(RUNS).join(last.to_string()), is_new: false })
            }
            None => Self::create_in(Path::new(RUNS)),
        }
    }

    /// The folder `path`, which another process chose or created.
    pub(crate) fn of_another_process(path: PathBuf) -> Self {
        Self { path, is_new: false }
    }

    /// Creates the next folder in `runs`. Programs that start together get different ones.
    fn create_in(runs: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(runs).map_err(|error| format!("cannot create {}: {error}", runs.display()))?;
        let mut number = last_number(runs, false).unwrap_or(0);
        loop {
            number = number.saturating_add(1);
            let path = runs.join(number.to_string());
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, is_new: true }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < u64::MAX => {}
                Err(error) => return Err(format!("cannot create {}: {error}", path.display()).into()),
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OutFolder {
    /// Removes a new folder that nothing was written to, as of a run that was refused.
    fn drop(&mut self) {
        if self.is_new {
            // Fails if it holds anything, which then belongs to the run.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// The highest number that is the name of a folder in `runs`; with `begun`, of one with checkpoints.
fn last_number(runs: &Path, begun: bool) -> Option<u64> {
    let numbers = fs::read_dir(runs).into_iter().flatten().flatten().filter_map(|entry| {
        let number: u64 = entry.file_name().to_str()?.parse().ok()?;
        (!begun || CheckpointFolder::of_run(&entry.path()).path().exists()).then_some(number)
    });
    numbers.max()
}

/// Prints lines for a person, on standard error if standard output is for machines (`json`).
pub fn status(json: bool) -> impl Fn(&str) {
    move |line| {
        // A closed pipe (`| head`) is no reason not to train.
        let _ = if json { writeln!(io::stderr(), "{line}") } else { writeln!(io::stdout(), "{line}") };
    }
}

/// A flag that is not in the checkpoint, whether it was given, and its value, if any.
pub type Flag<'a> = (&'a str, bool, &'a str);

/// Reports the end of the run of `program`. If it was stopped, the command to resume has those of `flags` that were
/// given.
pub fn finish(program: &str, ending: Result<Outcome, Failure>, json: bool, flags: &[Flag<'_>]) -> ExitCode {
    match ending {
        Ok(Outcome::Finished(summary)) => {
            let printed = print_result(&summary, json);
            // People have seen the run; a program that asked for JSON must not take its absence for success.
            let printed = printed.map_err(|error| format!("cannot print the summary: {error}; it is in summary.json"));
            exit_code(if json {
                printed.map(|()| ExitCode::SUCCESS).map_err(Failure::from)
            } else {
                Ok(ExitCode::SUCCESS)
            })
        }
        Ok(Outcome::Stopped { step, out }) => {
            let command = resume_command(program, &out, flags);
            eprintln!("stopped and saved after step {step}; go on with: {command}");
            ExitCode::from(STOPPED)
        }
        Err(error) => exit_code(Err(error)),
    }
}

/// The command that resumes the run.
fn resume_command(program: &str, out: &Path, flags: &[Flag<'_>]) -> String {
    let mut command = format!("cargo run --release --example {program} -- --resume --out {}", quoted(out));
    for (flag, _, value) in flags.iter().filter(|(_, given, _)| *given) {
        command = format!("{command} {flag} {value}").trim_end().to_owned();
    }
    command
}

/// `path` as one word of a shell's command line.
pub fn quoted(path: &Path) -> String {
    // The one character that shell quotes do not protect.
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

fn print_result(summary: &RunSummary, json: bool) -> io::Result<()> {
    let mut out = io::stdout();
    if json {
        return writeln!(out, "{}", serde_json::to_string_pretty(summary)?);
    }
    writeln!(
        out,
        "{} steps at {:.1} images/s, {:.1} % of the time waiting for data",
        summary.steps,
        summary.images_per_second,
        100.0 * summary.data_wait_fraction
    )?;
    if summary.broken_images > 0 {
        writeln!(
            out,
            "broken images replaced: {}; {} names them",
            summary.broken_images,
            summary.weights.with_file_name("run.jsonl").display()
        )?;
    }
    writeln!(out, "weights: {}", summary.weights.display())?;
    writeln!(
        out,
        "validation: top-1 {:.2} %, top-5 {:.2} % of {} images",
        100.0 * summary.val_top1,
        100.0 * summary.val_top5,
        summary.val_images
    )
}
