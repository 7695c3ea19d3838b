//! A curve of any length in bounded memory, down-sampled.

use super::bucket::{Bucket, Position, merged};
use super::columns::Columns;

/// Maximum number of buckets of a curve of steps; a wide chart has about as many pixels.
pub const MOST_BUCKETS: usize = 1200;

/// Number of neighbouring buckets out of `length` that are sent as one, so that at most `points` are.
fn group_size(length: usize, points: usize) -> usize {
    length.div_ceil(points.max(1)).max(1).next_power_of_two()
}

/// A curve that halves its resolution whenever it has grown too long.
#[derive(Debug, Clone)]
pub struct Series {
    buckets: Vec<Bucket>,
    most: usize,
    /// Number of values in a full bucket, a power of two.
    width: u32,
    /// Offset in the log of the line that last changed more than the last bucket.
    rewritten: u64,
}

impl Series {
    /// An empty curve of at most `most` buckets.
    pub fn new(most: usize) -> Self {
        Self { buckets: Vec::new(), most, width: 1, rewritten: 0 }
    }

    /// Appends `value` from the line that ends at `offset` in the log. Values that are not finite cannot be drawn and
    /// are left out.
    pub fn push(&mut self, position: Position, value: f64, offset: u64) {
        if !value.is_finite() {
            return;
        }
        let next = Bucket::of(position, value, offset);
        match self.buckets.last_mut() {
            Some(last) if last.count < self.width => last.absorb(&next),
            _ => self.buckets.push(next),
        }
        if self.buckets.len() > self.most {
            self.buckets = merged(&self.buckets, 2);
            self.width = self.width.saturating_mul(2);
            self.rewritten = offset;
        }
    }

    /// Drops the values of later steps than `step`.
    pub fn truncate(&mut self, step: u64) {
        let kept = self.buckets.partition_point(|bucket| bucket.position.step <= step);
        self.buckets.truncate(kept);
    }

    /// Changes after offset `since` in the log for a reader that takes at most `points` points: the index of the first
    /// changed one, and all points from there on. A reader truncates its copy to that index and appends.
    pub fn since(&self, since: u64, points: usize) -> Option<(usize, Columns)> {
        let same = self.buckets.partition_point(|bucket| bucket.offset <= since);
        if since >= self.rewritten && same == self.buckets.len() {
            return None;
        }
        let size = group_size(self.buckets.len(), points);
        // The reader had `same` buckets, or one more that has changed since.
        let regrouped = [same, same + 1].iter().any(|length| group_size(*length, points) != size);
        let first = if since < self.rewritten || regrouped { 0 } else { same / size };
        Some((first, Columns::of(&merged(&self.buckets[first * size..], size))))
    }

    /// The last bucket that ends before `step`.
    pub fn before(&self, step: u64) -> Option<&Bucket> {
        let end = self.buckets.partition_point(|bucket| bucket.position.step < step);
        self.buckets[..end].last()
    }

    /// The first bucket that ends at or after `step`.
    pub fn reaching(&self, step: u64) -> Option<&Bucket> {
        self.buckets.get(self.buckets.partition_point(|bucket| bucket.position.step < step))
    }

    /// The last bucket.
    pub fn last(&self) -> Option<&Bucket> {
        self.buckets.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64) -> Position {
        Position { step, images: 32 * step, seconds: step as f32, ..Position::default() }
    }

    fn ramp(length: u64) -> Series {
        let mut series = Series::new(MOST_BUCKETS);
        for step in 1..=length {
            series.push(at(step), step as f64, 10 * step);
        }
        series
    }

    #[test]
    fn a_short_series_is_kept_as_it_is() {
        let (first, columns) = ramp(3).since(0, 1000).unwrap();
        assert_eq!(first, 0);
        let json = serde_json::to_string(&columns).unwrap();
        assert_eq!(json, r#"{"step":[1,1,1],"images":[32,32,32],"time":[10,10,10],"mean":[1.0,2.0,3.0]}"#);
    }

    #[test]
    fn a_long_series_keeps_every_mean_and_extreme() {
        let length = 1_000_000;
        let series = ramp(length);
        assert!(series.buckets.len() <= MOST_BUCKETS);
        assert!(series.buckets.len() > MOST_BUCKETS / 2 - 2);
        let count: u64 = series.buckets.iter().map(|bucket| u64::from(bucket.count)).sum();
        let sum: f64 = series.buckets.iter().map(|bucket| bucket.sum).sum();
        assert_eq!(count, length);
        assert_eq!(sum, (length * (length + 1) / 2) as f64);
        for points in [10, 150, 1200] {
            let groups = merged(&series.buckets, group_size(series.buckets.len(), points));
            assert!(groups.len() <= points && groups.len() > points / 2 - 1, "{points}: {}", groups.len());
            let mut next = 1.0;
            for bucket in &groups {
                assert_eq!(bucket.min, next);
                next = bucket.max + 1.0;
                assert_eq!(bucket.position.step as f32, bucket.max);
            }
            assert_eq!(next, length as f32 + 1.0);
        }
    }

    /// Whatever moments a reader looks at, cutting and appending gives it the whole.
    #[test]
    fn a_reader_that_takes_the_changes_has_the_whole() {
        for points in [40, 300, 2000] {
            let mut series = Series::new(MOST_BUCKETS);
            let (mut copy, mut seen): (Vec<f64>, u64) = (Vec::new(), 0);
            for step in 1..=5000_u64 {
                series.push(at(step), (step as f64).sin(), step);
                if step % 97 == 0 || step % 1201 == 0 {
                    if let Some((first, columns)) = series.since(seen, points) {
                        copy.truncate(first);
                        copy.extend_from_slice(columns.means());
                    }
                    seen = step;
                    assert_eq!(copy, series.since(0, points).unwrap().1.means());
                    assert!(copy.len() <= points);
                    assert!(series.since(seen, points).is_none());
                }
            }
        }
    }

    #[test]
    fn lost_steps_are_taken_back() {
        let mut series = ramp(10);
        series.truncate(6);
        let (first, columns) = series.since(0, 100).unwrap();
        assert_eq!((first, columns.means().len()), (0, 6));
        assert_eq!(series.last().unwrap().position, at(6));
    }

    #[test]
    fn a_loss_that_is_no_number_is_left_out() {
        let mut series = Series::new(MOST_BUCKETS);
        series.push(at(1), f64::NAN, 1);
        series.push(at(2), f64::INFINITY, 2);
        assert!(series.since(0, 100).is_none());
    }

    #[test]
    fn buckets_around_a_step() {
        let series = ramp(10);
        assert_eq!(series.before(4).map(|bucket| bucket.offset), Some(30));
        assert_eq!(series.reaching(4).map(|bucket| bucket.offset), Some(40));
        assert!(series.before(1).is_none() && series.reaching(11).is_none());
    }
}
