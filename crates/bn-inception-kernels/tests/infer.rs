//! Tests of the inference engine against the `f64` reference implementation.
#![allow(clippy::unwrap_used)]

#[path = "common/mod.rs"]
mod common;
#[path = "common/networks.rs"]
mod networks;

use bn_inception_kernels::infer::{Algorithm, Engine, Network, NetworkError, Options, reference};
use common::{assert_close, bits, random};
use networks::{VARIANTS, network};

fn options(isa: &str, threads: usize, algorithm: Option<Algorithm>) -> Options {
    Options {
        threads: threads.try_into().ok(),
        instruction_set: Some(isa.to_owned()),
        algorithm,
    }
}

fn logits(network: &Network, images: &[f32], size: [usize; 3], options: &Options) -> Vec<f32> {
    let engine = Engine::new(network.clone(), options).unwrap();
    let mut logits = vec![f32::NAN; size[0] * network.classes()];
    engine.forward(images, size, &mut logits).unwrap();
    logits
}

const ALGORITHMS: [Option<Algorithm>; 4] = [
    None,
    Some(Algorithm::Direct),
    Some(Algorithm::F2),
    Some(Algorithm::F4),
];

#[test]
fn every_variant_on_every_instruction_set_with_every_algorithm() {
    for variant in &VARIANTS {
        let network = network(variant, 0.25, 11);
        let size = if variant.small {
            [2, 13, 16]
        } else {
            [2, 50, 67]
        };
        let images = random(size[0] * 3 * size[1] * size[2], 1);
        let expected = reference::forward(&network, &images, size).unwrap();
        for isa in Engine::instruction_sets() {
            for algorithm in ALGORITHMS {
                let found = logits(&network, &images, size, &options(isa, 1, algorithm));
                let what = format!("{} {isa} {algorithm:?}", variant.name);
                assert_close(&what, &found, &expected, 5e-6);
            }
        }
    }
}

#[test]
fn any_size_and_any_batch() {
    // Sizes with every remainder modulo tiles and image tiles, batches around the engine's groups.
    let extents = [
        [1, 32, 32],
        [3, 32, 41],
        [1, 61, 33],
        [2, 97, 64],
        [5, 35, 38],
        [19, 32, 33],
        [1, 128, 112],
    ];
    for (variant, width) in VARIANTS.iter().zip([0.125, 0.2, 0.3, 0.125, 0.3]) {
        let network = network(variant, width, 17);
        for size in extents {
            let images = random(size[0] * 3 * size[1] * size[2], 2);
            let expected = reference::forward(&network, &images, size).unwrap();
            let found = logits(&network, &images, size, &Options::default());
            assert_close(
                &format!("{} {size:?}", variant.name),
                &found,
                &expected,
                5e-6,
            );
        }
    }
    let network = network(&VARIANTS[4], 0.3, 3);
    for size in [[1, 8, 8], [2, 8, 9], [7, 28, 28]] {
        let images = random(size[0] * 3 * size[1] * size[2], 3);
        let expected = reference::forward(&network, &images, size).unwrap();
        let found = logits(&network, &images, size, &Options::default());
        assert_close(&format!("small {size:?}"), &found, &expected, 5e-6);
    }
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    for variant in &VARIANTS[..2] {
        let network = network(variant, 0.5, 10);
        for size in [[1, 96, 96], [3, 64, 80]] {
            let images = random(size[0] * 3 * size[1] * size[2], 4);
            for algorithm in ALGORITHMS {
                let isa = Engine::instruction_sets()[0];
                let run = |threads| {
                    bits(&logits(
                        &network,
                        &images,
                        size,
                        &options(isa, threads, algorithm),
                    ))
                };
                let one = run(1);
                for threads in [2, 3, 4, 7] {
                    assert!(
                        run(threads) == one,
                        "{size:?} {algorithm:?} {threads} threads"
                    );
                }
            }
        }
    }
}

#[test]
fn a_second_call_does_not_depend_on_the_first() {
    let network = network(&VARIANTS[0], 0.25, 10);
    let engine = Engine::new(network, &Options::default()).unwrap();
    let size = [2, 64, 64];
    let images = random(2 * 3 * 64 * 64, 5);
    let run = |images: &[f32]| {
        let mut logits = vec![0.0; 20];
        engine.forward(images, size, &mut logits).unwrap();
        logits
    };
    let first = run(&images);
    // NaN everywhere, which reveals data that a later call reads without having written it.
    assert!(
        run(&vec![f32::NAN; images.len()])
            .iter()
            .all(|v| v.is_nan())
    );
    assert_eq!(bits(&run(&images)), bits(&first));
    assert!(engine.memory() > 0);
}

