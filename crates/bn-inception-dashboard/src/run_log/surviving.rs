//! The records of a log that are not void.

use std::io;
use std::iter;
use std::path::Path;

use super::reader::LogReader;
use super::record::Record;

/// The records of the log at `path` that no later line makes void, in order. A run that was killed and resumed has each
/// step once.
///
/// Reads the log twice and keeps only the offsets of its `start` and `resume` lines. Lines appended in the meantime are
/// ignored. Nothing follows an error.
///
/// # Errors
/// [`std::io::Error`] if the file cannot be read.
pub fn surviving(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Record>> + use<>> {
    let mut reader = LogReader::open(path)?;
    let mut rewinds = Vec::new();
    let mut end = 0;
    while let Some(record) = reader.next_record()? {
        if let Some(rewind) = record.event.rewind() {
            rewinds.push((end, rewind));
        }
        end = reader.offset();
    }
    let mut reader = LogReader::open(path)?;
    Ok(iter::from_fn(move || {
        while reader.offset() < end {
            let offset = reader.offset();
            let record = reader.next_record().transpose()?;
            let is_void = record.as_ref().is_ok_and(|record| {
                let mut later = rewinds.iter().filter(|(line, _)| *line > offset);
                later.any(|(_, rewind)| rewind.voids(&record.event))
            });
            if record.is_err() {
                end = 0;
            }
            if !is_void {
                return Some(record);
            }
        }
        None
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_log::{Event, RunLog, Start};

    #[test]
    fn lost_steps_are_dropped_and_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let log = RunLog::open(&path).unwrap();
        let start = || Event::Start(Box::default());
        let checkpoint = |step| Event::Checkpoint { step, path: format!("{step}").into() };
        let resume = |step| Event::Resume { step, device: "flex".to_owned() };
        let broken = || Event::BrokenImage { path: "x".into(), reason: "r".to_owned() };
        // A run that died, one that was killed after step 3 and one after step 2, and the last.
        let first = [start(), checkpoint(0), checkpoint(1)];
        let second = [start(), checkpoint(1), checkpoint(2), broken(), checkpoint(3)];
        let third = [resume(2), checkpoint(3), checkpoint(4), resume(1), checkpoint(2)];
        for event in [&first[..], &second, &third].concat() {
            log.write(event).unwrap();
        }
        let events: Vec<_> = surviving(&path).unwrap().map(|record| record.unwrap().event).collect();
        let expected = [Event::Start(Box::<Start>::default()), checkpoint(1), broken(), resume(1), checkpoint(2)];
        assert_eq!(events, expected);
    }
}
