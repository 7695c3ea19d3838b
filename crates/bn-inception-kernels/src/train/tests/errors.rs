//! Errors and their messages.

use super::networks::{Plain, SAME, networks};
use super::{Case, Conv, GradientsOf, Network, Operation, Parameters, Random, Style, Trainer, options};
use crate::infer::{Engine, Placement};
use crate::train::Activation;

/// The message of the error that a call returns.
fn message<T>(result: Result<T, crate::infer::NetworkError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

/// A map of four channels.
fn plain() -> Plain {
    Plain::new(Operation::Map { channels: 4 }, Activation::Relu, 1e-3, SAME)
}

fn images() -> Plain {
    Plain::new(Operation::Images, Activation::Relu, 1e-3, SAME)
}

#[test]
fn wrong_lengths_and_sizes() {
    let mut network = plain();
    let x = network.conv(0, 8, 3, 2);
    network.max(x, 2, Placement::both(0, 0));
    let case = Case::new(&network.network(), [2, 8, 9], &mut Random(1));
    let trainer = case.trainer(Engine::instruction_sets()[0], 2);
    let good = case.parameters(Style::Normalized);
    let forward = |input: &[f32], size, parameters: &[Parameters<'_>]| {
        message(trainer.forward(input, size, parameters, GradientsOf::Parameters))
    };
    let [batch, height, width] = case.size;
    assert_eq!(forward(&case.input[1..], case.size, &good), "forward: input holds 575 elements, expected 576");
    assert_eq!(forward(&[], [0, height, width], &good), "forward: number of images is 0, expected 1");
    assert_eq!(forward(&[], [1, 0, width], &good), "source0: an image of 0 by 9 pixels is too small");
    assert_eq!(forward(&[], [1, height, 0], &good), "source0: an image of 8 by 0 pixels is too small");
    assert_eq!(forward(&[0.0; 80], [1, 4, 5], &good), "max2: an image of 4 by 5 pixels is too small");
    let huge = format!("a batch of {batch} images of {} by {width} pixels does not fit into memory", usize::MAX / 4);
    assert_eq!(forward(&[], [batch, usize::MAX / 4, width], &good), huge);

    let (weight, scale) = (vec![0.0; 287], vec![0.0; 7]);
    let bad = [
        (Parameters { weight: &weight, ..good[0] }, "conv1: weight holds 287 elements, expected 288"),
        (Parameters { scale: Some(&scale), ..good[0] }, "conv1: scale holds 7 elements, expected 8"),
        (Parameters { shift: Some(&scale), ..good[0] }, "conv1: shift holds 7 elements, expected 8"),
    ];
    let expected = "network: parameters holds 2 elements, expected 1";
    assert_eq!(forward(&case.input, case.size, &[good[0]; 2]), expected);
    assert_eq!(forward(&case.input, case.size, &[]), "network: parameters holds 0 elements, expected 1");
    for (bad, expected) in bad {
        assert_eq!(forward(&case.input, case.size, &[bad]), expected);
    }

    let backward = |parameters: &[Parameters<'_>], gradient: &[f32]| {
        let tape = case.forward(&trainer, Style::Normalized, GradientsOf::Parameters).tape.unwrap();
        message(trainer.backward(tape, parameters, gradient))
    };
    let gradient = &case.output_gradient;
    let expected = "backward: gradient of the output holds 31 elements, expected 32";
    assert_eq!(backward(&good, &gradient[1..]), expected);
    assert_eq!(backward(&[], gradient), "network: parameters holds 0 elements, expected 1");
    for (bad, expected) in bad {
        assert_eq!(backward(&[bad], gradient), expected);
    }
    // Errors leave the trainer intact.
    case.run(&trainer, Style::Normalized);
}

#[test]
#[should_panic(expected = "the tape of another trainer")]
fn the_tape_of_another_trainer() {
    let (_, network, sizes) = networks().remove(0);
    let case = Case::new(&network, sizes[0], &mut Random(2));
    let [one, two] = [(); 2].map(|()| case.trainer(Engine::instruction_sets()[0], 2));
    let forward = case.forward(&one, Style::Normalized, GradientsOf::Parameters);
    case.backward(&two, Style::Normalized, forward);
}

#[test]
fn an_unknown_instruction_set() {
    let (_, network, _) = networks().remove(0);
    let sets = Engine::instruction_sets().join(", ");
    let expected = format!(
        "instruction set \"mmx\", requested by BN_INCEPTION_ISA or the engine options, is not available on this \
         processor; available: {sets}"
    );
    assert_eq!(message(Trainer::new(network, &options("mmx", 1))), expected);
}

#[test]
fn a_concatenation_of_several_sizes() {
    let mut network = plain();
    let one = network.conv(0, 8, 3, 2);
    let two = network.max(0, 2, Placement::both(0, 0));
    network.concat(&[one, two]);
    let trainer = Trainer::new(network.network(), &options("portable", 1)).unwrap();
    let weight = vec![0.0; 8 * 4 * 9];
    let parameters = [Parameters { weight: &weight, scale: None, shift: None, normalize: true }];
    let forward = |[height, width]: [usize; 2]| {
        let input = vec![0.0; 4 * height * width];
        trainer.forward(&input, [1, height, width], &parameters, GradientsOf::Nothing)
    };
    assert_eq!(message(forward([8, 8])), "concat3: height of an input is 3, expected 4");
    assert_eq!(message(forward([9, 9])), "concat3: height of an input is 4, expected 5");
}

/// The message of [`Network::validate`] for a network that `build` completes and `change` spoils.
fn invalid(mut network: Plain, build: impl FnOnce(&mut Plain), change: impl FnOnce(&mut Network)) -> String {
    build(&mut network);
    let mut network = network.network();
    change(&mut network);
    assert!(Trainer::new(network.clone(), &options("portable", 1)).is_err());
    message(network.validate())
}

fn change_conv(layer: usize, change: impl FnOnce(&mut Conv)) -> impl FnOnce(&mut Network) {
    move |network| {
        if let Operation::Conv(conv) = &mut network.layers[layer].operation {
            change(conv);
        }
    }
}

fn nothing(_: &mut Network) {}

#[test]
fn invalid_connections() {
    let one = |network: &mut Plain| _ = network.conv(0, 8, 3, 1);
    let two = |network: &mut Plain| {
        let x = network.conv(0, 8, 3, 1);
        network.conv(x, 8, 1, 1);
    };
    assert_eq!(invalid(plain(), |_| (), nothing), "network: number of layers is 1, expected 2");
    assert_eq!(invalid(plain(), |_| (), |n| n.layers.clear()), "network: number of layers is 0, expected 2");
    let expected = "conv1: number of sources in its place is 0, expected 1";
    assert_eq!(invalid(plain(), two, |n| _ = n.layers.remove(0)), expected);
    let expected = "conv1: number of sources in its place is 1, expected 0";
    assert_eq!(invalid(plain(), one, |n| n.layers[1].operation = Operation::Images), expected);
    assert_eq!(invalid(plain(), one, |n| n.layers[0].inputs = vec![0]), "source0: number of inputs is 1, expected 0");
    assert_eq!(invalid(plain(), one, |n| n.layers[1].inputs.clear()), "conv1: number of inputs is 0, expected 1");
    assert_eq!(invalid(plain(), one, |n| n.layers[1].inputs = vec![1]), "conv1: position of an input is 1, expected 0");
    let expected = "source0: number of layers that read it is 0, expected 1";
    assert_eq!(invalid(plain(), two, |n| n.layers[1].inputs = vec![2]), "conv1: position of an input is 2, expected 0");
    let unread = |network: &mut Plain| {
        network.conv(0, 4, 1, 1);
        network.conv(0, 4, 1, 1);
    };
    assert_eq!(invalid(plain(), unread, nothing), expected.replace("source0", "conv1"));
    let expected = "concat1: number of inputs is 0, expected 1";
    assert_eq!(invalid(plain(), |n| _ = n.concat(&[]), nothing), expected);
}

#[test]
fn invalid_combinations() {
    let twice = |network: &mut Plain| {
        let one = network.conv(0, 8, 3, 1);
        let two = network.conv(0, 8, 3, 1);
        network.concat(&[one, two]);
    };
    assert_eq!(invalid(images(), twice, nothing), "source0: number of layers that read it is 2, expected 1");
    let expected = "max1: number of inputs that are images is 1, expected 0";
    assert_eq!(invalid(images(), |n| _ = n.max(0, 2, SAME), nothing), expected);
    assert_eq!(invalid(images(), |n| n.mean(0), nothing), expected.replace("max", "mean"));
    let average = |network: &mut Plain| {
        let pool = network.average(0, true);
        network.conv(pool, 8, 1, 1);
    };
    assert_eq!(invalid(images(), average, nothing), expected.replace("max", "average"));
    let expected = "average1: number of 1x1 convolutions that read it is 0, expected 1";
    let change = change_conv(2, |conv| (conv.kernel, conv.padding) = (3, Placement::both(1, 1)));
    assert_eq!(invalid(plain(), average, change), expected);
    let expected = "average1: number of layers that read it is 0, expected 1";
    assert_eq!(invalid(plain(), |n| _ = n.average(0, true), nothing), expected);
    let shared = |network: &mut Plain| {
        let pool = network.average(0, true);
        let one = network.conv(pool, 8, 1, 1);
        let two = network.conv(pool, 8, 1, 1);
        network.concat(&[one, two]);
    };
    assert_eq!(invalid(plain(), shared, nothing), expected.replace("is 0", "is 2"));
    let expected = "source0: number of convolutions or max pools in a concatenation is 0, expected 1";
    assert_eq!(invalid(plain(), |n| _ = n.concat(&[0]), nothing), expected);
    let read = |network: &mut Plain| {
        let x = network.conv(0, 8, 1, 1);
        let y = network.conv(x, 8, 1, 1);
        network.concat(&[x, y]);
    };
    assert_eq!(invalid(plain(), read, nothing), "conv1: number of layers that read it is 2, expected 1");
    let early = |network: &mut Plain| {
        network.mean(0);
        network.conv(1, 8, 1, 1);
    };
    assert_eq!(invalid(plain(), early, nothing), "mean1: position of the mean is 1, expected 2");
}

#[test]
fn invalid_windows() {
    let one = |kernel, stride| move |network: &mut Plain| _ = network.conv(0, 8, kernel, stride);
    let conv = |kernel, stride| invalid(plain(), one(kernel, stride), nothing);
    assert_eq!(conv(7, 2), "conv1: kernel is 7, expected 3");
    assert_eq!(conv(1, 2), "conv1: stride is 2, expected 1");
    assert_eq!(conv(3, 3), "conv1: stride is 3, expected 2");
    let stem = |kernel, stride| invalid(images(), one(kernel, stride), nothing);
    assert_eq!(stem(7, 1), "conv1: stride is 1, expected 2");
    assert_eq!(stem(3, 2), "conv1: stride is 2, expected 1");
    assert_eq!(stem(5, 1), "conv1: kernel is 5, expected 7");
    let change = |change: fn(&mut Conv)| invalid(plain(), one(3, 1), change_conv(1, change));
    assert_eq!(change(|conv| conv.in_channels = 3), "conv1: in_channels is 3, expected 4");
    assert_eq!(change(|conv| conv.out_channels = 0), "conv1: out_channels is 0, expected 1");
    assert_eq!(change(|conv| conv.padding.odd = (1, 2)), "conv1: padding is 2, expected 1");
    assert_eq!(change(|conv| conv.padding.even = (0, 1)), "conv1: padding is 0, expected 1");
    let source = |channels| move |network: &mut Network| network.layers[0].operation = Operation::Map { channels };
    assert_eq!(invalid(plain(), one(3, 1), source(0)), "source0: number of channels is 0, expected 1");
    let pool = |stride, padding| invalid(plain(), |n| _ = n.max(0, stride, padding), nothing);
    assert_eq!(pool(3, SAME), "max1: stride is 3, expected 2");
    assert_eq!(pool(2, Placement::both(2, 0)), "max1: padding is 2, expected 1");
    assert_eq!(pool(1, SAME), "max1: padding is 0, expected 1");
}

/// Extents whose product wraps around match no slice.
#[test]
fn filters_beyond_the_address_space() {
    let mut network = plain();
    network.conv(0, usize::MAX / 4 + 1, 1, 1);
    let trainer = Trainer::new(network.network(), &options("portable", 1)).unwrap();
    let parameters = [Parameters { weight: &[], scale: None, shift: None, normalize: true }];
    let found = message(trainer.forward(&[0.0; 4], [1, 1, 1], &parameters, GradientsOf::Nothing));
    assert_eq!(found, format!("conv1: weight holds 0 elements, expected {}", usize::MAX));
}
