//! Memory between guard pages.
#![allow(dead_code)]

/// End of a buffer that is flush with a guard page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    Start,
    End,
}

pub const FLUSH: [Flush; 2] = [Flush::Start, Flush::End];

/// Buffers of `f32`, filled with NaN, one after the other in one address range, with a guard page before and after
/// each: an access beyond the flush end faults and ends the process. Between the other end and its guard page is less
/// than a page of slack; dropping the buffers fails if the slack was written.
///
/// Miri has no pages, and detects accesses outside of an allocation itself: there the buffers are adjacent.
pub struct Guarded {
    memory: Memory,
    /// Start and length of each buffer, in floats.
    buffers: Vec<(usize, usize)>,
    /// Slack between each buffer and its other guard page.
    slack: Vec<(usize, usize)>,
}

/// Contents of the slack: a NaN that no arithmetic produces.
const SLACK: u32 = 0x7fc0_5afe;

impl Guarded {
    pub fn new(lengths: &[usize], flush: Flush) -> Self {
        let (mut buffers, mut slack, mut pages) = (Vec::new(), Vec::new(), Vec::new());
        let mut at = 0;
        for &length in lengths {
            at += PAGE;
            let room = match PAGE {
                0 => length,
                page => length.next_multiple_of(page),
            };
            let start = match flush {
                Flush::Start => at,
                Flush::End => at + room - length,
            };
            buffers.push((start, length));
            slack.push(match flush {
                Flush::Start => (at + length, room - length),
                Flush::End => (at, room - length),
            });
            pages.push((at, room));
            at += room;
        }
        let memory = Memory::new(at + PAGE, &pages);
        let mut all = Self { memory, buffers, slack };
        for i in 0..lengths.len() {
            all.buffer(i).fill(f32::NAN);
            let (start, length) = all.slack[i];
            all.memory.range(start, length).fill(f32::from_bits(SLACK));
        }
        all
    }

    /// A guarded copy.
    pub fn copy(values: &[f32], flush: Flush) -> Self {
        let mut one = Self::new(&[values.len()], flush);
        one.buffer(0).copy_from_slice(values);
        one
    }

    /// Base of [`Self::offset`].
    pub fn base(&mut self) -> *mut f32 {
        self.memory.start()
    }

    /// Offset of buffer `i` from the base, in floats.
    pub fn offset(&self, i: usize) -> usize {
        self.buffers[i].0
    }

    pub fn buffer(&mut self, i: usize) -> &mut [f32] {
        let (start, length) = self.buffers[i];
        self.memory.range(start, length)
    }

    /// The only buffer.
    pub fn only(&mut self) -> &mut [f32] {
        self.buffer(0)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        for &(start, length) in &self.slack {
            let untouched = self.memory.range(start, length).iter().all(|v| v.to_bits() == SLACK);
            assert!(untouched || std::thread::panicking(), "a write outside of a buffer");
        }
    }
}

#[cfg(all(unix, not(miri)))]
use pages::{Memory, PAGE};
#[cfg(all(unix, not(miri)))]
mod pages {
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

    /// Floats of 64 KiB, a multiple of every processor's page.
    pub(super) const PAGE: usize = 1 << 14;

    pub(super) struct Memory {
        start: *mut f32,
        floats: usize,
    }

    impl Memory {
        /// `floats` floats, of which only `ranges`, whole pages, are accessible.
        pub(super) fn new(floats: usize, ranges: &[(usize, usize)]) -> Self {
            let nowhere = std::ptr::null_mut();
            // SAFETY: a new mapping at an address chosen by the system; the accessible ranges lie inside it.
            unsafe {
                let start = mmap_anonymous(nowhere, 4 * floats, ProtFlags::empty(), MapFlags::PRIVATE).unwrap();
                let start = start.cast::<f32>();
                for &(at, length) in ranges.iter().filter(|r| r.1 > 0) {
                    assert!(at + length <= floats);
                    let open = MprotectFlags::READ | MprotectFlags::WRITE;
                    mprotect(start.add(at).cast(), 4 * length, open).unwrap();
                }
                Self { start, floats }
            }
        }

        pub(super) fn start(&mut self) -> *mut f32 {
            self.start
        }

        pub(super) fn range(&mut self, at: usize, length: usize) -> &mut [f32] {
            assert!(at + length <= self.floats);
            // SAFETY: inside the mapping, which is initialised with zeros and borrowed as a whole; an access to a guard
            // page faults, as intended.
            unsafe { std::slice::from_raw_parts_mut(self.start.add(at), length) }
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: the mapping belongs to this value, and no reference to it is left.
            unsafe { munmap(self.start.cast(), 4 * self.floats).unwrap() };
        }
    }
}

#[cfg(not(all(unix, not(miri))))]
use plain::{Memory, PAGE};
#[cfg(not(all(unix, not(miri))))]
mod plain {
    pub(super) const PAGE: usize = 0;

    pub(super) struct Memory(Vec<f32>);

    impl Memory {
        pub(super) fn new(floats: usize, _ranges: &[(usize, usize)]) -> Self {
            Self(vec![0.0; floats])
        }

        pub(super) fn start(&mut self) -> *mut f32 {
            self.0.as_mut_ptr()
        }

        pub(super) fn range(&mut self, at: usize, length: usize) -> &mut [f32] {
            &mut self.0[at..at + length]
        }
    }
}
