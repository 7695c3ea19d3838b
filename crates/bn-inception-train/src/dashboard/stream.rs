//! What an open page is sent: first all it has not seen, then what happens.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::runs::lock;
use super::server::Site;

/// Shortest time between two looks for news.
const PACE: Duration = Duration::from_millis(500);

/// How far a page has seen each log, by the run's key. As text it is the id of an event, which a page that was cut off
/// sends back: positions in a log that stay what they are when the server is started anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen(HashMap<String, u64>);

impl Seen {
    /// Reads an event's id. What is none counts as nothing seen.
    fn parse(id: &str) -> Self {
        let positions = id.split('.').filter_map(|part| {
            let (key, position) = part.split_once('-')?;
            Some((key.to_owned(), position.parse().ok()?))
        });
        Self(positions.take(super::runs::MOST_RUNS).collect())
    }

    fn id(&self) -> String {
        let positions = self.0.iter();
        let mut parts: Vec<_> = positions
            .map(|(key, position)| format!("{key}-{position}"))
            .collect();
        parts.sort();
        parts.join(".")
    }
}

struct Connection {
    site: Arc<Site>,
    seen: Seen,
    /// Runs that were not looked at since the last news.
    waiting: VecDeque<usize>,
    changes: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    looked: Instant,
    greeted: bool,
    looked_last: bool,
    done: bool,
    _permit: OwnedSemaphorePermit,
}

/// The answer to a page that has seen what `seen`, an event's id, says.
pub fn events(
    site: Arc<Site>,
    permit: OwnedSemaphorePermit,
    seen: Option<&str>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
    let connection = Connection {
        seen: Seen::parse(seen.unwrap_or_default()),
        waiting: VecDeque::new(),
        changes: site.runs.changes(),
        closing: site.closing.clone(),
        looked: Instant::now(),
        greeted: false,
        looked_last: false,
        done: false,
        site,
        _permit: permit,
    };
    // Nothing is made before the last event is on its way: a slow page costs no memory, it gets fewer, longer ones.
    let events = stream::unfold(connection, async |mut connection| {
        let event = connection.next().await?;
        Some((Ok(event), connection))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)))
}

impl Connection {
    async fn next(&mut self) -> Option<Event> {
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
                    return Some(Event::default().event("bye").data("{}"));
                }
                self.looked_last = true;
                self.look();
                continue;
            }
            // News soon enough, and not more often than a person can look.
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

    /// Puts every run on the list of those to look at.
    fn look(&mut self) {
        self.changes.mark_unchanged();
        self.looked = Instant::now();
        let keys = self.keys();
        self.waiting = (0..keys.len()).collect();
        // Logs that were replaced would make the id grow.
        self.seen.0.retain(|key, _| keys.contains(key));
    }

    fn keys(&self) -> Vec<String> {
        let runs = self.site.runs.list();
        runs.iter().map(|run| lock(run).key.clone()).collect()
    }

    fn greeting(&self) -> Event {
        let greeting = json!({ "runs": self.keys(), "can_stop": self.site.can_stop() });
        Event::default().event("hello").data(greeting.to_string())
    }

    fn news_of(&mut self, index: usize) -> Option<Event> {
        let runs = self.site.runs.list();
        let run = lock(runs.get(index)?);
        let since = self.seen.0.get(&run.key).copied().unwrap_or(0);
        let message = serde_json::to_string(&run.message(index, since)?).ok()?;
        self.seen.0.insert(run.key.clone(), run.view.revision);
        Some(
            Event::default()
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
    fn ids_say_how_far_a_page_has_seen() {
        let seen = Seen([("ab".to_owned(), 17), ("cd".to_owned(), 4)].into());
        assert_eq!(seen.id(), "ab-17.cd-4");
        assert_eq!(Seen::parse("ab-17.cd-4"), seen);
        assert_eq!(Seen::parse(""), Seen::default());
        assert_eq!(Seen::parse("x.y-.z--1.-"), Seen::default());
    }
}
