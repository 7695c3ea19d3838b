//! Surface patterns, and the noise that roughens everything else.

use std::f32::consts::TAU;
use std::ops::Range;

use rand::{Rng, RngExt};

use super::shapes::length;

/// A pattern, before it is placed on a surface.
#[derive(Debug, Clone)]
pub(super) struct Texture {
    /// Length of the pattern's unit, in shape radii.
    unit: Range<f32>,
    /// Largest shift of the pattern from the centre of the shape, in units.
    slide: f32,
    /// Tone at a point in units: 0 for the first colour, 1 for the second.
    tone: fn([f32; 2]) -> f32,
}

pub(super) const BRICK: Texture = Texture { unit: 0.32..0.40, slide: 1.0, tone: brick };
pub(super) const CHECKERED: Texture = Texture { unit: 0.34..0.44, slide: 1.0, tone: checkered };
pub(super) const DOTTED: Texture = Texture { unit: 0.42..0.52, slide: 1.0, tone: dotted };
pub(super) const STRIPED: Texture = Texture { unit: 0.42..0.58, slide: 1.0, tone: striped };
pub(super) const SWIRLED: Texture = Texture { unit: 0.80..1.10, slide: 0.12, tone: swirled };

/// The patterns a backdrop may carry, faintly: all of them, so that a texture without its shape says nothing.
pub(super) const BACKDROP: [Texture; 5] = [BRICK, CHECKERED, DOTTED, STRIPED, SWIRLED];

/// A pattern at a size, angle and offset.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    tone: fn([f32; 2]) -> f32,
    /// First row of the scaled rotation; the second follows from it and `mirror`.
    row: [f32; 2],
    mirror: f32,
    offset: [f32; 2],
}

impl Texture {
    /// Places the pattern at random.
    pub(super) fn place(&self, rng: &mut impl Rng) -> Placed {
        let scale = 1.0 / rng.random_range(self.unit.clone());
        let angle = rng.random_range(0.0..TAU);
        let mut slide = || rng.random_range(-self.slide..self.slide);
        let offset = [slide(), slide()];
        Placed {
            tone: self.tone,
            row: [scale * angle.cos(), scale * angle.sin()],
            mirror: if rng.random_bool(0.5) { -1.0 } else { 1.0 },
            offset,
        }
    }
}

impl Placed {
    /// Tone in 0..=1 at a point in shape coordinates.
    pub(super) fn tone(&self, [x, y]: [f32; 2]) -> f32 {
        let [a, b] = self.row;
        (self.tone)([a * x + b * y + self.offset[0], self.mirror * (a * y - b * x) + self.offset[1]])
    }
}

fn striped([x, _]: [f32; 2]) -> f32 {
    step(fraction(x) < 0.5)
}

fn checkered([x, y]: [f32; 2]) -> f32 {
    odd(x.floor() + y.floor())
}

/// Dots on staggered rows.
fn dotted([x, y]: [f32; 2]) -> f32 {
    const ROW: f32 = 0.87;
    let row = (y / ROW).floor();
    let x = fraction(x + 0.5 * odd(row)) - 0.5;
    let y = y - (row + 0.5) * ROW;
    step(length([x, y]) < 0.29)
}

/// Bricks twice as wide as high, each of its own shade, in a running bond.
fn brick([x, y]: [f32; 2]) -> f32 {
    const MORTAR: f32 = 0.19;
    let row = y.floor();
    let x = 0.5 * x + 0.5 * odd(row);
    let column = x.floor();
    if y - row < MORTAR || x - column < 0.5 * MORTAR {
        return 1.0;
    }
    0.3 * lattice(row as i32, column as i32, 0)
}

/// Three spiral arms.
fn swirled([x, y]: [f32; 2]) -> f32 {
    step(fraction(3.0 * y.atan2(x) / TAU + 1.6 * length([x, y])) < 0.5)
}

/// The part after the point, in 0..1 for negative numbers too; faster than `rem_euclid`.
fn fraction(x: f32) -> f32 {
    x - x.floor()
}

/// 1 for odd whole numbers, 0 for even ones.
fn odd(whole: f32) -> f32 {
    2.0 * fraction(0.5 * whole)
}

fn step(on: bool) -> f32 {
    f32::from(u8::from(on))
}

/// Smooth noise in 0..1 whose features measure about 1, plus finer octaves.
pub(super) fn noise([x, y]: [f32; 2], octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut weight, mut total, mut scale) = (0.0, 1.0, 0.0, 1.0);
    for octave in 0..octaves {
        sum += weight * smooth(x * scale, y * scale, seed.wrapping_add(octave));
        total += weight;
        weight *= 0.5;
        scale *= 2.03;
    }
    sum / total
}

fn smooth(x: f32, y: f32, seed: u32) -> f32 {
    let (column, row) = (x.floor(), y.floor());
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (ease(x - column), ease(y - row));
    let at = |dx, dy| lattice(row as i32 + dy, column as i32 + dx, seed);
    let upper = at(0, 0) + u * (at(1, 0) - at(0, 0));
    let lower = at(0, 1) + u * (at(1, 1) - at(0, 1));
    upper + v * (lower - upper)
}

/// A fixed pseudo-random value in 0..1 for each lattice point.
fn lattice(row: i32, column: i32, seed: u32) -> f32 {
    let mut bits = (row as u32).wrapping_mul(0x9E37_79B1)
        ^ (column as u32).wrapping_mul(0x85EB_CA77)
        ^ seed.wrapping_mul(0xC2B2_AE3D);
    for _ in 0..2 {
        bits = (bits ^ (bits >> 15)).wrapping_mul(0x2C1B_3C6D);
    }
    (bits >> 8) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both tones must cover a fair share, or the pattern would be a plain colour.
    #[test]
    fn every_pattern_shows_both_tones() {
        for (index, texture) in BACKDROP.iter().enumerate() {
            let points = (0..200).flat_map(|i| (0..200).map(move |j| [i as f32 * 0.05, j as f32 * 0.05]));
            let second = points.filter(|&point| (texture.tone)(point) > 0.5).count();
            assert!((8_000..=24_000).contains(&second), "pattern {index}: {second} of 40000");
        }
    }

    #[test]
    fn noise_stays_in_range_and_varies() {
        let values: Vec<f32> = (0..1000).map(|i| noise([i as f32 * 0.37, -3.1], 4, 9)).collect();
        assert!(values.iter().all(|v| (0.0..1.0).contains(v)));
        let mean = values.iter().sum::<f32>() / 1000.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
    }
}
