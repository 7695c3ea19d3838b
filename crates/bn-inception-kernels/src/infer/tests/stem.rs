//! The first convolution, from images in their usual order, on every instruction set with both of its algorithms.

use super::guard::{FLUSH, Guarded};
use super::rig::{Arena, Rig};
use super::{Random, conv, paddings, relative_rms};
use crate::infer::build::Builder;
use crate::infer::kernel::{BLOCK, Kernels};
use crate::infer::network::{Conv, Placement, windows};
use crate::infer::plan::{Algorithm, Filters, Setting};

struct Case {
    conv: Conv,
    stride: usize,
    padding: [(usize, usize); 2],
    /// Images in the batch, first of those convolved, their number.
    images: [usize; 3],
    size: [usize; 2],
    input: Vec<f32>,
}

impl Case {
    fn out(&self) -> [usize; 2] {
        let of = |axis: usize| {
            windows(
                self.size[axis],
                self.conv.kernel,
                self.stride,
                self.padding[axis],
            )
            .unwrap()
        };
        [of(0), of(1)]
    }

    fn run(
        &self,
        kernels: &'static Kernels,
        algorithm: Algorithm,
        random: &mut Random,
    ) -> Vec<f32> {
        let network = paddings(Placement::both(1, 1), Placement::both(1, 1), true);
        let filters = Filters::new();
        let setting = Setting {
            kernels,
            threads: 1,
            algorithm: Some(algorithm),
            filters: &filters,
        };
        let mut b = Builder::new(&network, &setting, self.size);
        let [_, first, count] = self.images;
        let map = b
            .first_conv(&self.conv, self.stride, self.padding, (first, count))
            .unwrap();
        let flush = FLUSH[random.below(2)];
        let mut rig = Rig::new(b, 1 + random.below(4), Arena::Apart, flush);
        let mut input = Guarded::copy(&self.input, flush);
        for phase in 0..rig.phases.len() {
            // SAFETY: the input has the extents of the batch; no step writes to the output.
            unsafe { rig.phase(phase, input.only().as_ptr(), std::ptr::null_mut()) };
        }
        let [height, width] = self.out();
        let mut found = Vec::new();
        for n in 0..count {
            for o in 0..self.conv.out_channels {
                let place = map.place(o / BLOCK);
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    let at = place.at + n * place.image + y * place.row + x * BLOCK + o % BLOCK;
                    found.push(rig.tensor(map.tensor)[at]);
                }
            }
        }
        found
    }

    fn expected(&self) -> Vec<f64> {
        let [height, width] = self.out();
        let (k, [_, first, count]) = (self.conv.kernel, self.images);
        let mut expected = Vec::new();
        for n in first..first + count {
            for o in 0..self.conv.out_channels {
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    let mut sum = f64::from(self.conv.bias[o]);
                    for (i, t) in (0..3).flat_map(|i| (0..k * k).map(move |t| (i, t))) {
                        let y = (y * self.stride + t / k).wrapping_sub(self.padding[0].0);
                        let x = (x * self.stride + t % k).wrapping_sub(self.padding[1].0);
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

fn case(random: &mut Random, kernel: usize, integers: bool) -> Case {
    // Large enough for Winograd's method to be chosen where it is asked for.
    let size = match cfg!(miri) {
        true => [23, 23],
        false => [31 + random.below(40), 31 + random.below(40)],
    };
    let padding = match kernel {
        3 => [(1, 1); 2],
        _ => [(); 2].map(|()| [(3, 3), (2, 3), (0, 0), (1, 3)][random.below(4)]),
    };
    let images = match cfg!(miri) {
        true => [2, 1, 1],
        false => [3, random.below(2), 1 + random.below(2)],
    };
    let mut value = || match integers {
        true => random.below(9) as f32 - 4.0,
        false => random.normal(),
    };
    let input = (0..images[0] * 3 * size[0] * size[1])
        .map(|_| value())
        .collect();
    let most = if cfg!(miri) { 1.0 } else { 20.0 };
    let out_channels = 1 + (value().abs() * most) as usize;
    Case {
        conv: conv(3, out_channels, kernel, value),
        stride: if kernel == 7 { 2 } else { 1 },
        padding,
        images,
        size,
        input,
    }
}

#[test]
fn direct_is_exact_on_integers() {
    let mut random = Random(21);
    for kernels in Kernels::available() {
        for round in 0..if cfg!(miri) { 1 } else { 12 } {
            let case = case(&mut random, [7, 3][round % 2], true);
            let found = case.run(kernels, Algorithm::Direct, &mut random);
            let found: Vec<f64> = found.into_iter().map(f64::from).collect();
            assert!(found == case.expected(), "{} {:?}", kernels.name, case.size);
        }
    }
}

#[test]
fn both_algorithms_keep_their_error_gates() {
    let mut random = Random(22);
    for kernels in Kernels::available() {
        for (algorithm, gate) in [(Algorithm::Direct, 1e-6), (Algorithm::F4, 2e-6)] {
            for _ in 0..if cfg!(miri) { 1 } else { 8 } {
                let case = case(&mut random, 7, false);
                let found = case.run(kernels, algorithm, &mut random);
                let rms = relative_rms(&found, &case.expected());
                let what = format!("{} {algorithm:?} {:?}", kernels.name, case.size);
                assert!(rms <= gate, "{what}: {rms:.2e} above {gate:.0e}");
            }
        }
    }
}
