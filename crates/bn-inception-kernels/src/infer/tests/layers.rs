//! Tests of single layers with random extents on every instruction set and with every algorithm.

use proptest::prelude::*;
use proptest::{strategy::ValueTree, test_runner::TestRunner};

use super::layer_test::{LAYERS, Layer, any_extents, extents, layer_test};
use super::{Random, relative_rms};
use crate::infer::build::Algorithm;
use crate::simd::kernels::Kernels;

#[test]
fn direct_layers_and_maxima_are_exact_on_integers() {
    for kernels in Kernels::available() {
        for layer in LAYERS.into_iter().filter(|l| *l != Layer::Average) {
            any_extents(|extents| {
                let test = layer_test(kernels, layer, Algorithm::Direct, true, extents);
                let found: Vec<f64> = test.run().into_iter().map(f64::from).collect();
                prop_assert!(found == test.expected(), "{} {layer:?}", kernels.name);
                Ok(())
            });
        }
    }
}

#[test]
fn every_algorithm_keeps_its_error_gate() {
    for kernels in Kernels::available() {
        for (layer, algorithm, gate) in [
            (Layer::Pointwise, Algorithm::Direct, 1e-6),
            (Layer::Average, Algorithm::Direct, 1e-6),
            (Layer::Conv { stride: 1 }, Algorithm::Direct, 1e-6),
            (Layer::Conv { stride: 2 }, Algorithm::Direct, 1e-6),
            (Layer::Conv { stride: 1 }, Algorithm::F2, 1e-6),
            (Layer::Conv { stride: 1 }, Algorithm::F4, 2e-6),
        ] {
            any_extents(|extents| {
                let test = layer_test(kernels, layer, algorithm, false, extents);
                let expected = test.expected();
                // With few values all may cancel, and an error relative to them is meaningless.
                let mean_square = expected.iter().map(|v| v * v).sum::<f64>() / expected.len() as f64;
                if mean_square > 0.01 {
                    let rms = relative_rms(&test.run(), &expected);
                    let name = kernels.name;
                    prop_assert!(rms <= gate, "{name} {layer:?} {algorithm:?}: {rms:.2e}");
                }
                Ok(())
            });
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    // The harness runs one thread after the other, the last one first, which reveals an overlap or a gap between them.
    for kernels in Kernels::available() {
        for layer in LAYERS {
            for algorithm in [Algorithm::Direct, Algorithm::F2, Algorithm::F4] {
                if layer != (Layer::Conv { stride: 1 }) && algorithm != Algorithm::Direct {
                    continue;
                }
                let extents = extents();
                let mut runner = TestRunner::deterministic();
                for _ in 0..if cfg!(miri) { 1 } else { 4 } {
                    let extents = extents.new_tree(&mut runner).unwrap().current();
                    let mut test = layer_test(kernels, layer, algorithm, false, extents);
                    let mut run = |threads| -> Vec<u32> {
                        test.threads = threads;
                        test.run().into_iter().map(f32::to_bits).collect()
                    };
                    let one = run(1);
                    let teams = if cfg!(miri) { 2..3 } else { 2..9 };
                    for threads in teams {
                        assert!(run(threads) == one, "{} {layer:?} {extents:?}", kernels.name);
                    }
                }
            }
        }
    }
}

#[test]
fn a_nan_or_infinite_pixel_reaches_what_its_windows_reach() {
    for kernels in Kernels::available() {
        for poison in [f32::NAN, f32::INFINITY] {
            for layer in LAYERS {
                any_extents(|extents| {
                    let mut test = layer_test(kernels, layer, Algorithm::Direct, true, extents);
                    let at = Random(extents.5 + 1).below(test.input.len());
                    test.input[at] = poison;
                    for (found, expected) in test.run().into_iter().zip(test.expected()) {
                        let same = match (poison.is_nan(), layer) {
                            // Only averages with a divisor of nine are inexact.
                            (_, Layer::Average) => {
                                found.is_nan() == expected.is_nan() && found.is_infinite() == expected.is_infinite()
                            }
                            _ => f64::from(found) == expected || found.is_nan() && expected.is_nan(),
                        };
                        let name = kernels.name;
                        prop_assert!(same, "{name} {layer:?} {poison}: {found} not {expected}");
                    }
                    Ok(())
                });
            }
        }
    }
}

/// Winograd sums run over a tile: a non-finite pixel affects exactly the outputs of the tiles that read it.
#[test]
fn winograd_spreads_nan_within_the_tiles_that_read_it() {
    for kernels in Kernels::available() {
        for (algorithm, side) in [(Algorithm::F2, 2), (Algorithm::F4, 4)] {
            for poison in [f32::NAN, f32::INFINITY] {
                any_extents(|extents| {
                    let layer = Layer::Conv { stride: 1 };
                    let mut test = layer_test(kernels, layer, algorithm, false, extents);
                    let clean = test.run();
                    let [height, width] = test.size;
                    let at = Random(extents.5 + 1).below(test.input.len());
                    test.input[at] = poison;
                    let (image, y) = (at / (height * width) / test.conv.in_channels, at / width % height);
                    let reads = |out: usize, pixel: usize| {
                        let first = out / side * side;
                        (first..first + side + 2).contains(&(pixel + 1))
                    };
                    let direct = test.expected();
                    for (i, found) in test.run().into_iter().enumerate() {
                        let n = i / (height * width) / test.conv.out_channels;
                        let tile = n == image && reads(i / width % height, y) && reads(i % width, at % width);
                        // A weight of zero times infinity is NaN in both; random weights are hardly ever zero.
                        if tile {
                            prop_assert!(!direct[i].is_nan() || found.is_nan());
                        } else {
                            prop_assert!(found.to_bits() == clean[i].to_bits());
                        }
                    }
                    Ok(())
                });
            }
        }
    }
}
