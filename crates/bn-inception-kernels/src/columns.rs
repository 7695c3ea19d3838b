//! Unrolling of image rows into matrix rows (im2col), one channel of one image at a time.

use crate::simd::multiversion;

/// Mapping from output pixels to source pixels: tap `t` of output pixel `o` reads `o * step + taps[t]` along each axis,
/// zero outside the plane.
pub(crate) struct Window {
    /// Height of a source plane.
    pub(crate) height: usize,
    /// Width of a source plane.
    pub(crate) width: usize,
    /// Rows of the output grid of one image.
    pub(crate) rows: usize,
    /// Columns of the output grid of one image.
    pub(crate) cols: usize,
    axes: [Axis; 2],
    pointwise: bool,
}

/// Taps along one axis, grouped by *phase*, their remainder modulo the step. The taps of a phase read the same
/// subsampled line, each from its own `skip` on, so that the line is extracted once and every tap is a contiguous copy
/// of it, whatever the step.
struct Axis {
    step: usize,
    first: isize,
    /// `(phase, skip)` of each tap.
    taps: Vec<(usize, usize)>,
    phases: usize,
    reach: usize,
}

impl Axis {
    fn new(step: usize, taps: &[isize]) -> Self {
        let first = taps.iter().copied().min().unwrap_or(0);
        let taps: Vec<_> = taps.iter().map(|t| (t - first) as usize).map(|t| (t % step, t / step)).collect();
        let phases = taps.iter().map(|t| t.0 + 1).max().unwrap_or(0);
        let reach = taps.iter().map(|t| t.1).max().unwrap_or(0);
        Self { step, first, taps, phases, reach }
    }
}

/// Number of floats a copy may write past the end of a row and read past the end of the phase planes.
pub(crate) const OVERRUN: usize = 16;

impl Window {
    pub(crate) fn new(source: [usize; 2], grid: [usize; 2], step: [usize; 2], taps: [&[isize]; 2]) -> Self {
        let pointwise = source == grid && step == [1, 1] && taps == [&[0], &[0]];
        Self {
            height: source[0],
            width: source[1],
            rows: grid[0],
            cols: grid[1],
            axes: [Axis::new(step[0], taps[0]), Axis::new(step[1], taps[1])],
            pointwise,
        }
    }

    /// Number of matrix rows per channel.
    pub(crate) fn taps(&self) -> usize {
        self.axes[0].taps.len() * self.axes[1].taps.len()
    }

    /// Number of scratch floats for `unroll` of at most `rows` output rows.
    pub(crate) fn scratch(&self, rows: usize) -> usize {
        if self.pointwise {
            return 0;
        }
        let [y, x] = &self.axes;
        y.phases * x.phases * (rows.min(self.rows) + y.reach) * (self.cols + x.reach) + OVERRUN
    }

    /// Writes, for every tap `t`, the source pixels of output rows `first..first + rows` to `out[t * stride..]`. May
    /// overwrite `OVERRUN` floats after each of these matrix rows.
    pub(crate) fn unroll(
        &self,
        plane: &[f32],
        first: usize,
        rows: usize,
        scratch: &mut [f32],
        out: &mut [f32],
        stride: usize,
    ) {
        if self.pointwise {
            let range = first * self.cols..(first + rows) * self.cols;
            out[..range.len()].copy_from_slice(&plane[range]);
        } else {
            unroll(self, plane, first, rows, scratch, out, stride);
        }
    }
}

multiversion! {
    #[allow(clippy::too_many_arguments)] // one private call site
    fn unroll(window: &Window, plane: &[f32], first: usize, rows: usize, scratch: &mut [f32], out: &mut [f32], stride: usize) {
        let cols = window.cols;
        let [y, x] = &window.axes;
        let (plane_rows, plane_cols) = (rows + y.reach, cols + x.reach);
        let size = plane_rows * plane_cols;
        for phase_y in 0..y.phases {
            for phase_x in 0..x.phases {
                let at = (phase_y * x.phases + phase_x) * size;
                for (i, to) in scratch[at..at + size].chunks_exact_mut(plane_cols).enumerate() {
                    let row = ((first + i) * y.step + phase_y) as isize + y.first;
                    if row < 0 || row >= window.height as isize {
                        to.fill(0.0);
                    } else {
                        let from = &plane[row as usize * window.width..][..window.width];
                        sample(from, x.first + phase_x as isize, x.step, to);
                    }
                }
            }
        }
        let mut t = 0;
        for &(phase_y, skip_y) in &y.taps {
            for &(phase_x, skip_x) in &x.taps {
                let from = &scratch[(phase_y * x.phases + phase_x) * size + skip_y * plane_cols + skip_x..];
                let to = &mut out[t * stride..];
                match cols {
                    0..=4 => copy_rows::<4>(from, plane_cols, to, cols, rows),
                    5..=8 => copy_rows::<8>(from, plane_cols, to, cols, rows),
                    _ => copy_rows::<OVERRUN>(from, plane_cols, to, cols, rows),
                }
                t += 1;
            }
        }
    }
}

