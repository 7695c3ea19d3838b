//! Tests of every inner loop of every instruction set, at every tile size, against its definition. Operands have
//! exactly the extents in the contracts of the loops and lie between guard pages.

use super::Random;
use super::guard::{FLUSH, Flush, Guarded};
use crate::conv::transform::{self, F2, F3, F4, Output};
use crate::plan::layout::{BLOCK, VECTORS};
use crate::simd::kernels::{Kernels, PixelStride, PoolRow, Product};

/// Small integers, whose products and sums are exact.
fn integers(random: &mut Random, len: usize) -> Vec<f32> {
    (0..len).map(|_| random.below(9) as f32 - 4.0).collect()
}

#[test]
fn every_product_tile_is_exact() {
    let mut random = Random(11);
    for kernels in Kernels::available() {
        for flush in FLUSH {
            for pixels in 1..=kernels.pixels() {
                for pixel_stride in [PixelStride::Block, PixelStride::TwoBlocks, PixelStride::Rgb, PixelStride::TwoRgb]
                {
                    for (groups, depth, missing) in [(1, 1, false), (2, 16, true), (3, 9, false)] {
                        product(&mut random, kernels, flush, pixels, pixel_stride, groups, depth, missing);
                    }
                }
            }
        }
    }
}

#[allow(clippy::too_many_arguments)] // the loop and the extents of its operands
fn product(
    random: &mut Random,
    kernels: &Kernels,
    flush: Flush,
    pixels: usize,
    pixel_stride: PixelStride,
    groups: usize,
    depth: usize,
    missing: bool,
) {
    let (oc, lanes) = (kernels.oc, kernels.lanes);
    // Groups in descending order, overlapping or not.
    let offsets: Vec<usize> = (0..groups).map(|g| (groups - 1 - g) * (depth + g)).collect();
    let reach = offsets.iter().max().unwrap() + depth;
    let x = integers(random, (pixels - 1) * pixel_stride.floats() + reach);
    let w = integers(random, groups * depth * oc);
    let bias = integers(random, oc);
    let floor: Vec<f32> = (0..oc).map(|_| [0.0, f32::NEG_INFINITY][random.below(2)]).collect();
    let to_step = lanes + random.below(20);
    let mut to: Vec<Guarded> = (0..VECTORS).map(|_| Guarded::new(&[(pixels - 1) * to_step + lanes], flush)).collect();
    let mut operands = [&x, &w, &bias, &floor].map(|v| Guarded::copy(v, flush));
    let [x_at, w_at, bias_at, floor_at] = operands.each_mut().map(|g| g.only().as_ptr());
    let mut pointers = [std::ptr::null_mut(); VECTORS];
    for (v, to) in to.iter_mut().enumerate() {
        if v == 0 || !missing {
            pointers[v] = to.only().as_mut_ptr();
        }
    }
    let job = Product {
        x: x_at,
        offsets: offsets.as_ptr(),
        groups,
        depth,
        w: w_at,
        bias: bias_at,
        floor: floor_at,
        to: pointers,
        to_step,
        accumulate: false,
    };
    // SAFETY: operands with the extents in the contract.
    unsafe { (kernels.product[pixels - 1][pixel_stride as usize])(&job) };
    let what = format!("{} {pixels} pixels {pixel_stride:?} {groups} x {depth} {flush:?}", kernels.name);
    for (v, to) in to.iter_mut().enumerate() {
        for (at, &found) in to.only().iter().enumerate() {
            let (p, lane) = (at / to_step, at % to_step);
            if lane >= lanes || v > 0 && missing {
                assert!(found.is_nan(), "{what}: a write between pixels");
                continue;
            }
            let o = v * lanes + lane;
            let mut sum = bias[o];
            for (g, offset) in offsets.iter().enumerate() {
                for d in 0..depth {
                    sum += x[offset + p * pixel_stride.floats() + d] * w[(g * depth + d) * oc + o];
                }
            }
            assert_eq!(found, sum.max(floor[o]), "{what}: pixel {p} channel {o}");
        }
    }
}

#[test]
fn every_pooling_row_is_exact() {
    let mut random = Random(12);
    for kernels in Kernels::available() {
        for flush in FLUSH {
            for width in 1..=9 {
                for stride in [1, 2] {
                    maximum(&mut random, kernels, flush, width, stride);
                }
                average(&mut random, kernels, flush, width);
                mean(&mut random, kernels, flush, width);
            }
        }
    }
}

