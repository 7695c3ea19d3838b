//! Max and average pooling over the planes of an NCHW tensor, with PyTorch's border rules.
//!
//! A window never starts beyond the input and its leading padding, also with `ceil_mode`. Padding counts as −∞ for the
//! maximum. For the average it counts as zeros if `count_include_pad` (the divisor is then the part of the window
//! inside the padded input) and is excluded otherwise.

use crate::shape::{ShapeError, check, elements, padded, positive};
use crate::simd::multiversion;
use rayon::prelude::*;
use std::ops::Range;

/// Extents of a pooling: input `[batch, channels, height, width]`, output `[batch, channels, out_height, out_width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2dShape {
    pub(crate) planes: usize,
    pub(crate) size: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 4],
    out: [usize; 2],
}

impl Pool2dShape {
    /// Shape for an `input` of `[batch, channels, height, width]` and a `padding` of `[top, left, bottom, right]`.
    /// `ceil_mode` rounds the output extents up, provided the last window starts inside the input or its leading
    /// padding.
    ///
    /// # Errors
    /// A zero extent, a kernel larger than the padded input, padding not smaller than the kernel (a window would
    /// contain no pixel), a plane with more than `u32::MAX` pixels, or a tensor too large to address.
    pub fn new(
        input: [usize; 4],
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 4],
        ceil_mode: bool,
    ) -> Result<Self, ShapeError> {
        let [batch, channels, height, width] = input;
        positive(&[
            ("batch", batch),
            ("channels", channels),
            ("height", height),
            ("width", width),
            ("kernel height", kernel[0]),
            ("kernel width", kernel[1]),
            ("stride height", stride[0]),
            ("stride width", stride[1]),
        ])?;
        elements("input", &input)?;
        if height * width > u32::MAX as usize {
            return Err(ShapeError::Overflow { what: "input plane" });
        }
        let mut out = [0; 2];
        for (i, axis) in ["height", "width"].into_iter().enumerate() {
            let (size, before, after) = (input[2 + i], padding[i], padding[2 + i]);
            if before.max(after) >= kernel[i] {
                return Err(ShapeError::PaddingTooLarge { axis, padding: before.max(after), kernel: kernel[i] });
            }
            let room = padded(axis, size, before, after, kernel[i])? - kernel[i];
            out[i] = if ceil_mode { room.div_ceil(stride[i]) } else { room / stride[i] } + 1;
            if (out[i] - 1) * stride[i] >= size + before {
                out[i] -= 1;
            }
        }
        elements("output", &[batch, channels, out[0], out[1]])?;
        Ok(Self { planes: batch * channels, size: [height, width], kernel, stride, padding, out })
    }

    /// Height of the output.
    pub fn out_height(&self) -> usize {
        self.out[0]
    }

    /// Width of the output.
    pub fn out_width(&self) -> usize {
        self.out[1]
    }

    /// Number of elements of the input and of its gradient.
    pub fn input_len(&self) -> usize {
        self.planes * self.in_plane()
    }

    /// Number of elements of the output, of its gradient and of the indices of the maxima.
    pub fn output_len(&self) -> usize {
        self.planes * self.out_plane()
    }

    fn in_plane(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn out_plane(&self) -> usize {
        self.out[0] * self.out[1]
    }

    /// Input positions of window `o` along `axis`.
    pub(crate) fn window(&self, axis: usize, o: usize) -> Range<usize> {
        let start = o * self.stride[axis];
        let end = (start + self.kernel[axis]).saturating_sub(self.padding[axis]);
        start.saturating_sub(self.padding[axis])..end.min(self.size[axis])
    }

    /// Number of positions of window `o` along `axis` that count for the average.
    pub(crate) fn counted(&self, axis: usize, o: usize, include_pad: bool) -> usize {
        let start = o * self.stride[axis];
        let limit = self.size[axis] + self.padding[axis] + self.padding[axis + 2];
        if include_pad { (start + self.kernel[axis]).min(limit) - start } else { self.window(axis, o).len() }
    }

    /// Output columns whose window has an input column at its `k`-th position.
    fn outputs_at(&self, k: usize) -> Range<usize> {
        let (left, stride) = (self.padding[1], self.stride[1]);
        let from = left.saturating_sub(k).div_ceil(stride);
        let to = (self.size[1] + left).saturating_sub(k).div_ceil(stride).min(self.out[1]);
        from.min(to)..to
    }
}

/// Maximum of each window, and in `indices` its position `row * width + column` in the input plane. Of equal maxima the
/// first in row order is taken; a NaN takes precedence over everything, the last one if there are several.
///
/// # Errors
/// A slice whose length does not match the shape.
pub fn max_pool2d(shape: &Pool2dShape, x: &[f32], y: &mut [f32], indices: &mut [u32]) -> Result<(), ShapeError> {
    check("x", shape.input_len(), x.len())?;
    check("y", shape.output_len(), y.len())?;
    check("indices", shape.output_len(), indices.len())?;
    let planes = y.par_chunks_mut(shape.out_plane()).zip(indices.par_chunks_mut(shape.out_plane()));
    planes.zip(x.par_chunks(shape.in_plane())).for_each(|((y, indices), x)| max_plane(shape, x, y, indices));
    Ok(())
}

