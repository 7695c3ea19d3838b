//! Plans: feature maps and their memory, and the threads that run the steps.

pub(crate) mod border;
pub(crate) mod context;
pub(crate) mod images;
pub(crate) mod layout;
pub(crate) mod memory;
pub(crate) mod team;
