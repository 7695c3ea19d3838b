//! Appending to a run log.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::event::Event;
use super::record::{Record, SCHEMA};

/// A log open for appending. Clones append to the same file.
#[derive(Debug, Clone)]
pub struct RunLog {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl RunLog {
    /// Opens the log at `path` for appending, and creates it if it does not exist. A line that a killed process left
    /// unfinished is ended.
    ///
    /// # Errors
    /// [`std::io::Error`] if the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Self { path: path.to_owned(), file: Arc::new(Mutex::new(file)) })
    }

    /// Path of the log.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line for `event` and returns its record.
    ///
    /// # Errors
    /// [`std::io::Error`] if the line cannot be written.
    pub fn write(&self, event: Event) -> io::Result<Record> {
        // In microseconds: the time of its first line distinguishes a log from one that it replaces.
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_micros() as f64 / 1e6);
        let record = Record { schema: SCHEMA, time, event };
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        // One write per line: a reader sees part of a line only if the process dies in that call.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)?;
        Ok(record)
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
            let log = RunLog::open(&path).unwrap();
            log.write(Event::Finished { step }).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let last: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(last["schema"], 2);
        assert_eq!(last["event"], "finished");
        assert_eq!(last["step"], 2);
        assert!(last["time"].as_f64().unwrap() > 1e9);
    }
}
