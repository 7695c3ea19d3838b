//! Pools and normalisation of one plane, between guard pages, against straightforward code, on every instruction set.

use super::Random;
use crate::guard::{FLUSH, Flush, Guarded};
use crate::norm::{Activation, Channels, Lanes, Planes};
use crate::plan::layout::BLOCK;
use crate::pool::Shape;
use crate::simd::kernels::Kernels;

const SIZES: [[usize; 2]; 6] = [[1, 1], [2, 1], [3, 4], [5, 2], [4, 7], [9, 8]];

/// A plane of `size` in rows with a gap: values of the pixels, and their memory, with NaN in the gaps.
struct Plane {
    size: [usize; 2],
    row: usize,
    memory: Guarded,
}

impl Plane {
    fn new(size: [usize; 2], flush: Flush, random: &mut Random, mut value: impl FnMut(&mut Random) -> f32) -> Self {
        let row = (size[1] + random.below(3)) * BLOCK;
        let mut plane = Self { size, row, memory: Guarded::new(&[(size[0] - 1) * row + size[1] * BLOCK], flush) };
        for [y, x, c] in plane.positions() {
            plane.memory.only()[y * row + x * BLOCK + c] = value(random);
        }
        plane
    }

    fn positions(&self) -> impl Iterator<Item = [usize; 3]> + use<> {
        let [height, width] = self.size;
        (0..height * width * BLOCK).map(move |i| [i / BLOCK / width, i / BLOCK % width, i % BLOCK])
    }

    /// The values, row by row without gaps.
    fn values(&mut self) -> Vec<f32> {
        let row = self.row;
        let positions: Vec<usize> = self.positions().map(|[y, x, c]| y * row + x * BLOCK + c).collect();
        let memory = self.memory.only();
        positions.into_iter().map(|at| memory[at]).collect()
    }

    /// Panics if something was written to a gap.
    fn check_gaps(&mut self) {
        let (row, width) = (self.row, self.size[1] * BLOCK);
        assert!(self.memory.only().iter().enumerate().all(|(at, v)| at % row < width || v.is_nan()));
    }
}

/// A pool's windows: for each output pixel the positions of the input pixels, `[y, x]`, in order.
fn windows(shape: &Shape) -> Vec<Vec<usize>> {
    let [height, width] = shape.size;
    let pixels = (0..shape.out[0]).flat_map(|y| (0..shape.out[1]).map(move |x| [y, x]));
    let of = |[y, x]: [usize; 2]| {
        let inside = (0..9).filter_map(|t| {
            let row = (y * shape.stride + t / 3).checked_sub(shape.padding[0]).filter(|&row| row < height)?;
            let column = (x * shape.stride + t % 3).checked_sub(shape.padding[1]).filter(|&x| x < width)?;
            Some(row * width + column)
        });
        inside.collect()
    };
    pixels.map(of).collect()
}

/// Shapes of pools of a plane: strides 1 and 2, all paddings that leave a window.
fn shapes(size: [usize; 2]) -> Vec<Shape> {
    let mut shapes = vec![Shape { size, out: size, stride: 1, padding: [1, 1], rows: [0, 0] }];
    for (before, after) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let padded = size.map(|size| size + before + after);
        if padded.iter().all(|&size| size >= 3) {
            let out = padded.map(|size| (size - 3) / 2 + 1);
            shapes.push(Shape { size, out, stride: 2, padding: [before; 2], rows: [0, 0] });
        }
    }
    shapes
}

/// Negative numbers with many ties, rarely NaN or an infinity.
fn tied(random: &mut Random) -> f32 {
    match random.below(60) {
        0 => f32::NAN,
        1 => f32::NEG_INFINITY,
        2 => f32::INFINITY,
        _ => -1.0 - random.below(3) as f32,
    }
}

/// The first NaN of a window, or its first maximum.
fn first_maximum(window: &[usize], value: impl Fn(usize) -> f32) -> usize {
    let nan = window.iter().copied().find(|&at| value(at).is_nan());
    let most = window.iter().map(|&at| value(at)).fold(f32::NEG_INFINITY, f32::max);
    nan.or_else(|| window.iter().copied().find(|&at| value(at) == most)).unwrap()
}

#[test]
fn maxima_and_their_gradients() {
    Kernels::available().for_each(maxima);
}

