//! Size and preparation of batches.

/// Options of a loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Images per batch, at least 1.
    pub batch_size: usize,
    /// Number of threads that decode; with 0, the consumer decodes. On Linux they have a low priority, so that as many
    /// as there are cores do not slow down computation on the same cores.
    pub workers: usize,
    /// Seed of the order of every epoch and of the augmentation of every image.
    pub seed: u64,
    /// Stop at the first image that cannot be decoded, instead of replacing it.
    pub strict: bool,
}

impl Default for LoaderOptions {
    /// Batches of 32, decoded by as many threads as the processor has cores; seed 0, not strict.
    fn default() -> Self {
        Self {
            batch_size: 32,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            seed: 0,
            strict: false,
        }
    }
}
