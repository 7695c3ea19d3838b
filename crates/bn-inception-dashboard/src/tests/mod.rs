//! Tests of the server through real connections.

mod access;
mod history;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::run_log::{Event, LOG_FILE, RunLog, Start, StepFacts, Validation, ValidationReport};
use crate::server::StopAction;
use crate::{Dashboard, DashboardConfig};

const TOKEN: &str = "a-token-for-tests";

fn step(step: u64) -> Event {
    Event::Step(StepFacts {
        step,
        epoch: 1,
        loss: 1.0 / step as f64,
        top1: 0.5,
        lr: 0.1,
        images: 8,
        seconds: 0.5,
        wait_seconds: 0.1,
        ..StepFacts::default()
    })
}

fn validation(step: u64, top1: f64) -> Event {
    let result = Validation { step, epoch: 1, top1, top5: 1.0, loss: 1.0, images: 100, seconds: 0.1 };
    Event::Validation(Box::new(ValidationReport::from(result)))
}

fn begin(folder: &Path, steps: u64) -> RunLog {
    fs::create_dir_all(folder).unwrap();
    let log = RunLog::open(&folder.join(LOG_FILE)).unwrap();
    log.write(Event::Start(Box::<Start>::default())).unwrap();
    (1..=steps).for_each(|number| drop(log.write(step(number)).unwrap()));
    log
}

fn serve(folder: &Path, token: Option<&str>, on_stop: Option<StopAction>) -> Dashboard {
    Dashboard::open(DashboardConfig {
        runs: vec![folder.to_owned()],
        listen: Some("127.0.0.1:0".to_owned()),
        token: token.map(str::to_owned),
        on_stop,
    })
    .unwrap()
}

/// Sends `request` on a new connection.
fn send(dashboard: &Dashboard, request: &str) -> BufReader<TcpStream> {
    let url = dashboard.url();
    let address = url["http://".len()..].split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    // Reached only where something is broken.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    BufReader::new(stream)
}

/// Status and text of the answer to a request with these headers.
fn ask(dashboard: &Dashboard, line: &str, headers: &[&str]) -> (u16, String) {
    let request = format!("{line} HTTP/1.1\r\nConnection: close\r\n{}\r\n\r\n", headers.join("\r\n"));
    let mut answer = String::new();
    send(dashboard, &request).read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

/// An open stream of events.
struct Page(BufReader<TcpStream>);

impl Page {
    fn open(dashboard: &Dashboard) -> Self {
        Self(send(dashboard, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    /// The data of the next event called `name`.
    fn next(&mut self, name: &str) -> Value {
        self.next_of(&[name]).1
    }

    /// The next event called one of `names`: its name and its data.
    fn next_of(&mut self, names: &[&str]) -> (String, Value) {
        let mut current = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream ended before {names:?}");
            let line = line.trim_end();
            if let Some(event) = line.strip_prefix("event: ") {
                current = event.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ")
                && names.contains(&current.as_str())
            {
                return (current, serde_json::from_str(data).unwrap());
            }
        }
    }

    /// Reads events until the run has taken `steps` steps. Returns the run.
    fn until(&mut self, steps: u64) -> Value {
        loop {
            let run = self.next("run");
            if run["standing"]["step"] == steps {
                return run;
            }
        }
    }
}

/// The answer to a question.
fn question(dashboard: &Dashboard, path: &str, question: &Value) -> Value {
    let body = question.to_string();
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let (status, answer) = ask(dashboard, &format!("POST {path}"), &["Host: localhost", &length]);
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// The loss curve of a run after offset `since` in its log: the index of its first point, the steps, the offset up to
/// which it is, and that up to which a page drops what it has.
fn losses(dashboard: &Dashboard, run: &Value, since: u64) -> (u64, Vec<u64>, u64, u64) {
    let key = run["key"].as_str().unwrap();
    let asked = json!({ "names": ["train/loss"], "points": 1000, "runs": { key: since } });
    let answer = question(dashboard, "/curves", &asked);
    let changes = &answer[key];
    let curve = &changes["curves"]["train/loss"];
    (
        curve[0].as_u64().unwrap(),
        steps_of(&curve[1]),
        changes["offset"].as_u64().unwrap(),
        changes["voided"].as_u64().unwrap(),
    )
}

/// The steps of columns.
fn steps_of(columns: &Value) -> Vec<u64> {
    let differences = columns["step"].as_array().unwrap().iter().map(|step| step.as_u64().unwrap());
    let steps = differences.scan(0, |step, difference| {
        *step += difference;
        Some(*step)
    });
    steps.collect()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}
