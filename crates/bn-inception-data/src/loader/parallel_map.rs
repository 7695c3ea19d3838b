//! A function of each item of a list, computed by several threads.

use std::sync::Arc;

use super::error::LoaderError;
use super::prefetch::{Prefetch, Work};

/// Iterator over the results of a function for the items of a list, in order and in batches. Threads compute them; the
/// batches are the same for any number of threads.
///
/// ```
/// use bn_inception_data::ParallelMap;
///
/// let words = ["batch", "normalization", "inception"].map(str::to_owned).to_vec();
/// let lengths = ParallelMap::new(words, 2, 4, |word: &String| word.len())?;
/// assert_eq!(lengths.collect::<Result<Vec<_>, _>>()?, [vec![5, 13], vec![9]]);
/// # Ok::<(), bn_inception_data::LoaderError>(())
/// ```
pub struct ParallelMap<I: Send + Sync + 'static, T: Send + 'static>(Prefetch<Map<I, T>>);

/// The function of an item.
type Function<I, T> = Box<dyn Fn(&I) -> T + Send + Sync>;

struct Map<I, T> {
    items: Arc<[I]>,
    batch_size: usize,
    function: Function<I, T>,
}

impl<I: Send + Sync + 'static, T: Send + 'static> ParallelMap<I, T> {
    /// Starts `workers` threads, of low priority as a loader's; with 0, the consumer computes.
    ///
    /// # Errors
    /// [`LoaderError`] if the batch size is 0 or a thread cannot be started.
    pub fn new(
        items: impl Into<Arc<[I]>>,
        batch_size: usize,
        workers: usize,
        function: impl Fn(&I) -> T + Send + Sync + 'static,
    ) -> Result<Self, LoaderError> {
        Self::from_batch(0, items, batch_size, workers, function)
    }

    /// [`Self::new`] without the first `start` batches.
    ///
    /// # Errors
    /// As of [`Self::new`].
    pub fn from_batch(
        start: usize,
        items: impl Into<Arc<[I]>>,
        batch_size: usize,
        workers: usize,
        function: impl Fn(&I) -> T + Send + Sync + 'static,
    ) -> Result<Self, LoaderError> {
        if batch_size == 0 {
            return Err(LoaderError::NoBatchSize);
        }
        let items = items.into();
        let batches = items.len().div_ceil(batch_size);
        let work = Map { items, batch_size, function: Box::new(function) };
        Ok(Self(Prefetch::new(work, start, batches, workers).map_err(LoaderError::Threads)?))
    }
}

impl<I: Send + Sync + 'static, T: Send + 'static> Iterator for ParallelMap<I, T> {
    type Item = Result<Vec<T>, LoaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next()?.map_err(LoaderError::Panicked))
    }
}

impl<I: Send + Sync + 'static, T: Send + 'static> Work for Map<I, T> {
    type Item = T;
    type Batch = Vec<T>;

    fn items(&self, batch: usize) -> usize {
        self.batch_size.min(self.items.len() - batch * self.batch_size)
    }

    fn item(&self, batch: usize, place: usize) -> T {
        (self.function)(&self.items[batch * self.batch_size + place])
    }

    fn assemble(&self, items: Vec<T>) -> Vec<T> {
        items
    }
}
