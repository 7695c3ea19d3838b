//! Choosing what shows progress.

use std::io::{self, IsTerminal};

use super::console::Console;
use super::screen::{Plan, Screen};
use super::terminal::Terminal;

/// The place where progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Display {
    /// burn-train's interface if standard output is a terminal, lines on standard output if not.
    #[default]
    Auto,
    /// Lines on standard error: standard output is for a machine.
    Stderr,
    /// Nowhere; the run log has it all.
    Quiet,
}

impl Display {
    pub(crate) fn open(self, plan: Plan) -> Option<Box<dyn Screen>> {
        match self {
            Self::Auto if io::stdout().is_terminal() => Some(Box::new(Terminal::open(plan))),
            Self::Auto => Some(Box::new(Console::new(io::stdout(), plan))),
            Self::Stderr => Some(Box::new(Console::new(io::stderr(), plan))),
            Self::Quiet => None,
        }
    }
}
