//! The processes that train one network: this one alone, or those that `mpirun` launched.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use bn_inception_train::Outcome;
use bn_inception_train::group::{Alone, Group};

use crate::Failure;
use crate::training::{Flag, OutFolder, finish};

/// Variables in which launchers tell the number of processes: those of Open MPI, MPICH and Slurm.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// This process's membership.
pub struct Ranks {
    #[cfg(feature = "mpi")]
    mpi: Option<bn_inception_mpi::Mpi>,
}

/// Number of processes that this one was launched with.
fn launched() -> usize {
    let size = |name| std::env::var(name).ok()?.parse().ok();
    SIZES.into_iter().find_map(size).unwrap_or(1)
}

impl Ranks {
    /// Joins the processes that this one was launched with.
    ///
    /// # Errors
    /// [`Failure`] if there are others and the program was built without the feature `mpi`.
    #[cfg(feature = "mpi")]
    pub fn join(stall_minutes: u64) -> Result<Self, Failure> {
        let patience = std::time::Duration::from_secs(60 * stall_minutes);
        let mpi = if launched() > 1 { Some(bn_inception_mpi::Mpi::start(patience)?) } else { None };
        Ok(Self { mpi })
    }

    /// Joins the processes that this one was launched with.
    ///
    /// # Errors
    /// [`Failure`] if there are others, for which the feature `mpi` is needed.
    #[cfg(not(feature = "mpi"))]
    pub fn join(_stall_minutes: u64) -> Result<Self, Failure> {
        match launched() {
            0 | 1 => Ok(Self {}),
            ranks => Err(format!("launched as {ranks} processes, but built without --features mpi").into()),
        }
    }

    #[cfg(feature = "mpi")]
    fn mpi(&self) -> Option<&bn_inception_mpi::Mpi> {
        self.mpi.as_ref()
    }

    /// The group, for the trainer.
    pub fn group(&self) -> Arc<dyn Group> {
        #[cfg(feature = "mpi")]
        if let Some(mpi) = self.mpi() {
            return mpi.group();
        }
        Arc::new(Alone)
    }

    /// True in the process that reports: rank 0.
    pub fn is_first(&self) -> bool {
        self.group().rank() == 0
    }

    /// `device` with `:local` replaced by the number of this process on its machine: each takes a GPU of its own.
    pub fn device(&self, device: &str) -> String {
        let Some(kind) = device.strip_suffix(":local") else {
            return device.to_owned();
        };
        #[cfg(feature = "mpi")]
        let local = self.mpi().map_or(0, bn_inception_mpi::Mpi::local_rank);
        #[cfg(not(feature = "mpi"))]
        let local = 0;
        format!("{kind}:{local}")
    }

    /// The output folder, which rank 0 chooses for all.
    ///
    /// # Errors
    /// [`Failure`] if a new one cannot be created.
    pub fn choose_out(&self, given: Option<PathBuf>, resume: bool) -> Result<OutFolder, Failure> {
        let group = self.group();
        let chosen = if self.is_first() { Some(OutFolder::choose(given, resume)?) } else { None };
        let path = chosen.as_ref().map(|out| serde_json::to_vec(out.path())).transpose()?.unwrap_or_default();
        let path: PathBuf = serde_json::from_slice(&group.broadcast(path))?;
        #[cfg(feature = "mpi")]
        if let Some(mpi) = self.mpi() {
            mpi.report_checkpoints_of(&path);
        }
        Ok(chosen.unwrap_or_else(|| OutFolder::of_another_process(path)))
    }

    /// [`finish`] in rank 0. A failure of any rank ends all of them.
    pub fn finish(self, program: &str, ending: Result<Outcome, Failure>, json: bool, flags: &[Flag<'_>]) -> ExitCode {
        #[cfg(feature = "mpi")]
        if let (Some(mpi), Err(error)) = (self.mpi(), &ending) {
            mpi.fail(&error.to_string(), crate::failure_code(error.as_ref()).into());
        }
        let is_stopped = matches!(ending, Ok(Outcome::Stopped { .. }));
        let code = if self.is_first() { finish(program, ending, json, flags) } else { ExitCode::SUCCESS };
        // Launchers end the other processes when one ends with an error: not before rank 0 has saved and spoken.
        self.group().gather(&[]);
        if is_stopped { ExitCode::from(crate::training::STOPPED) } else { code }
    }
}
