//! Events on their way into the log and to sinks.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::event::{Event, WarningKind};
use super::record::Record;
use super::writer::RunLog;

/// Maximum number of records that wait for a sink. A validation's record with its pictures has about 100 kB.
const QUEUE: usize = 256;

/// Time limit for a sink to write what it has at the end of a run.
const PATIENCE: Duration = Duration::from_secs(5);

/// A consumer of records as they are written.
pub trait Sink: Send {
    /// Name in warnings.
    fn name(&self) -> &'static str;

    /// Takes one record.
    ///
    /// # Errors
    /// [`std::io::Error`], which ends the sink; the run goes on without it.
    fn take(&mut self, record: &Record) -> io::Result<()>;

    /// Writes out what was taken; called when no record is waiting.
    ///
    /// # Errors
    /// As [`Self::take`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A run's log with its sinks. Clones share both.
///
/// The log is written at once, by the calling thread. Each sink has a thread and a bounded queue: one that is slow
/// misses records, one that fails or panics gets no more, and neither delays the run. Both cause a warning in the log.
#[derive(Clone)]
pub struct Journal {
    log: RunLog,
    sinks: Arc<Vec<SinkQueue>>,
    step: Arc<AtomicU64>,
}

impl Journal {
    /// A journal that writes to `log` and passes records on to `sinks`.
    #[must_use]
    pub fn new(log: RunLog, sinks: Vec<Box<dyn Sink>>) -> Self {
        let sinks = sinks.into_iter().map(SinkQueue::start).collect();
        Self { log, sinks: Arc::new(sinks), step: Arc::default() }
    }

    /// Path of the log.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.log.path()
    }

    /// Writes the event to the log and offers it to the sinks.
    ///
    /// # Errors
    /// [`std::io::Error`] if the log cannot be written. Errors of sinks become warnings.
    pub fn record(&self, event: Event) -> io::Result<()> {
        if let Some(step) = event.step() {
            self.step.store(step, Ordering::Relaxed);
        }
        // An end has to be the last line.
        let is_end = event.is_end();
        if is_end {
            for message in self.sinks.iter().filter_map(SinkQueue::losses) {
                self.warn(message)?;
            }
        }
        let record = Arc::new(self.log.write(event)?);
        for message in self.sinks.iter().filter_map(|sink| sink.offer(&record)) {
            if !is_end {
                self.warn(message)?;
            }
        }
        Ok(())
    }

    /// Lets the sinks write what they have, for a few seconds at most. Later records reach the log only.
    pub fn close(&self) {
        for sink in self.sinks.iter() {
            sink.close();
        }
    }

    fn warn(&self, message: String) -> io::Result<()> {
        let step = self.step.load(Ordering::Relaxed);
        let kind = WarningKind::Sink;
        self.log.write(Event::Warning { step, kind, message })?;
        Ok(())
    }
}

/// A sink on its thread.
struct SinkQueue {
    name: &'static str,
    /// `None` once the sink has ended.
    sender: Mutex<Option<SyncSender<Arc<Record>>>>,
    /// Receives the result of a sink that has ended; its sender is dropped if the sink panics.
    ended: Mutex<Receiver<io::Result<()>>>,
    missed: AtomicU64,
}

impl SinkQueue {
    fn start(mut sink: Box<dyn Sink>) -> Self {
        let (sender, records) = mpsc::sync_channel::<Arc<Record>>(QUEUE);
        let (end, ended) = mpsc::channel();
        let name = sink.name();
        let serve = move || {
            let _ = end.send(serve(sink.as_mut(), &records));
        };
        let thread = thread::Builder::new().name(format!("{name} sink"));
        // If the system refuses the thread, the queue is closed at once, like that of a dead sink.
        let _ = thread.spawn(serve);
        Self { name, sender: Mutex::new(Some(sender)), ended: Mutex::new(ended), missed: AtomicU64::new(0) }
    }

    /// Queues the record. Returns a warning on the first one that finds the queue full or the sink dead.
    fn offer(&self, record: &Arc<Record>) -> Option<String> {
        let name = self.name;
        let mut sender = lock(&self.sender);
        match sender.as_ref()?.try_send(Arc::clone(record)) {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => {
                let first = self.missed.fetch_add(1, Ordering::Relaxed) == 0;
                first.then(|| format!("{name} falls behind and misses records"))
            }
            Err(TrySendError::Disconnected(_)) => {
                *sender = None;
                let reason = match lock(&self.ended).try_recv() {
                    Ok(Err(error)) => error.to_string(),
                    _ => "it panicked".to_owned(),
                };
                Some(format!("{name} has stopped: {reason}"))
            }
        }
    }

