//! Drawn networks against the reference in `f64`, and in guarded memory filled with NaN.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::gradients::{MARGIN, expected, wrong};
use super::harness::Harness;
use super::networks::{Plain, SAME};
use super::{Case, GradientsOf, Operation, Random, STYLES};
use crate::guard::FLUSH;
use crate::guarded::Arena;
use crate::infer::{NetworkError, Placement};
use crate::simd::kernels::Kernels;
use crate::train::Activation;
use crate::train::build::Builder;
use crate::train::layers::Layers;

/// A part of a drawn network, with numbers of channels.
#[derive(Debug, Clone)]
enum Part {
    Conv { channels: usize, kernel: usize, stride: usize },
    Max { stride: usize, padding: Placement },
    Block { channels: [usize; 4], includes_padding: bool },
    Halving { channels: [usize; 2] },
    Projected { channels: [usize; 2] },
}

#[derive(Debug, Clone)]
struct Recipe {
    /// Channels of the map that is the source; `None` for images with a first convolution of this kernel.
    source: Result<usize, usize>,
    activation: Activation,
    strided: Placement,
    parts: Vec<Part>,
    mean: bool,
    size: [usize; 3],
    style: usize,
    seed: u64,
}

/// Numbers of channels: any, multiples of eight, whole blocks.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..=35, (1usize..=5).prop_map(|n| 8 * n), (1usize..=2).prop_map(|n| 16 * n)]
}

fn placement() -> impl Strategy<Value = Placement> {
    let one = || (0usize..=1, 0usize..=1);
    (one(), one()).prop_map(|(even, odd)| Placement { even, odd })
}

fn part() -> impl Strategy<Value = Part> {
    let kernels = prop_oneof![Just((1, 1)), Just((3, 1)), Just((3, 2))];
    prop_oneof![
        (channels(), kernels).prop_map(|(channels, (kernel, stride))| Part::Conv { channels, kernel, stride }),
        placement().prop_map(|padding| Part::Max { stride: 2, padding }),
        Just(Part::Max { stride: 1, padding: Placement::both(1, 1) }),
        ([channels(), channels(), channels(), channels()], any::<bool>())
            .prop_map(|(channels, includes_padding)| Part::Block { channels, includes_padding }),
        [channels(), channels()].prop_map(|channels| Part::Halving { channels }),
        [channels(), channels()].prop_map(|channels| Part::Projected { channels }),
    ]
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let source = prop_oneof![channels().prop_map(Ok), Just(Err(3)), Just(Err(7))];
    let activation = prop_oneof![3 => Just(Activation::Relu), 1 => Just(Activation::Sigmoid)];
    let strided = prop_oneof![Just(SAME), Just(Placement::both(1, 1))];
    let parts = prop::collection::vec(part(), 1..=3);
    let size = [1usize..=3, 3..=14, 3..=14];
    (source, activation, strided, parts, any::<bool>(), size, 0..STYLES.len(), any::<u64>()).prop_map(
        |(source, activation, strided, parts, mean, size, style, seed)| Recipe {
            source,
            activation,
            strided,
            parts,
            mean,
            size,
            style,
            seed: seed | 1,
        },
    )
}

impl Recipe {
    /// The case, unless the input is too small for the network.
    fn case(&self) -> Option<Case> {
        let source = self.source.map_or(Operation::Images, |channels| Operation::Map { channels });
        let mut network = Plain::new(source, self.activation, 1e-2, self.strided);
        let mut x = match self.source {
            Ok(_) => 0,
            Err(kernel) => network.conv(0, 8 + self.seed as usize % 17, kernel, kernel / 3),
        };
        for part in &self.parts {
            x = match *part {
                Part::Conv { channels, kernel, stride } => network.conv(x, channels, kernel, stride),
                Part::Max { stride, padding } => network.max(x, stride, padding),
                Part::Block { channels, includes_padding } => network.block(x, channels, includes_padding),
                Part::Halving { channels } => network.halving(x, channels),
                Part::Projected { channels: [one, projection] } => {
                    let pool = network.max(x, 1, Placement::both(1, 1));
                    let projection = network.conv(pool, projection, 1, 1);
                    let one = network.conv(x, one, 1, 1);
                    network.concat(&[projection, one])
                }
            };
        }
        if self.mean {
            network.mean(x);
        }
        let network = network.network();
        let [batch, height, width] = self.size;
        let builder = Builder::new(Kernels::available().next().unwrap(), 1);
        match Layers::new(&network, batch, [height, width], builder) {
            Err(NetworkError::TooSmall { .. }) => None,
            layers => {
                // With few values a channel, all may cancel, and an error relative to them is meaningless.
                let pixels = layers.unwrap().sizes.iter().map(|size| size[0] * size[1]).min().unwrap();
                (batch * pixels >= 8).then(|| Case::new(&network, self.size, &mut Random(self.seed)))
            }
        }
    }
}

#[test]
fn drawn_networks_have_the_gradients_of_the_reference() {
    let cases = if cfg!(miri) { 1 } else { 50 };
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&recipe(), |recipe| {
        let case = recipe.case();
        prop_assume!(case.is_some(), "too small");
        let (case, style) = (case.unwrap(), STYLES[recipe.style]);
        let expected = expected(&case, style);
        prop_assume!(expected.margin > MARGIN, "too close to another gradient");
        for kernels in Kernels::available() {
            let found = case.run(&case.trainer(kernels.name, 1 + recipe.seed as usize % 3), style);
            // Sums over few pixels cancel; an error in the sums themselves is far larger.
            let wrong = wrong(&found, &expected, 1e-2);
            prop_assert!(wrong.is_none(), "{} {wrong:?}", kernels.name);
            let arena = [Arena::Separate, Arena::Shared][recipe.seed as usize / 2 % 2];
            let how = (1 + recipe.seed as usize / 4 % 3, arena, FLUSH[recipe.seed as usize / 16 % 2]);
            let guarded =
                Harness::new(&case, kernels, how, GradientsOf::ParametersAndInput).run(style, &mut Random(recipe.seed));
            prop_assert!(guarded == found.bits(), "{} {how:?}", kernels.name);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
