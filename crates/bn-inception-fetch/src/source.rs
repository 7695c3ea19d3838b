//! A published file.

use crate::checksum::Checksum;

/// Largest file that is read or downloaded, in bytes. No published file of this network reaches a fifth of it.
pub const LARGEST_FILE: u64 = 256 << 20;

/// A published file: its address, and what a copy of it has to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Address, `http` or `https`.
    pub url: String,
    /// File name in the cache folder. It must have no folder in front.
    pub file: String,
    /// Length in bytes, where it is published.
    pub size: Option<u64>,
    /// Published checksum.
    pub checksum: Checksum,
}

impl Source {
    /// Checks a length in bytes, before the content is known.
    pub(crate) fn check_size(&self, found: u64) -> Result<(), Mismatch> {
        match self.size {
            Some(expected) if found != expected => Err(Mismatch::Size { found, expected }),
            None if found > LARGEST_FILE => Err(Mismatch::TooLong { limit: LARGEST_FILE }),
            _ => Ok(()),
        }
    }

    /// Checks length and checksum.
    pub(crate) fn check(&self, content: &[u8]) -> Result<(), Mismatch> {
        self.check_size(content.len() as u64)?;
        let found = self.checksum.of(content);
        if self.checksum.accepts(&found) {
            Ok(())
        } else {
            Err(Mismatch::Checksum { found, expected: self.checksum.clone() })
        }
    }
}

/// Difference between a file and the published one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// In length.
    #[error("{found} bytes, expected {expected}")]
    Size {
        /// Length in bytes.
        found: u64,
        /// Published length.
        expected: u64,
    },
    /// Longer than any weight file of this network.
    #[error("more than {limit} bytes")]
    TooLong {
        /// Largest number of bytes that is read.
        limit: u64,
    },
    /// In content.
    #[error("checksum {found}, expected {expected}")]
    Checksum {
        /// The file's digits.
        found: String,
        /// Published checksum.
        expected: Checksum,
    },
}
