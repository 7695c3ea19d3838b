//! The time from joining the other processes to leaving them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{panic, process, thread};

use bn_inception_train::group::Group;
use mpi::Threading;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;

use crate::group::MpiGroup;
use crate::last_words::LastWords;
use crate::watch::Watch;

/// Time that rank 0 has to report a failure before another rank reports its own: if all fail alike, as for a file that
/// does not exist, one line appears instead of one for each rank.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// MPI cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MpiError {
    /// It was started before in this process.
    #[error("MPI was started before in this process")]
    Started,
}

/// This process's membership in the group that it was launched with. Dropping it waits for the others.
pub struct Mpi {
    group: Arc<MpiGroup>,
    last_words: LastWords,
    local_rank: usize,
    // Dropped last: MPI ends with it.
    _universe: Universe,
}

impl Mpi {
    /// Joins the group. From here on a panic, on any thread, ends all its processes, and so does a rank that neither
    /// goes on nor hears of the others for `patience`. Both say which rank, and name the newest checkpoint.
    ///
    /// MPI is called from the current thread only.
    ///
    /// # Errors
    /// [`MpiError::Started`] if the process has joined before. Where there is no MPI to join, the library itself ends
    /// the process with a message.
    pub fn start(patience: Duration) -> Result<Self, MpiError> {
        let (universe, _) = mpi::initialize_with_threading(Threading::Funneled).ok_or(MpiError::Started)?;
        let world = universe.world();
        let (rank, size) = (world.rank(), world.size());
        let local_rank = world.split_shared(rank).rank() as usize;
        let last_words = LastWords::new(rank as usize);
        let words = last_words.clone();
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            default(info);
            words.say("a thread panicked");
            // MPI belongs to another thread, which may be waiting in it. Launchers end the job when a process dies.
            process::abort();
        }));
        let watch = Watch::start(patience, last_words.clone());
        let group = Arc::new(MpiGroup::new(rank as usize, size as usize, watch));
        Ok(Self { group, last_words, local_rank, _universe: universe })
    }

    /// The group, for [`Trainer::with_group`](bn_inception_train::Trainer::with_group).
    pub fn group(&self) -> Arc<dyn Group> {
        self.group.clone()
    }

    /// Number of this process among those on the same machine, from 0: that of its GPU, say.
    pub fn local_rank(&self) -> usize {
        self.local_rank
    }

    /// Lets messages of failures name the newest checkpoint of the run in the folder `out`.
    pub fn report_checkpoints_of(&self, out: &Path) {
        self.last_words.report_checkpoints_of(out);
    }

    /// Reports a failure of this rank on standard error, and ends all processes of the group with this exit code.
    pub fn fail(&self, what: &str, code: i32) -> ! {
        if self.group.rank() > 0 {
            thread::sleep(FIRST_WORD);
        }
        self.last_words.say(&format!("error: {what}"));
        SimpleCommunicator::world().abort(code)
    }
}
