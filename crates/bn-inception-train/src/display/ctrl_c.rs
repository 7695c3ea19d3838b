//! Ctrl-C under burn-train's terminal interface.
//!
//! The interface puts the terminal into raw mode, in which Ctrl-C is a key like any other and sends no signal; it does
//! so on its own thread, at an unknown time. That one effect of raw mode is undone here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Interval between two checks of the terminal's mode.
const INTERVAL: Duration = Duration::from_millis(250);

/// Keeps Ctrl-C working until it is dropped.
pub(super) struct KeepCtrlC {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl KeepCtrlC {
    pub(super) fn start() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let seen = ended.clone();
        let watch = move || {
            while !seen.load(Ordering::Relaxed) {
                enable();
                thread::sleep(INTERVAL);
            }
        };
        // Without the thread the interface's own key, `q`, still stops the run.
        let thread = thread::Builder::new().name("ctrl-c".to_owned()).spawn(watch).ok();
        Self { ended, thread }
    }
}

impl Drop for KeepCtrlC {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The thread cannot panic.
            let _ = thread.join();
        }
    }
}

#[cfg(unix)]
fn enable() {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    let terminal = std::io::stdin();
    if let Ok(mut mode) = tcgetattr(&terminal)
        && !mode.local_modes.contains(LocalModes::ISIG)
    {
        mode.local_modes.insert(LocalModes::ISIG);
        // Fails if the terminal has just been closed, which ends the run by another signal.
        let _ = tcsetattr(&terminal, OptionalActions::Now, &mode);
    }
}

#[cfg(not(unix))]
fn enable() {}
