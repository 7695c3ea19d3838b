//! Gives the programs the revision they were built from.

use std::path::Path;
use std::process::Command;

fn main() {
    // Everything that is compiled into the programs, which are rebuilt with it anyway.
    for source in ["../crates", "../Cargo.lock", "."] {
        println!("cargo::rerun-if-changed={source}");
    }
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    // Without git, or outside a checkout, the programs report no revision.
    if let Some(revision) = git(&["rev-parse", "--short=12", "HEAD"]) {
        let changes = git(&["status", "--porcelain", "--untracked-files=no"]);
        let mark = if changes.is_some() { "+" } else { "" };
        println!("cargo::rustc-env=BN_INCEPTION_REVISION={revision}{mark}");
    }
}

/// Output of git, unless it is empty.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
