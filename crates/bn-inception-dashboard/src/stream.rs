//! The stream of server-sent events of an open page: first the summaries of all runs, then the news.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::connections::Permit;
use crate::runs::{Runs, Window};

/// Minimum time between two looks for news.
const PACE: Duration = Duration::from_millis(500);

/// The stream for a page that lists the runs `older` pages before the newest. It begins with `greeting` and ends once
/// `closing` is true.
pub fn events(
    runs: Arc<Runs>,
    greeting: String,
    older: usize,
    closing: watch::Receiver<bool>,
    permit: Permit,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>> + use<>> {
    let (sender, mut receiver) = mpsc::channel(1);
    let connection = Connection { runs, older, seen: HashMap::new(), closing, sender };
    tokio::spawn(async move {
        let closed = connection.sender.clone();
        tokio::select! {
            _ = connection.feed(greeting) => {}
            // The page has gone.
            () = closed.closed() => {}
        }
        drop(permit);
    });
    // The compression asks once more after the end, which a receiver answers with another end.
    let events = stream::poll_fn(move |context| receiver.poll_recv(context).map(|event| event.map(Ok)));
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)))
}

/// An open page.
struct Connection {
    runs: Arc<Runs>,
    older: usize,
    /// Offset up to which the page has seen each log, by the run's key.
    seen: HashMap<String, u64>,
    closing: watch::Receiver<bool>,
    sender: mpsc::Sender<sse::Event>,
}

impl Connection {
    /// Sends the greeting, the news as they come, and the farewell. `None` if the page has gone.
    async fn feed(mut self, greeting: String) -> Option<()> {
        let mut changes = self.runs.changes();
        let mut shown = None;
        let greeting = sse::Event::default().event("hello").data(greeting);
        self.sender.send(greeting).await.ok()?;
        loop {
            let last = *self.closing.borrow();
            let looked = Instant::now();
            changes.mark_unchanged();
            let window = self.runs.window(self.older);
            self.seen.retain(|key, _| window.runs.contains(key));
            for key in &window.runs {
                // An event is made once the last one is on its way, so a slow page gets fewer, longer ones.
                let sender = self.sender.clone();
                let place = sender.reserve().await.ok()?;
                if let Some(event) = self.news_of(key) {
                    place.send(event);
                }
            }
            // After the runs themselves: a page drops those that are not among these.
            if shown.as_ref() != Some(&window) {
                self.sender.send(list(&window)?).await.ok()?;
                shown = Some(window);
            }
            if last {
                let farewell = sse::Event::default().event("bye").data("{}");
                return self.sender.send(farewell).await.ok();
            }
            // At most as often as a person can look.
            let news = async {
                let _ = changes.changed().await;
                tokio::time::sleep_until(looked + PACE).await;
            };
            tokio::select! {
                () = news => {}
                _ = self.closing.wait_for(|closing| *closing) => {}
            }
        }
    }

    fn news_of(&mut self, key: &str) -> Option<sse::Event> {
        let runs = self.runs.lock();
        let run = runs.iter().find(|run| run.key == key)?;
        let since = self.seen.get(key).copied().unwrap_or(0);
        let message = serde_json::to_string(&run.message(since)?).ok()?;
        self.seen.insert(run.key.clone(), run.state.offset);
        Some(sse::Event::default().event("run").data(message))
    }
}

/// The event that lists the runs shown.
fn list(window: &Window) -> Option<sse::Event> {
    let list = serde_json::to_string(window).ok()?;
    Some(sse::Event::default().event("runs").data(list))
}
