//! Neighbouring values of a curve as one point.

/// Position on the horizontal axes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Position {
    /// Optimizer steps taken.
    pub step: u64,
    /// Images trained on.
    pub images: u64,
    /// Seconds the run has been going, pauses between its processes left out.
    pub seconds: f32,
    /// Seconds of those spent in training steps.
    pub train_seconds: f32,
}

/// The values of neighbouring steps: their mean and extremes, at the position of the last of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    pub position: Position,
    pub sum: f64,
    pub min: f32,
    pub max: f32,
    pub count: u32,
    /// Offset in the log of the line that last changed it.
    pub offset: u64,
}

impl Bucket {
    /// A bucket of one value, from the line that ends at `offset` in the log.
    pub fn of(position: Position, value: f64, offset: u64) -> Self {
        let (min, max) = (short(value), short(value));
        Self { position, sum: value, min, max, count: 1, offset }
    }

    /// Adds the values of the bucket that comes after this one.
    pub fn absorb(&mut self, next: &Self) {
        self.position = next.position;
        self.sum += next.sum;
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
        self.count = self.count.saturating_add(next.count);
        self.offset = next.offset;
    }

    /// Mean of its values.
    pub fn mean(&self) -> f32 {
        short(self.sum / f64::from(self.count))
    }
}

/// `value` with the digits that a chart can show, half of those of an `f64`.
fn short(value: f64) -> f32 {
    (value as f32).clamp(f32::MIN, f32::MAX)
}

/// `buckets` in groups of `size`, each absorbed into one.
pub fn merged(buckets: &[Bucket], size: usize) -> Vec<Bucket> {
    let groups = buckets.chunks(size).map(|group| {
        let mut merged = group[0];
        group[1..].iter().for_each(|next| merged.absorb(next));
        merged
    });
    groups.collect()
}
