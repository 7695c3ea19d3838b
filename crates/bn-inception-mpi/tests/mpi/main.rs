//! Runs on several processes, launched by `mpirun`: the bits of one process, and an end for all when one fails.

#![allow(clippy::unwrap_used)] // a failed setup step is a failed test

#[cfg(feature = "mpi")]
mod child;
#[cfg(feature = "mpi")]
mod job;
#[cfg(feature = "mpi")]
mod runs;

use std::io::Write as _;

/// Says on standard error that the tests are skipped, or fails if `BN_INCEPTION_REQUIRE`, a comma-separated list, names
/// `mpi`.
#[allow(dead_code)] // with the feature, called only where there is no `mpirun`
fn missing(why: &str) {
    let required = std::env::var("BN_INCEPTION_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name.trim() == "mpi"), "BN_INCEPTION_REQUIRE demands mpi: {why}");
    // Not `eprintln!`, which the test harness captures when a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: no mpi: {why}");
}

#[cfg(not(feature = "mpi"))]
#[test]
fn ranks() {
    missing("built without --features mpi");
}
