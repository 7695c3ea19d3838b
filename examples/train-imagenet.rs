//! Train.
fn main() {}
