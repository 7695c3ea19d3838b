//! Silhouettes, as signed distances.
//!
//! A shape maps a point to its distance from the outline: negative inside, positive outside. Shapes are centred on the
//! origin and reach about 1 from it; y points down. Distances are exact near the outline and may be rough further away,
//! which is all that edges, bevels and shadows need.

use std::f32::consts::TAU;

/// Signed distance of a point from an outline.
pub(super) type Shape = fn([f32; 2]) -> f32;

/// Distance from the origin; much faster than `hypot`, whose care for extreme values is not needed here.
pub(super) fn length([x, y]: [f32; 2]) -> f32 {
    (x * x + y * y).sqrt()
}

/// Silhouettes of the clutter. They include those of the classes, so that a shape without its texture says nothing
/// about the label.
pub(super) const CLUTTER: [Shape; 7] = [disc, ring, star, heart, cross, triangle, bar];

pub(super) fn disc(point: [f32; 2]) -> f32 {
    length(point) - 0.95
}

pub(super) fn ring(point: [f32; 2]) -> f32 {
    (length(point) - 0.7).abs() - 0.32
}

/// Five points. Folding the angle leaves one half of one point: a single straight edge, from tip to notch.
pub(super) fn star([x, y]: [f32; 2]) -> f32 {
    const TIP: f32 = 1.12;
    const NOTCH: f32 = 0.56;
    let radius = length([x, y]);
    let tenth = TAU / 10.0;
    let angle = (x.atan2(-y).rem_euclid(2.0 * tenth) - tenth).abs();
    // Here a tip lies at `tenth` and a notch at 0.
    let tip = [TIP * tenth.cos(), TIP * tenth.sin()];
    let edge = [tip[0] - NOTCH, tip[1]];
    let from_notch = [radius * angle.cos() - NOTCH, radius * angle.sin()];
    (from_notch[0] * edge[1] - from_notch[1] * edge[0]) / length(edge)
}

/// A square standing on a corner, with a disc on each of its two upper edges.
pub(super) fn heart([x, y]: [f32; 2]) -> f32 {
    const HALF: f32 = 0.60;
    const DIAGONAL: f32 = std::f32::consts::FRAC_1_SQRT_2;
    let y = y - 0.12;
    let along = DIAGONAL * (x - y);
    let across = DIAGONAL * (x + y);
    let square = along.abs().max(across.abs()) - HALF;
    let lobe = length([x.abs() - DIAGONAL * HALF, y + DIAGONAL * HALF]) - HALF;
    square.min(lobe)
}

pub(super) fn cross([x, y]: [f32; 2]) -> f32 {
    const ARM: f32 = 0.35;
    let (x, y) = (x.abs(), y.abs());
    (x.max(y) - 1.0).max(x.min(y) - ARM)
}

fn triangle([x, y]: [f32; 2]) -> f32 {
    const SIDE: [f32; 2] = [0.866, 0.5];
    (x.abs() * SIDE[0] - y * SIDE[1]).max(y) - 0.5
}

fn bar([x, y]: [f32; 2]) -> f32 {
    (x.abs() - 1.2).max(y.abs() - 0.22)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inside and outside at points a person can name.
    #[test]
    fn outlines_are_where_they_should_be() {
        let table: [(&str, Shape, [f32; 2], bool); 11] = [
            ("middle of the disc", disc, [0.0, 0.0], true),
            ("hole of the ring", ring, [0.0, 0.2], false),
            ("band of the ring", ring, [0.0, 0.7], true),
            ("upper tip of the star", star, [0.0, -1.05], true),
            ("lower notch of the star", star, [0.0, 0.7], false),
            ("lower tip of the heart", heart, [0.0, 0.9], true),
            ("notch of the heart", heart, [0.0, -0.9], false),
            ("left lobe of the heart", heart, [-0.5, -0.6], true),
            ("arm of the cross", cross, [0.9, 0.0], true),
            ("corner of the cross", cross, [0.6, 0.6], false),
            ("below the triangle", triangle, [0.0, 0.6], false),
        ];
        for (name, shape, point, inside) in table {
            assert_eq!(shape(point) < 0.0, inside, "{name}: {}", shape(point));
        }
    }
}