fn maxima(kernels: &Kernels) {
    let mut random = Random(51);
    for (size, flush) in SIZES.into_iter().flat_map(|size| FLUSH.map(|flush| (size, flush))) {
        for shape in shapes(size) {
            let mut x = Plane::new(size, flush, &mut random, tied);
            let mut y = Plane::new(shape.out, flush, &mut random, |_| f32::NAN);
            let shape = Shape { rows: [x.row, y.row], ..shape };
            // SAFETY: a processor that has the instruction set.
            unsafe {
                (kernels.pool.max)(&shape, x.memory.only(), y.memory.only());
            }
            y.check_gaps();
            let (values, windows) = (x.values(), windows(&shape));
            for (i, found) in y.values().into_iter().enumerate() {
                let c = i % BLOCK;
                let expected = values[first_maximum(&windows[i / BLOCK], |at| values[at * BLOCK + c]) * BLOCK + c];
                assert_eq!(found.to_bits(), expected.to_bits(), "{shape:?}");
            }

            // The first of several maxima has the whole gradient; integers, whose sums are exact.
            let integer = |random: &mut Random| random.below(9) as f32 - 4.0;
            let rows = shape.rows;
            let mut dy = with_row(shape.out, rows[1], flush, &mut random, integer);
            let mut dx = with_row(size, rows[0], flush, &mut random, integer);
            let mut expected = dx.values();
            for (i, g) in dy.values().into_iter().enumerate() {
                let c = i % BLOCK;
                expected[first_maximum(&windows[i / BLOCK], |at| values[at * BLOCK + c]) * BLOCK + c] += g;
            }
            // SAFETY: a processor that has the instruction set.
            unsafe {
                (kernels.pool.max_backward)(&shape, x.memory.only(), dy.memory.only(), dx.memory.only());
            }
            dx.check_gaps();
            assert_eq!(dx.values(), expected, "{shape:?}");
        }
    }
}

/// A plane with a given distance of its rows.
fn with_row(
    size: [usize; 2],
    row: usize,
    flush: Flush,
    random: &mut Random,
    value: impl Fn(&mut Random) -> f32 + Copy,
) -> Plane {
    loop {
        let plane = Plane::new(size, flush, random, value);
        if plane.row == row {
            return plane;
        }
    }
}

#[test]
fn averages_and_their_gradients() {
    Kernels::available().for_each(averages);
}

fn averages(kernels: &Kernels) {
    let mut random = Random(52);
    let integer = |random: &mut Random| random.below(9) as f32 - 4.0;
    for (size, flush) in SIZES.into_iter().flat_map(|size| FLUSH.map(|flush| (size, flush))) {
        let mut x = Plane::new(size, flush, &mut random, integer);
        let mut y = Plane::new(size, flush, &mut random, |_| f32::NAN);
        let shape = Shape { size, out: size, stride: 1, padding: [1, 1], rows: [x.row, y.row] };
        // Powers of two, with which sums are exact.
        let scale: Vec<f32> = (0..size[0] * size[1]).map(|_| [1.0, 0.5, 0.25][random.below(3)]).collect();
        let mut guarded = Guarded::copy(&scale, flush);
        // SAFETY: a processor that has the instruction set.
        unsafe {
            (kernels.pool.average)(&shape, guarded.only(), x.memory.only(), y.memory.only());
        }
        y.check_gaps();
        let (values, windows) = (x.values(), windows(&shape));
        for (i, found) in y.values().into_iter().enumerate() {
            let sum: f32 = windows[i / BLOCK].iter().map(|at| values[at * BLOCK + i % BLOCK]).sum();
            assert_eq!(found, sum * scale[i / BLOCK]);
        }
        let mut dy = with_row(size, shape.rows[1], flush, &mut random, integer);
        let mut dx = with_row(size, shape.rows[0], flush, &mut random, |_| f32::NAN);
        // SAFETY: a processor that has the instruction set.
        unsafe {
            (kernels.pool.average_backward)(&shape, guarded.only(), dy.memory.only(), dx.memory.only());
        }
        dx.check_gaps();
        let mut expected = vec![0.0; values.len()];
        for (i, g) in dy.values().into_iter().enumerate() {
            windows[i / BLOCK].iter().for_each(|at| expected[at * BLOCK + i % BLOCK] += g * scale[i / BLOCK]);
        }
        assert_eq!(dx.values(), expected);
    }
}

fn activation(kind: Activation, y: f64) -> (f64, f64) {
    let s = 1.0 / (1.0 + (-y).exp());
    match kind {
        Activation::Relu => (y.max(0.0), f64::from(u8::from(y > 0.0))),
        Activation::Sigmoid => (s, s * (1.0 - s)),
        Activation::Identity => (y, 1.0),
    }
}