    /// The warning to give at the end.
    fn losses(&self) -> Option<String> {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        (missed > 0).then(|| format!("{} has missed {missed} records", self.name))
    }

    fn close(&self) {
        if lock(&self.sender).take().is_some() {
            let _ = lock(&self.ended).recv_timeout(PATIENCE);
        }
    }
}

fn serve(sink: &mut dyn Sink, records: &Receiver<Arc<Record>>) -> io::Result<()> {
    while let Ok(record) = records.recv() {
        sink.take(&record)?;
        while let Ok(record) = records.try_recv() {
            sink.take(&record)?;
        }
        sink.flush()?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_log::surviving;

    /// Takes a record, and no other before it gets a permit.
    struct Slow {
        permits: Receiver<()>,
        taken: mpsc::Sender<u64>,
    }

    impl Sink for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        fn take(&mut self, record: &Record) -> io::Result<()> {
            let _ = self.taken.send(record.event.step().unwrap_or(0));
            let _ = self.permits.recv();
            Ok(())
        }
    }

    struct Dying {
        panics: bool,
        /// Dropped with the sink.
        _alive: mpsc::Sender<()>,
    }

    impl Sink for Dying {
        fn name(&self) -> &'static str {
            "dying"
        }

        fn take(&mut self, _: &Record) -> io::Result<()> {
            assert!(!self.panics, "a sink's own bug");
            Err(io::Error::other("no space"))
        }
    }

    fn checkpoint(step: u64) -> Event {
        Event::Checkpoint { step, path: "x".into() }
    }

    fn warnings(path: &Path) -> Vec<String> {
        let records = surviving(path).unwrap().map(|record| record.unwrap().event);
        records
            .filter_map(|event| match event {
                Event::Warning { message, .. } => Some(message),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_slow_sink_misses_records_and_the_log_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let log = RunLog::open(&folder.path().join("run.jsonl")).unwrap();
        let (permit, permits) = mpsc::channel();
        let (taken, took) = mpsc::channel();
        let journal = Journal::new(log, vec![Box::new(Slow { permits, taken })]);
        journal.record(checkpoint(1)).unwrap();
        assert_eq!(took.recv(), Ok(1));
        // One is in its hands, and the queue takes its fill.
        let held = QUEUE as u64 + 1;
        let total = held + 10;
        for step in 2..=total {
            journal.record(checkpoint(step)).unwrap();
        }
        journal.record(Event::Finished { step: total }).unwrap();
        drop(permit);
        journal.close();
        assert!(took.iter().eq(2..=held));

        let expected = ["slow falls behind and misses records", "slow has missed 10 records"];
        assert_eq!(warnings(journal.path()), expected);
        let steps = surviving(journal.path()).unwrap();
        let steps = steps.filter(|record| matches!(record.as_ref().unwrap().event, Event::Checkpoint { .. }));
        assert_eq!(steps.count() as u64, total);
    }

    #[test]
    fn a_dead_sink_is_warned_of_once() {
        for (panics, expected) in [(false, "dying has stopped: no space"), (true, "dying has stopped: it panicked")] {
            let folder = tempfile::tempdir().unwrap();
            let log = RunLog::open(&folder.path().join("run.jsonl")).unwrap();
            let (alive, dead) = mpsc::channel();
            let journal = Journal::new(log, vec![Box::new(Dying { panics, _alive: alive })]);
            journal.record(checkpoint(1)).unwrap();
            // A panic takes long to print; records in the meantime would fill the queue.
            assert!(dead.recv().is_err());
            while warnings(journal.path()).is_empty() {
                journal.record(checkpoint(1)).unwrap();
                thread::yield_now();
            }
            journal.record(checkpoint(2)).unwrap();
            journal.record(Event::Finished { step: 2 }).unwrap();
            journal.close();
            assert_eq!(warnings(journal.path())[0], expected);
            let stopped = warnings(journal.path());
            let stopped = stopped.iter().filter(|w| w.contains("stopped"));
            assert_eq!(stopped.count(), 1);
        }
    }
}
