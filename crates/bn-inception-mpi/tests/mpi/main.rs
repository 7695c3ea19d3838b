//! Runs on several processes, launched by `mpirun`: the bits of one process, and an end for all when one fails.

#![allow(clippy::unwrap_used)] // a failed setup step is a failed test

#[cfg(feature = "mpi")]
mod child;
#[cfg(feature = "mpi")]
mod job;
#[cfg(feature = "mpi")]
mod runs;

#[cfg(not(feature = "mpi"))]
#[test]
fn ranks() {
    bn_inception_tests::missing("mpi", "built without --features mpi");
}
