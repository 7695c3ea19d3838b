//! Archive files, of which byte ranges are read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// A tar archive that cannot be listed. Names no path; positions are bytes from the start of the file.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file could not be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file is compressed, so that no range of it can be read.
    #[error("it is compressed; decompress it first (gunzip, zstd -d)")]
    Compressed,
    /// A header is damaged.
    #[error("damaged header after byte {position}: {reason}")]
    Header {
        /// End of the last intact member.
        position: u64,
        /// The tar reader's message.
        reason: String,
    },
    /// The file ends within a member.
    #[error("cut short: {member} ends at byte {end}, the archive at byte {bytes}")]
    CutShort {
        /// Path of the member.
        member: String,
        /// One past its last byte.
        end: u64,
        /// End of the archive.
        bytes: u64,
    },
    /// The file ends without the empty block that closes a tar archive.
    #[error("cut short: no end mark after byte {position}")]
    NoEnd {
        /// End of the last member.
        position: u64,
    },
    /// Something follows the end mark, such as another archive.
    #[error("there is data after its end mark at byte {position}")]
    AfterEnd {
        /// Position of the end mark.
        position: u64,
    },
}

/// Name, size and time of a file: an index is of the file that had the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileFacts {
    /// Path below the folder of the dataset.
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Time of the last change, in seconds and nanoseconds since 1970.
    modified: (u64, u32),
}

impl FileFacts {
    /// Those of the file at `path`, which is called `name`.
    pub(super) fn of(name: String, path: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self { name, bytes: found.len(), modified: modified(&found)? })
    }

    fn check(&self, file: &File) -> io::Result<()> {
        let found = file.metadata()?;
        if found.len() == self.bytes && modified(&found)? == self.modified {
            return Ok(());
        }
        Err(io::Error::other("the archive has changed since the run began"))
    }
}

fn modified(found: &std::fs::Metadata) -> io::Result<(u64, u32)> {
    let since = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((since.as_secs(), since.subsec_nanos()))
}

/// An archive of a dataset.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) path: PathBuf,
    pub(super) facts: FileFacts,
    /// The open file; unused unless `keep` is set.
    file: OnceLock<File>,
    keep: bool,
}

impl Archive {
    /// The archive at `path`, which is opened at the first read; with `keep` it stays open.
    pub(super) fn new(path: PathBuf, facts: FileFacts, keep: bool) -> Self {
        Self { path, facts, file: OnceLock::new(), keep }
    }

    /// Opens it, and checks that it is the file that was indexed.
    pub(super) fn open(&self) -> io::Result<File> {
        let file = File::open(&self.path)?;
        self.facts.check(&file)?;
        Ok(file)
    }

    /// The bytes `offset..offset + length`.
    ///
    /// # Errors
    /// [`io::Error`] if the archive cannot be opened, has changed since it was indexed, or ends before.
    pub(super) fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        if !self.keep {
            return read_range(&self.open()?, offset, length);
        }
        if self.file.get().is_none() {
            // Another thread may be first; its file is the same one.
            let _ = self.file.set(self.open()?);
        }
        match self.file.get() {
            Some(file) => read_range(file, offset, length),
            None => Err(io::Error::other("the archive is not open")),
        }
    }
}

/// The bytes `offset..offset + length` of `file`.
pub(super) fn read_range(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut done = 0;
    while done < length {
        match read_at(file, &mut bytes[done..], offset + done as u64) {
            Ok(0) => {
                let cut = format!("the archive ends after {done} of the image's {length} bytes");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, cut));
            }
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, bytes, offset)
}

/// A range of a file as a file of its own, such as an archive within an archive.
pub(super) struct Window<'a> {
    file: &'a File,
    start: u64,
    length: u64,
    position: u64,
}

impl<'a> Window<'a> {
    pub(super) fn new(file: &'a File, start: u64, length: u64) -> Self {
        Self { file, start, length, position: 0 }
    }
}

impl Read for Window<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.position);
        let count = left.min(into.len() as u64) as usize;
        let read = read_at(self.file, &mut into[..count], self.start + self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "seek to outside the archive");
        self.position = position.ok_or_else(outside)?;
        Ok(self.position)
    }
}
