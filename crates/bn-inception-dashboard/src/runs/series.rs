//! A curve of any length in bounded memory, down-sampled.

use serde::{Serialize, Serializer};

/// Maximum number of buckets of a series; a wide chart has about as many pixels.
const MOST_BUCKETS: usize = 1200;

/// Position on the horizontal axes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Position {
    /// Optimizer steps taken.
    pub step: u64,
    /// Images trained on.
    pub images: u64,
    /// Seconds the run has been going, pauses between its processes left out.
    pub seconds: f64,
    /// Seconds of those spent in training steps.
    pub train_seconds: f64,
}

/// The values of neighbouring steps: their mean and extremes, at the position of the last of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    position: Position,
    sum: f64,
    min: f64,
    max: f64,
    count: u64,
    /// Offset in the log of the line that last changed it.
    offset: u64,
}

impl Bucket {
    fn absorb(&mut self, next: &Self) {
        self.position = next.position;
        self.sum += next.sum;
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
        self.count += next.count;
        self.offset = next.offset;
    }
}

impl Serialize for Bucket {
    /// `[step, images, seconds, value]`, or `[step, images, seconds, mean, min, max]` of several values.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Position { step, images, seconds, .. } = self.position;
        let seconds = (seconds * 10.0).round() / 10.0;
        let mean = short(self.sum / self.count as f64);
        if self.count == 1 {
            (step, images, seconds, mean).serialize(serializer)
        } else {
            let (min, max) = (short(self.min), short(self.max));
            (step, images, seconds, mean, min, max).serialize(serializer)
        }
    }
}

/// `value` with the digits that a chart can show, half of those an `f64` prints.
fn short(value: f64) -> f32 {
    (value as f32).clamp(f32::MIN, f32::MAX)
}

/// A curve that halves its resolution whenever it has grown too long.
#[derive(Debug, Clone)]
pub struct Series {
    buckets: Vec<Bucket>,
    /// Number of values in a full bucket, a power of two.
    width: u64,
    /// Offset in the log of the line that last changed more than the last bucket.
    rewritten: u64,
}

impl Default for Series {
    fn default() -> Self {
        Self { buckets: Vec::new(), width: 1, rewritten: 0 }
    }
}

impl Series {
    /// Appends `value` from the line that ends at `offset` in the log. Values that are not finite cannot be drawn and
    /// are left out.
    pub fn push(&mut self, position: Position, value: f64, offset: u64) {
        if !value.is_finite() {
            return;
        }
        let next = Bucket { position, sum: value, min: value, max: value, count: 1, offset };
        match self.buckets.last_mut() {
            Some(last) if last.count < self.width => last.absorb(&next),
            _ => self.buckets.push(next),
        }
        if self.buckets.len() > MOST_BUCKETS {
            self.halve(offset);
        }
    }

    fn halve(&mut self, offset: u64) {
        let pairs = self.buckets.chunks(2).map(|pair| {
            let mut merged = pair[0];
            if let Some(second) = pair.get(1) {
                merged.absorb(second);
            }
            merged
        });
        self.buckets = pairs.collect();
        self.width *= 2;
        self.rewritten = offset;
    }

    /// Drops the values of later steps than `step`.
    pub fn truncate(&mut self, step: u64) {
        let kept = self.buckets.partition_point(|bucket| bucket.position.step <= step);
        self.buckets.truncate(kept);
    }

    /// Changes after offset `since` in the log: the index of the first changed bucket, and all buckets from there on. A
    /// reader truncates its copy to that index and appends.
    pub fn since(&self, since: u64) -> Option<(usize, &[Bucket])> {
        let first =
            if since < self.rewritten { 0 } else { self.buckets.partition_point(|bucket| bucket.offset <= since) };
        let changed = since < self.rewritten || first < self.buckets.len();
        changed.then(|| (first, &self.buckets[first..]))
    }

    /// Position of the last value.
    pub fn last_position(&self) -> Option<Position> {
        self.buckets.last().map(|bucket| bucket.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64) -> Position {
        Position { step, images: 32 * step, seconds: step as f64, ..Position::default() }
    }

    fn ramp(length: u64) -> Series {
        let mut series = Series::default();
        for step in 1..=length {
            series.push(at(step), step as f64, 10 * step);
        }
        series
    }

    #[test]
    fn a_short_series_is_kept_as_it_is() {
        let series = ramp(3);
        let (first, rows) = series.since(0).unwrap();
        assert_eq!(first, 0);
        assert_eq!(serde_json::to_string(rows).unwrap(), "[[1,32,1.0,1.0],[2,64,2.0,2.0],[3,96,3.0,3.0]]");
    }

    #[test]
    fn a_long_series_keeps_every_mean_and_extreme() {
        let length = 1_000_000;
        let series = ramp(length);
        assert!(series.buckets.len() <= MOST_BUCKETS);
        assert!(series.buckets.len() > MOST_BUCKETS / 2 - 2);
        let count: u64 = series.buckets.iter().map(|bucket| bucket.count).sum();
        let sum: f64 = series.buckets.iter().map(|bucket| bucket.sum).sum();
        assert_eq!(count, length);
        assert_eq!(sum, (length * (length + 1) / 2) as f64);
        let mut next = 1.0;
        for bucket in &series.buckets {
            assert_eq!(bucket.min, next);
            next = bucket.max + 1.0;
            assert_eq!(bucket.position.step as f64, bucket.max);
        }
        assert_eq!(next, length as f64 + 1.0);
    }

    /// Whatever moments a reader looks at, cutting and appending gives it the whole.
    #[test]
    fn a_reader_that_takes_the_changes_has_the_whole() {
        let mut series = Series::default();
        let (mut copy, mut seen): (Vec<Bucket>, u64) = (Vec::new(), 0);
        for step in 1..=5000_u64 {
            series.push(at(step), (step as f64).sin(), step);
            if step % 97 == 0 || step % 1201 == 0 {
                if let Some((first, rows)) = series.since(seen) {
                    copy.truncate(first);
                    copy.extend_from_slice(rows);
                }
                seen = step;
                assert_eq!(copy, series.buckets);
                assert_eq!(series.since(seen), None);
            }
        }
    }

    #[test]
    fn lost_steps_are_taken_back() {
        let mut series = ramp(10);
        series.truncate(6);
        let (first, rows) = series.since(0).unwrap();
        assert_eq!((first, rows.len()), (0, 6));
        assert_eq!(series.last_position(), Some(at(6)));
    }

    #[test]
    fn a_loss_that_is_no_number_is_left_out() {
        let mut series = Series::default();
        series.push(at(1), f64::NAN, 1);
        series.push(at(2), f64::INFINITY, 2);
        assert_eq!(series.since(0), None);
    }
}
