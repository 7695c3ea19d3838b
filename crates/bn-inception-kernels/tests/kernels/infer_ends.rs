//! Tests of calls that end before the classifier, and of networks that do.

use super::common::{assert_close, bits, random};
use super::guard::{FLUSH, Guarded};
use super::networks::{VARIANTS, network};
use bn_inception_kernels::infer::{Algorithm, End, Engine, Network, NetworkError, Operation, Options, reference};

fn options(isa: &str, threads: usize) -> Options {
    Options { threads: threads.try_into().ok(), instruction_set: Some(isa.to_owned()), ..Options::default() }
}

fn position(network: &Network, name: &str) -> usize {
    network.layers.iter().position(|layer| layer.name == name).unwrap()
}

/// The end of the stem and of each block.
fn end_points(network: &Network) -> Vec<usize> {
    let concat = |i: &usize| network.layers[*i].operation == Operation::Concat;
    let stem = network.layers.iter().rposition(|layer| layer.name.starts_with("stem.")).unwrap();
    [stem].into_iter().chain((0..network.layers.len()).filter(concat)).collect()
}

fn run(engine: &Engine, end: End, images: &[f32], size: [usize; 3]) -> Vec<f32> {
    let mut output = vec![f32::NAN; engine.output_shape_at(end, size).unwrap().iter().product()];
    engine.forward_to(end, images, size, &mut output).unwrap();
    output
}

fn pixels(size: [usize; 3], seed: u64) -> Vec<f32> {
    random(3 * size.iter().product::<usize>(), seed)
}

#[test]
fn every_end_point_on_every_instruction_set() {
    // Batches of one and of two chunks of a call, and of more than one chunk of the early stages.
    for (variant, size) in VARIANTS.iter().zip([[3, 45, 38], [1, 32, 61], [3, 50, 32], [5, 113, 96], [17, 13, 9]]) {
        let network = network(variant, 0.125, 7);
        let images = pixels(size, 1);
        let engines: Vec<Engine> = Engine::instruction_sets()
            .into_iter()
            .map(|isa| Engine::new(network.clone(), &options(isa, 2)).unwrap())
            .collect();
        for i in end_points(&network) {
            for end in [End::Layer(i), End::Mean(i)] {
                let expected = reference::forward_to(&network, end, &images, size).unwrap();
                for engine in &engines {
                    let found = run(engine, end, &images, size);
                    let layer = &network.layers[i].name;
                    let what = format!("{} {} {end:?} {layer} {size:?}", variant.name, engine.instruction_set());
                    assert_close(&what, &found, &expected, 5e-6);
                }
            }
        }
    }
}

#[test]
fn a_map_has_the_order_of_the_channels_and_pixels() {
    let network = network(&VARIANTS[0], 0.25, 7);
    let size = [2, 64, 40];
    let engine = Engine::new(network.clone(), &Options::default()).unwrap();
    let at = |name: &str| End::Layer(position(&network, name));
    assert_eq!(engine.output_shape_at(at("3a"), size), Ok(vec![2, 64, 8, 5]));
    assert_eq!(engine.output_shape_at(End::Mean(position(&network, "3a")), size), Ok(vec![2, 64]));
    assert_eq!(engine.output_shape(size), Ok(vec![2, 7]));
    let images = pixels(size, 2);
    let map = run(&engine, at("3a"), &images, size);
    let mean = run(&engine, End::Mean(position(&network, "3a")), &images, size);
    for (plane, mean) in map.chunks(8 * 5).zip(mean) {
        let expected = plane.iter().sum::<f32>() / 40.0;
        assert!((mean - expected).abs() <= 1e-5 * expected.abs(), "{mean} and {expected}");
    }
}

