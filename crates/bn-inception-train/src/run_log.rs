//! `run.jsonl`: what happened in a run, one JSON object a line, as it happens.
//!
//! The log is append-only and each line is flushed, so another process may follow it while the run
//! goes on. Every line has `schema` (the version below), `time` (seconds since 1970) and `event`.
//! A resumed run begins with a `resume` line: `step` lines after the step it names are the killed
//! run's, whose work was lost and is done again in the lines that follow; a reader drops them. A second
//! `start` line makes everything before it void: that run died before it had saved anything.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::progress::Validation;
use crate::settings::Settings;

/// Version of the line format; it changes when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// Something worth a line.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// A new run.
    Start {
        /// What it was started with.
        settings: &'a Settings,
        /// Name of the device it runs on.
        device: &'a str,
        /// Optimizer steps it will take.
        total_steps: u64,
        /// Epochs it will begin.
        total_epochs: usize,
        /// Training images of an epoch.
        train_images: usize,
        /// Validation images.
        val_images: usize,
        /// Class labels in the order of the logits.
        labels: &'a [String],
        /// Trainable parameters of the network.
        parameters: usize,
    },
    /// A run that goes on from a checkpoint.
    Resume {
        /// Steps taken up to the checkpoint.
        step: u64,
        /// Name of the device it runs on now.
        device: &'a str,
    },
    /// One optimizer step.
    Step(StepFacts),
    /// A pass over the validation images.
    Validation(&'a Validation),
    /// A checkpoint was written.
    Checkpoint {
        /// Steps taken up to it.
        step: u64,
        /// Its file.
        path: &'a Path,
    },
    /// An image that could not be read and was replaced.
    BrokenImage {
        /// Its file.
        path: &'a Path,
        /// What is wrong with it.
        reason: &'a str,
    },
    /// The run was stopped on request.
    Interrupted {
        /// Steps taken.
        step: u64,
    },
    /// The run stopped on an error.
    Failed {
        /// Steps taken.
        step: u64,
        /// The error.
        error: &'a str,
    },
    /// All steps are done.
    Finished {
        /// Steps taken.
        step: u64,
    },
}

/// The numbers of one optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepFacts {
    /// Steps taken, this one included.
    pub step: u64,
    /// Epoch under way, counted from 1.
    pub epoch: usize,
    /// Mean training loss of its images.
    pub loss: f64,
    /// Share of its images classified rightly.
    pub top1: f64,
    /// Learning rate.
    pub lr: f64,
    /// Global norm of the gradients before clipping, where the run clips.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Images it was taken on.
    pub images: usize,
    /// Seconds it took, waiting included.
    pub seconds: f64,
    /// Seconds of those spent waiting for data.
    pub wait_seconds: f64,
}

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    time: f64,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

/// An open log.
#[derive(Debug)]
pub struct RunLog {
    path: PathBuf,
    file: File,
}

impl RunLog {
    /// Opens the log at `path` for appending and makes it if need be. A line that a killed process
    /// left unfinished is ended, so that the next one starts on a line of its own.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)?;
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// The log's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one line.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&mut self, event: &Event<'_>) -> io::Result<()> {
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |elapsed| elapsed.as_secs_f64());
        let mut line = serde_json::to_vec(&Line {
            schema: SCHEMA,
            time,
            event,
        })?;
        line.push(b'\n');
        // One write call a line: a reader never sees half of one unless the process dies in it.
        self.file.write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_and_half_a_line_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        std::fs::write(&path, "{\"half\":").unwrap();
        for step in [1, 2] {
            let mut log = RunLog::open(&path).unwrap();
            log.write(&Event::Finished { step }).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let last: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(last["schema"], 1);
        assert_eq!(last["event"], "finished");
        assert_eq!(last["step"], 2);
        assert!(last["time"].as_f64().unwrap() > 1e9);
    }
}
