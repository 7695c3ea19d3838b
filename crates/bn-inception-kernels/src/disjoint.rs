//! Parallel writes to disjoint ranges of one slice.

use std::marker::PhantomData;

/// A mutable slice for concurrent writes by several tasks, each to its own ranges.
///
/// An NCHW tensor split by channel or by pixel rows is not a set of contiguous chunks, so `par_chunks_mut` cannot
/// express the split.
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: the only access to the data is `range`, whose contract forbids overlapping live ranges, so sending or sharing
// the handle gives no two threads access to the same element.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}
// SAFETY: as for `Send`.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), borrow: PhantomData }
    }

    /// The elements `at..at + len`.
    ///
    /// # Panics
    /// If they are not inside the slice.
    ///
    /// # Safety
    /// While the returned range lives, no other live range of this handle may overlap it.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn range(&self, at: usize, len: usize) -> &mut [T] {
        assert!(at <= self.len && len <= self.len - at, "range {at}+{len} of {}", self.len);
        // SAFETY: in bounds by the assertion, exclusive by the contract, alive by the borrow.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}
