//! Orderly stopping of a run from outside.

use std::sync::{Arc, OnceLock};

/// A request to stop, which a run checks between two steps. Clones share the request.
#[derive(Debug, Clone, Default)]
pub struct StopSignal(Arc<OnceLock<&'static str>>);

impl StopSignal {
    /// A signal not given yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the run to finish its step, save and stop. `reason` goes into the run's log; only the first call counts.
    pub fn stop(&self, reason: &'static str) {
        self.0.get_or_init(|| reason);
    }

    /// True once the run has been asked to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.reason().is_some()
    }

    /// The reason given, once the run has been asked to stop.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        self.0.get().copied()
    }

    /// A signal given by the first Ctrl-C (or SIGTERM, or the closing of the terminal). The second one ends the process
    /// at once with exit code 130. SIGUSR1, of which `mpirun` and job schedulers can warn, only ever gives the signal.
    ///
    /// # Errors
    /// [`ctrlc::Error`] if the system refuses, or the process has such a handler already.
    pub fn on_ctrl_c() -> Result<Self, ctrlc::Error> {
        let signal = Self::new();
        let seen = signal.clone();
        ctrlc::set_handler(move || {
            if seen.is_stopped() {
                std::process::exit(130);
            }
            seen.stop("Ctrl-C or a signal");
            eprintln!("stopping after this step; press Ctrl-C again to stop without saving");
        })?;
        #[cfg(unix)]
        signal.stop_on_user_signal().map_err(ctrlc::Error::System)?;
        Ok(signal)
    }

    #[cfg(unix)]
    fn stop_on_user_signal(&self) -> std::io::Result<()> {
        use signal_hook::{consts::SIGUSR1, iterator::Signals};
        let mut signals = Signals::new([SIGUSR1])?;
        let signal = self.clone();
        let thread = std::thread::Builder::new().name("signals".to_owned());
        thread.spawn(move || signals.forever().for_each(|_| signal.stop("SIGUSR1")))?;
        Ok(())
    }
}
