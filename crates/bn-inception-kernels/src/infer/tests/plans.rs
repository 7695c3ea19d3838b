//! Whole plans: every tensor, filter and scratch memory between pages that cannot be touched, or all in one arena full
//! of NaN, as the engine has it. What a step reads without its having been written in this call is NaN, and so are then the logits.

use super::common::{bits, random};
use super::guard::{FLUSH, Flush, Guarded};
use super::networks::{VARIANTS, network};
use super::rig::{Arena, Rig};
use crate::infer::build::Builder;
use crate::infer::engine::{Engine, Options};
use crate::infer::kernel::Kernels;
use crate::infer::network::Network;
use crate::infer::plan::{Algorithm, Filters, Setting};

const ALGORITHMS: [Option<Algorithm>; 4] = [
    None,
    Some(Algorithm::Direct),
    Some(Algorithm::F2),
    Some(Algorithm::F4),
];

fn run(
    network: &Network,
    setting: &Setting<'_>,
    (images, [batch, height, width]): (&[f32], [usize; 3]),
    (threads, arena, flush): (usize, Arena, Flush),
) -> Vec<u32> {
    let mut b = Builder::new(network, setting, [height, width]);
    b.network(batch).unwrap();
    let mut rig = Rig::new(b, threads, arena, flush);
    let mut input = Guarded::copy(images, flush);
    let mut output = Guarded::new(&[batch * network.classes()], flush);
    for phase in 0..rig.phases.len() {
        // SAFETY: input and output have the network's extents.
        unsafe { rig.phase(phase, input.only().as_ptr(), output.only().as_mut_ptr()) };
        rig.bury(phase);
    }
    bits(output.only())
}

#[test]
fn no_step_leaves_its_memory_or_reads_what_is_stale() {
    // Miri takes seconds for what takes microseconds.
    let (variants, width, algorithms) = match cfg!(miri) {
        true => (&VARIANTS[4..], 0.05, &ALGORITHMS[2..]),
        false => (&VARIANTS[..], 0.2, &ALGORITHMS[..]),
    };
    for variant in variants {
        let network = network(variant, width, 7);
        let size = match variant.small {
            true if cfg!(miri) => [1, 4, 5],
            true => [2, 9, 11],
            false => [2, 37, 50],
        };
        let images = random(size.iter().product::<usize>() * 3, 31);
        for kernels in Kernels::available() {
            for &algorithm in algorithms {
                let engine = Options {
                    threads: 2.try_into().ok(),
                    instruction_set: Some(kernels.name.to_owned()),
                    algorithm,
                };
                let engine = Engine::new(network.clone(), &engine).unwrap();
                let mut logits = vec![0.0; size[0] * network.classes()];
                engine.forward(&images, size, &mut logits).unwrap();
                assert!(logits.iter().all(|v| v.is_finite()));
                let logits = bits(&logits);

                let filters = Filters::new();
                let setting = Setting {
                    kernels,
                    threads: 1,
                    algorithm,
                    filters: &filters,
                };
                for (threads, arena, flush) in [
                    (1, Arena::Apart, FLUSH[0]),
                    (2, Arena::Apart, FLUSH[1]),
                    (4, Arena::Shared, FLUSH[0]),
                    (1, Arena::Shared, FLUSH[1]),
                ] {
                    let how = (threads, arena, flush);
                    assert!(
                        run(&network, &setting, (&images, size), how) == logits,
                        "{} {} {algorithm:?} {how:?}",
                        variant.name,
                        kernels.name
                    );
                }
            }
        }
    }
}
