//! The passes of a two-dimensional convolution (cross-correlation, as in every deep-learning library).

use crate::columns::Window;
use crate::correlation::{Channels, Correlation};
use crate::disjoint::Disjoint;
use crate::shape::{Conv2dShape, ShapeError, check};
use crate::tile::Tiles;
use crate::weight_grad::WeightGradient;

/// Forward pass: `y = weight ⋆ x`, shapes as in [`Conv2dShape`].
///
/// # Errors
/// A slice whose length does not match the shape.
pub fn conv2d(shape: &Conv2dShape, x: &[f32], weight: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
    check("x", shape.input_len(), x.len())?;
    check("weight", shape.weight_len(), weight.len())?;
    check("y", shape.output_len(), y.len())?;
    forward(Tiles::best(), shape, x, weight, y);
    Ok(())
}

fn forward(tiles: &Tiles, shape: &Conv2dShape, x: &[f32], weight: &[f32], y: &mut [f32]) {
    let target = Disjoint::new(y);
    let taps = shape.kernel[0] * shape.kernel[1];
    for group in 0..shape.groups {
        let (source, out) = shape.channels(group);
        let weight = &weight[out.first * source.count * taps..][..out.count * source.count * taps];
        Correlation {
            batch: shape.batch,
            source,
            target: out,
            window: shape.window(),
            target_size: [shape.out_height(), shape.out_width()],
            target_step: [1, 1],
            target_origin: [0, 0],
        }
        .run(tiles, |m, c, t| weight[(m * source.count + c) * taps + t], x, &target);
    }
}

/// Gradient with respect to the input. Overwrites `dx`.
///
/// # Errors
/// A slice whose length does not match the shape.
pub fn conv2d_backward_input(
    shape: &Conv2dShape,
    weight: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) -> Result<(), ShapeError> {
    check("weight", shape.weight_len(), weight.len())?;
    check("dy", shape.output_len(), dy.len())?;
    check("dx", shape.input_len(), dx.len())?;
    backward_input(Tiles::best(), shape, weight, dy, dx);
    Ok(())
}

fn backward_input(tiles: &Tiles, shape: &Conv2dShape, weight: &[f32], dy: &[f32], dx: &mut [f32]) {
    let size = [shape.height, shape.width];
    let [kernel_h, kernel_w] = shape.kernel;
    let target = Disjoint::new(dx);
    // Input pixels with the same remainder modulo the stride belong to the same taps: each such grid is a correlation
    // of `dy` with step 1, without multiplications by the zeros between strides.
    for origin_y in 0..shape.stride[0].min(size[0]) {
        for origin_x in 0..shape.stride[1].min(size[1]) {
            let (rows, taps_y) = phase(origin_y, kernel_h, shape.stride[0], shape.padding[0]);
            let (cols, taps_x) = phase(origin_x, kernel_w, shape.stride[1], shape.padding[1]);
            let grid = [(size[0] - origin_y).div_ceil(shape.stride[0]), (size[1] - origin_x).div_ceil(shape.stride[1])];
            let taps: Vec<usize> = rows.iter().flat_map(|r| cols.iter().map(move |c| r * kernel_w + c)).collect();
            for group in 0..shape.groups {
                let (input, output) = shape.channels(group);
                let weight = |c: usize, m: usize, t: usize| {
                    weight[((output.first + m) * input.count + c) * kernel_h * kernel_w + taps[t]]
                };
                Correlation {
                    batch: shape.batch,
                    source: output,
                    target: input,
                    window: Window::new([shape.out_height(), shape.out_width()], grid, [1, 1], [&taps_y, &taps_x]),
                    target_size: size,
                    target_step: shape.stride,
                    target_origin: [origin_y, origin_x],
                }
                .run(tiles, weight, dy, &target);
            }
        }
    }
}

