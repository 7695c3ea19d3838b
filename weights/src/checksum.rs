//! What a published file has to add up to, in whichever form it was published.

use std::fmt;
use std::io::{self, Read};

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
    /// All digits of the checksum, in this form, of `size` bytes read from `content`.
    ///
    /// # Errors
    /// What reading says.
    pub fn of(&self, content: &mut impl Read, size: u64) -> io::Result<String> {
        match self {
            Checksum::Sha256(_) | Checksum::TorchHub(_) => digest(Sha256::new(), content),
            Checksum::GitBlob(_) => {
                let header = format!("blob {size}\0");
                digest(Sha1::new_with_prefix(header), content)
            }
        }
    }

    /// Whether a file whose digits are `found` is the published one.
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

fn digest<D: Digest>(mut digest: D, content: &mut impl Read) -> io::Result<String> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(hex::encode(digest.finalize())),
            Ok(n) => digest.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(checksum: &Checksum, content: &[u8]) -> String {
        let size = content.len() as u64;
        checksum.of(&mut &content[..], size).unwrap()
    }

    #[test]
    fn sha256_is_the_standards() {
        // FIPS 180-4's example `abc`.
        let all = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let checksum = Checksum::Sha256(all.to_owned());
        assert_eq!(of(&checksum, b"abc"), all);
        assert!(checksum.accepts(all) && !checksum.accepts(&all[..63]));
        let prefix = Checksum::TorchHub(all[..9].to_owned());
        assert!(prefix.accepts(&of(&prefix, b"abc")) && !prefix.accepts(&of(&prefix, b"abd")));
    }

    #[test]
    fn a_blob_is_gits() {
        // `printf 'hello\n' | git hash-object --stdin`
        let id = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert_eq!(of(&Checksum::GitBlob(id.to_owned()), b"hello\n"), id);
    }
}
