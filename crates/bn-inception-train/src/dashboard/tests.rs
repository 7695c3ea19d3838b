//! The server as a client sees it, over a real connection.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::server::MOST_STREAMS;
use super::*;
use crate::output::LOG_FILE;
use crate::progress::Validation;
use crate::run_log::{Event, RunLog, Start, StepFacts, ValidationReport};

const TOKEN: &str = "a-token-for-tests";

fn step(step: u64) -> Event {
    Event::Step(StepFacts {
        step,
        epoch: 1,
        loss: 1.0 / step as f64,
        top1: 0.5,
        top5: None,
        lr: 0.1,
        grad_norm: None,
        images: 8,
        seconds: 0.5,
        wait_seconds: 0.1,
    })
}

fn validation(step: u64, top1: f64) -> Event {
    let result = Validation {
        step,
        epoch: 1,
        top1,
        top5: 1.0,
        loss: 1.0,
        images: 100,
        seconds: 0.1,
    };
    Event::Validation(Box::new(ValidationReport::from(result)))
}

fn begin(folder: &Path, steps: u64) -> RunLog {
    fs::create_dir_all(folder).unwrap();
    let log = RunLog::open(&folder.join(LOG_FILE)).unwrap();
    log.write(Event::Start(Box::<Start>::default())).unwrap();
    (1..=steps).for_each(|number| drop(log.write(step(number)).unwrap()));
    log
}

fn serve(folder: &Path, token: Option<&str>, stop: Option<StopSignal>) -> Dashboard {
    Dashboard::open(DashboardConfig {
        runs: vec![folder.to_owned()],
        listen: Some("127.0.0.1:0".to_owned()),
        token: token.map(str::to_owned),
        stop,
    })
    .unwrap()
}

/// A connection on which `request` was sent.
fn send(dashboard: &Dashboard, request: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(dashboard.address).unwrap();
    // Reached only where something is broken.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    BufReader::new(stream)
}