#[test]
fn calls_from_several_threads_and_from_inside_a_pool() {
    let network = network(&VARIANTS[0], 0.25, 10);
    let engine = Engine::new(network, &options(Engine::instruction_sets()[0], 2, None)).unwrap();
    let call = |seed: u64| {
        let images = random(3 * 48 * 48, seed);
        let mut logits = vec![0.0; 10];
        engine.forward(&images, [1, 48, 48], &mut logits).unwrap();
        bits(&logits)
    };
    let alone: Vec<_> = (0..12).map(call).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12)
            .map(|seed| scope.spawn(move || call(seed)))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(together, alone);
    use rayon::prelude::*;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    let pooled: Vec<_> = pool.install(|| (0..12u64).into_par_iter().map(call).collect());
    assert_eq!(pooled, alone);
}

/// With small integers, and powers of two as divisors, direct sums and the result are exact.
#[test]
fn direct_is_exact_on_small_integers() {
    let mut network = network(&VARIANTS[4], 0.1, 5);
    network.blocks.truncate(3);
    network.classifier.weight.truncate(0);
    let integers = |values: &mut Vec<f32>, scale: f32| {
        for v in values {
            *v = (*v * scale).round().clamp(-1.0, 1.0);
        }
    };
    if let bn_inception_kernels::infer::Stem::Small(conv) = &mut network.stem {
        integers(&mut conv.weight, 3.0);
        integers(&mut conv.bias, 3.0);
    }
    let mut channels = 8;
    for block in &mut network.blocks {
        let mut out = 0;
        for conv in block.conv_1x1.iter_mut().chain([&mut block.conv_3x3]) {
            integers(&mut conv.weight, 3.0);
            integers(&mut conv.bias, 3.0);
            out += conv.out_channels;
        }
        channels = if block.stride == 2 {
            out + channels
        } else {
            out
        };
    }
    network.classifier.weight = common::integers(5 * channels, 9);
    integers(&mut network.classifier.bias, 1.0);
    // 16 pixels for each mean: its divisor is a power of two.
    let size = [2, 8, 8];
    let images = common::integers(2 * 3 * 64, 8);
    let expected = reference::forward(&network, &images, size).unwrap();
    assert!(expected.iter().any(|&v| v != 0.0));
    for isa in Engine::instruction_sets() {
        let found = logits(
            &network,
            &images,
            size,
            &options(isa, 2, Some(Algorithm::Direct)),
        );
        let found: Vec<f64> = found.into_iter().map(f64::from).collect();
        assert_eq!(found, expected, "{isa}");
    }
}

#[test]
fn wrong_extents_are_errors() {
    let good = network(&VARIANTS[0], 0.125, 4);
    let engine = Engine::new(good.clone(), &Options::default()).unwrap();
    let mut logits = vec![0.0; 4];
    let mut call = |pixels: usize, size| engine.forward(&vec![0.0; pixels], size, &mut logits);
    assert!(matches!(
        call(10, [1, 32, 32]),
        Err(NetworkError::Length {
            expected: 3072,
            found: 10,
            ..
        })
    ));
    assert!(matches!(call(3072, [1, 32, 32]), Ok(())));
    assert!(matches!(
        call(3, [1, 1, 1]),
        Err(NetworkError::TooSmall { .. })
    ));
    assert!(matches!(
        call(0, [usize::MAX, 32, 32]),
        Err(NetworkError::TooLarge { .. } | NetworkError::Length { .. })
    ));
    assert!(matches!(
        call(0, [1, 0, 32]),
        Err(NetworkError::Length { .. })
    ));

    let mut bad = good.clone();
    bad.blocks[3].conv_3x3.weight.pop();
    let error = Engine::new(bad, &Options::default()).err().unwrap();
    assert!(
        error.to_string().starts_with("4a.conv_3x3: weight holds"),
        "{error}"
    );
    let mut bad = good.clone();
    bad.blocks[2].stride = 3;
    assert!(matches!(
        bad.validate(),
        Err(NetworkError::Layer { what: "stride", .. })
    ));
    let mut bad = good.clone();
    bad.block_pool.even = (0, 0);
    assert!(matches!(bad.validate(), Err(NetworkError::Layer { .. })));
    let mut bad = good.clone();
    bad.block_padding.odd = (2, 0);
    assert!(matches!(
        bad.validate(),
        Err(NetworkError::Layer {
            what: "padding",
            ..
        })
    ));
    let mut bad = good;
    bad.blocks.swap(4, 8);
    assert!(bad.validate().is_err());

    let unknown = Options {
        instruction_set: Some("mmx".to_owned()),
        ..Options::default()
    };
    let small = network(&VARIANTS[4], 0.1, 4);
    let error = Engine::new(small, &unknown).err().unwrap();
    assert!(matches!(error, NetworkError::InstructionSet { .. }));
}
