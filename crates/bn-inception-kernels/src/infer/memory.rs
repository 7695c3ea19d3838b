//! Cache-line aligned memory, and the assignment of tensors to one arena.

use std::sync::Arc;

/// Bytes of a cache line, which is one channel block of a pixel.
const LINE: usize = 64;
/// Bytes of a huge page.
const PAGE: usize = 2 << 20;

/// Zeroed memory. The system provides pages only when they are written to.
struct Reserve {
    start: *mut f32,
    /// Floats from `start` on.
    room: usize,
    /// Owns the memory; only ever reached through `start`.
    _memory: Vec<f32>,
}

// SAFETY: the memory is reached through `start` only, by a shelf that hands out separate parts of it, and by the owners
// of those parts.
unsafe impl Send for Reserve {}
// SAFETY: as for `Send`.
unsafe impl Sync for Reserve {}

impl Reserve {
    /// `room` floats from a multiple of `align` bytes on.
    fn new(room: usize, align: usize) -> Self {
        let mut memory = vec![0.0f32; room + align / 4];
        let whole = memory.as_mut_ptr();
        let lead = (whole as usize).next_multiple_of(align) - whole as usize;
        // SAFETY: less than `align` bytes, of which the vector has that many to spare.
        let start = unsafe { whole.byte_add(lead) };
        Self {
            start,
            room,
            _memory: memory,
        }
    }

    /// At least `room` floats behind huge pages, if the system lends them: the processor prefetches within a page only, and
    /// filters are read once from end to end.
    fn huge(room: usize) -> Self {
        let reserve = Self::new(room.next_multiple_of(PAGE / 4), PAGE);
        #[cfg(all(target_os = "linux", not(miri)))]
        {
            const MADV_HUGEPAGE: i32 = 14;
            unsafe extern "C" {
                fn madvise(start: *mut std::ffi::c_void, bytes: usize, advice: i32) -> i32;
            }
            // SAFETY: the reserve's own whole pages; this advice changes no contents. Whether it is taken does not matter.
            unsafe {
                madvise(reserve.start.cast(), 4 * reserve.room, MADV_HUGEPAGE);
            }
        }
        reserve
    }
}

/// Zeroed floats that start on a cache line.
pub(super) struct Aligned {
    start: *mut f32,
    len: usize,
    _reserve: Arc<Reserve>,
}

// SAFETY: an `Aligned` is the only one that refers to its part of the reserve.
unsafe impl Send for Aligned {}
// SAFETY: shared, it only gives out `*const` pointers.
unsafe impl Sync for Aligned {}

impl Aligned {
    /// `len` zeros of their own: for what is small or alone.
    pub(super) fn zeroed(len: usize) -> Self {
        let reserve = Arc::new(Reserve::new(len.next_multiple_of(LINE / 4), LINE));
        Shelf { reserve, used: 0 }.take(len)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn as_ptr(&self) -> *const f32 {
        self.start
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.start
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: `len` zeroed floats, this value's alone, alive as long as the reserve it holds.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

#[cfg(test)]
impl Aligned {
    /// Memory of a test's own.
    ///
    /// # Safety
    /// `len` floats from `start` on must be initialised, outlive the value and be used through it alone.
    pub(super) unsafe fn borrowed(start: *mut f32, len: usize) -> Self {
        let reserve = Reserve {
            start,
            room: len,
            _memory: Vec::new(),
        };
        Self {
            start,
            len,
            _reserve: Arc::new(reserve),
        }
    }
}

/// Hands out parts of large reserves, so that small buffers share huge pages.
pub(super) struct Shelf {
    reserve: Arc<Reserve>,
    /// Floats given away.
    used: usize,
}

impl Shelf {
    /// Floats of one reserve: 32 MiB.
    const ROOM: usize = 1 << 23;

    /// An empty shelf, which gets its first reserve when it is used.
    pub(super) fn new() -> Self {
        Self {
            reserve: Arc::new(Reserve::new(0, LINE)),
            used: 0,
        }
    }

    /// A shelf for `len` floats.
    pub(super) fn with_room(len: usize) -> Self {
        Self {
            reserve: Arc::new(Reserve::huge(len)),
            used: 0,
        }
    }

    /// `len` zeros.
    pub(super) fn zeroed(&mut self, len: usize) -> Aligned {
        let lines = len.next_multiple_of(LINE / 4);
        if self.reserve.room - self.used < lines {
            *self = Self::with_room(Self::ROOM.max(lines));
        }
        self.take(len)
    }

    fn take(&mut self, len: usize) -> Aligned {
        let lines = len.next_multiple_of(LINE / 4);
        assert!(lines <= self.reserve.room - self.used);
        // SAFETY: inside the reserve by the assertion. `used` only grows, so nothing else refers to these floats.
        let start = unsafe { self.reserve.start.add(self.used) };
        self.used += lines;
        Aligned {
            start,
            len,
            _reserve: self.reserve.clone(),
        }
    }
}

/// What one tensor needs of the arena: so many floats from its first to its last phase, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    pub(super) len: usize,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Offsets, multiples of 16, such that tensors alive in a common phase do not overlap, and the arena's length.
/// Largest first, each at the lowest place that is free for its whole life.
pub(super) fn assign(tensors: &[Lifetime]) -> (Vec<usize>, usize) {
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
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) as usize % n
        };
        for _ in 0..50 {
            let tensors: Vec<Lifetime> = (0..30)
                .map(|_| {
                    let first = next(20);
                    Lifetime {
                        len: 1 + next(1000),
                        first,
                        last: first + next(5),
                    }
                })
                .collect();
            let (offsets, total) = assign(&tensors);
            for (i, a) in tensors.iter().enumerate() {
                assert!(offsets[i] % 16 == 0 && offsets[i] + a.len <= total);
                for (j, b) in tensors.iter().enumerate().skip(i + 1) {
                    let together = a.first <= b.last && b.first <= a.last;
                    let apart =
                        offsets[i] + a.len <= offsets[j] || offsets[j] + b.len <= offsets[i];
                    assert!(!together || apart, "{i} {a:?} and {j} {b:?}");
                }
            }
        }
    }
}
