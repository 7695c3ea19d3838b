//! Snapshots of one value over a run of any length, in bounded memory.

use serde::Serialize;

/// Maximum number of snapshots kept.
const MOST_SNAPSHOTS: usize = 48;

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot<T> {
    /// Optimizer steps taken.
    pub step: u64,
    /// The value then.
    pub value: T,
    /// Number of snapshots before it, dropped ones included.
    #[serde(skip)]
    number: u64,
    /// Offset in the log of the line that holds it.
    #[serde(skip)]
    offset: u64,
}

/// Every n-th snapshot and the newest; n doubles when there are too many.
#[derive(Debug, Clone)]
pub struct Snapshots<T> {
    snapshots: Vec<Snapshot<T>>,
    stride: u64,
    pushed: u64,
    /// Offset in the log of the line that last changed more than the last snapshot.
    rewritten: u64,
}

impl<T> Default for Snapshots<T> {
    fn default() -> Self {
        Self { snapshots: Vec::new(), stride: 1, pushed: 0, rewritten: 0 }
    }
}

impl<T> Snapshots<T> {
    /// Appends a snapshot from the line that ends at `offset` in the log.
    pub fn push(&mut self, step: u64, value: T, offset: u64) {
        let stride = self.stride;
        self.snapshots.pop_if(|newest| !newest.number.is_multiple_of(stride));
        self.snapshots.push(Snapshot { step, value, number: self.pushed, offset });
        self.pushed += 1;
        if self.snapshots.len() > MOST_SNAPSHOTS {
            self.stride *= 2;
            let newest = self.pushed - 1;
            let stride = self.stride;
            self.snapshots.retain(|snapshot| snapshot.number.is_multiple_of(stride) || snapshot.number == newest);
            self.rewritten = offset;
        }
    }

    /// Drops the snapshots of later steps than `step`.
    pub fn truncate(&mut self, step: u64) {
        self.snapshots.retain(|snapshot| snapshot.step <= step);
    }

    /// Changes after offset `since` in the log, in the form of [`Series::since`](super::series::Series::since).
    pub fn since(&self, since: u64) -> Option<(usize, &[Snapshot<T>])> {
        let first = if since < self.rewritten {
            0
        } else {
            self.snapshots.partition_point(|snapshot| snapshot.offset <= since)
        };
        (first < self.snapshots.len()).then(|| (first, &self.snapshots[first..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_newest_are_always_there() {
        let mut kept = Snapshots::default();
        for step in 0..10_000_u64 {
            kept.push(step, step, step + 1);
            assert!(kept.snapshots.len() <= MOST_SNAPSHOTS);
            assert_eq!(kept.snapshots[0].value, 0);
            assert_eq!(kept.snapshots.last().unwrap().value, step);
        }
        assert!(kept.snapshots.len() > MOST_SNAPSHOTS / 2 - 1);
    }

    #[test]
    fn a_reader_that_takes_the_changes_has_the_whole() {
        let mut kept = Snapshots::default();
        let (mut copy, mut seen) = (Vec::new(), 0);
        for step in 1..=500_u64 {
            kept.push(step, step, step);
            if step % 7 == 0 || step % 49 == 0 {
                let (first, rows) = kept.since(seen).unwrap();
                copy.truncate(first);
                copy.extend_from_slice(rows);
                seen = step;
                assert_eq!(copy, kept.snapshots);
            }
        }
    }
}