/// The whole answer to a request with these headers.
fn ask(dashboard: &Dashboard, line: &str, headers: &[&str]) -> (u16, String) {
    let request = format!("{line} HTTP/1.1\r\n{}\r\nConnection: close\r\n\r\n", headers.join("\r\n"));
    let mut answer = String::new();
    send(dashboard, &request).read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

/// An open stream of events.
struct Page(BufReader<TcpStream>);

impl Page {
    fn open(dashboard: &Dashboard, seen: &str) -> Self {
        let request = format!("GET /events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {seen}\r\n\r\n");
        Self(send(dashboard, &request))
    }

    /// The next event called `name`: its id and its data.
    fn next(&mut self, name: &str) -> (String, Value) {
        let (mut current, mut id) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream ended before {name}");
            let line = line.trim_end();
            if let Some(event) = line.strip_prefix("event: ") {
                current = event.to_owned();
            } else if let Some(text) = line.strip_prefix("id: ") {
                id = text.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ")
                && current == name
            {
                return (id, serde_json::from_str(data).unwrap());
            }
        }
    }

    /// Takes in events of a run until it has taken `steps` steps. Returns the last one's id and the steps of the loss
    /// curve, cut and appended to as a page does it.
    fn until(&mut self, steps: u64) -> (String, Vec<u64>) {
        let mut curve = Vec::new();
        loop {
            let (id, run) = self.next("run");
            if run["reset"] == true {
                curve.clear();
            }
            if let Some(change) = run["series"].get("train/loss") {
                let first = change[0].as_u64().unwrap() as usize;
                curve.resize(first, 0);
                let rows = change[1].as_array().unwrap().iter();
                curve.extend(rows.map(|row| row[0].as_u64().unwrap()));
            }
            if run["standing"]["step"] == steps {
                return (id, curve);
            }
        }
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn only_this_machines_names_and_no_paths() {
    let folder = folder();
    begin(folder.path(), 1);
    let dashboard = serve(folder.path(), None, None);
    let (status, page) = ask(&dashboard, "GET /", &["Host: localhost"]);
    assert_eq!(status, 200);
    for part in ["default-src 'none'", "script-src 'self'", "nosniff", "<!doctype html>"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("'unsafe-inline'"));
    for host in ["Host: evil.example", "Host: 10.0.0.1", "X-No-Host: here"] {
        // Without any Host the request is no HTTP/1.1 at all.
        let (status, _) = ask(&dashboard, "GET /events", &[host]);
        assert!(status == 421 || status == 400, "{host}: {status}");
    }
    for path in ["/../run.jsonl", "/%2e%2e/run.jsonl", "/run.jsonl", "/events/..%2f..", "//etc/passwd"] {
        let (status, _) = ask(&dashboard, &format!("GET {path}"), &["Host: localhost"]);
        assert_eq!(status, 404, "{path}");
    }
    let (status, _) = ask(&dashboard, "GET /stop", &["Host: localhost"]);
    assert_eq!(status, 405);
}

#[test]
fn files_are_sent_once() {
    let folder = folder();
    begin(folder.path(), 1);
    let dashboard = serve(folder.path(), None, None);
    for path in ["/", "/app.js", "/app.css", "/plotly.js"] {
        let (status, answer) = ask(&dashboard, &format!("GET {path}"), &["Host: localhost"]);
        assert_eq!(status, 200, "{path}");
        let tag = answer.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let known = format!("If-None-Match: {tag}");
        let (status, _) = ask(&dashboard, &format!("GET {path}"), &["Host: localhost", &known]);
        assert_eq!(status, 304, "{path}");
    }
}

#[test]
fn the_token_opens_the_data_and_the_stop_button() {
    let folder = folder();
    let stop = StopSignal::new();
    let dashboard = serve(folder.path(), Some(TOKEN), Some(stop.clone()));
    assert!(dashboard.url().ends_with("/#token=a-token-for-tests"));
    let right = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(ask(&dashboard, "GET /", &["Host: localhost"]).0, 200);
    for wrong in ["X-None: 1", "Authorization: Bearer a-token-for-test", "Authorization: Bearer "] {
        for line in ["GET /events", "POST /stop"] {
            assert_eq!(ask(&dashboard, line, &["Host: localhost", wrong]).0, 401, "{line} {wrong}");
        }
    }
    assert!(!stop.is_stopped());
    let hello = send(&dashboard, &format!("GET /events HTTP/1.1\r\nHost: localhost\r\n{right}\r\n\r\n"));
    assert_eq!(Page(hello).next("hello").1["can_stop"], true);
    assert_eq!(ask(&dashboard, "POST /stop", &["Host: localhost", &right]).0, 202);
    assert!(stop.is_stopped());
}

#[test]
fn without_a_token_nothing_stops() {
    let folder = folder();
    let stop = StopSignal::new();
    let own = serve(folder.path(), None, Some(stop.clone()));
    assert_eq!(ask(&own, "POST /stop", &["Host: localhost"]).0, 403);
    assert!(!stop.is_stopped());
    begin(folder.path(), 1);
    let watching = serve(folder.path(), Some(TOKEN), None);
    let right = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(ask(&watching, "POST /stop", &["Host: localhost", &right]).0, 409);
}

#[test]
fn addresses() {
    let folder = folder();
    begin(folder.path(), 1);
    let open = |listen: &str, token: Option<&str>| {
        let config = DashboardConfig {
            runs: vec![folder.path().to_owned()],
            listen: Some(listen.to_owned()),
            token: token.map(str::to_owned),
            stop: None,
        };
        Dashboard::open(config).map(|dashboard| dashboard.url()).map_err(|error| error.to_string())
    };
    assert!(open("0.0.0.0:0", None).unwrap_err().contains("token"));
    assert!(open("[::]:0", None).unwrap_err().contains("token"));
    assert!(open("0.0.0.0:0", Some(TOKEN)).unwrap().starts_with("http://127.0.0.1:"));
    assert!(open("0.0.0.0:0", Some("short")).unwrap_err().contains("12 to 128"));
    assert!(open("127.0.0.1:0", Some("a token with spaces")).unwrap_err().contains("letters"));
    assert!(open("8015", None).unwrap_err().contains("HOST:PORT"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(open(&address, None).unwrap_err().contains(&address));
    // The usual port may be anybody's; there is another one.
    let _usual = TcpListener::bind(DEFAULT_ADDRESS);
    let config = DashboardConfig {
        runs: vec![folder.path().to_owned()],
        ..DashboardConfig::default()
    };
    assert!(Dashboard::open(config).is_ok());
}

#[test]
fn a_folder_without_a_run_is_refused() {
    let folder = folder();
    let config = DashboardConfig {
        runs: vec![folder.path().to_owned()],
        ..DashboardConfig::default()
    };
    let error = Dashboard::open(config).unwrap_err().to_string();
    assert!(error.contains(&folder.path().display().to_string()), "{error}");
    let report = folder.path().join("report.html");
    assert!(export(vec![folder.path().to_owned()], &report).is_err());
    assert!(!report.exists());
}

#[test]
fn a_late_page_sees_all_and_one_that_comes_back_what_is_new() {
    let folder = folder();
    let log = begin(folder.path(), 3);
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard, "");
    let (seen, curve) = page.until(3);
    assert_eq!(curve, [1, 2, 3]);
    log.write(step(4)).unwrap();
    let (_, run) = page.next("run");
    assert_eq!(run["reset"], false);
    assert_eq!(run["series"]["train/loss"][1].as_array().unwrap().len(), 1);
    drop((page, dashboard));

    // Another server, as after a restart: the id still means something.
    log.write(step(5)).unwrap();
    let dashboard = serve(folder.path(), None, None);
    let (_, all) = Page::open(&dashboard, "").until(5);
    assert_eq!(all, [1, 2, 3, 4, 5]);
    let mut page = Page::open(&dashboard, &seen);
    let (_, run) = page.next("run");
    assert_eq!(run["reset"], false);
    let change = &run["series"]["train/loss"];
    assert_eq!((&change[0], change[1].as_array().unwrap().len()), (&3.into(), 2));
}

#[test]
fn half_a_line_waits_for_its_end() {
    let folder = folder();
    begin(folder.path(), 2);
    let path = folder.path().join(LOG_FILE);
    let whole = fs::read_to_string(&path).unwrap();
    let cut = whole.len() - 30;
    fs::write(&path, &whole[..cut]).unwrap();
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard, "");
    assert_eq!(page.until(1).1, [1]);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&whole.as_bytes()[cut..]).unwrap();
    assert_eq!(page.until(2).1.last(), Some(&2));
}

#[test]
fn a_resumed_run_takes_lost_steps_back() {
    let folder = folder();
    let log = begin(folder.path(), 5);
    log.write(validation(5, 0.9)).unwrap();
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard, "");
    page.until(5);
    let device = "flex".to_owned();
    log.write(Event::Resume { step: 3, device }).unwrap();
    log.write(step(4)).unwrap();
    log.write(validation(4, 0.4)).unwrap();
    log.write(Event::Finished { step: 4 }).unwrap();
    let (_, curve) = page.until(4);
    assert_eq!(curve, [1, 2, 3, 4]);
    let mut late = Page::open(&dashboard, "");
    let (_, run) = late.next("run");
    assert_eq!(run["standing"]["images"], 32);
    let records = &run["cells"]["records"];
    assert_eq!((records[0][0].as_u64(), records.as_array().unwrap().len()), (Some(4), 1));
}

#[test]
fn a_new_log_in_the_place_of_an_old_one_is_another_run() {
    let folder = folder();
    begin(folder.path(), 5);
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard, "");
    let (_, first) = page.next("run");
    fs::remove_file(folder.path().join(LOG_FILE)).unwrap();
    begin(folder.path(), 2);
    let (_, second) = page.next("run");
    assert_ne!(first["key"], second["key"]);
    assert_eq!((&second["index"], &second["reset"]), (&0.into(), &true.into()));
}

