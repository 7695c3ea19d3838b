//! Plans: feature maps and their memory, and the threads that run the steps.

pub(crate) mod border;
pub(crate) mod cache;
pub(crate) mod context;
pub(crate) mod error;
pub(crate) mod images;
pub(crate) mod layout;
pub(crate) mod memory;
pub(crate) mod options;
pub(crate) mod output;
pub(crate) mod precision;
pub(crate) mod team;
pub(crate) mod time;
pub(crate) mod window;
