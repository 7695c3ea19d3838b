//! The weights that come with bn-inception, by name. Each has a model card beside it.

/// Weights built into this crate.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The name to ask for them by.
    pub name: &'static str,
    /// One line about them.
    pub about: &'static str,
    /// A safetensors file.
    pub bytes: &'static [u8],
}

/// Every entry.
pub const ENTRIES: &[Entry] = &[Entry {
    name: "imagenette",
    about: "ten ImageNet classes, BN-Inception at half width, 128 pixels",
    bytes: include_bytes!("../imagenette.safetensors"),
}];

/// The entry called `name`.
pub fn named(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}
