//! Following a run log.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::record::Record;

/// Maximum length of a line in bytes; longer ones are skipped. The longest that is written, a validation's with its
/// pictures, has about a hundredth of it.
pub const MAX_LINE: usize = 16 << 20;

/// Number of bytes that [`LogReader::reopened`] and [`LogReader::agrees_with_file`] compare at most.
const COMPARED: usize = 4 << 10;

/// Reads a log line by line, from any offset, while it may still be written to.
///
/// Memory use does not depend on the length of the log. Lines that are no records (cut off by a crash, too long, of a
/// later schema) are skipped and counted. An unfinished last line is left for later: a process may be writing it.
#[derive(Debug)]
pub struct LogReader {
    file: BufReader<File>,
    /// The unfinished line at the end of the bytes read.
    line: Vec<u8>,
    /// Offset of `line` in the file.
    offset: u64,
    /// Bytes dropped of an overlong line.
    discarded: u64,
    skipped: u64,
    /// The end of the last whole line. Lines have times, so other logs have another one.
    last: Vec<u8>,
}

impl LogReader {
    /// Opens the log at `path` at its beginning.
    ///
    /// # Errors
    /// [`std::io::Error`] if the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_at(path, 0)
    }

    /// Opens the log at `path` at `offset`, an [`Self::offset`] of an earlier reader of the same log.
    ///
    /// # Errors
    /// [`std::io::Error`] if the file cannot be opened, of kind [`io::ErrorKind::InvalidInput`] if `offset` is beyond
    /// its end.
    pub fn open_at(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        if offset > length {
            let message = format!("offset {offset} is beyond the log's {length} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        file.seek(SeekFrom::Start(offset))?;
        let file = BufReader::with_capacity(1 << 16, file);
        Ok(Self { file, line: Vec::new(), offset, discarded: 0, skipped: 0, last: Vec::new() })
    }

    /// A reader of the file now at `path`, which goes on where this one is, if the line before is the same in it: a copy
    /// that has grown, put in the place of the file (`rsync`, `mv`).
    ///
    /// # Errors
    /// [`std::io::Error`] if the file cannot be read.
    pub fn reopened(&self, path: &Path) -> io::Result<Option<Self>> {
        if !self.agrees_with(&mut File::open(path)?)? {
            return Ok(None);
        }
        let (skipped, last) = (self.skipped, self.last.clone());
        Ok(Some(Self { skipped, last, ..Self::open_at(path, self.offset)? }))
    }

    /// False if the file has been overwritten, as `cp` does it: it is shorter than what was read of it, or the line
    /// before [`Self::offset`] is another one.
    ///
    /// # Errors
    /// [`std::io::Error`] if the file cannot be read.
    pub fn agrees_with_file(&self) -> io::Result<bool> {
        // The clone shares its position with this reader, which must not notice.
        let mut own = self.file.get_ref().try_clone()?;
        let position = own.stream_position()?;
        let agrees = self.agrees_with(&mut own);
        own.seek(SeekFrom::Start(position))?;
        agrees
    }

    /// True if `file` has the end of the last line where this reader found it.
    fn agrees_with(&self, file: &mut File) -> io::Result<bool> {
        if self.offset > file.metadata()?.len() {
            return Ok(false);
        }
        let mut bytes = vec![0; self.last.len()];
        file.seek(SeekFrom::Start(self.offset - self.last.len() as u64))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes == self.last)
    }

    /// Offset in bytes of the first line not yet returned or skipped.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Number of lines skipped because they are no records.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next record, or `None` if there is no further whole line now; there may be one later.
    ///
    /// # Errors
    /// [`std::io::Error`] if the file cannot be read; a later call may succeed.
    pub fn next_record(&mut self) -> io::Result<Option<Record>> {
        loop {
            let buffer = self.file.fill_buf()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = end.map_or(buffer.len(), |end| end + 1);
            if self.discarded > 0 || self.line.len() + part > MAX_LINE {
                self.discarded += (self.line.len() + part) as u64;
                // Not `clear`, which would keep the memory.
                self.line = Vec::new();
            } else {
                self.line.extend_from_slice(&buffer[..part]);
            }
            self.file.consume(part);
            if end.is_none() {
                continue;
            }
            let record = self.take_line();
            if record.is_some() {
                return Ok(record);
            }
        }
    }

    /// Parses the finished line and makes room for the next.
    fn take_line(&mut self) -> Option<Record> {
        let record = match self.discarded {
            0 => serde_json::from_slice(&self.line).ok(),
            _ => None,
        };
        self.last.clear();
        self.last.extend_from_slice(&self.line[self.line.len().saturating_sub(COMPARED)..]);
        let blank = self.discarded == 0 && self.line.trim_ascii().is_empty();
        self.skipped += u64::from(record.is_none() && !blank);
        self.offset += self.line.len() as u64 + self.discarded;
        self.discarded = 0;
        self.line.clear();
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_log::{Event, RunLog, WarningKind};
    use std::fs::OpenOptions;
    use std::io::Write as _;

    fn drain(reader: &mut LogReader) -> Vec<Event> {
        std::iter::from_fn(|| reader.next_record().unwrap()).map(|record| record.event).collect()
    }

    fn append(path: &Path, text: &str) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_growing_log_is_followed_and_half_a_line_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let finished = |step: u64| format!("{{\"schema\":2,\"time\":1.5,\"event\":\"finished\",\"step\":{step}}}\n");
        append(&path, &finished(1));
        let mut reader = LogReader::open(&path).unwrap();
        assert_eq!(drain(&mut reader), [Event::Finished { step: 1 }]);
        let first_line = reader.offset();
        assert_eq!(first_line, finished(1).len() as u64);

        let second = finished(2);
        append(&path, &second[..20]);
        assert_eq!(drain(&mut reader), []);
        assert_eq!(reader.offset(), first_line);
        append(&path, &second[20..]);
        assert_eq!(drain(&mut reader), [Event::Finished { step: 2 }]);

        let mut late = LogReader::open_at(&path, first_line).unwrap();
        assert_eq!(drain(&mut late), [Event::Finished { step: 2 }]);
        assert_eq!(late.offset(), reader.offset());
        let beyond = LogReader::open_at(&path, 10_000).unwrap_err();
        assert!(beyond.to_string().contains("10000"), "{beyond}");
    }

    #[test]
    fn lines_that_are_no_records_are_skipped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        append(&path, "{\"schema\":2,\"time\":1,\"event\":\"ste\n\n");
        append(&path, "null\n\u{fffd}\n{\"schema\":2,\"time\":1}\n");
        append(&path, "{\"schema\":3,\"time\":1,\"event\":\"dreamt\",\"of\":[1]}\n");
        append(
            &path,
            "{\"schema\":3,\"time\":1,\"event\":\"warning\",\"step\":1,\"kind\":\"new\",\"message\":\"m\"}\n",
        );
        append(&path, &"x".repeat(MAX_LINE + 5));
        append(&path, "\n{\"schema\":2,\"time\":1,\"event\":\"finished\",\"step\":9}\n");
        let mut reader = LogReader::open(&path).unwrap();
        let warning = Event::Warning { step: 1, kind: WarningKind::Other, message: "m".to_owned() };
        let expected = [Event::Unknown, warning, Event::Finished { step: 9 }];
        assert_eq!(drain(&mut reader), expected);
        assert_eq!(reader.skipped(), 5);
        assert_eq!(reader.offset(), std::fs::metadata(&path).unwrap().len());
    }

    #[test]
    fn lines_of_schema_1_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        append(
            &path,
            concat!(
                r#"{"schema":1,"time":1.0,"event":"start","settings":{"data":null,"seed":3},"device":"flex","total_steps":6,"total_epochs":2,"train_images":30,"val_images":12,"labels":["a","b"],"parameters":10}"#,
                "\n",
                r#"{"schema":1,"time":2.0,"event":"step","step":1,"epoch":1,"loss":1.0,"top1":0.5,"lr":0.1,"images":8,"seconds":0.1,"wait_seconds":0.0}"#,
                "\n",
                r#"{"schema":1,"time":3.0,"event":"validation","step":1,"epoch":1,"top1":0.5,"top5":1.0,"loss":1.0,"images":12,"seconds":0.1}"#,
                "\n",
                r#"{"schema":1,"time":4.0,"event":"interrupted","step":1}"#,
                "\n",
            ),
        );
        let mut reader = LogReader::open(&path).unwrap();
        let events = drain(&mut reader);
        assert_eq!((events.len(), reader.skipped()), (4, 0));
        let Event::Start(start) = &events[0] else { panic!("{events:?}") };
        assert_eq!((start.settings["seed"].as_u64(), start.total_steps), (Some(3), 6));
        assert!(matches!(&events[1], Event::Step(facts) if facts.grad_norm.is_none()));
        assert!(matches!(&events[2], Event::Validation(report) if report.result.images == 12));
    }

    #[test]
    fn written_records_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let log = RunLog::open(&path).unwrap();
        let mut written = Vec::new();
        for event in crate::run_log::tests::one_of_each() {
            written.push(log.write(event).unwrap());
        }
        let mut reader = LogReader::open(&path).unwrap();
        let read: Vec<_> = std::iter::from_fn(|| reader.next_record().unwrap()).collect();
        assert_eq!(read, written);
    }
}
