//! Running the programs under test, and skipping tests whose requirements are missing.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The example program called `name`, built beside this test (`cargo test --workspace` builds the examples first).
///
/// # Panics
/// If it has not been built.
pub fn program(name: &str) -> Command {
    let test = env::current_exe().unwrap_or_default();
    let profile = test.ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    let path = profile.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is missing: run `cargo build --examples` first", path.display());
    Command::new(path)
}

/// Runs `name` with `arguments` to its end.
///
/// # Panics
/// If it cannot be started.
pub fn run(name: &str, arguments: &[&str]) -> Output {
    match program(name).args(arguments).output() {
        Ok(output) => output,
        Err(error) => panic!("{name}: {error}"),
    }
}

/// Standard output of a run that has to succeed.
///
/// # Panics
/// If it fails; the message holds its standard error.
pub fn succeed(name: &str, arguments: &[&str]) -> String {
    let output = run(name, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The one line on standard error of a run that has to fail, which must contain every one of `parts`.
///
/// # Panics
/// If it succeeds, panics, prints more than one line about the error, or leaves a part out.
pub fn fail(name: &str, arguments: &[&str], parts: &[&str]) {
    let output = run(name, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{name} {arguments:?} succeeded");
    assert!(!stderr.contains("panicked"), "{name} {arguments:?}: {stderr}");
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error")).collect();
    let [line] = errors.as_slice() else {
        panic!("{name} {arguments:?}: expected one line of error, got: {stderr}");
    };
    for part in parts {
        assert!(line.contains(part), "{name} {arguments:?}: `{line}` does not say `{part}`");
    }
}

/// `mpirun`, told to launch this many processes of the program that is its next argument, more than there are cores if need
/// be; `None`, which is said, if it is not installed. Temporary files of the job are in `folder`: in a common one, two jobs that
/// start at once get in each other's way.
///
/// # Panics
/// As [`missing`].
pub fn mpirun(ranks: usize, folder: &Path) -> Option<Command> {
    let Ok(version) = Command::new("mpirun").arg("--version").output() else {
        missing("mpi", "mpirun is not installed");
        return None;
    };
    let mut command = Command::new("mpirun");
    if String::from_utf8_lossy(&version.stdout).contains("Open MPI") {
        command.args(["--oversubscribe", "--bind-to", "none"]);
        command.envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
    }
    command.args(["-n", &ranks.to_string()]).env("TMPDIR", folder);
    Some(command)
}

/// Says on standard error that a test is skipped because `requirement` is missing, with the reason.
///
/// # Panics
/// If `BN_INCEPTION_REQUIRE`, a comma-separated list of `python`, `browser`, `gpu`, `mpi` and `torch`, names the requirement.
pub fn missing(requirement: &str, why: &str) {
    let required = env::var("BN_INCEPTION_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name.trim() == requirement),
        "BN_INCEPTION_REQUIRE demands {requirement}: {why}"
    );
    // Not `eprintln!`, which the test harness captures when a test passes.
    let _ = writeln!(io::stderr(), "skipped: no {requirement}: {why}");
}
