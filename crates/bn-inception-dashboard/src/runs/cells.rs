//! Values of which only the newest counts.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// The values of which only the newest is shown, as JSON, by name.
#[derive(Debug, Default)]
pub struct Cells(BTreeMap<&'static str, Cell>);

#[derive(Debug)]
struct Cell {
    json: Box<RawValue>,
    step: u64,
    offset: u64,
}

impl Cells {
    /// Sets a cell to `value`, which holds from `step` on and comes from the line that ends at `offset` in the log.
    pub fn set(&mut self, name: &'static str, step: u64, offset: u64, value: &impl Serialize) {
        // Numbers, strings and lists of them are always JSON.
        let Ok(json) = to_raw_value(value) else {
            return;
        };
        let known = self.0.get(name);
        if known.is_none_or(|known| known.json.get() != json.get()) {
            self.0.insert(name, Cell { json, step, offset });
        }
    }

    /// Drops the values of later steps than `step`.
    pub fn truncate(&mut self, step: u64) {
        self.0.retain(|_, cell| cell.step <= step);
    }

    /// The values with a `wanted` name that changed after offset `since` in the log.
    pub fn since(&self, since: u64, wanted: impl Fn(&str) -> bool) -> BTreeMap<&str, &RawValue> {
        let changed = self.0.iter().filter(|(name, cell)| cell.offset > since && wanted(name));
        changed.map(|(name, cell)| (*name, &*cell.json)).collect()
    }
}
