//! Progress for people: burn-train's terminal interface, or lines of text.

mod choice;
mod console;
mod ctrl_c;
mod screen;
mod terminal;

pub use choice::Display;
pub(crate) use screen::{RunExtent, Screen};
