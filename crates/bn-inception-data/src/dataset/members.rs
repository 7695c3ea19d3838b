//! Members of a tar archive, found by seeking from header to header.

use std::fs::File;
use std::io::Read as _;

use tar::EntryType;

use super::archive::{ArchiveError, Window, read_range};
use crate::decode::{START, format_of};
use crate::files::is_named_as_image;

/// First bytes of gzip and zstd.
const COMPRESSED: [&[u8]; 2] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd]];

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Path, with `/` between its parts and no `.` among them.
    pub(super) path: String,
    /// Position of its first byte in the file.
    pub(super) offset: u64,
    /// Length in bytes.
    pub(super) length: u64,
    /// `false` for links and devices.
    pub(super) is_file: bool,
}

impl Member {
    /// Last part of the path.
    pub(super) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// `true` if a part of the path starts with a dot.
    pub(super) fn is_hidden(&self) -> bool {
        self.path.split('/').any(|part| part.starts_with('.'))
    }

    /// `true` for an image by name or, failing that, by its first bytes in `file`: the rule of folders.
    pub(super) fn is_image(&self, file: &File) -> bool {
        let start = || read_range(file, self.offset, START.min(self.length as usize));
        self.is_file
            && (is_named_as_image(self.path.as_ref()) || start().is_ok_and(|start| format_of(&start).is_some()))
    }
}

/// The members of the tar archive in the bytes `start..start + length` of `file`, without folders. A member is never
/// read, and all of them lie within the range.
///
/// # Errors
/// [`ArchiveError`] if a header is damaged, the archive is cut short, or data follows its end.
pub(super) fn members(file: &File, start: u64, length: u64) -> Result<Vec<Member>, ArchiveError> {
    let first = read_range(file, start, length.min(4) as usize)?;
    if COMPRESSED.iter().any(|magic| first.starts_with(magic)) {
        return Err(ArchiveError::Compressed);
    }
    let mut archive = tar::Archive::new(Window::new(file, start, length));
    let mut members = Vec::new();
    let mut end = 0_u64;
    for entry in archive.entries_with_seek()? {
        let damaged = |error: std::io::Error| ArchiveError::Header { position: start + end, reason: error.to_string() };
        let entry = entry.map_err(damaged)?;
        let text = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (offset, size) = (entry.raw_file_position(), entry.size());
        let last = offset.checked_add(size).filter(|last| *last <= length);
        let Some(last) = last else {
            let end = (start + offset).saturating_add(size);
            return Err(ArchiveError::CutShort { member: text, end, bytes: start + length });
        };
        end = last;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        let parts: Vec<_> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let is_file = matches!(kind, EntryType::Regular | EntryType::Continuous);
        members.push(Member { path: parts.join("/"), offset: start + offset, length: size, is_file });
    }
    check_end(file, start, length, end)?;
    Ok(members)
}

/// Checks that nothing but zeros follows the last member, which ends at `end`, and at least one block of them.
fn check_end(file: &File, start: u64, length: u64, end: u64) -> Result<(), ArchiveError> {
    const BLOCK: u64 = 512;
    let mark = end.next_multiple_of(BLOCK);
    if length < mark + BLOCK {
        return Err(ArchiveError::NoEnd { position: start + end });
    }
    let mut rest = Window::new(file, start + mark, length - mark);
    let mut bytes = [0; 1 << 16];
    loop {
        match rest.read(&mut bytes)? {
            0 => return Ok(()),
            count if bytes[..count].iter().all(|byte| *byte == 0) => {}
            _ => return Err(ArchiveError::AfterEnd { position: start + mark }),
        }
    }
}
