//! Choice of the display of progress.

use std::io::{self, IsTerminal};

use super::console::Console;
use super::screen::{RunExtent, Screen};
use super::terminal::Terminal;

/// Destination of progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Display {
    /// burn-train's interface if a person is at the terminal, lines on standard output otherwise.
    #[default]
    Auto,
    /// Lines on standard error, which leaves standard output to machine-readable results.
    Stderr,
    /// None; the run log has everything.
    Quiet,
}

impl Display {
    /// Opens it for a run that is `alone` unless several ranks train it: they share a terminal. `dashboard` is the address
    /// of the run's dashboard; lines of text have it above them already.
    pub(crate) fn open(self, extent: RunExtent, alone: bool, dashboard: Option<&str>) -> Option<Box<dyn Screen>> {
        // `mpirun` makes standard output a terminal that nobody types at.
        let interactive = alone && io::stdin().is_terminal() && io::stdout().is_terminal();
        match self {
            Self::Auto if interactive => Some(Box::new(Terminal::open(extent, dashboard))),
            Self::Auto => Some(Box::new(Console::new(io::stdout(), extent))),
            Self::Stderr => Some(Box::new(Console::new(io::stderr(), extent))),
            Self::Quiet => None,
        }
    }
}
