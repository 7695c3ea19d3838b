//! A few threads that run the same list of phases in step.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Turns of busy waiting before a waiting thread offers its processor to others.
const SPINS: usize = 4000;

/// A point that no thread passes before all have reached it.
pub(super) struct Barrier {
    threads: usize,
    waiting: AtomicUsize,
    generation: AtomicUsize,
    broken: AtomicBool,
}

impl Barrier {
    fn new(threads: usize) -> Self {
        Self {
            threads,
            waiting: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        }
    }

    /// Waits for the other threads. What each wrote before is visible to all afterwards.
    ///
    /// # Panics
    /// If another thread of the team panicked: it will never come.
    pub(super) fn wait(&self) {
        if self.threads == 1 {
            return;
        }
        let generation = self.generation.load(Ordering::Acquire);
        // The chain of read-modify-writes makes every thread's writes visible to the last one to arrive.
        if self.waiting.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.waiting.store(0, Ordering::Relaxed);
            self.generation
                .store(generation.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut turns = 0;
        while self.generation.load(Ordering::Acquire) == generation {
            assert!(
                !self.broken.load(Ordering::Relaxed),
                "another thread of the team panicked"
            );
            turns += 1;
            if turns < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// Tells the others when its thread unwinds.
struct Alarm<'a>(&'a Barrier);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
        }
    }
}

/// Runs `work(thread, barrier)` on `threads` threads, the caller's among them, and returns when all are done.
///
/// The threads are the call's own: a pool's workers may all be busy, perhaps waiting for this very call, and a barrier among
/// them would then never open.
pub(super) fn run(threads: usize, work: impl Fn(usize, &Barrier) + Sync) {
    let barrier = Barrier::new(threads);
    let one = |thread: usize| {
        let _alarm = Alarm(&barrier);
        work(thread, &barrier);
    };
    std::thread::scope(|scope| {
        for thread in 1..threads {
            scope.spawn(move || one(thread));
        }
        one(0);
    });
}

/// The share of `thread` of `total` equal tasks.
pub(super) fn share(total: usize, threads: usize, thread: usize) -> std::ops::Range<usize> {
    total * thread / threads..total * (thread + 1) / threads
}
