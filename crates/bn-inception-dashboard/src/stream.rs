//! The stream of server-sent events of an open page: first everything it has not seen, then the news.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::runs::{MOST_RUNS, Runs, lock};

/// Minimum time between two looks for news.
const PACE: Duration = Duration::from_millis(500);

/// Offset up to which a page has seen each log, by the run's key. As text it is the id of an event, which a page that was
/// cut off sends back; offsets in a log mean the same to a restarted server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen(HashMap<String, u64>);

impl Seen {
    /// Parses an event's id; malformed parts count as nothing seen.
    fn parse(id: &str) -> Self {
        let offsets = id.split('.').filter_map(|part| {
            let (key, offset) = part.split_once('-')?;
            Some((key.to_owned(), offset.parse().ok()?))
        });
        Self(offsets.take(MOST_RUNS).collect())
    }

    fn id(&self) -> String {
        let offsets = self.0.iter();
        let mut parts: Vec<_> = offsets
            .map(|(key, offset)| format!("{key}-{offset}"))
            .collect();
        parts.sort();
        parts.join(".")
    }
}

struct Connection {
    runs: Arc<Runs>,
    can_stop: bool,
    seen: Seen,
    /// Runs still to look at since the last news.
    waiting: VecDeque<usize>,
    changes: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    looked: Instant,
    greeted: bool,
    looked_last: bool,
    done: bool,
    _permit: OwnedSemaphorePermit,
}

/// The stream for a page that has seen everything up to `seen`, the id of an event. It ends once `closing` is true.
pub fn events(
    runs: Arc<Runs>,
    can_stop: bool,
    closing: watch::Receiver<bool>,
    permit: OwnedSemaphorePermit,
    seen: Option<&str>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>> + use<>> {
    let connection = Connection {
        seen: Seen::parse(seen.unwrap_or_default()),
        waiting: VecDeque::new(),
        changes: runs.changes(),
        closing,
        looked: Instant::now(),
        greeted: false,
        looked_last: false,
        done: false,
        runs,
        can_stop,
        _permit: permit,
    };
    // An event is made once the last one is on its way, so a slow page gets fewer, longer ones and costs no memory.
    let events = stream::unfold(connection, async |mut connection| {
        let event = connection.next().await?;
        Some((Ok(event), connection))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)))
}

impl Connection {
    async fn next(&mut self) -> Option<sse::Event> {
        if self.done {
            return None;
        }
        if !self.greeted {
            self.greeted = true;
            self.look();
            return Some(self.greeting());
        }
        loop {
            while let Some(index) = self.waiting.pop_front() {
                if let Some(event) = self.news_of(index) {
                    return Some(event);
                }
            }
            if *self.closing.borrow() {
                if self.looked_last {
                    self.done = true;
                    return Some(sse::Event::default().event("bye").data("{}"));
                }
                self.looked_last = true;
                self.look();
                continue;
            }
            // At most as often as a person can look.
            let news = async {
                let _ = self.changes.changed().await;
                tokio::time::sleep_until(self.looked + PACE).await;
            };
            tokio::select! {
                () = news => {}
                _ = self.closing.wait_for(|closing| *closing) => {}
            }
            self.look();
        }
    }

    /// Queues every run to be looked at.
    fn look(&mut self) {
        self.changes.mark_unchanged();
        self.looked = Instant::now();
        let keys = self.keys();
        self.waiting = (0..keys.len()).collect();
        // Keys of replaced logs would make the id grow.
        self.seen.0.retain(|key, _| keys.contains(key));
    }

    fn keys(&self) -> Vec<String> {
        let runs = self.runs.list();
        runs.iter().map(|run| lock(run).key.clone()).collect()
    }

    fn greeting(&self) -> sse::Event {
        let greeting = json!({ "runs": self.keys(), "can_stop": self.can_stop });
        sse::Event::default()
            .event("hello")
            .data(greeting.to_string())
    }

    fn news_of(&mut self, index: usize) -> Option<sse::Event> {
        let runs = self.runs.list();
        let run = lock(runs.get(index)?);
        let since = self.seen.0.get(&run.key).copied().unwrap_or(0);
        let message = serde_json::to_string(&run.message(index, since)?).ok()?;
        self.seen.0.insert(run.key.clone(), run.state.offset);
        Some(
            sse::Event::default()
                .event("run")
                .id(self.seen.id())
                .data(message),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hold_offsets() {
        let seen = Seen([("ab".to_owned(), 17), ("cd".to_owned(), 4)].into());
        assert_eq!(seen.id(), "ab-17.cd-4");
        assert_eq!(Seen::parse("ab-17.cd-4"), seen);
        assert_eq!(Seen::parse(""), Seen::default());
        assert_eq!(Seen::parse("x.y-.z--1.-"), Seen::default());
    }
}
