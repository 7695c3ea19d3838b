//! Published checksums, in whichever form they were published.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A published checksum, in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// All 64 digits of the file's SHA-256.
    Sha256(String),
    /// The first digits of the file's SHA-256, as torch hub puts them into file names.
    TorchHub(String),
    /// The id git gives the file: SHA-1 of `blob SIZE\0` and the content
    /// (<https://git-scm.com/book/en/v2/Git-Internals-Git-Objects>).
    GitBlob(String),
}

impl Checksum {
    /// All digits of the checksum of `content`, in this form.
    pub fn of(&self, content: &[u8]) -> String {
        match self {
            Checksum::Sha256(_) | Checksum::TorchHub(_) => hex::encode(Sha256::digest(content)),
            Checksum::GitBlob(_) => {
                let header = format!("blob {}\0", content.len());
                hex::encode(Sha1::new_with_prefix(header).chain_update(content).finalize())
            }
        }
    }

    /// True if a file whose digits are `found` is the published one.
    pub fn accepts(&self, found: &str) -> bool {
        match self {
            Checksum::TorchHub(prefix) => found.starts_with(prefix),
            Checksum::Sha256(all) | Checksum::GitBlob(all) => found == all,
        }
    }
}

/// The checksum as a person would check it: `sha256 37ed…`, `sha256 52deb4733…`, `git blob d386…`.
impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checksum::Sha256(all) => write!(f, "sha256 {all}"),
            Checksum::TorchHub(prefix) => write!(f, "sha256 {prefix}…"),
            Checksum::GitBlob(all) => write!(f, "git blob {all}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_the_standards() {
        // FIPS 180-4's example `abc`.
        let all = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let checksum = Checksum::Sha256(all.to_owned());
        assert_eq!(checksum.of(b"abc"), all);
        assert!(checksum.accepts(all) && !checksum.accepts(&all[..63]));
        let prefix = Checksum::TorchHub(all[..9].to_owned());
        assert!(prefix.accepts(&prefix.of(b"abc")) && !prefix.accepts(&prefix.of(b"abd")));
    }

    #[test]
    fn a_blob_is_gits() {
        // `printf 'hello\n' | git hash-object --stdin`
        let id = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert_eq!(Checksum::GitBlob(id.to_owned()).of(b"hello\n"), id);
    }
}
