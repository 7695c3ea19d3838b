//! Size and preparation of batches.

/// Options of a loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Images per batch, at least 1.
    pub batch_size: usize,
    /// Number of threads that decode; with 0, the consumer decodes.
    pub workers: usize,
    /// Seed of the order of every epoch and of the augmentation of every image.
    pub seed: u64,
    /// Stop at the first image that cannot be decoded, instead of replacing it.
    pub strict: bool,
}