/// Three rows of `columns` pixels, with padding between the rows.
fn rows(random: &mut Random, columns: usize) -> (Vec<f32>, usize) {
    let row = (columns + random.below(3)) * BLOCK;
    (integers(random, 2 * row + columns * BLOCK), row)
}

/// The nine values of a window in one channel.
fn window(x: &[f32], row: usize, left: usize, channel: usize) -> [f32; 9] {
    std::array::from_fn(|t| x[t / 3 * row + (left + t % 3) * BLOCK + channel])
}

fn maximum(random: &mut Random, kernels: &Kernels, flush: Flush, width: usize, stride: usize) {
    let (mut x, row) = rows(random, (width - 1) * stride + 3);
    for _ in 0..x.len() / 20 {
        let at = random.below(x.len());
        x[at] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][random.below(3)];
    }
    let mut from = Guarded::copy(&x, flush);
    let mut to = Guarded::new(&[width * BLOCK], flush);
    let job = PoolRow { x: from.only().as_ptr(), row, width, stride, to: to.only().as_mut_ptr() };
    // SAFETY: operands with the extents in the contract.
    unsafe { (kernels.max_row)(&job) };
    for (at, found) in to.only().iter().enumerate() {
        let values = window(&x, row, at / BLOCK * stride, at % BLOCK);
        let most = values.into_iter().fold(f32::NEG_INFINITY, f32::max);
        if values.iter().any(|v| v.is_nan()) {
            assert!(found.is_nan(), "{} lost a NaN", kernels.name);
        } else {
            assert_eq!(*found, most, "{} width {width} stride {stride}", kernels.name);
        }
    }
}

fn average(random: &mut Random, kernels: &Kernels, flush: Flush, width: usize) {
    let (x, row) = rows(random, width + 2);
    let scale: Vec<f32> = (0..width).map(|_| [0.5, 0.25][random.below(2)]).collect();
    let bias = integers(random, BLOCK);
    let floor: Vec<f32> = (0..BLOCK).map(|_| [0.0, f32::NEG_INFINITY][random.below(2)]).collect();
    let mut operands = [&x, &scale, &bias, &floor].map(|v| Guarded::copy(v, flush));
    let [x_at, scale_at, bias_at, floor_at] = operands.each_mut().map(|g| g.only().as_ptr());
    let mut to = Guarded::new(&[width * BLOCK], flush);
    let job = PoolRow { x: x_at, row, width, stride: 1, to: to.only().as_mut_ptr() };
    // SAFETY: operands with the extents in the contract.
    unsafe { (kernels.average_row)(&job, scale_at, bias_at, floor_at) };
    for (at, found) in to.only().iter().enumerate() {
        let (p, c) = (at / BLOCK, at % BLOCK);
        let sum: f32 = window(&x, row, p, c).iter().sum();
        assert_eq!(*found, (sum * scale[p] + bias[c]).max(floor[c]), "{}", kernels.name);
    }
}

fn mean(random: &mut Random, kernels: &Kernels, flush: Flush, width: usize) {
    // A divisor that is a power of two.
    let (height, width) = ([1, 2, 4][random.below(3)], width.next_power_of_two());
    let row = (width + random.below(3)) * BLOCK;
    let x = integers(random, (height - 1) * row + width * BLOCK);
    let mut from = Guarded::copy(&x, flush);
    let mut to = Guarded::new(&[BLOCK], flush);
    // SAFETY: operands with the extents in the contract.
    unsafe {
        (kernels.mean)(from.only().as_ptr(), row, height, width, to.only().as_mut_ptr());
    }
    for (c, found) in to.only().iter().enumerate() {
        let pixels = (0..height * width).map(|i| x[i / width * row + i % width * BLOCK + c]);
        assert_eq!(*found, pixels.sum::<f32>() / (height * width) as f32, "{}", kernels.name);
    }
}

/// The transforms of one tile, with the products computed here, against direct sums.
#[test]
fn every_winograd_tile_keeps_its_error_gate() {
    let mut random = Random(13);
    for kernels in Kernels::available() {
        for flush in FLUSH {
            let f2 = |g: [[f64; 3]; 3]| transform::filter::<F2, 2, 4, 3>(g).as_flattened().to_vec();
            tile(&mut random, kernels, flush, 0, [2, 4], f2, 1e-6);
            let f4 = |g: [[f64; 3]; 3]| transform::filter::<F4, 4, 6, 3>(g).as_flattened().to_vec();
            tile(&mut random, kernels, flush, 1, [4, 6], f4, 2e-6);
            let f3 = |g: [[f64; 4]; 4]| transform::filter::<F3, 3, 6, 4>(g).as_flattened().to_vec();
            tile(&mut random, kernels, flush, 2, [3, 6], f3, 2e-6);
        }
    }
}

