//! The memory that a step works on, and the thread that runs it.

use super::kernel::Kernels;
use super::layout::View;
use super::team::share;

/// The memory that a step works on, and the thread that runs it.
///
/// # Safety contract of a step
/// The plan of the step has checked it against its tensors. The arena, the scratch memory (which belongs to this thread
/// only), input and output have the extents in the plan. Other threads run the same phase of the same plan, with other
/// `thread` numbers, or no step at all.
pub(super) struct Context<'a> {
    pub(super) kernels: &'static Kernels,
    /// Number of threads of the call.
    pub(super) threads: usize,
    /// Index of this thread among them.
    pub(super) thread: usize,
    /// Start of the arena.
    pub(super) arena: *mut f32,
    /// Offset of each tensor in the arena.
    pub(super) offsets: &'a [usize],
    /// This thread's working memory.
    pub(super) scratch: *mut f32,
    /// Start of the images.
    pub(super) input: *const f32,
    /// Start of the logits.
    pub(super) output: *mut f32,
}

impl Context<'_> {
    /// Pointer to the float at offset `extra` from the start of a view.
    ///
    /// # Safety
    /// `extra` must stay inside the view's tensor.
    pub(super) unsafe fn pointer(&self, view: &View, extra: usize) -> *mut f32 {
        // SAFETY: the tensor lies inside the arena; `offset + extra` inside the tensor.
        unsafe { self.arena.add(self.offsets[view.tensor] + view.offset + extra) }
    }

    /// This thread's share of `total` equal tasks.
    pub(super) fn share(&self, total: usize) -> std::ops::Range<usize> {
        share(total, self.threads, self.thread)
    }
}
