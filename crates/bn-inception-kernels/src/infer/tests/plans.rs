//! Tests of whole plans, with every tensor, filter and scratch memory between guard pages, or with all tensors in one
//! arena filled with NaN, as in the engine. A read of data not written in the same call gives NaN, and thereby a NaN in
//! the output.

use super::common::{bits, random};
use super::guard::{FLUSH, Flush, Guarded};
use super::harness::Harness;
use super::networks::{VARIANTS, network};
use crate::guarded::Arena;
use crate::infer::build::{Algorithm, Builder, PlanConfig};
use crate::infer::engine::{Engine, Options};
use crate::infer::network::{Network, Operation};
use crate::infer::pack::FilterCache;
use crate::infer::prefix::{End, Prefix};
use crate::simd::kernels::Kernels;

const ALGORITHMS: [Option<Algorithm>; 4] = [None, Some(Algorithm::Direct), Some(Algorithm::F2), Some(Algorithm::F4)];

/// The end of the network, a map and the means of a map; which ones depends on `number`.
fn ends(network: &Network, number: usize) -> [End; 3] {
    let layers = network.layers.iter().enumerate();
    let maps: Vec<usize> = layers.filter(|(_, layer)| layer.operation == Operation::Concat).map(|(i, _)| i).collect();
    let at = |number: usize| maps[number % maps.len()];
    [End::Layer(network.layers.len() - 1), End::Layer(at(4 * number + 2)), End::Mean(at(3 * number))]
}

fn run(
    prefix: &Prefix<'_>,
    config: &PlanConfig<'_>,
    (images, [batch, height, width]): (&[f32], [usize; 3]),
    (threads, arena, flush): (usize, Arena, Flush),
) -> Vec<u32> {
    let mut b = Builder::new(config, [height, width]);
    b.network(prefix, batch).unwrap();
    let mut harness = Harness::new(b, threads, arena, flush);
    let mut input = Guarded::copy(images, flush);
    let shape = prefix.output_shape([batch, height, width]).unwrap();
    let mut output = Guarded::new(&[shape.iter().product()], flush);
    for phase in 0..harness.phases.len() {
        // SAFETY: input and output have the network's extents.
        unsafe { harness.phase(phase, input.only().as_ptr(), output.only().as_mut_ptr()) };
        harness.poison_dead(phase);
    }
    bits(output.only())
}

#[test]
fn no_step_leaves_its_memory_or_reads_stale_data() {
    // Miri takes seconds where a processor takes microseconds.
    let (variants, width, algorithms) =
        if cfg!(miri) { (&VARIANTS[4..], 0.05, &ALGORITHMS[2..]) } else { (&VARIANTS[..], 0.2, &ALGORITHMS[..]) };
    for (number, variant) in variants.iter().enumerate() {
        let network = network(variant, width, 7);
        let size = if !variant.small {
            [2, 37, 50]
        } else if cfg!(miri) {
            [1, 4, 5]
        } else {
            [2, 9, 11]
        };
        let images = random(size.iter().product::<usize>() * 3, 31);
        for kernels in Kernels::available() {
            for &algorithm in algorithms {
                let engine = Options {
                    threads: 2.try_into().ok(),
                    instruction_set: Some(kernels.name.to_owned()),
                    algorithm,
                    ..Options::default()
                };
                let engine = Engine::new(network.clone(), &engine).unwrap();
                let filters = FilterCache::new();
                let config = PlanConfig { kernels, threads: 1, algorithm, filters: &filters };
                for end in ends(&network, number) {
                    let mut output = vec![0.0; engine.output_shape_at(end, size).unwrap().iter().product()];
                    engine.forward_to(end, &images, size, &mut output).unwrap();
                    assert!(output.iter().all(|v| v.is_finite()));
                    let output = bits(&output);
                    let prefix = network.prefix(end).unwrap();
                    for how in [
                        (1, Arena::Separate, FLUSH[0]),
                        (2, Arena::Separate, FLUSH[1]),
                        (4, Arena::Shared, FLUSH[0]),
                        (1, Arena::Shared, FLUSH[1]),
                    ] {
                        let found = run(&prefix, &config, (&images, size), how);
                        let what = format!("{} {} {algorithm:?} {end:?} {how:?}", variant.name, kernels.name);
                        assert!(found == output, "{what}");
                    }
                }
            }
        }
    }
}