/// Gradient of [`max_pool2d`]: the gradient of each output is added at its index. Overwrites `dx`.
///
/// # Errors
/// A slice whose length does not match the shape, or an index outside the input plane.
pub fn max_pool2d_backward(shape: &Pool2dShape, dy: &[f32], indices: &[u32], dx: &mut [f32]) -> Result<(), ShapeError> {
    check("dy", shape.output_len(), dy.len())?;
    check("indices", shape.output_len(), indices.len())?;
    check("dx", shape.input_len(), dx.len())?;
    let plane = shape.in_plane();
    if let Some(position) = indices.iter().position(|&i| i as usize >= plane) {
        return Err(ShapeError::Index { position, index: indices[position], plane });
    }
    let gradients = dy.par_chunks(shape.out_plane()).zip(indices.par_chunks(shape.out_plane()));
    dx.par_chunks_mut(plane).zip(gradients).for_each(|(dx, (dy, indices))| {
        dx.fill(0.0);
        for (&g, &i) in dy.iter().zip(indices) {
            dx[i as usize] += g;
        }
    });
    Ok(())
}

/// Average of each window.
///
/// # Errors
/// A slice whose length does not match the shape.
pub fn avg_pool2d(shape: &Pool2dShape, count_include_pad: bool, x: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
    check("x", shape.input_len(), x.len())?;
    check("y", shape.output_len(), y.len())?;
    let areas = areas(shape, count_include_pad);
    let planes = y.par_chunks_mut(shape.out_plane()).zip(x.par_chunks(shape.in_plane()));
    planes.for_each_init(WindowSums::default, |window_sums, (y, x)| avg_plane(shape, &areas, x, y, window_sums));
    Ok(())
}

/// Gradient of [`avg_pool2d`]. Overwrites `dx`.
///
/// # Errors
/// A slice whose length does not match the shape.
pub fn avg_pool2d_backward(
    shape: &Pool2dShape,
    count_include_pad: bool,
    dy: &[f32],
    dx: &mut [f32],
) -> Result<(), ShapeError> {
    check("dy", shape.output_len(), dy.len())?;
    check("dx", shape.input_len(), dx.len())?;
    let areas = areas(shape, count_include_pad);
    let planes = dx.par_chunks_mut(shape.in_plane()).zip(dy.par_chunks(shape.out_plane()));
    planes.for_each_init(WindowSums::default, |window_sums, (dx, dy)| {
        avg_plane_backward(shape, &areas, dy, dx, window_sums)
    });
    Ok(())
}

/// Divisor of each window of a plane.
fn areas(shape: &Pool2dShape, include_pad: bool) -> Vec<f32> {
    let counted = |axis: usize| (0..shape.out[axis]).map(move |o| shape.counted(axis, o, include_pad));
    counted(0).flat_map(|rows| counted(1).map(move |cols| (rows * cols) as f32)).collect()
}