/// Gradient with respect to the weight. Overwrites `dw`.
///
/// # Errors
/// A slice whose length does not match the shape.
pub fn conv2d_backward_weight(shape: &Conv2dShape, x: &[f32], dy: &[f32], dw: &mut [f32]) -> Result<(), ShapeError> {
    check("x", shape.input_len(), x.len())?;
    check("dy", shape.output_len(), dy.len())?;
    check("dw", shape.weight_len(), dw.len())?;
    backward_weight(Tiles::best(), shape, x, dy, dw);
    Ok(())
}

fn backward_weight(tiles: &Tiles, shape: &Conv2dShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    for (group, dw) in dw.chunks_exact_mut(shape.weight_len() / shape.groups).enumerate() {
        let (input, output) = shape.channels(group);
        WeightGradient { batch: shape.batch, x: input, dy: output, window: shape.window() }.run(tiles, x, dy, dw);
    }
}

impl Conv2dShape {
    /// Input and output channels of a group.
    fn channels(&self, group: usize) -> (Channels, Channels) {
        let of = |total: usize| Channels { total, first: group * (total / self.groups), count: total / self.groups };
        (of(self.in_channels), of(self.out_channels))
    }

    /// Input pixels of each output pixel.
    fn window(&self) -> Window {
        let taps = |kernel: usize, padding: usize| -> Vec<isize> {
            (0..kernel).map(|k| k as isize - padding as isize).collect()
        };
        let (y, x) = (taps(self.kernel[0], self.padding[0]), taps(self.kernel[1], self.padding[1]));
        Window::new([self.height, self.width], [self.out_height(), self.out_width()], self.stride, [&y, &x])
    }
}

/// Kernel taps that read the input pixels `origin + stride · q` along one axis, and for each the output pixel, relative
/// to `q`, of its window.
fn phase(origin: usize, kernel: usize, stride: usize, padding: usize) -> (Vec<usize>, Vec<isize>) {
    (0..kernel)
        .map(|k| (k, (origin + padding) as isize - k as isize))
        .filter(|(_, distance)| distance % stride as isize == 0)
        .map(|(k, distance)| (k, distance / stride as isize))
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    /// Small integers, whose sums are exact, so that all instruction sets give the same result.
    fn integers(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7 + i / 3 * seed) % 7) as f32 - 3.0).collect()
    }

    fn exact(found: &[f32], expected: &[f64]) -> bool {
        found.iter().map(|&v| f64::from(v)).eq(expected.iter().copied())
    }

    #[test]
    fn every_instruction_set_is_exact() {
        for (input, out, kernel, stride, padding, groups) in [
            ([3, 5, 9, 7], 11, 3, 1, [1; 4], 1),
            ([2, 3, 16, 17], 24, 7, 2, [3; 4], 3),
            ([5, 18, 4, 4], 13, 1, 1, [0; 4], 1),
            ([2, 20, 14, 14], 33, 3, 2, [0, 0, 1, 1], 1),
        ] {
            let s = Conv2dShape::new(input, out, [kernel; 2], [stride; 2], padding, groups).unwrap();
            let (x, w) = (integers(s.input_len(), 1), integers(s.weight_len(), 2));
            let dy = integers(s.output_len(), 5);
            for tiles in Tiles::available() {
                let mut y = vec![f32::NAN; s.output_len()];
                forward(tiles, &s, &x, &w, &mut y);
                assert!(exact(&y, &reference::conv2d(&s, &x, &w)), "y {s:?} {}", tiles.name);
                let mut dx = vec![f32::NAN; s.input_len()];
                backward_input(tiles, &s, &w, &dy, &mut dx);
                assert!(exact(&dx, &reference::conv2d_backward_input(&s, &w, &dy)), "dx {s:?} {}", tiles.name);
                let mut dw = vec![f32::NAN; s.weight_len()];
                backward_weight(tiles, &s, &x, &dy, &mut dw);
                assert!(exact(&dw, &reference::conv2d_backward_weight(&s, &x, &dy)), "dw {s:?} {}", tiles.name);
            }
        }
    }
}
