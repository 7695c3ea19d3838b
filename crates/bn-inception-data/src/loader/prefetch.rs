//! Batches made by several threads, handed out in order.
//!
//! The threads share the items of the next few batches, so that even the first batch is made by all of them; the thread
//! that finishes a batch's last item assembles the batch. Batches depend on the [`Work`] alone, never on the number or
//! speed of the threads. At most [`AHEAD`] batches exist besides those already handed out.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::priority::lower_priority;

/// Number of batches made ahead of the consumer.
const AHEAD: usize = 4;

/// The work of the threads. Items of one batch are made in any order, by any thread.
pub(super) trait Work: Send + Sync + 'static {
    /// A part of a batch.
    type Item: Send;
    /// A whole batch.
    type Batch: Send;

    /// Number of items of `batch`, at least 1.
    fn items(&self, batch: usize) -> usize;

    /// Makes item `place` of `batch`.
    fn item(&self, batch: usize, place: usize) -> Self::Item;

    /// Makes a batch of its items, in the order of their places.
    fn assemble(&self, items: Vec<Self::Item>) -> Self::Batch;
}

/// The panic of a worker thread, with its message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a worker panicked: {0}")]
pub struct WorkerPanic(pub String);

type Outcome<T> = Result<T, WorkerPanic>;

/// Iterator over the batches of a [`Work`]. Dropping it stops and joins its threads.
pub(super) struct Prefetch<W: Work> {
    shared: Arc<Shared<W>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<W: Work> {
    work: W,
    /// One past the last batch.
    end: usize,
    state: Mutex<State<W>>,
    /// A batch is complete, or a thread has ended.
    ready: Condvar,
    /// A batch was handed out, or the threads have to stop.
    room: Condvar,
}

struct State<W: Work> {
    /// The batch handed out next; `open[0]` is this one.
    next: usize,
    /// The item that a thread takes next: batch and place.
    claim: (usize, usize),
    open: VecDeque<Open<W>>,
    /// Threads that have not ended.
    alive: usize,
    stop: bool,
}

/// A batch in progress.
struct Open<W: Work> {
    items: Vec<Option<Outcome<W::Item>>>,
    missing: usize,
    done: Option<Outcome<W::Batch>>,
}

impl<W: Work> Prefetch<W> {
    /// The batches `start..end` of `work`, made by `workers` threads; with none, each is made by the consumer on
    /// demand.
    ///
    /// # Errors
    /// [`io::Error`] if a thread cannot be started.
    pub(super) fn new(work: W, start: usize, end: usize, workers: usize) -> io::Result<Self> {
        let state = State { next: start, claim: (start, 0), open: VecDeque::new(), alive: workers, stop: false };
        let shared =
            Arc::new(Shared { work, end, state: Mutex::new(state), ready: Condvar::new(), room: Condvar::new() });
        let mut prefetch = Self { shared, threads: Vec::new() };
        for index in 0..workers {
            let ending = Ending(prefetch.shared.clone());
            // An error drops `prefetch`, which ends the threads that did start.
            let thread = Builder::new().name(format!("image-loader-{index}")).spawn(move || {
                lower_priority();
                ending.0.run();
            })?;
            prefetch.threads.push(thread);
        }
        Ok(prefetch)
    }
}

impl<W: Work> Iterator for Prefetch<W> {
    type Item = Outcome<W::Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let shared = &self.shared;
        let mut state = shared.lock();
        if state.next >= shared.end {
            return None;
        }
        if self.threads.is_empty() {
            let batch = state.next;
            state.next += 1;
            drop(state);
            let places = 0..shared.work.items(batch);
            let items = places.map(|place| shared.item(batch, place)).collect();
            return Some(shared.assemble(items));
        }
        loop {
            let done = state.open.front_mut().and_then(|open| open.done.take());
            if let Some(batch) = done {
                state.open.pop_front();
                state.next += 1;
                shared.room.notify_all();
                return Some(batch);
            }
            if state.alive == 0 {
                // Cannot happen while `run` catches panics; it must neither hang nor end the epoch.
                state.next = shared.end;
                let reason = "all loader threads ended before the epoch did";
                return Some(Err(WorkerPanic(reason.to_owned())));
            }
            state = wait(&shared.ready, state);
        }
    }
}

impl<W: Work> Drop for Prefetch<W> {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // A panic was already reported as that batch's error.
            let _ = thread.join();
        }
    }
}

/// Counts a thread as ended, however it ends.
struct Ending<W: Work>(Arc<Shared<W>>);

impl<W: Work> Drop for Ending<W> {
    fn drop(&mut self) {
        self.0.lock().alive -= 1;
        self.0.ready.notify_all();
    }
}

