//! The watch over a process that stalls.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{process, thread};

use crate::last_words::LastWords;

/// Times between and within calls of MPI.
#[derive(Debug)]
pub(crate) struct Watch(Mutex<State>);

#[derive(Debug)]
struct State {
    /// In a call that needs the other ranks.
    waiting: bool,
    since: Instant,
}

/// A call of MPI, until it is dropped.
pub(crate) struct Call<'a>(&'a Watch);

impl Watch {
    /// Ends the process with its last words if it computes for longer than `patience` at a time, or waits for half as long
    /// again: the rank that the others wait for is the first to speak.
    pub(crate) fn start(patience: Duration, last_words: LastWords) -> Arc<Self> {
        let watch = Arc::new(Self(Mutex::new(State { waiting: false, since: Instant::now() })));
        let watched = Arc::downgrade(&watch);
        // Without the thread a stall goes unnoticed, which is no reason not to train.
        let thread = thread::Builder::new().name("stall watch".to_owned());
        let _ = thread.spawn(move || observe(&watched, patience, &last_words));
        watch
    }

    /// Notes that a call of MPI begins.
    pub(crate) fn call(&self) -> Call<'_> {
        self.set(true);
        Call(self)
    }

    fn set(&self, waiting: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State { waiting, since: Instant::now() };
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

fn observe(watched: &Weak<Watch>, patience: Duration, last_words: &LastWords) {
    let interval = (patience / 10).clamp(Duration::from_millis(10), Duration::from_secs(5));
    loop {
        thread::sleep(interval);
        let Some(watch) = watched.upgrade() else { return };
        let state = watch.0.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = if state.waiting { patience * 3 / 2 } else { patience };
        if state.since.elapsed() > limit {
            let seconds = limit.as_secs();
            last_words.say(&if state.waiting {
                format!("error: no other rank was heard of for {seconds} s")
            } else {
                format!("error: stalled for {seconds} s, while the other ranks wait")
            });
            process::abort();
        }
    }
}
