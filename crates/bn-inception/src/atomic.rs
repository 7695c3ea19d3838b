//! Writing a file all or nothing.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Beginning of the names of files that are not whole yet.
pub const UNFINISHED: &str = ".writing-";

/// Writes `bytes` to `path`. The file is written beside its place, flushed to the disk and then
/// renamed: whenever the process or the machine dies, `path` is as it was or whole.
///
/// # Errors
/// What the file system says, and [`io::ErrorKind::InvalidInput`] if something other than a file is at `path`: a device,
/// say, which the rename would replace.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let message = "it exists and is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // The temporary files of the crate are for their owner's eyes only, and a rename keeps that;
    // what a run leaves behind has the permissions that the user's other files have.
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .make_in(folder, |path| File::create_new(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // Makes the rename itself survive a power cut. Other systems than Unix cannot open a folder.
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
