//! A team of threads that runs a list of phases in step.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Number of spins before a waiting thread yields its processor.
const SPINS: usize = 4000;

/// A barrier that spins.
pub(crate) struct Barrier {
    threads: usize,
    waiting: AtomicUsize,
    generation: AtomicUsize,
    poisoned: AtomicBool,
}

impl Barrier {
    fn new(threads: usize) -> Self {
        Self {
            threads,
            waiting: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            poisoned: AtomicBool::new(false),
        }
    }

    /// Waits for all threads of the team. The writes of each before the barrier are visible to all after it.
    ///
    /// # Panics
    /// If another thread of the team panicked, since it cannot reach the barrier.
    pub(crate) fn wait(&self) {
        if self.threads == 1 {
            return;
        }
        let generation = self.generation.load(Ordering::Acquire);
        // The chain of read-modify-writes makes the writes of every thread visible to the last one to arrive.
        if self.waiting.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.waiting.store(0, Ordering::Relaxed);
            self.generation.store(generation.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut turns = 0;
        while self.generation.load(Ordering::Acquire) == generation {
            assert!(!self.poisoned.load(Ordering::Relaxed), "another thread of the team panicked");
            turns += 1;
            if turns < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// Locks a mutex, poisoned or not: a panic elsewhere leaves what it guards intact.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Guard that poisons the barrier when its thread unwinds.
struct PanicGuard<'a>(&'a Barrier);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poisoned.store(true, Ordering::Relaxed);
        }
    }
}

/// Runs `work(thread, barrier)` on `threads` threads, including the calling one, and returns when all have finished.
///
/// The threads belong to the call: the workers of a pool may all be busy, perhaps waiting for this call, and a barrier
/// among them would then deadlock.
pub(crate) fn run(threads: usize, work: impl Fn(usize, &Barrier) + Sync) {
    let barrier = Barrier::new(threads);
    let one = |thread: usize| {
        let _guard = PanicGuard(&barrier);
        work(thread, &barrier);
    };
    std::thread::scope(|scope| {
        for thread in 1..threads {
            scope.spawn(move || one(thread));
        }
        one(0);
    });
}

/// Share of thread number `thread` in `total` equal tasks.
pub(crate) fn share(total: usize, threads: usize, thread: usize) -> std::ops::Range<usize> {
    total * thread / threads..total * (thread + 1) / threads
}
