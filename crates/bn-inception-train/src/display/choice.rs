//! Choice of the display of progress.

use std::io::{self, IsTerminal};

use super::console::Console;
use super::screen::{RunExtent, Screen};
use super::terminal::Terminal;

/// Destination of progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Display {
    /// burn-train's interface if standard output is a terminal, lines on standard output otherwise.
    #[default]
    Auto,
    /// Lines on standard error, which leaves standard output to machine-readable results.
    Stderr,
    /// None; the run log has everything.
    Quiet,
}

impl Display {
    /// Opens it. `dashboard` is the address of the run's dashboard; lines of text have it above them already.
    pub(crate) fn open(self, extent: RunExtent, dashboard: Option<&str>) -> Option<Box<dyn Screen>> {
        match self {
            Self::Auto if io::stdout().is_terminal() => Some(Box::new(Terminal::open(extent, dashboard))),
            Self::Auto => Some(Box::new(Console::new(io::stdout(), extent))),
            Self::Stderr => Some(Box::new(Console::new(io::stderr(), extent))),
            Self::Quiet => None,
        }
    }
}