#[test]
fn every_convolution_pool_and_concatenation_can_be_the_end_of_a_network() {
    for variant in [&VARIANTS[0], &VARIANTS[4]] {
        let whole = network(variant, 0.1, 5);
        let size = if variant.small { [2, 11, 8] } else { [2, 35, 40] };
        let images = pixels(size, 3);
        let mut found = Vec::new();
        for last in 0..whole.layers.len() {
            let mut ending = whole.clone();
            ending.layers.truncate(last + 1);
            let Ok(engine) = Engine::new(ending.clone(), &Options::default()) else { continue };
            let mut output = vec![f32::NAN; engine.output_shape(size).unwrap().iter().product()];
            engine.forward(&images, size, &mut output).unwrap();
            let expected = reference::forward(&ending, &images, size).unwrap();
            assert_close(&whole.layers[last].name, &output, &expected, 5e-6);
            found.push(whole.layers[last].name.as_str());
        }
        // Within a block the first layer only: after it there are layers that nothing reads.
        let stem: &[&str] = match variant.small {
            true => &["stem.conv1"],
            false => &["stem.conv1", "stem.pool1", "stem.conv2_reduce", "stem.conv2", "stem.pool2"],
        };
        assert!(found.starts_with(stem), "{found:?}");
        for name in ["3a.conv_1x1", "3a", "3b", "3c", "4e", "5b.conv_1x1", "5b", "classifier"] {
            assert!(found.contains(&name), "{name} is not in {found:?}");
        }
        assert!(!found.contains(&"3a.conv_3x3"), "{found:?}");
    }
}

#[test]
fn calls_with_several_ends_share_an_engine() {
    let whole = network(&VARIANTS[0], 0.25, 9);
    let size = [3, 48, 41];
    let images = pixels(size, 4);
    for isa in Engine::instruction_sets() {
        // The end after the first of four merged convolutions comes first.
        let mut ends: Vec<End> = vec![End::Layer(position(&whole, "4a.conv_1x1"))];
        ends.extend(end_points(&whole).into_iter().flat_map(|i| [End::Layer(i), End::Mean(i)]));
        ends.push(End::Layer(whole.layers.len() - 1));
        let alone: Vec<Vec<u32>> = ends
            .iter()
            .map(|&end| bits(&run(&Engine::new(whole.clone(), &options(isa, 1)).unwrap(), end, &images, size)))
            .collect();
        for order in [false, true] {
            let engine = Engine::new(whole.clone(), &options(isa, 2)).unwrap();
            let mut calls: Vec<_> = ends.iter().zip(&alone).collect();
            if order {
                calls.reverse();
            }
            for (&end, alone) in calls {
                assert!(bits(&run(&engine, end, &images, size)) == *alone, "{isa} {end:?}");
            }
        }
        // A network that ends there gives the same bits.
        let (End::Layer(last) | End::Mean(last)) = ends[9];
        let mut ending = whole.clone();
        ending.layers.truncate(last + 1);
        let engine = Engine::new(ending, &options(isa, 2)).unwrap();
        assert!(bits(&run(&engine, ends[9], &images, size)) == alone[9], "{isa}");
    }
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let network = network(&VARIANTS[1], 0.3, 9);
    for size in [[1, 75, 64], [5, 40, 47], [17, 32, 33]] {
        let images = pixels(size, 5);
        let engines: Vec<Engine> = (1..=4)
            .map(|threads| Engine::new(network.clone(), &options(Engine::instruction_sets()[0], threads)).unwrap())
            .collect();
        for end in end_points(&network).into_iter().flat_map(|i| [End::Layer(i), End::Mean(i)]) {
            let one = bits(&run(&engines[0], end, &images, size));
            for engine in &engines[1..] {
                assert!(bits(&run(engine, end, &images, size)) == one, "{size:?} {end:?} {} threads", engine.threads());
            }
        }
    }
}

#[test]
fn outputs_between_guard_pages() {
    for (variant, size) in VARIANTS.iter().zip([[1, 32, 37], [3, 61, 50], [1, 45, 32]]) {
        let network = network(variant, 0.125, 11);
        let images = pixels(size, 6);
        for isa in Engine::instruction_sets() {
            let engine = Engine::new(network.clone(), &options(isa, 2)).unwrap();
            for end in end_points(&network).into_iter().flat_map(|i| [End::Layer(i), End::Mean(i)]) {
                let expected = run(&engine, end, &images, size);
                for flush in FLUSH {
                    let mut input = Guarded::copy(&images, flush);
                    let mut output = Guarded::new(&[expected.len()], flush);
                    engine.forward_to(end, input.only(), size, output.only()).unwrap();
                    assert_eq!(bits(output.only()), bits(&expected), "{} {isa} {end:?}", variant.name);
                }
            }
        }
    }
}

