//! Tests of whole plans, with every tensor, filter, parameter and result between guard pages, or with all tensors in
//! one arena, as in the engine. All memory is filled with NaN: a read of data that was not written in the same call, or
//! that another step of the same phase writes, gives NaN.

use super::harness::Harness;
use super::networks::networks;
use super::{Case, GradientsOf, Random, STYLES};
use crate::guard::FLUSH;
use crate::guarded::Arena;
use crate::simd::kernels::Kernels;

#[test]
fn no_step_leaves_its_memory_or_reads_stale_data() {
    let mut random = Random(41);
    for (name, network, sizes) in networks() {
        // Miri takes seconds where a processor takes microseconds.
        if cfg!(miri) && name != "linear" {
            continue;
        }
        for (i, size) in sizes.into_iter().enumerate() {
            let case = Case::new(&network, size, &mut random);
            for kernels in Kernels::available() {
                let style = STYLES[i % STYLES.len()];
                let expected = case.run(&case.trainer(kernels.name, 2), style).bits();
                assert!(expected.iter().all(|&v| f32::from_bits(v).is_finite()));
                let all = GradientsOf::ParametersAndInput;
                for (how, of) in [
                    ((1, Arena::Separate, FLUSH[0]), all),
                    ((2, Arena::Separate, FLUSH[1]), GradientsOf::Parameters),
                    ((3, Arena::Shared, FLUSH[0]), all),
                    ((1, Arena::Shared, FLUSH[1]), GradientsOf::Parameters),
                    ((2, Arena::Shared, FLUSH[0]), GradientsOf::Nothing),
                ] {
                    let found = Harness::new(&case, kernels, how, of).run(style, &mut random);
                    assert!(expected.starts_with(&found), "{name} {} {how:?} {of:?} {}", case.name(), kernels.name);
                }
            }
        }
    }
}
