//! The records of a log that are not void.

use std::io;
use std::path::Path;

use super::event::{Event, Rewind};
use super::reader::LogReader;
use super::record::Record;

/// The records of the log at `path` that no later line makes void, in order. A run that was killed and resumed has each
/// step once.
///
/// Reads the log twice and keeps only the offsets of its `start` and `resume` lines. Lines appended in the meantime are
/// ignored.
///
/// # Errors
/// [`std::io::Error`] if the file cannot be read.
pub fn surviving(path: &Path) -> io::Result<Surviving> {
    let mut reader = LogReader::open(path)?;
    let mut rewinds = Vec::new();
    let mut before = 0;
    while let Some(record) = reader.next_record()? {
        if let Some(rewind) = record.event.rewind() {
            rewinds.push((before, rewind));
        }
        before = reader.offset();
    }
    Ok(Surviving {
        reader: LogReader::open(path)?,
        rewinds,
        end: before,
        failed: false,
    })
}

/// Iterator of [`surviving`].
#[derive(Debug)]
pub struct Surviving {
    reader: LogReader,
    /// Offset of each `start` and `resume` line, and the lines it makes void.
    rewinds: Vec<(u64, Rewind)>,
    end: u64,
    failed: bool,
}

impl Surviving {
    fn is_void(&self, start: u64, event: &Event) -> bool {
        let mut later = self.rewinds.iter().filter(|(offset, _)| *offset > start);
        later.any(|(_, rewind)| match rewind {
            Rewind::All => true,
            Rewind::To(step) => event.step().is_some_and(|own| own > *step),
        })
    }
}

impl Iterator for Surviving {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed && self.reader.offset() < self.end {
            let start = self.reader.offset();
            match self.reader.next_record() {
                Ok(Some(record)) if self.is_void(start, &record.event) => {}
                Ok(record) => return record.map(Ok),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_log::{RunLog, Start};

    #[test]
    fn lost_steps_are_dropped_and_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let log = RunLog::open(&path).unwrap();
        let start = || Event::Start(Box::default());
        let checkpoint = |step| Event::Checkpoint {
            step,
            path: format!("{step}").into(),
        };
        let resume = |step| Event::Resume {
            step,
            device: "flex".to_owned(),
        };
        let broken = || Event::BrokenImage {
            path: "x".into(),
            reason: "r".to_owned(),
        };
        // A run that died, one that was killed after step 3 and one after step 2, and the last.
        let first = [start(), checkpoint(0), checkpoint(1)];
        let second = [
            start(),
            checkpoint(1),
            checkpoint(2),
            broken(),
            checkpoint(3),
        ];
        let third = [
            resume(2),
            checkpoint(3),
            checkpoint(4),
            resume(1),
            checkpoint(2),
        ];
        for event in [&first[..], &second, &third].concat() {
            log.write(event).unwrap();
        }
        let events: Vec<_> = surviving(&path)
            .unwrap()
            .map(|record| record.unwrap().event)
            .collect();
        let expected = [
            Event::Start(Box::<Start>::default()),
            checkpoint(1),
            broken(),
            resume(1),
            checkpoint(2),
        ];
        assert_eq!(events, expected);
    }
}
