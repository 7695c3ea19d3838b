//! An image that is packed.

/// Name and class of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `CLASS/FILE`.
    pub name: String,
    /// Index of the class.
    pub class: usize,
}
