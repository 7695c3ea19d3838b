//! Memory aligned to cache lines, and the assignment of tensors to one arena.

use std::sync::Arc;

/// Size of a cache line in bytes, which is also that of one channel block of a pixel.
const LINE: usize = 64;
/// Size of a huge page in bytes.
const PAGE: usize = 2 << 20;

/// Zeroed memory. The system provides its pages when they are first written.
struct Allocation {
    start: *mut f32,
    /// Number of floats from `start` on.
    len: usize,
    /// Owner of the memory, which is accessed only through `start`.
    _memory: Vec<f32>,
}

// SAFETY: the memory is accessed only through `start`, by an allocator that hands out disjoint parts of it and by the
// owners of those parts.
unsafe impl Send for Allocation {}
// SAFETY: as for `Send`.
unsafe impl Sync for Allocation {}

impl Allocation {
    /// `len` floats, aligned to `align` bytes.
    fn new(len: usize, align: usize) -> Self {
        let mut memory = vec![0.0f32; len + align / 4];
        let whole = memory.as_mut_ptr();
        let lead = (whole as usize).next_multiple_of(align) - whole as usize;
        // SAFETY: `lead` is less than `align` bytes, which the vector has in addition to `len` floats.
        let start = unsafe { whole.byte_add(lead) };
        Self { start, len, _memory: memory }
    }

    /// At least `len` floats in huge pages, if the system provides them: the processor prefetches within a page only,
    /// and filters are read once from start to end.
    fn huge(len: usize) -> Self {
        let allocation = Self::new(len.next_multiple_of(PAGE / 4), PAGE);
        #[cfg(all(target_os = "linux", not(miri)))]
        {
            const MADV_HUGEPAGE: i32 = 14;
            unsafe extern "C" {
                fn madvise(start: *mut std::ffi::c_void, bytes: usize, advice: i32) -> i32;
            }
            // SAFETY: whole pages of the allocation; the advice does not change their contents, and the system may
            // ignore it.
            unsafe {
                madvise(allocation.start.cast(), 4 * allocation.len, MADV_HUGEPAGE);
            }
        }
        allocation
    }
}

/// Buffer of floats aligned to a cache line, initially zero.
pub(crate) struct Aligned {
    start: *mut f32,
    len: usize,
    _allocation: Arc<Allocation>,
}

// SAFETY: nothing else refers to the part of the allocation that belongs to an `Aligned`.
unsafe impl Send for Aligned {}
// SAFETY: a shared reference gives only `*const` pointers.
unsafe impl Sync for Aligned {}

impl Aligned {
    /// `len` zeros in an allocation of their own, for small or single buffers.
    pub(crate) fn zeroed(len: usize) -> Self {
        let allocation = Arc::new(Allocation::new(len.next_multiple_of(LINE / 4), LINE));
        BumpAllocator { allocation, used: 0 }.take(len)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.start
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.start
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: `len` initialised floats that belong to this value only and live as long as the allocation it holds.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

#[cfg(test)]
impl Aligned {
    /// Memory provided by a test.
    ///
    /// # Safety
    /// `len` floats from `start` on must be initialised, outlive the value and be accessed only through it.
    pub(crate) unsafe fn borrowed(start: *mut f32, len: usize) -> Self {
        let allocation = Allocation { start, len, _memory: Vec::new() };
        Self { start, len, _allocation: Arc::new(allocation) }
    }
}

/// Bump allocator: hands out parts of large allocations, so that small buffers share huge pages.
pub(crate) struct BumpAllocator {
    allocation: Arc<Allocation>,
    /// Number of floats handed out.
    used: usize,
}

impl BumpAllocator {
    /// Number of floats of an allocation: 32 MiB.
    const ALLOCATION_LEN: usize = 1 << 23;

    /// An empty allocator; its first allocation happens on first use.
    pub(crate) fn new() -> Self {
        Self { allocation: Arc::new(Allocation::new(0, LINE)), used: 0 }
    }

    /// An allocator with space for `len` floats.
    pub(crate) fn with_capacity(len: usize) -> Self {
        Self { allocation: Arc::new(Allocation::huge(len)), used: 0 }
    }

    /// `len` zeros.
    pub(crate) fn zeroed(&mut self, len: usize) -> Aligned {
        let lines = len.next_multiple_of(LINE / 4);
        if self.allocation.len - self.used < lines {
            *self = Self::with_capacity(Self::ALLOCATION_LEN.max(lines));
        }
        self.take(len)
    }

    fn take(&mut self, len: usize) -> Aligned {
        let lines = len.next_multiple_of(LINE / 4);
        assert!(lines <= self.allocation.len - self.used);
        // SAFETY: inside the allocation by the assertion. `used` only grows, so nothing else refers to these floats.
        let start = unsafe { self.allocation.start.add(self.used) };
        self.used += lines;
        Aligned { start, len, _allocation: self.allocation.clone() }
    }
}

/// Length of a tensor in the arena, and its lifetime: from its first to its last phase, both included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetime {
    pub(crate) len: usize,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// Offsets of the tensors, multiples of 16, and the length of the arena. Tensors alive in a common phase do not
/// overlap: largest first, each is placed at the lowest offset that is free for its whole lifetime.
pub(crate) fn assign(tensors: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(tensors[i].len));
    let mut offsets = vec![0; tensors.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for i in order {
        let t = tensors[i];
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&j| tensors[j].first <= t.last && t.first <= tensors[j].last)
            .map(|&j| (offsets[j], offsets[j] + tensors[j].len.next_multiple_of(16)))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (start, end) in taken {
            if at + t.len <= start {
                break;
            }
            at = at.max(end);
        }
        offsets[i] = at;
        total = total.max(at + t.len.next_multiple_of(16));
        placed.push(i);
    }
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_of_a_common_phase_do_not_overlap() {
        let mut state = 7u64;
        let mut next = |n: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % n
        };
        for _ in 0..50 {
            let tensors: Vec<Lifetime> = (0..30)
                .map(|_| {
                    let first = next(20);
                    Lifetime { len: 1 + next(1000), first, last: first + next(5) }
                })
                .collect();
            let (offsets, total) = assign(&tensors);
            for (i, a) in tensors.iter().enumerate() {
                assert!(offsets[i] % 16 == 0 && offsets[i] + a.len <= total);
                for (j, b) in tensors.iter().enumerate().skip(i + 1) {
                    let together = a.first <= b.last && b.first <= a.last;
                    let apart = offsets[i] + a.len <= offsets[j] || offsets[j] + b.len <= offsets[i];
                    assert!(!together || apart, "{i} {a:?} and {j} {b:?}");
                }
            }
        }
    }
}
