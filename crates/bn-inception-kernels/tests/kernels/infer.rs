//! Tests of the inference engine against the `f64` reference implementation.

use super::common::{assert_close, bits, random};
use super::networks::{VARIANTS, conv_mut, first_blocks, network};
use bn_inception_kernels::infer::{
    Algorithm, Conv, Engine, Layer, Linear, Network, NetworkError, Operation, Options, Placement, reference,
};

fn options(isa: &str, threads: usize, algorithm: Option<Algorithm>) -> Options {
    Options { threads: threads.try_into().ok(), instruction_set: Some(isa.to_owned()), algorithm, ..Options::default() }
}

fn logits(network: &Network, images: &[f32], size: [usize; 3], options: &Options) -> Vec<f32> {
    let engine = Engine::new(network.clone(), options).unwrap();
    let mut logits = vec![f32::NAN; size[0] * network.classes()];
    engine.forward(images, size, &mut logits).unwrap();
    logits
}

const ALGORITHMS: [Option<Algorithm>; 4] = [None, Some(Algorithm::Direct), Some(Algorithm::F2), Some(Algorithm::F4)];

#[test]
fn every_variant_on_every_instruction_set_with_every_algorithm() {
    for variant in &VARIANTS {
        let network = network(variant, 0.25, 11);
        let size = if variant.small { [2, 13, 16] } else { [2, 50, 67] };
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
    let extents = [[1, 32, 32], [3, 32, 41], [1, 61, 33], [2, 97, 64], [5, 35, 38], [19, 32, 33], [1, 128, 112]];
    for (variant, width) in VARIANTS.iter().zip([0.125, 0.2, 0.3, 0.125, 0.3]) {
        let network = network(variant, width, 17);
        for size in extents {
            let images = random(size[0] * 3 * size[1] * size[2], 2);
            let expected = reference::forward(&network, &images, size).unwrap();
            let found = logits(&network, &images, size, &Options::default());
            assert_close(&format!("{} {size:?}", variant.name), &found, &expected, 5e-6);
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
                let run = |threads| bits(&logits(&network, &images, size, &options(isa, threads, algorithm)));
                let one = run(1);
                for threads in [2, 3, 4, 7] {
                    assert!(run(threads) == one, "{size:?} {algorithm:?} {threads} threads");
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
    assert!(run(&vec![f32::NAN; images.len()]).iter().all(|v| v.is_nan()));
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
        let threads: Vec<_> = (0..12).map(|seed| scope.spawn(move || call(seed))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(together, alone);
    use rayon::prelude::*;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let pooled: Vec<_> = pool.install(|| (0..12u64).into_par_iter().map(call).collect());
    assert_eq!(pooled, alone);
}

/// With small integers, and powers of two as divisors, direct sums and the result are exact.
#[test]
fn direct_is_exact_on_small_integers() {
    let mut network = first_blocks(&VARIANTS[4], 3, 0.1, 5);
    let integers = |values: &mut Vec<f32>, scale: f32| {
        for v in values {
            *v = (*v * scale).round().clamp(-1.0, 1.0);
        }
    };
    for layer in &mut network.layers {
        match &mut layer.operation {
            Operation::Conv(conv) => {
                integers(&mut conv.weight, 3.0);
                integers(&mut conv.bias, 3.0);
            }
            Operation::Classifier(linear) => {
                linear.weight = super::common::integers(linear.weight.len(), 9);
                integers(&mut linear.bias, 1.0);
            }
            _ => {}
        }
    }
    // 16 pixels for each mean: its divisor is a power of two.
    let size = [2, 8, 8];
    let images = super::common::integers(2 * 3 * 64, 8);
    let expected = reference::forward(&network, &images, size).unwrap();
    assert!(expected.iter().any(|&v| v != 0.0));
    for isa in Engine::instruction_sets() {
        let found = logits(&network, &images, size, &options(isa, 2, Some(Algorithm::Direct)));
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
    assert!(matches!(call(10, [1, 32, 32]), Err(NetworkError::Length { expected: 3072, found: 10, .. })));
    assert!(matches!(call(3072, [1, 32, 32]), Ok(())));
    assert!(matches!(call(3, [1, 1, 1]), Err(NetworkError::TooSmall { .. })));
    assert!(matches!(call(0, [usize::MAX, 32, 32]), Err(NetworkError::TooLarge { .. } | NetworkError::Length { .. })));
    assert!(matches!(call(0, [1, 0, 32]), Err(NetworkError::Length { .. })));

    let mut bad = good.clone();
    conv_mut(&mut bad, "4a.conv_3x3").weight.pop();
    let error = Engine::new(bad, &Options::default()).err().unwrap();
    assert!(error.to_string().starts_with("4a.conv_3x3: weight holds"), "{error}");
    let mut bad = good.clone();
    conv_mut(&mut bad, "3c.conv_3x3").stride = 3;
    assert!(matches!(bad.validate(), Err(NetworkError::Layer { what: "stride", .. })));
    let mut bad = good.clone();
    match &mut layer_mut(&mut bad, "3c.pool").operation {
        Operation::MaxPool { padding, .. } => padding.even = (0, 0),
        other => panic!("{other:?}"),
    }
    assert!(matches!(bad.validate(), Err(NetworkError::Layer { .. })));
    let mut bad = good.clone();
    conv_mut(&mut bad, "3c.conv_3x3").padding.odd = (2, 0);
    assert!(matches!(bad.validate(), Err(NetworkError::Layer { what: "padding", .. })));
    let mut bad = good.clone();
    for layer in &good.layers {
        if let Some((block @ ("4b" | "5a"), part)) = layer.name.split_once('.') {
            let other = if block == "4b" { "5a" } else { "4b" };
            layer_mut(&mut bad, &format!("{other}.{part}")).operation = layer.operation.clone();
        }
    }
    assert!(bad.validate().is_err());

    let unknown = Options { instruction_set: Some("mmx".to_owned()), ..Options::default() };
    let small = network(&VARIANTS[4], 0.1, 4);
    let error = Engine::new(small, &unknown).err().unwrap();
    assert!(matches!(error, NetworkError::InstructionSet { .. }));
}

fn layer_mut<'a>(network: &'a mut Network, name: &str) -> &'a mut Layer {
    network.layers.iter_mut().find(|l| l.name == name).unwrap()
}

#[test]
fn wrong_connections_are_errors() {
    let good = network(&VARIANTS[0], 0.125, 4);
    good.validate().unwrap();
    let at = |name: &str| good.layers.iter().position(|l| l.name == name).unwrap();
    type Change<'a> = &'a dyn Fn(&mut Network);
    let cases: [(Change<'_>, &str); 17] = [
        (&|n| n.layers.clear(), "network: number of layers is 0"),
        (&|n| drop(n.layers.pop().and(n.layers.pop())), "5b.conv_1x1: number of layers that read it is 0, expected 1"),
        (&|n| n.layers.truncate(at("4a.pool") + 1), "4a.conv_1x1: number of layers that read it is 0, expected 1"),
        (&|n| n.layers.truncate(at("stem.pool2") + 4), "3a.conv_1x1: number of layers that read it is 0, expected 1"),
        (
            &|n| layer_mut(n, "3a").operation = n.layers.last().unwrap().operation.clone(),
            "3a: number of inputs is 4, expected 1",
        ),
        (&|n| drop(n.layers.remove(0)), "stem.pool1: number of inputs is 1, expected 0"),
        (&|n| layer_mut(n, "stem.pool1").inputs = vec![at("3a")], "stem.pool1: position of an input is"),
        (&|n| layer_mut(n, "3b").inputs.clear(), "3b: number of inputs is 0, expected 1"),
        (
            // Another layer reads an input of a concatenation.
            &|n| layer_mut(n, "4b.conv_1x1").inputs = vec![at("4a.conv_1x1")],
            "4a.conv_1x1: number of layers that read it is 2, expected 1",
        ),
        (
            &|n| layer_mut(n, "4a").inputs.truncate(3),
            "4a.pool_projection: number of layers that read it is 0, expected 1",
        ),
        (&|n| layer_mut(n, "4b").inputs[0] = at("4a"), "4b.conv_1x1: number of layers that read it is 0, expected 1"),
        (
            &|n| layer_mut(n, "4a.reduce_3x3").inputs = vec![at("3b.pool")],
            "3b.pool: number of layers that read it is 2, expected 1",
        ),
        (
            // An average pool before a 3×3.
            &|n| conv_mut(n, "4a.pool_projection").kernel = 3,
            "4a.pool: number of 1x1 convolutions that read it is 0",
        ),
        (
            // A branch of twice the size, and one of the same size only in even images.
            &|n| layer_mut(n, "3c.pool").inputs = vec![at("stem.conv1")],
            "3c.pool: number of the size that it halves is",
        ),
        (
            &|n| conv_mut(n, "3c.conv_3x3").padding.odd = (0, 0),
            "3c.conv_double_2: height of the output (8 or 9 rows in) is 5, expected 4",
        ),
        (&|n| conv_mut(n, "3a.conv_3x3").padding = Placement::both(0, 1), "3a.conv_3x3: padding is 0, expected 1"),
        (&|n| conv_mut(n, "3a.conv_1x1").kernel = 7, "3a.conv_1x1: kernel is 7, expected 3"),
    ];
    for (change, expected) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        let error = bad.validate().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}, not {expected}");
    }
}

/// Connections and orders that BN-Inception does not have.
#[test]
fn another_network() {
    let window = |kernel: usize| (kernel, 1, Placement::both(kernel / 2, kernel / 2));
    let mut seed = 40;
    let mut conv = |in_channels: usize, out_channels: usize, (kernel, stride, padding)| {
        seed += 1;
        let fan_in = in_channels * kernel * kernel;
        let weight = random(out_channels * fan_in, seed);
        let scale = (2.0 / fan_in as f32).sqrt();
        Operation::Conv(Conv {
            weight: weight.into_iter().map(|w| w * scale).collect(),
            bias: random(out_channels, seed + 100),
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
        })
    };
    let halved = Placement { even: (0, 1), odd: (1, 1) };
    let max = || Operation::MaxPool { stride: 2, padding: halved };
    let average = Operation::AveragePool { includes_padding: false };
    let linear = Linear { weight: random(5 * 39, 1), bias: random(5, 2) };
    let layers: [(&[usize], Operation); 14] = [
        (&[], conv(3, 20, window(3))),
        (&[0], conv(20, 7, window(1))),
        (&[1], conv(7, 9, (3, 2, Placement::both(1, 1)))),
        (&[0], max()),
        // The end of the early stages; its first part ends in unused channels.
        (&[3, 2], Operation::Concat),
        // Late layers that read an early one.
        (&[0], max()),
        (&[0], conv(20, 6, (3, 2, halved))),
        (&[4], average),
        (&[5], conv(20, 17, window(1))),
        (&[4], conv(29, 5, window(1))),
        (&[7], conv(29, 11, window(1))),
        (&[10, 6, 9, 8], Operation::Concat),
        (&[11], conv(39, 39, window(3))),
        (&[12], Operation::Classifier(linear)),
    ];
    let layers = layers.into_iter().enumerate();
    let network = Network {
        layers: layers
            .map(|(i, (inputs, operation))| Layer { name: format!("layer {i}"), inputs: inputs.to_vec(), operation })
            .collect(),
    };
    // Chunks of three, three and one image in the early stages; any size; a single image.
    for size in [[7, 112, 120], [2, 19, 26], [1, 5, 4]] {
        let images = random(size.iter().product::<usize>() * 3, 3);
        let expected = reference::forward(&network, &images, size).unwrap();
        for isa in Engine::instruction_sets() {
            for algorithm in ALGORITHMS {
                for threads in [1, 3] {
                    let found = logits(&network, &images, size, &options(isa, threads, algorithm));
                    let what = format!("{size:?} {isa} {algorithm:?} {threads}");
                    assert_close(&what, &found, &expected, 5e-6);
                }
            }
        }
    }
}