impl<W: Work> Shared<W> {
    /// A thread's loop: takes an item, makes it, completes its batch if it was the last.
    fn run(&self) {
        while let Some((batch, place)) = self.claim() {
            let item = self.item(batch, place);
            let mut state = self.lock();
            // `next` moves past a batch only when it is done, so an unfinished one is still open.
            let at = batch - state.next;
            let open = &mut state.open[at];
            open.items[place] = Some(item);
            open.missing -= 1;
            if open.missing > 0 {
                continue;
            }
            let items = std::mem::take(&mut open.items);
            drop(state);
            let done = self.assemble(items.into_iter().flatten().collect());
            let mut state = self.lock();
            let at = batch - state.next;
            state.open[at].done = Some(done);
            self.ready.notify_all();
        }
    }

    /// The next item to make, as soon as there is room for its batch; `None` at the end.
    fn claim(&self) -> Option<(usize, usize)> {
        let mut state = self.lock();
        loop {
            let (batch, place) = state.claim;
            if state.stop || batch >= self.end {
                return None;
            }
            if batch < state.next + AHEAD {
                let items = self.work.items(batch);
                if place == 0 {
                    state.open.push_back(Open {
                        items: (0..items).map(|_| None).collect(),
                        missing: items,
                        done: None,
                    });
                }
                state.claim = if place + 1 < items { (batch, place + 1) } else { (batch + 1, 0) };
                return Some((batch, place));
            }
            state = wait(&self.room, state);
        }
    }

    fn item(&self, batch: usize, place: usize) -> Outcome<W::Item> {
        caught(|| self.work.item(batch, place))
    }

    fn assemble(&self, items: Vec<Outcome<W::Item>>) -> Outcome<W::Batch> {
        let items = items.into_iter().collect::<Result<Vec<_>, _>>()?;
        caught(|| self.work.assemble(items))
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a, T>(signal: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    signal.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Runs `act`; a panic becomes an error with its message.
fn caught<T>(act: impl FnOnce() -> T) -> Outcome<T> {
    // The work is shared and read-only, so a panic leaves nothing half-changed behind.
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| WorkerPanic(message(panic.as_ref())))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Batches of three numbers, 100·batch + place; the last has two.
    struct Numbers {
        panic_at: Option<(usize, usize)>,
        made: Arc<AtomicUsize>,
    }

    impl Work for Numbers {
        type Item = usize;
        type Batch = Vec<usize>;

        fn items(&self, batch: usize) -> usize {
            if batch == 19 { 2 } else { 3 }
        }

        fn item(&self, batch: usize, place: usize) -> usize {
            assert_ne!(Some((batch, place)), self.panic_at, "told to");
            self.made.fetch_add(1, Ordering::Relaxed);
            100 * batch + place
        }

        fn assemble(&self, items: Vec<usize>) -> Vec<usize> {
            items
        }
    }

    fn prefetch(
        start: usize,
        workers: usize,
        panic_at: Option<(usize, usize)>,
    ) -> (Prefetch<Numbers>, Arc<AtomicUsize>) {
        let made = Arc::new(AtomicUsize::new(0));
        let work = Numbers { panic_at, made: made.clone() };
        (Prefetch::new(work, start, 20, workers).unwrap(), made)
    }

    #[test]
    fn any_number_of_workers_gives_the_same_batches_in_order() {
        for start in [0, 7, 20] {
            let expected: Vec<Vec<usize>> =
                (start..20).map(|b| (0..if b == 19 { 2 } else { 3 }).map(|p| 100 * b + p).collect()).collect();
            for workers in [0, 1, 2, 4, 13] {
                let (batches, _) = prefetch(start, workers, None);
                let found: Vec<_> = batches.map(|b| b.unwrap()).collect();
                assert_eq!(found, expected, "{workers} workers from {start}");
            }
        }
    }

    #[test]
    fn a_panic_is_that_batch_and_nothing_is_lost() {
        for workers in [0, 1, 4] {
            let (batches, _) = prefetch(0, workers, Some((5, 1)));
            let found: Vec<_> = batches.collect();
            assert_eq!(found.len(), 20);
            for (batch, outcome) in found.iter().enumerate() {
                assert_eq!(outcome.is_err(), batch == 5, "batch {batch}");
            }
            let text = found[5].as_ref().unwrap_err().to_string();
            assert!(text.contains("told to"), "{text}");
        }
    }

    #[test]
    fn no_more_is_made_than_the_bound_and_dropping_ends_the_threads() {
        let (mut batches, made) = prefetch(0, 4, None);
        batches.next();
        batches.next();
        drop(batches);
        // Two handed out, at most AHEAD waiting. The threads are joined, so this is final.
        assert!(made.load(Ordering::Relaxed) <= 3 * (2 + AHEAD));
    }
}