/// `to[j] = from[start + j * step]`, zero outside.
#[inline(always)]
fn sample(from: &[f32], start: isize, step: usize, to: &mut [f32]) {
    let len = to.len();
    let before = if start < 0 { start.unsigned_abs().div_ceil(step).min(len) } else { 0 };
    let left = from.len() as isize - start;
    let end = if left <= 0 { before } else { (left as usize).div_ceil(step).clamp(before, len) };
    to[..before].fill(0.0);
    to[end..].fill(0.0);
    if before == end {
        return;
    }
    let from = &from[(start + (before * step) as isize) as usize..];
    let to = &mut to[before..end];
    match step {
        1 => to.copy_from_slice(&from[..to.len()]),
        2 => {
            let (last, rest) = (to.len() - 1, from.as_chunks::<2>().0);
            for (d, s) in to[..last].iter_mut().zip(rest) {
                *d = s[0];
            }
            to[last] = from[2 * last];
        }
        _ => to.iter_mut().zip(from.iter().step_by(step)).for_each(|(d, s)| *d = *s),
    }
}

/// Copies `rows` rows of `cols` floats, with stride `step` in `from` and contiguous in `to`, in pieces of `PIECE`
/// floats. The last piece of a row may extend past its end, into the next row or the slack.
#[inline(always)]
fn copy_rows<const PIECE: usize>(from: &[f32], step: usize, to: &mut [f32], cols: usize, rows: usize) {
    for r in 0..rows {
        let (mut s, mut d) = (r * step, r * cols);
        let end = d + cols;
        while d < end {
            to[d..d + PIECE].copy_from_slice(&from[s..s + PIECE]);
            s += PIECE;
            d += PIECE;
        }
    }
}

/// A run of output rows inside one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) image: usize,
    pub(crate) first: usize,
    pub(crate) rows: usize,
}

/// Segments of rows `from..to`, counted through all images of `height` rows and split at the image borders.
pub(crate) fn segments(from: usize, to: usize, height: usize) -> impl Iterator<Item = Segment> {
    let mut at = from;
    std::iter::from_fn(move || {
        (at < to).then(|| {
            let (image, first) = (at / height, at % height);
            let rows = (height - first).min(to - at);
            at += rows;
            Segment { image, first, rows }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_stop_at_image_borders() {
        let all: Vec<_> = segments(3, 11, 5).map(|s| (s.image, s.first, s.rows)).collect();
        assert_eq!(all, [(0, 3, 2), (1, 0, 5), (2, 0, 1)]);
    }

    #[test]
    fn unroll_matches_its_definition() {
        let (height, width) = (7, 6);
        let plane: Vec<f32> = (1..=height * width).map(|v| v as f32).collect();
        for (grid, step, ty, tx) in [
            ([7, 6], [1, 1], &[-1, 0, 1][..], &[-1, 0, 1][..]),
            ([4, 3], [2, 2], &[-3, -2, -1, 0, 1, 2, 3], &[-1, 0, 1]),
            ([3, 2], [3, 4], &[0, 2], &[5]),
            ([7, 6], [1, 1], &[0], &[0]),
            ([2, 20], [5, 1], &[1, 0], &[-9, 9]),
        ] {
            let window = Window::new([height, width], grid, step, [ty, tx]);
            let (first, rows) = (1, grid[0] - 1);
            let stride = rows * grid[1] + OVERRUN;
            let mut out = vec![f32::NAN; window.taps() * stride];
            let mut scratch = vec![f32::NAN; window.scratch(rows)];
            window.unroll(&plane, first, rows, &mut scratch, &mut out, stride);
            for (t, (y, x)) in ty.iter().flat_map(|y| tx.iter().map(move |x| (y, x))).enumerate() {
                for r in 0..rows {
                    for c in 0..grid[1] {
                        let (sy, sx) = (((first + r) * step[0]) as isize + y, (c * step[1]) as isize + x);
                        let inside = (0..height as isize).contains(&sy) && (0..width as isize).contains(&sx);
                        let expected = if inside { plane[sy as usize * width + sx as usize] } else { 0.0 };
                        assert_eq!(out[t * stride + r * grid[1] + c], expected, "{grid:?} tap {t} at {r},{c}");
                    }
                }
            }
        }
    }
}
