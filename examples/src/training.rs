//! Start and end of the programs that train.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bn_inception_train::{Outcome, RunSummary};

use crate::Failure;

/// `runs/N` after the last one or, to resume, the last one that can be resumed.
pub fn default_out(resume: bool) -> PathBuf {
    let runs = Path::new("runs");
    let numbers = std::fs::read_dir(runs).into_iter().flatten().flatten().filter_map(|entry| {
        let number: u64 = entry.file_name().to_str()?.parse().ok()?;
        let begun = entry.path().join("checkpoints").exists();
        (begun || !resume).then_some(number)
    });
    let last = numbers.max();
    let number = if resume { last.unwrap_or(1) } else { last.map_or(1, |last| last.saturating_add(1)) };
    runs.join(number.to_string())
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
            // The result is in summary.json too, so a closed standard output loses nothing.
            let _ = print_result(&summary, json);
            ExitCode::SUCCESS
        }
        Ok(Outcome::Stopped { step, out }) => {
            let command = resume_command(program, &out, flags);
            eprintln!("stopped and saved after step {step}; go on with: {command}");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
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