#[test]
fn normalization_and_its_gradient() {
    Kernels::available().for_each(normalization);
}

fn normalization(kernels: &Kernels) {
    let mut random = Random(53);
    let close = |found: f32, expected: f64, size: f64| {
        assert!((f64::from(found) - expected).abs() <= 1e-5 * (1.0 + size), "{found} instead of {expected}");
    };
    for (size, flush) in SIZES.into_iter().flat_map(|size| FLUSH.map(|flush| (size, flush))) {
        let pixels = (size[0] * size[1]) as f64;
        for kind in [Activation::Relu, Activation::Sigmoid, Activation::Identity] {
            let mut z = Plane::new(size, flush, &mut random, Random::normal);
            let mut da = Plane::new(size, flush, &mut random, Random::normal);
            let mut to = Plane::new(size, flush, &mut random, |_| f32::NAN);
            let (values, gradients) = (z.values(), da.values());
            let (mut mean, mut squares) = ([f32::NAN; BLOCK], [f32::NAN; BLOCK]);
            // SAFETY: a processor that has the instruction set.
            unsafe {
                (kernels.moments)(z.memory.only(), z.row, size, &mut mean, &mut squares);
            }
            let lanes = |random: &mut Random| -> Lanes { std::array::from_fn(|_| random.normal()) };
            let [scale, shift, slope, offset] = [(); 4].map(|()| lanes(&mut random));
            let k = Channels { mean: &mean, scale: &scale, shift: &shift };
            // SAFETY: a processor that has the instruction set.
            unsafe {
                (kernels.norm[kind as usize].activate)(&k, z.memory.only(), z.row, size, to.memory.only(), to.row);
            }
            to.check_gaps();
            let activated = to.values();
            let (z_row, da_row) = (z.row, da.row);
            let planes = Planes { z: z.memory.only(), z_row, da: da.memory.only(), da_row, size };
            let (mut sums, mut products) = ([f32::NAN; BLOCK], [f32::NAN; BLOCK]);
            // SAFETY: a processor that has the instruction set.
            unsafe {
                (kernels.norm[kind as usize].gradient_sums)(&k, &planes, &mut sums, &mut products);
            }
            // SAFETY: a processor that has the instruction set.
            unsafe {
                (kernels.norm[kind as usize].gradient)(&k, &planes, &slope, &offset, to.memory.only(), to.row);
            }
            to.check_gaps();
            let dz = to.values();
            for c in 0..BLOCK {
                let [scale, shift, slope, offset] = [scale, shift, slope, offset].map(|lanes| f64::from(lanes[c]));
                let channel = || values.iter().zip(&gradients).enumerate().skip(c).step_by(BLOCK);
                let expected = channel().map(|(_, (&z, _))| f64::from(z)).sum::<f64>() / pixels;
                close(mean[c], expected, 0.0);
                let distance = |z: f32| f64::from(z) - f64::from(mean[c]);
                let expected = channel().map(|(_, (&z, _))| distance(z).powi(2)).sum::<f64>();
                close(squares[c], expected, expected);
                let (mut sum, mut product) = (0.0, 0.0);
                for (i, (&z, &da)) in channel() {
                    let (y, slope_at) = activation(kind, f64::from(z * scale as f32 + shift as f32));
                    let g = slope_at * f64::from(da);
                    close(activated[i], y, y.abs());
                    close(dz[i], scale * g + slope * f64::from(z) + offset, 10.0);
                    sum += g;
                    product += g * distance(z);
                }
                close(sums[c], sum, pixels);
                close(products[c], product, pixels);
            }
        }
    }
}

#[test]
fn activations_keep_nan() {
    Kernels::available().for_each(keep_nan);
}

fn keep_nan(kernels: &Kernels) {
    let z = [f32::NAN; BLOCK];
    for kind in [Activation::Relu, Activation::Sigmoid, Activation::Identity] {
        let (zeros, ones, mut to) = ([0.0; BLOCK], [1.0; BLOCK], [0.0; BLOCK]);
        let k = Channels { mean: &zeros, scale: &ones, shift: &zeros };
        // SAFETY: a processor that has the instruction set.
        unsafe {
            (kernels.norm[kind as usize].activate)(&k, &z, BLOCK, [1, 1], &mut to, BLOCK);
        }
        assert!(to.iter().all(|y| y.is_nan()), "{kind:?}");
    }
}