#[test]
fn too_many_pages_are_told_so_and_the_rest_go_on() {
    let folder = folder();
    let log = begin(folder.path(), 1);
    let dashboard = serve(folder.path(), None, None);
    let mut pages: Vec<_> = (0..MOST_STREAMS).map(|_| Page::open(&dashboard, "")).collect();
    pages.iter_mut().for_each(|page| drop(page.next("run")));
    let (status, answer) = ask(&dashboard, "GET /events", &["Host: localhost"]);
    assert_eq!(status, 503);
    assert!(answer.contains("close one"), "{answer}");
    assert_eq!(ask(&dashboard, "GET /", &["Host: localhost"]).0, 200);
    log.write(step(2)).unwrap();
    pages.iter_mut().for_each(|page| drop(page.next("run")));
    // Whoever closes makes room; the server learns of it when it next sends something.
    drop(pages.pop());
    for number in 3.. {
        log.write(step(number)).unwrap();
        pages[0].next("run");
        let page = send(&dashboard, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").lines().next().unwrap();
        if page.unwrap().contains("200") {
            break;
        }
    }
}

#[test]
fn pages_see_the_end() {
    let folder = folder();
    let log = begin(folder.path(), 1);
    let dashboard = serve(folder.path(), None, Some(StopSignal::new()));
    let mut page = Page::open(&dashboard, "");
    page.until(1);
    log.write(Event::Finished { step: 2 }).unwrap();
    drop(dashboard);
    assert_eq!(page.next("run").1["standing"]["status"], "finished");
    page.next("bye");
}

#[test]
fn folders_of_runs_and_new_runs_in_them() {
    let folder = folder();
    let mut logs: Vec<_> = ["9", "10"].iter().map(|name| begin(&folder.path().join(name), 1)).collect();
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard, "");
    let names = |page: &mut Page| {
        let name = page.next("run").1["name"].as_str().unwrap().to_owned();
        name.rsplit('/').next().unwrap().to_owned()
    };
    assert_eq!([names(&mut page), names(&mut page)], ["9", "10"]);
    logs.push(begin(&folder.path().join("11"), 1));
    assert_eq!(names(&mut page), "11");
}

#[test]
fn a_report_holds_what_the_page_would() {
    let folder = folder();
    begin(&folder.path().join("a"), 3);
    begin(&folder.path().join("b"), 3);
    let path = folder.path().join("report.html");
    let bytes = export(vec![folder.path().to_owned()], &path).unwrap();
    let report = fs::read_to_string(&path).unwrap();
    assert_eq!(bytes, report.len() as u64);
    let data = report.split("id=\"report\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data.as_array().unwrap().len(), 2);
    assert_eq!(data[1]["series"]["train/loss"][1].as_array().unwrap().len(), 3);
}
