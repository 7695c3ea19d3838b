//! What a page asks for beyond the stream of events: curves, the details of a run, a closer look.

use std::collections::HashMap;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::access::Answer;
use crate::runs::{Excerpt, Run, Runs};

/// The answer to a question about something that is not there.
pub const NOTHING: &str = "null";

/// Parses a question.
///
/// # Errors
/// 400 with one line.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|_| (StatusCode::BAD_REQUEST, "the body is no question of the page's\n"))
}

/// Curves of many runs.
#[derive(Debug, Deserialize)]
pub struct CurvesQuery {
    /// Names of the curves.
    names: Vec<String>,
    /// Most points of each.
    points: usize,
    /// Offset up to which the page has seen the log of each run, by the run's key.
    runs: HashMap<String, u64>,
}

impl CurvesQuery {
    /// The changes, by the run's key.
    pub fn answer(&self, runs: &Runs) -> String {
        let runs = runs.lock();
        let asked = runs.iter().filter_map(|run| Some((run, *self.runs.get(&run.key)?)));
        let wanted = |name: &str| self.names.iter().any(|own| own == name);
        let changes = asked.filter_map(|(run, since)| Some((&run.key, run.curves(since, self.points, wanted)?)));
        let changes: HashMap<_, _> = changes.collect();
        text(&changes)
    }
}

/// The details of a run.
#[derive(Debug, Deserialize)]
pub struct DetailsQuery {
    /// Key of the run.
    run: String,
    /// Offset up to which the page has seen its log.
    since: u64,
}

impl DetailsQuery {
    /// The changes.
    pub fn answer(&self, runs: &Runs) -> String {
        with_run(runs, &self.run, |run| text(&run.details(self.since))).unwrap_or_else(|| NOTHING.to_owned())
    }
}

/// Some steps of a run, as exact as its log.
#[derive(Debug, Deserialize)]
pub struct ExcerptQuery {
    /// Key of the run.
    run: String,
    /// Names of the curves.
    names: Vec<String>,
    /// First step.
    from: u64,
    /// Last step.
    to: u64,
}

impl ExcerptQuery {
    /// The curves. Reads the log, which takes up to a second.
    pub fn answer(&self, runs: &Runs) -> String {
        let found = with_run(runs, &self.run, |run| Excerpt::find(run, self.from, self.to)).flatten();
        let read = found.and_then(|excerpt| excerpt.read().ok());
        read.and_then(|closer| Some(text(&closer.curves(&self.names)?))).unwrap_or_else(|| NOTHING.to_owned())
    }
}

fn with_run<T>(runs: &Runs, key: &str, use_it: impl FnOnce(&Run) -> T) -> Option<T> {
    runs.lock().iter().find(|run| run.key == key).map(use_it)
}

/// Everything a report needs of a run: its summary, its curves in at most `points` points each, its details.
pub fn whole(run: &Run, points: usize) -> Option<serde_json::Value> {
    let curves = run.curves(0, points, |_| true)?;
    Some(json!({ "summary": run.message(0)?, "curves": curves, "details": run.details(0) }))
}

fn text(answer: &impl Serialize) -> String {
    // Strings, numbers and lists of them are always JSON.
    serde_json::to_string(answer).unwrap_or_else(|_| NOTHING.to_owned())
}
