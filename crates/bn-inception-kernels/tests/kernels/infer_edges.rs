//! Tests of the inference engine at the limits of its memory, of its plan cache and of floating-point numbers.

use super::common::{bits, random};
use super::guard::{FLUSH, Guarded};
use super::networks::{VARIANTS, network};
use bn_inception_kernels::infer::{Algorithm, Engine, Options, reference};

fn options(isa: &str, threads: usize) -> Options {
    Options { threads: threads.try_into().ok(), instruction_set: Some(isa.to_owned()), ..Options::default() }
}

#[test]
fn images_and_logits_between_guard_pages() {
    for (variant, size) in VARIANTS.iter().zip([[1, 32, 37], [2, 61, 50], [1, 45, 32]]) {
        let network = network(variant, 0.125, 11);
        let images = random(size.iter().product::<usize>() * 3, 1);
        for isa in Engine::instruction_sets() {
            let engine = Engine::new(network.clone(), &options(isa, 2)).unwrap();
            let mut expected = vec![0.0; size[0] * 11];
            engine.forward(&images, size, &mut expected).unwrap();
            for flush in FLUSH {
                let mut input = Guarded::copy(&images, flush);
                let mut logits = Guarded::new(&[expected.len()], flush);
                engine.forward(input.only(), size, logits.only()).unwrap();
                assert_eq!(bits(logits.only()), bits(&expected), "{} {isa}", variant.name);
                assert_eq!(bits(input.only()), bits(&images));
            }
        }
    }
}

/// One non-finite pixel makes the same logits non-finite as plain sums do, with every algorithm. They would differ with
/// weights that are all negative: the first ReLU clamps an infinity, which Winograd sums have turned into NaN before.
#[test]
fn one_non_finite_pixel_affects_the_same_logits_as_in_the_reference() {
    let [height, width] = [41, 38];
    for variant in &VARIANTS {
        let network = network(variant, 0.125, 5);
        let clean = random(2 * 3 * height * width, 2);
        // Corners, edges and the middle, in all channels of either image.
        for (n, channel, y, x) in [
            (0, 0, 0, 0),
            (1, 1, height - 1, width - 1),
            (0, 2, 0, width - 1),
            (1, 0, height - 1, 0),
            (0, 1, height / 2, width / 2),
            (1, 2, height / 2, width - 1),
        ] {
            for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut images = clean.clone();
                images[((n * 3 + channel) * height + y) * width + x] = poison;
                let size = [2, height, width];
                let expected = reference::forward(&network, &images, size).unwrap();
                for (i, v) in expected.iter().enumerate() {
                    assert_eq!(v.is_finite(), i / 5 != n, "the reference itself");
                }
                for isa in Engine::instruction_sets() {
                    for algorithm in [None, Some(Algorithm::Direct), Some(Algorithm::F4)] {
                        let options = Options { algorithm, ..options(isa, 1) };
                        let engine = Engine::new(network.clone(), &options).unwrap();
                        let mut logits = vec![0.0; 10];
                        engine.forward(&images, size, &mut logits).unwrap();
                        for (found, expected) in logits.iter().zip(&expected) {
                            let what = format!("{} {isa} {algorithm:?} {poison}", variant.name);
                            assert_eq!(found.is_finite(), expected.is_finite(), "{what}");
                            assert!(!expected.is_nan() || found.is_nan(), "{what}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn first_calls_of_many_sizes_at_once() {
    let network = network(&VARIANTS[1], 0.125, 6);
    let sizes: Vec<[usize; 3]> = (0..24).map(|i| [1 + i % 3, 32 + i % 5, 33 + i % 2]).collect();
    let call = |engine: &Engine, size: [usize; 3]| {
        let images = random(size.iter().product::<usize>() * 3, size[1] as u64);
        let mut logits = vec![0.0; size[0] * 6];
        engine.forward(&images, size, &mut logits).unwrap();
        bits(&logits)
    };
    for isa in Engine::instruction_sets() {
        let engine = Engine::new(network.clone(), &options(isa, 1)).unwrap();
        let alone: Vec<_> = sizes.iter().map(|&size| call(&engine, size)).collect();
        // Nothing is planned or packed when the threads start, and the cache has room for fewer plans than there are
        // sizes.
        let engine = Engine::new(network.clone(), &options(isa, 2)).unwrap();
        let together: Vec<_> = std::thread::scope(|scope| {
            let start = |&size| {
                scope.spawn({
                    let engine = &engine;
                    move || call(engine, size)
                })
            };
            let threads: Vec<_> = sizes.iter().map(start).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(together == alone, "{isa}");
    }
}
