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
mod membership;
mod record;
mod share;
mod tree;

pub use alone::Alone;
pub use membership::Group;
pub use tree::sum_in_tree;

pub(crate) use agreement::Terms;
pub(crate) use broken::SharedBroken;
pub(crate) use record::{PartRecord, StepRecord, exchange, read, write};
pub(crate) use share::{own_parts, own_steps};
pub(crate) use tree::Tree;
