#![doc = include_str!("README.md")]

/// `registry.toml`: one table for each set of named weights.
pub const REGISTRY: &str = include_str!("registry.toml");

/// Weight files that are part of the program, by file name: none without the feature `embedded`.
pub const BUILT_IN: &[(&str, &[u8])] = &[
    #[cfg(feature = "embedded")]
    ("imagenette.safetensors", include_bytes!("imagenette.safetensors")),
];