#[test]
fn nan_stays_in_its_image() {
    let network = network(&VARIANTS[0], 0.125, 5);
    let size = [3, 41, 38];
    let clean = pixels(size, 7);
    let mut images = clean.clone();
    let image = clean.len() / 3;
    images[image + 700] = f32::NAN;
    for algorithm in [None, Some(Algorithm::Direct)] {
        let engine = Engine::new(network.clone(), &Options { algorithm, ..Options::default() }).unwrap();
        for end in end_points(&network).into_iter().flat_map(|i| [End::Layer(i), End::Mean(i)]) {
            let (found, expected) = (run(&engine, end, &images, size), run(&engine, end, &clean, size));
            let each = found.len() / 3;
            assert!(found[each..2 * each].iter().any(|v| v.is_nan()), "{end:?}");
            for image in [0..each, 2 * each..3 * each] {
                assert_eq!(bits(&found[image.clone()]), bits(&expected[image]), "{end:?}");
            }
        }
    }
}

#[test]
fn wrong_ends_and_lengths_are_errors() {
    let network = network(&VARIANTS[0], 0.125, 4);
    let engine = Engine::new(network.clone(), &Options::default()).unwrap();
    let at = |name: &str| position(&network, name);
    let size = [1, 32, 32];
    let images = pixels(size, 8);
    let last = network.layers.len() - 1;
    for (end, expected) in [
        (End::Layer(last + 1), "network: position of the last layer is 92, expected 91"),
        (End::Mean(last), "classifier: number of dimensions of the output is 2, expected 4"),
        (End::Layer(at("3a.conv_3x3")), "3a.conv_1x1: number of layers that read it is 0, expected 1"),
        (End::Layer(at("4b.pool")), "4b.conv_1x1: number of layers that read it is 0, expected 1"),
    ] {
        let mut output = vec![0.0; 4];
        let errors = [
            engine.output_shape_at(end, size).unwrap_err(),
            engine.forward_to(end, &images, size, &mut output).unwrap_err(),
            engine.forward_to(end, &[], [0, 32, 32], &mut []).unwrap_err(),
            reference::forward_to(&network, end, &images, size).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.to_string(), expected);
        }
    }

    let end = End::Layer(at("3b"));
    let shape = engine.output_shape_at(end, size).unwrap();
    let len: usize = shape.iter().product();
    for wrong in [0, len - 1, len + 1] {
        let error = engine.forward_to(end, &images, size, &mut vec![0.0; wrong]).unwrap_err();
        let expected =
            NetworkError::Length { layer: "forward".to_owned(), what: "output", expected: len, found: wrong };
        assert_eq!(error, expected);
    }
    assert!(engine.forward_to(end, &[], [0, 32, 32], &mut []).is_ok());
    assert_eq!(engine.output_shape_at(end, [0, 32, 32]).unwrap()[0], 0);
    assert!(matches!(
        engine.forward_to(end, &[], [0, 32, 32], &mut [0.0]),
        Err(NetworkError::Length { expected: 0, found: 1, .. })
    ));
    for size in [[1, 1, 1], [1, 0, 32], [1, 32, 0]] {
        assert!(matches!(engine.output_shape_at(end, size), Err(NetworkError::TooSmall { .. })), "{size:?}");
    }
    for size in [[usize::MAX, 32, 32], [1, usize::MAX, 32], [1, 1 << 40, 1 << 40], [1, usize::MAX, 0]] {
        assert!(matches!(engine.output_shape_at(end, size), Err(NetworkError::TooLarge { .. })), "{size:?}");
        assert!(matches!(engine.output_shape(size), Err(NetworkError::TooLarge { .. })), "{size:?}");
    }
}
