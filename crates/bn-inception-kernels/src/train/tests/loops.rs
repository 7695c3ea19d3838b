//! Tests of the inner loops that only training uses, on every instruction set, at every tile size, against their
//! definition. Operands have exactly the extents in the contracts of the loops and lie between guard pages.

use super::Random;
use crate::conv::transform::{self, F2, F3, F4, Output};
use crate::guard::{FLUSH, Flush, Guarded};
use crate::plan::layout::{BLOCK, VECTORS};
use crate::simd::kernels::{Kernels, PixelStride, Product, WEIGHT_VECTORS, WeightTile};

/// Small integers, whose products and sums are exact.
fn integers(random: &mut Random, len: usize) -> Vec<f32> {
    (0..len).map(|_| random.below(9) as f32 - 4.0).collect()
}

#[test]
fn every_weight_tile_is_exact() {
    let mut random = Random(31);
    for kernels in Kernels::available() {
        for flush in FLUSH {
            for registers in 1..=WEIGHT_VECTORS {
                for extent in [[1, 1, 1], [1, 2, 3], [3, 1, 2], [2, 3, 5]] {
                    for (stride, accumulate) in [(1, false), (2, false), (1, true), (2, true)] {
                        weight_tile(&mut random, kernels, flush, registers, extent, stride, accumulate);
                    }
                }
            }
        }
    }
}

fn weight_tile(
    random: &mut Random,
    kernels: &Kernels,
    flush: Flush,
    registers: usize,
    extent: [usize; 3],
    stride: usize,
    accumulate: bool,
) {
    let (lanes, rows) = (kernels.lanes, kernels.rows);
    let [images, height, width] = extent;
    // Pixels and rows with gaps.
    let x_pixel = stride * BLOCK;
    let x_row = width * x_pixel + random.below(20);
    let x_image = height * x_row + random.below(20);
    let dz_row = width * BLOCK + random.below(20);
    let dz_image = height * dz_row + random.below(20);
    let last = |image: usize, row: usize, pixel: usize| (images - 1) * image + (height - 1) * row + (width - 1) * pixel;
    let x = integers(random, last(x_image, x_row, x_pixel) + rows);
    let dz: Vec<Vec<f32>> = (0..registers).map(|_| integers(random, last(dz_image, dz_row, BLOCK) + lanes)).collect();
    let to_row = registers * lanes + random.below(20);
    let before = integers(random, (rows - 1) * to_row + registers * lanes);
    let mut from = Guarded::copy(&x, flush);
    let mut gradients: Vec<Guarded> = dz.iter().map(|dz| Guarded::copy(dz, flush)).collect();
    let mut to = if accumulate { Guarded::copy(&before, flush) } else { Guarded::new(&[before.len()], flush) };
    let mut pointers = [std::ptr::null(); WEIGHT_VECTORS];
    for (pointer, dz) in pointers.iter_mut().zip(&mut gradients) {
        *pointer = dz.only().as_ptr();
    }
    let job = WeightTile {
        x: from.only().as_ptr(),
        x_strides: [x_pixel, x_row, x_image],
        dz: pointers,
        dz_strides: [dz_row, dz_image],
        extent,
        to: to.only().as_mut_ptr(),
        to_row,
        accumulate,
    };
    // SAFETY: operands with the extents in the contract.
    unsafe { (kernels.weight_tile[registers - 1])(&job) };
    let what = format!("{} {registers} registers {extent:?} / {stride} {flush:?} {accumulate}", kernels.name);
    for (at, &found) in to.only().iter().enumerate() {
        let (i, o) = (at / to_row, at % to_row);
        if o >= registers * lanes {
            let untouched = if accumulate { found == before[at] } else { found.is_nan() };
            assert!(untouched, "{what}: a write between channels");
            continue;
        }
        let mut sum = if accumulate { before[at] } else { 0.0 };
        for (n, y) in (0..images).flat_map(|n| (0..height).map(move |y| (n, y))) {
            for p in 0..width {
                let left = x[n * x_image + y * x_row + p * x_pixel + i];
                sum += left * dz[o / lanes][n * dz_image + y * dz_row + p * BLOCK + o % lanes];
            }
        }
        assert_eq!(found, sum, "{what}: channel {i} {o}");
    }
}

#[test]
fn every_filter_transform_is_close() {
    let mut random = Random(32);
    for kernels in Kernels::available() {
        for flush in FLUSH {
            let f2 = |g: [[f64; 3]; 3]| transform::filter::<F2, 2, 4, 3>(g).as_flattened().to_vec();
            filter_transform(&mut random, kernels, flush, 0, 4, f2);
            let f4 = |g: [[f64; 3]; 3]| transform::filter::<F4, 4, 6, 3>(g).as_flattened().to_vec();
            filter_transform(&mut random, kernels, flush, 1, 6, f4);
            let f3 = |g: [[f64; 4]; 4]| transform::filter::<F3, 3, 6, 4>(g).as_flattened().to_vec();
            filter_transform(&mut random, kernels, flush, 2, 6, f3);
        }
    }
}

