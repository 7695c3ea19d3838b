//! Processes that a test talks to while they run.

use std::io::{BufRead as _, BufReader, Read};
use std::process::Child;
use std::thread;

/// A process that ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The rest of the first line of `output` that begins with `prefix`. Later lines are read and dropped.
pub fn value_after(prefix: &str, output: impl Read + Send + 'static) -> String {
    let mut lines = BufReader::new(output).lines();
    let value = lines
        .by_ref()
        .find_map(|line| Some(line.unwrap().strip_prefix(prefix)?.to_owned()))
        .unwrap_or_else(|| panic!("no line begins with `{prefix}`"));
    // A process whose output nobody reads blocks.
    thread::spawn(move || lines.for_each(drop));
    value
}
