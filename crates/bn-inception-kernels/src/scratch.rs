//! Scratch memory that a thread keeps between tasks.

use std::cell::RefCell;

thread_local! {
    static BUFFERS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with `N` buffers of the given lengths, each aligned to 64 bytes. Their contents are arbitrary.
///
/// The memory belongs to the thread: a new allocation per task would be returned to the system and faulted in again
/// page by page each time, which costs more than the arithmetic of a small layer.
pub(crate) fn with<const N: usize, R>(lengths: [usize; N], f: impl FnOnce([&mut [f32]; N]) -> R) -> R {
    const LINE: usize = 16;
    let total = lengths.iter().map(|n| n.next_multiple_of(LINE)).sum::<usize>() + LINE;
    // Taken rather than borrowed, so that a nested call finds an empty vector instead of panicking.
    let mut buffer = BUFFERS.with_borrow_mut(std::mem::take);
    if buffer.len() < total {
        buffer.resize(total, 0.0);
    }
    let lead = buffer.as_ptr().align_offset(64).min(LINE);
    let mut rest = &mut buffer[lead..];
    let parts = lengths.map(|n| {
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(n.next_multiple_of(LINE));
        rest = tail;
        &mut head[..n]
    });
    let result = f(parts);
    BUFFERS.with_borrow_mut(|slot| *slot = buffer);
    result
}
