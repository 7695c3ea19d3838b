//! Working memory that a thread keeps between tasks.

use std::cell::RefCell;

thread_local! {
    static BUFFERS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with `N` buffers of the given lengths, each starting on a 64-byte line. Contents are arbitrary.
///
/// The memory is the thread's: a fresh allocation per task would be returned to the system each time and
/// faulted in page by page again, which costs more than the arithmetic of a small layer.
pub(crate) fn with<const N: usize, R>(
    lengths: [usize; N],
    f: impl FnOnce([&mut [f32]; N]) -> R,
) -> R {
    const LINE: usize = 16;
    let total = lengths
        .iter()
        .map(|n| n.next_multiple_of(LINE))
        .sum::<usize>()
        + LINE;
    // Taken out, not borrowed, so that a nested call finds an empty vector instead of a panic.
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
