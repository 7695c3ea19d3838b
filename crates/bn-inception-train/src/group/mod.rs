//! Processes that train one network together: data-parallel training.
//!
//! The unit of work is a *part*: one batch, of which an optimizer step averages the gradients of
//! [`accumulate`](crate::Choices::accumulate). A [`Group`] of N processes, called ranks, shares them out: each rank takes
//! the next N-th of the parts of a step, all ranks get the sum of all gradients, and each makes the same update. The sum
//! is taken in a fixed binary tree over the parts, whatever rank has computed which, so that a run on 1, 2, 4 … ranks
//! ends with the same bits.
//!
//! Batch normalisation normalises with the statistics of a part, as is usual in data-parallel training. The running
//! statistics blend those of all parts, in order. Rank 0 alone writes: log, checkpoints, results.
//!
//! [`Alone`] is the group of one process. The crate `bn-inception-mpi` has one over MPI.

mod agreement;
mod alone;
mod broken;
mod record;
mod share;
mod tree;

pub use alone::Alone;
pub use tree::sum_in_tree;

pub(crate) use agreement::Terms;
pub(crate) use broken::SharedBroken;
pub(crate) use record::{PartRecord, StepRecord, exchange, read, write};
pub(crate) use share::{own_parts, own_steps};
pub(crate) use tree::Tree;

/// Processes that call the same methods in the same order. Each method returns once all ranks have called it.
///
/// Methods do not return errors: a group whose connection is lost ends its processes.
pub trait Group: Send + Sync {
    /// Number of this process, from 0.
    fn rank(&self) -> usize;

    /// Number of processes.
    fn size(&self) -> usize;

    /// Replaces `values`, equally many on all ranks, by the sum of those of the first `ranks` ranks, by
    /// [`sum_in_tree`].
    fn reduce(&self, values: &mut [f32], ranks: usize);

    /// The `records` of all ranks, in the order of the ranks, on all of them.
    fn gather(&self, record: &[u8]) -> Vec<Vec<u8>>;

    /// `bytes` of rank 0, on all ranks; those of the others are ignored.
    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8>;

    /// Ends all processes of the group at once, as after an error of this one.
    fn abort(&self) -> !;
}
