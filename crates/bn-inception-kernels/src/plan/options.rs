//! Defaults of the options of both engines.

use std::num::NonZeroUsize;

use super::error::NetworkError;
use super::precision::Precision;
use crate::simd::kernels::Kernels;

/// Environment variable that selects an instruction set: `avx512`, `avx2`, `neon` or `portable`.
const INSTRUCTION_SET: &str = "BN_INCEPTION_ISA";

/// Number of threads of a call: that of the options, of the environment variable `RAYON_NUM_THREADS`, or the available
/// parallelism, at most 256.
pub(crate) fn threads(option: Option<NonZeroUsize>) -> usize {
    let variable = || std::env::var("RAYON_NUM_THREADS").ok()?.parse().ok();
    let threads = option.or_else(variable).or_else(|| std::thread::available_parallelism().ok());
    threads.map_or(1, NonZeroUsize::get).min(256)
}

/// The loops for a precision of an instruction set: the one of this name, that in [`INSTRUCTION_SET`], or the best.
///
/// # Errors
/// [`NetworkError::InstructionSet`] if it is unknown or not available.
pub(crate) fn select_kernels(name: Option<&str>, precision: Precision) -> Result<&'static Kernels, NetworkError> {
    let name = name.map(str::to_owned).or_else(|| std::env::var(INSTRUCTION_SET).ok().filter(|n| !n.is_empty()));
    let mut available = Kernels::available().filter(|k| k.precision == precision);
    let found = match &name {
        Some(name) => available.find(|k| k.name == name),
        None => available.next(),
    };
    found.ok_or_else(|| NetworkError::InstructionSet {
        name: name.unwrap_or_default(),
        available: Kernels::available().map(|k| k.name).collect(),
    })
}
