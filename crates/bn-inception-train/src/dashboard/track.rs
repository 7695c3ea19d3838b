//! Snapshots of one thing over a run of any length, in bounded memory.

use serde::Serialize;

/// Most snapshots a track keeps.
pub const MOST_SNAPSHOTS: usize = 48;

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot<T> {
    /// Optimizer steps taken.
    pub step: u64,
    /// What it looked like.
    pub value: T,
    /// How many came before it.
    #[serde(skip)]
    number: u64,
    /// Position in the log of the line that holds it.
    #[serde(skip)]
    revision: u64,
}

/// Every n-th snapshot and the newest; n doubles whenever there are too many.
#[derive(Debug, Clone)]
pub struct Track<T> {
    snapshots: Vec<Snapshot<T>>,
    stride: u64,
    pushed: u64,
    /// Position in the log of the line that last changed more than the end.
    rewritten: u64,
}

impl<T> Default for Track<T> {
    fn default() -> Self {
        Self {
            snapshots: Vec::new(),
            stride: 1,
            pushed: 0,
            rewritten: 0,
        }
    }
}

impl<T> Track<T> {
    /// Appends a snapshot, which the line that ends at `revision` of the log holds.
    pub fn push(&mut self, step: u64, value: T, revision: u64) {
        let stride = self.stride;
        self.snapshots
            .pop_if(|newest| !newest.number.is_multiple_of(stride));
        self.snapshots.push(Snapshot {
            step,
            value,
            number: self.pushed,
            revision,
        });
        self.pushed += 1;
        if self.snapshots.len() > MOST_SNAPSHOTS {
            self.stride *= 2;
            let newest = self.pushed - 1;
            let stride = self.stride;
            self.snapshots.retain(|snapshot| {
                snapshot.number.is_multiple_of(stride) || snapshot.number == newest
            });
            self.rewritten = revision;
        }
    }

    /// Drops what was seen after `step`.
    pub fn truncate(&mut self, step: u64) {
        self.snapshots.retain(|snapshot| snapshot.step <= step);
    }

    /// What changed after position `since` of the log, as [`Series::since`](super::series::Series::since) says it.
    #[must_use]
    pub fn since(&self, since: u64) -> Option<(usize, &[Snapshot<T>])> {
        let first = if since < self.rewritten {
            0
        } else {
            self.snapshots
                .partition_point(|snapshot| snapshot.revision <= since)
        };
        (first < self.snapshots.len()).then(|| (first, &self.snapshots[first..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_newest_are_always_there() {
        let mut track = Track::default();
        for step in 0..10_000_u64 {
            track.push(step, step, step + 1);
            assert!(track.snapshots.len() <= MOST_SNAPSHOTS);
            assert_eq!(track.snapshots[0].value, 0);
            assert_eq!(track.snapshots.last().unwrap().value, step);
        }
        assert!(track.snapshots.len() > MOST_SNAPSHOTS / 2 - 1);
    }

    #[test]
    fn a_reader_that_takes_the_changes_has_the_whole() {
        let mut track = Track::default();
        let (mut copy, mut seen) = (Vec::new(), 0);
        for step in 1..=500_u64 {
            track.push(step, step, step);
            if step % 7 == 0 || step % 49 == 0 {
                let (first, rows) = track.since(seen).unwrap();
                copy.truncate(first);
                copy.extend_from_slice(rows);
                seen = step;
                assert_eq!(copy, track.snapshots);
            }
        }
    }
}