fn filter_transform<const R: usize>(
    random: &mut Random,
    kernels: &Kernels,
    flush: Flush,
    scheme: usize,
    inputs: usize,
    expected: impl Fn([[f64; R]; R]) -> Vec<f64>,
) {
    let (oc, positions) = (kernels.oc, inputs * inputs);
    let g = random.normals(R * R * oc);
    let stride = oc + random.below(9);
    let mut from = Guarded::copy(&g, flush);
    let mut to = Guarded::new(&[(positions - 1) * stride + oc], flush);
    // SAFETY: operands with the extents in the contract.
    unsafe { (kernels.winograd_filter[scheme])(from.only().as_ptr(), to.only().as_mut_ptr(), stride) };
    for o in 0..oc {
        let tap = |i: usize, j: usize| f64::from(g[(i * R + j) * oc + o]);
        let expected = expected(std::array::from_fn(|i| std::array::from_fn(|j| tap(i, j))));
        let size = expected.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        for (i, expected) in expected.into_iter().enumerate() {
            let error = (f64::from(to.only()[i * stride + o]) - expected).abs() / size;
            assert!(error < 1e-6, "{} scheme {scheme} channel {o} position {i}: {error:.1e}", kernels.name);
        }
    }
    let gaps = to.only().iter().enumerate().filter(|(at, _)| at % stride >= oc);
    assert!(gaps.into_iter().all(|(_, v)| v.is_nan()), "{} a write between positions", kernels.name);
}

/// Accumulation adds the tile to what is there: the result is the old value plus that of the loop without accumulation.
#[test]
fn every_product_tile_accumulates() {
    let mut random = Random(33);
    for kernels in Kernels::available() {
        let (oc, lanes) = (kernels.oc, kernels.lanes);
        for flush in FLUSH {
            for pixels in 1..=kernels.pixels() {
                let (depth, to_step) = (BLOCK, lanes + random.below(20));
                let x = integers(&mut random, (pixels - 1) * BLOCK + depth);
                let w = integers(&mut random, depth * oc);
                let (bias, floor) = (integers(&mut random, oc), vec![f32::NEG_INFINITY; oc]);
                let before = integers(&mut random, VECTORS * ((pixels - 1) * to_step + lanes));
                let mut operands = [&x, &w, &bias, &floor].map(|v| Guarded::copy(v, flush));
                let [x, w, bias, floor] = operands.each_mut().map(|g| g.only().as_ptr());
                let [plain, sums] = [false, true].map(|accumulate| {
                    let half = before.len() / VECTORS;
                    let mut to: Vec<Guarded> = before.chunks(half).map(|half| Guarded::copy(half, flush)).collect();
                    let mut pointers = [std::ptr::null_mut(); VECTORS];
                    for (pointer, to) in pointers.iter_mut().zip(&mut to) {
                        *pointer = to.only().as_mut_ptr();
                    }
                    let (one, groups) = ([0], 1);
                    let offsets = one.as_ptr();
                    let job = Product { x, offsets, groups, depth, w, bias, floor, to: pointers, to_step, accumulate };
                    // SAFETY: operands with the extents in the contract.
                    unsafe { (kernels.product[pixels - 1][PixelStride::Block as usize])(&job) };
                    to.iter_mut().flat_map(|to| to.only().to_vec()).collect::<Vec<f32>>()
                });
                for (at, (plain, sum)) in plain.into_iter().zip(sums).enumerate() {
                    let inside = at % (before.len() / VECTORS) % to_step < lanes;
                    let expected = if inside { before[at] + plain } else { before[at] };
                    assert_eq!(sum, expected, "{} {pixels} pixels {flush:?}", kernels.name);
                }
            }
        }
    }
}

#[test]
fn every_output_transform_accumulates() {
    let mut random = Random(34);
    for kernels in Kernels::available() {
        let (oc, lanes) = (kernels.oc, kernels.lanes);
        for (flush, (scheme, [outputs, inputs])) in
            FLUSH.into_iter().flat_map(|flush| [(0, [2, 4]), (1, [4, 6]), (2, [3, 6])].map(|scheme| (flush, scheme)))
        {
            for size in (1..=outputs).flat_map(|height| (1..=outputs).map(move |width| [height, width])) {
                let stride = oc + random.below(9);
                let m = integers(&mut random, (inputs * inputs - 1) * stride + oc);
                let (bias, floor) = (integers(&mut random, oc), vec![f32::NEG_INFINITY; oc]);
                let row = size[1] * BLOCK + random.below(9);
                let half = (size[0] - 1) * row + (size[1] - 1) * BLOCK + lanes;
                let before = integers(&mut random, VECTORS * half);
                let mut operands = [&m, &bias, &floor].map(|v| Guarded::copy(v, flush));
                let [m, bias, floor] = operands.each_mut().map(|g| g.only().as_ptr());
                let [plain, sums] = [false, true].map(|accumulate| {
                    let mut to: Vec<Guarded> = before.chunks(half).map(|half| Guarded::copy(half, flush)).collect();
                    let mut pointers = [std::ptr::null_mut(); VECTORS];
                    for (pointer, to) in pointers.iter_mut().zip(&mut to) {
                        *pointer = to.only().as_mut_ptr();
                    }
                    let job = Output { m, stride, bias, floor, to: pointers, row: [row; VECTORS], size, accumulate };
                    // SAFETY: operands with the extents in the contract.
                    unsafe { (kernels.winograd_output[scheme])(&job) };
                    to.iter_mut().flat_map(|to| to.only().to_vec()).collect::<Vec<f32>>()
                });
                for (at, (plain, sum)) in plain.into_iter().zip(sums).enumerate() {
                    let (x, lane) = (at % half % row / BLOCK, at % half % row % BLOCK);
                    let inside = lane < lanes && x < size[1];
                    let expected = if inside { before[at] + plain } else { before[at] };
                    assert_eq!(sum, expected, "{} scheme {scheme} {size:?} {flush:?}", kernels.name);
                }
            }
        }
    }
}
