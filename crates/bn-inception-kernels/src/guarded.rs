//! An engine's memory between guard pages, for the tests of both engines.

use std::sync::Arc;

use crate::conv::filters::Packed;
use crate::guard::{Flush, Guarded};
use crate::plan::memory::{Aligned, Lifetime, assign};

/// Arrangement of the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arena {
    /// In one arena as in the engine: tensors whose lifetimes do not overlap share memory.
    Shared,
    /// Each between guard pages.
    Separate,
}

impl Arena {
    /// Offset of each tensor from the base of the memory that holds them.
    pub(crate) fn arrange(self, tensors: &[Lifetime], flush: Flush) -> (Vec<usize>, Guarded) {
        match self {
            Self::Separate => {
                let lengths: Vec<usize> = tensors.iter().map(|t| t.len).collect();
                let all = Guarded::new(&lengths, flush);
                ((0..lengths.len()).map(|i| all.offset(i)).collect(), all)
            }
            Self::Shared => {
                let (mut offsets, len) = assign(tensors);
                let one = Guarded::new(&[len], flush);
                offsets.iter_mut().for_each(|o| *o += one.offset(0));
                (offsets, one)
            }
        }
    }
}

/// Copy of `values` in guarded memory, which is added to `memory`.
pub(crate) fn guarded_copy(values: &Aligned, flush: Flush, memory: &mut Vec<Guarded>) -> Aligned {
    // SAFETY: pointer and length of one buffer, which is not written meanwhile.
    let values = unsafe { std::slice::from_raw_parts(values.as_ptr(), values.len()) };
    let mut copy = Guarded::copy(values, flush);
    let start = copy.only().as_mut_ptr();
    memory.push(copy);
    // SAFETY: nothing else accesses the guarded copy, which lives as long as `memory`; tests keep that until the end.
    unsafe { Aligned::borrowed(start, values.len()) }
}

/// Copy of packed filters in guarded memory, which is added to `memory`.
pub(crate) fn guarded_filters(packed: &Packed, flush: Flush, memory: &mut Vec<Guarded>) -> Arc<Packed> {
    Arc::new(Packed {
        weights: guarded_copy(&packed.weights, flush, memory),
        bias: guarded_copy(&packed.bias, flush, memory),
        floor: guarded_copy(&packed.floor, flush, memory),
        tiles: packed.tiles,
        tile_len: packed.tile_len,
        tensor: packed.tensor,
    })
}