fn tile<const R: usize>(
    random: &mut Random,
    kernels: &Kernels,
    flush: Flush,
    scheme: usize,
    [outputs, inputs]: [usize; 2],
    filter: impl Fn([[f64; R]; R]) -> Vec<f64>,
    gate: f64,
) {
    let (oc, lanes, positions) = (kernels.oc, kernels.lanes, inputs * inputs);
    let row = (inputs + random.below(3)) * BLOCK;
    let mut normal = |len: usize| -> Vec<f32> { (0..len).map(|_| random.normal()).collect() };
    let x = normal((inputs - 1) * row + inputs * BLOCK);
    let bias = normal(oc);
    let filters: Vec<[[f64; R]; R]> =
        (0..oc).map(|_| std::array::from_fn(|_| std::array::from_fn(|t| f64::from(normal(R)[t])))).collect();
    let (v_stride, m_stride) = (BLOCK + 5, oc + 3);
    let mut from = Guarded::copy(&x, flush);
    let mut v = Guarded::new(&[(positions - 1) * v_stride + BLOCK], flush);
    // SAFETY: operands with the extents in the contract.
    unsafe {
        let to = v.only().as_mut_ptr();
        (kernels.winograd_input[scheme])(from.only().as_ptr(), row, to, v_stride);
    }
    let mut m = Guarded::new(&[(positions - 1) * m_stride + oc], flush);
    for (o, g) in filters.iter().enumerate() {
        for (i, u) in filter(*g).into_iter().enumerate() {
            m.only()[i * m_stride + o] = v.only()[i * v_stride + o % BLOCK] * u as f32;
        }
    }
    let floor: Vec<f32> = (0..oc).map(|o| [0.0, f32::NEG_INFINITY][o % 2]).collect();
    let mut operands = [&bias, &floor].map(|v| Guarded::copy(v, flush));
    let [bias_at, floor_at] = operands.each_mut().map(|g| g.only().as_ptr());
    let (mut error, mut size) = (0.0, 0.0);
    for (height, width) in (1..=outputs).flat_map(|h| (1..=outputs).map(move |w| (h, w))) {
        let to_row = width * BLOCK + 7;
        let length = (height - 1) * to_row + (width - 1) * BLOCK + lanes;
        let mut to: Vec<Guarded> = (0..VECTORS).map(|_| Guarded::new(&[length], flush)).collect();
        let missing = (height + width) % 2;
        let mut pointers = [std::ptr::null_mut(); VECTORS];
        for (v, to) in to.iter_mut().enumerate().take(VECTORS - missing) {
            pointers[v] = to.only().as_mut_ptr();
        }
        let job = Output {
            m: m.only().as_ptr(),
            stride: m_stride,
            bias: bias_at,
            floor: floor_at,
            to: pointers,
            row: [to_row; VECTORS],
            size: [height, width],
            accumulate: false,
        };
        // SAFETY: operands with the extents in the contract.
        unsafe { (kernels.winograd_output[scheme])(&job) };
        for (v, to) in to.iter_mut().enumerate() {
            for (at, &found) in to.only().iter().enumerate() {
                let (y, x_at, lane) = (at / to_row, at % to_row / BLOCK, at % to_row % BLOCK);
                if lane >= lanes || x_at >= width || v >= VECTORS - missing {
                    assert!(found.is_nan(), "{} a write between pixels", kernels.name);
                    continue;
                }
                let o = v * lanes + lane;
                let mut sum = f64::from(bias[o]);
                for (i, g) in filters[o].as_flattened().iter().enumerate() {
                    let at = (y + i / R) * row + (x_at + i % R) * BLOCK + o % BLOCK;
                    sum += g * f64::from(x[at]);
                }
                let sum = sum.max(f64::from(floor[o]));
                error += (f64::from(found) - sum).powi(2);
                size += sum * sum;
            }
        }
    }
    let rms = (error / size).sqrt();
    assert!(rms <= gate, "{} F({outputs}, {R}): {rms:.2e} above {gate:.0e}", kernels.name);
}