multiversion! {
    fn max_plane(shape: &Pool2dShape, x: &[f32], y: &mut [f32], indices: &mut [u32]) {
        let [_, width] = shape.size;
        let (cols, step, left) = (shape.out[1], shape.stride[1], shape.padding[1]);
        for (oy, (y, indices)) in y.chunks_exact_mut(cols).zip(indices.chunks_exact_mut(cols)).enumerate() {
            let rows = shape.window(0, oy);
            y.fill(f32::NEG_INFINITY);
            for (ox, i) in indices.iter_mut().enumerate() {
                *i = (rows.start * width + shape.window(1, ox).start) as u32;
            }
            for iy in rows {
                let row = &x[iy * width..][..width];
                for k in 0..shape.kernel[1] {
                    let outputs = shape.outputs_at(k);
                    if outputs.is_empty() {
                        continue;
                    }
                    let first = outputs.start * step + k - left;
                    let (row, at) = (&row[first..], (iy * width + first) as u32);
                    let (best, indices) = (&mut y[outputs.clone()], &mut indices[outputs]);
                    // Strides known to the compiler become vector code.
                    let done = match step {
                        1 => update_maxima::<1>(row, at, best, indices),
                        2 => update_maxima::<2>(row, at, best, indices),
                        _ => 0,
                    };
                    for i in done..best.len() {
                        update_maximum(row[i * step], at + (i * step) as u32, &mut best[i], &mut indices[i]);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn update_maximum(v: f32, at: u32, best: &mut f32, index: &mut u32) {
    let better = v > *best || v.is_nan();
    *best = if better { v } else { *best };
    *index = if better { at } else { *index };
}

/// `update_maximum` for every `STEP`-th value of `row`, as long as whole steps are left; returns their number.
#[inline(always)]
fn update_maxima<const STEP: usize>(row: &[f32], at: u32, best: &mut [f32], indices: &mut [u32]) -> usize {
    let steps = row.as_chunks::<STEP>().0;
    for (i, ((step, best), index)) in steps.iter().zip(&mut *best).zip(indices).enumerate() {
        update_maximum(step[0], at.wrapping_add((i * STEP) as u32), best, index);
    }
    steps.len().min(best.len())
}

/// Scratch memory for the sums over all windows of a plane.
#[derive(Default)]
struct WindowSums {
    plane: Vec<f32>,
    rows: Vec<f32>,
}

impl WindowSums {
    /// Clears the memory for `size` windows, one per pixel, and returns the stride between its rows.
    #[inline(always)]
    fn clear(&mut self, size: [usize; 2], kernel: [usize; 2]) -> usize {
        let pitch = size[1] + kernel[1] - 1;
        self.plane.clear();
        // One extra row, so that windows that start after the last column of the last row stay inside.
        self.plane.resize((size[0] + kernel[0]) * pitch, 0.0);
        pitch
    }

    /// Replaces every pixel of the first `height` rows by the sum of the window that starts there. Rows are added as
    /// one contiguous range, then columns; windows that extend past the end of a row are never read.
    #[inline(always)]
    fn sum(&mut self, height: usize, pitch: usize, kernel: [usize; 2]) {
        let len = height * pitch;
        self.rows.clear();
        self.rows.extend_from_slice(&self.plane[..len + pitch]);
        for ky in 1..kernel[0] {
            for (s, v) in self.rows[..len].iter_mut().zip(&self.plane[ky * pitch..]) {
                *s += v;
            }
        }
        self.plane[..len].copy_from_slice(&self.rows[..len]);
        for kx in 1..kernel[1] {
            for (s, v) in self.plane[..len].iter_mut().zip(&self.rows[kx..]) {
                *s += v;
            }
        }
    }
}

multiversion! {
    fn avg_plane(shape: &Pool2dShape, areas: &[f32], x: &[f32], y: &mut [f32], window_sums: &mut WindowSums) {
        let [stride_y, stride_x] = shape.stride;
        let cols = shape.out[1];
        // Windows at every pixel from the first output to the last; the stride selects some of them.
        let size = [(shape.out[0] - 1) * stride_y + 1, (cols - 1) * stride_x + 1];
        let pitch = window_sums.clear(size, shape.kernel);
        let [top, left, ..] = shape.padding;
        let used = shape.size[1].min(pitch - left);
        for (r, row) in x.chunks_exact(shape.size[1]).enumerate().take(size[0] + shape.kernel[0] - 1 - top) {
            window_sums.plane[(top + r) * pitch + left..][..used].copy_from_slice(&row[..used]);
        }
        window_sums.sum(size[0], pitch, shape.kernel);
        for (oy, (y, areas)) in y.chunks_exact_mut(cols).zip(areas.chunks_exact(cols)).enumerate() {
            let sums = &window_sums.plane[oy * stride_y * pitch..][..size[1]];
            if stride_x == 1 {
                for ((y, s), a) in y.iter_mut().zip(sums).zip(areas) {
                    *y = s / a;
                }
            } else {
                for ((y, s), a) in y.iter_mut().zip(sums.iter().step_by(stride_x)).zip(areas) {
                    *y = s / a;
                }
            }
        }
    }
}

multiversion! {
    fn avg_plane_backward(shape: &Pool2dShape, areas: &[f32], dy: &[f32], dx: &mut [f32], window_sums: &mut WindowSums) {
        let [stride_y, stride_x] = shape.stride;
        let (width, cols) = (shape.size[1], shape.out[1]);
        // The gradient of a pixel is the sum over the windows that contain it: those that start up to a kernel before
        // it.
        let pitch = window_sums.clear(shape.size, shape.kernel);
        let (top, left) = (shape.kernel[0] - 1 - shape.padding[0], shape.kernel[1] - 1 - shape.padding[1]);
        for (oy, (dy, areas)) in dy.chunks_exact(cols).zip(areas.chunks_exact(cols)).enumerate() {
            let row = &mut window_sums.plane[(top + oy * stride_y) * pitch + left..];
            if stride_x == 1 {
                for ((s, g), a) in row.iter_mut().zip(dy).zip(areas) {
                    *s = g / a;
                }
            } else {
                for ((s, g), a) in row.iter_mut().step_by(stride_x).zip(dy).zip(areas) {
                    *s = g / a;
                }
            }
        }
        window_sums.sum(shape.size[0], pitch, shape.kernel);
        for (dx, sums) in dx.chunks_exact_mut(width).zip(window_sums.plane.chunks_exact(pitch)) {
            dx.copy_from_slice(&sums[..width]);
        }
    }
}
