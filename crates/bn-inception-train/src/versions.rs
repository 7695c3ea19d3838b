//! Versions of the crates that affect the results of a run.

/// Version of Burn that the workspace pins; Burn itself has no constant for it.
const BURN_VERSION: &str = "0.22.1";

/// Names and versions of the crates that affect the results of a run, for
/// [`Start::of_program`](bn_inception_dashboard::run_log::Start::of_program).
pub const VERSIONS: [(&str, &str); 2] = [
    // Our crates all have the same version.
    ("bn-inception", env!("CARGO_PKG_VERSION")),
    ("burn", BURN_VERSION),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burn_is_the_one_that_is_pinned() {
        let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
        let manifest = std::fs::read_to_string(workspace).unwrap();
        let pinned = format!("burn = {{ version = \"={BURN_VERSION}\"");
        assert!(manifest.contains(&pinned), "{pinned}");
    }
}
