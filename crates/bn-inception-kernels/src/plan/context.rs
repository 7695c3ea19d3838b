//! The memory that a step works on, and the thread that runs it.

use super::layout::{BLOCK, View};
use crate::plan::team::share;
use crate::simd::kernels::Kernels;

/// The memory that a step works on, and the thread that runs it.
///
/// # Safety contract of a step
/// The plan of the step has checked it against its tensors. The arena, the scratch memory (which belongs to the running
/// thread only), input and output have the extents in the plan. Other threads run the same phase of the same plan, with
/// other `thread` numbers of a step, or no step at all.
pub(crate) struct Context<'a> {
    pub(crate) kernels: &'static Kernels,
    /// Number of shares of the step: in inference that of the threads, in training possibly more.
    pub(crate) threads: usize,
    /// Index of this share among them.
    pub(crate) thread: usize,
    /// Start of the arena.
    pub(crate) arena: *mut f32,
    /// Offset of each tensor in the arena.
    pub(crate) offsets: &'a [usize],
    /// This thread's working memory.
    pub(crate) scratch: *mut f32,
    /// Start of the images or of the input map; null in a backward pass.
    pub(crate) input: *const f32,
    /// Start of the output; in a backward pass, of the gradient of the input.
    pub(crate) output: *mut f32,
}

impl<'a> Context<'a> {
    /// Pointer to the float at offset `extra` from the start of a view.
    ///
    /// # Safety
    /// `extra` must stay inside the view's tensor.
    pub(crate) unsafe fn pointer(&self, view: &View, extra: usize) -> *mut f32 {
        // SAFETY: the tensor lies inside the arena; `offset + extra` inside the tensor.
        unsafe { self.arena.add(self.offsets[view.tensor] + view.offset + extra) }
    }

    /// The plane of image `n` and channel block `b`, from its first to its last pixel.
    ///
    /// # Safety
    /// It lies inside the tensor, and nothing writes to it while the slice is in use.
    pub(crate) unsafe fn plane(&self, view: &View, n: usize, b: usize, size: [usize; 2]) -> &'a [f32] {
        let len = (size[0] - 1) * view.row + size[1] * BLOCK;
        // SAFETY: by the contract.
        unsafe { std::slice::from_raw_parts(self.pointer(view, n * view.image + b * view.plane), len) }
    }

    /// As [`Self::plane`], for writing.
    ///
    /// # Safety
    /// It lies inside the tensor, and nothing else accesses it while the slice is in use.
    pub(crate) unsafe fn plane_mut(&self, view: &View, n: usize, b: usize, size: [usize; 2]) -> &'a mut [f32] {
        let len = (size[0] - 1) * view.row + size[1] * BLOCK;
        // SAFETY: by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(view, n * view.image + b * view.plane), len) }
    }

    /// This share's part of `total` equal tasks.
    pub(crate) fn share(&self, total: usize) -> std::ops::Range<usize> {
        share(total, self.threads, self.thread)
    }
}
