//! Tests of the first convolution, from images in NCHW order, on every instruction set and with both of its algorithms.

use super::guard::{FLUSH, Guarded};
use super::harness::Harness;
use super::{Random, conv, relative_rms};
use crate::guarded::Arena;
use crate::infer::build::{Algorithm, Builder, PlanConfig};
use crate::infer::network::Conv;
use crate::infer::pack::FilterCache;
use crate::plan::layout::{BLOCK, padded};
use crate::plan::window::{Placement, windows};
use crate::simd::kernels::Kernels;

struct StemTest {
    conv: Conv,
    /// Number of images of the batch, first of those convolved, and their number.
    images: [usize; 3],
    size: [usize; 2],
    input: Vec<f32>,
}

impl StemTest {
    fn padding(&self) -> [(usize, usize); 2] {
        self.size.map(|size| self.conv.padding.of(size))
    }

    fn out(&self) -> [usize; 2] {
        let Conv { kernel, stride, .. } = self.conv;
        let of = |axis: usize| windows(self.size[axis], kernel, stride, self.padding()[axis]);
        [of(0).unwrap(), of(1).unwrap()]
    }

    fn run(&self, kernels: &'static Kernels, algorithm: Algorithm, random: &mut Random) -> Vec<f32> {
        let filters = FilterCache::new();
        let config = PlanConfig { kernels, threads: 1, algorithm: Some(algorithm), filters: &filters };
        let mut b = Builder::new(&config, self.size);
        let [_, first, count] = self.images;
        let map = b.map(count, padded(self.conv.out_channels), self.out());
        b.first_conv("test", &self.conv, first, &map, 0);
        let flush = FLUSH[random.below(2)];
        let mut harness = Harness::new(b, 1 + random.below(4), Arena::Separate, flush);
        let mut input = Guarded::copy(&self.input, flush);
        for phase in 0..harness.phases.len() {
            // SAFETY: the input has the extents of the batch; no step writes to the output.
            unsafe { harness.phase(phase, input.only().as_ptr(), std::ptr::null_mut()) };
        }
        let [height, width] = self.out();
        let mut found = Vec::new();
        for n in 0..count {
            for o in 0..self.conv.out_channels {
                let view = map.view(o / BLOCK);
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    let at = view.offset + n * view.image + y * view.row + x * BLOCK + o % BLOCK;
                    found.push(harness.tensor(map.tensor)[at]);
                }
            }
        }
        found
    }

    fn expected(&self) -> Vec<f64> {
        let [height, width] = self.out();
        let Conv { kernel: k, stride, .. } = self.conv;
        let [_, first, count] = self.images;
        let [(top, _), (left, _)] = self.padding();
        let mut expected = Vec::new();
        for n in first..first + count {
            for o in 0..self.conv.out_channels {
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    let mut sum = f64::from(self.conv.bias[o]);
                    for (i, t) in (0..3).flat_map(|i| (0..k * k).map(move |t| (i, t))) {
                        let y = (y * stride + t / k).wrapping_sub(top);
                        let x = (x * stride + t % k).wrapping_sub(left);
                        if y < self.size[0] && x < self.size[1] {
                            let pixel = ((n * 3 + i) * self.size[0] + y) * self.size[1] + x;
                            let w = self.conv.weight[(o * 3 + i) * k * k + t];
                            sum += f64::from(self.input[pixel]) * f64::from(w);
                        }
                    }
                    expected.push(sum.max(0.0));
                }
            }
        }
        expected
    }
}

fn stem_test(random: &mut Random, kernel: usize, integers: bool) -> StemTest {
    // Large enough for a Winograd convolution to be chosen if requested.
    let size = if cfg!(miri) { [23, 23] } else { [31 + random.below(40), 31 + random.below(40)] };
    let (stride, [even, odd]) = match kernel {
        3 => (1, [(1, 1); 2]),
        _ => (2, [(); 2].map(|()| [(3, 3), (2, 3), (0, 0), (1, 3)][random.below(4)])),
    };
    let window = (kernel, stride, Placement { even, odd });
    let images = if cfg!(miri) { [2, 1, 1] } else { [3, random.below(2), 1 + random.below(2)] };
    let mut value = || {
        if integers { random.below(9) as f32 - 4.0 } else { random.normal() }
    };
    let input = (0..images[0] * 3 * size[0] * size[1]).map(|_| value()).collect();
    let limit = if cfg!(miri) { 1.0 } else { 20.0 };
    let out_channels = 1 + (value().abs() * limit) as usize;
    StemTest { conv: conv([3, out_channels], window, value), images, size, input }
}

#[test]
fn direct_is_exact_on_integers() {
    let mut random = Random(21);
    for kernels in Kernels::available() {
        for round in 0..if cfg!(miri) { 1 } else { 12 } {
            let test = stem_test(&mut random, [7, 3][round % 2], true);
            let found = test.run(kernels, Algorithm::Direct, &mut random);
            let found: Vec<f64> = found.into_iter().map(f64::from).collect();
            assert!(found == test.expected(), "{} {:?}", kernels.name, test.size);
        }
    }
}

#[test]
fn both_algorithms_keep_their_error_gates() {
    let mut random = Random(22);
    for kernels in Kernels::available() {
        for (algorithm, gate) in [(Algorithm::Direct, 1e-6), (Algorithm::F4, 2e-6)] {
            for _ in 0..if cfg!(miri) { 1 } else { 8 } {
                let test = stem_test(&mut random, 7, false);
                let found = test.run(kernels, algorithm, &mut random);
                let rms = relative_rms(&found, &test.expected());
                let what = format!("{} {algorithm:?} {:?}", kernels.name, test.size);
                assert!(rms <= gate, "{what}: {rms:.2e} above {gate:.0e}");
            }
        }
    }
}
