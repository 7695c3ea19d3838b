//! Tests of who may ask.

use std::io::BufRead as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::DEFAULT_ADDRESS;
use crate::connections::MOST_STREAMS_OF_ONE;

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
    for path in ["/", "/app.js", "/app.css"] {
        let (status, answer) = ask(&dashboard, &format!("GET {path}"), &["Host: localhost"]);
        assert_eq!(status, 200, "{path}");
        let tag = answer.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let known = format!("If-None-Match: {tag}");
        let (status, _) = ask(&dashboard, &format!("GET {path}"), &["Host: localhost", &known]);
        assert_eq!(status, 304, "{path}");
    }
}

/// A flag, and an action that sets it.
fn stop_button() -> (Arc<AtomicBool>, StopAction) {
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = stopped.clone();
    (stopped, Box::new(move || flag.store(true, Ordering::Relaxed)))
}

#[test]
fn the_token_opens_the_data_and_the_stop_button() {
    let folder = folder();
    let (stopped, stop) = stop_button();
    let dashboard = serve(folder.path(), Some(TOKEN), Some(stop));
    assert!(dashboard.url().ends_with("/#token=a-token-for-tests"));
    let right = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(ask(&dashboard, "GET /", &["Host: localhost"]).0, 200);
    for path in ["/curves", "/details", "/excerpt"] {
        assert_eq!(ask(&dashboard, &format!("POST {path}"), &["Host: localhost"]).0, 401, "{path}");
    }
    for wrong in ["X-None: 1", "Authorization: Bearer a-token-for-test", "Authorization: Bearer "] {
        for line in ["GET /events", "POST /stop"] {
            assert_eq!(ask(&dashboard, line, &["Host: localhost", wrong]).0, 401, "{line} {wrong}");
        }
    }
    assert!(!stopped.load(Ordering::Relaxed));
    let hello = send(&dashboard, &format!("GET /events HTTP/1.1\r\nHost: localhost\r\n{right}\r\n\r\n"));
    assert_eq!(Page(hello).next("hello")["can_stop"], true);
    assert_eq!(ask(&dashboard, "POST /stop", &["Host: localhost", &right]).0, 202);
    assert!(stopped.load(Ordering::Relaxed));
}

#[test]
fn without_a_token_nothing_stops() {
    let folder = folder();
    let (stopped, stop) = stop_button();
    let own = serve(folder.path(), None, Some(stop));
    assert_eq!(ask(&own, "POST /stop", &["Host: localhost"]).0, 403);
    assert!(!stopped.load(Ordering::Relaxed));
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
            on_stop: None,
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
    let config = DashboardConfig { runs: vec![folder.path().to_owned()], ..DashboardConfig::default() };
    assert!(Dashboard::open(config).is_ok());
}

#[test]
fn what_is_sent_is_compressed() {
    let folder = folder();
    begin(folder.path(), 1);
    let dashboard = serve(folder.path(), None, None);
    let length = |accepted: &str| {
        let request = format!("GET /app.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{accepted}\r\n");
        let mut answer = Vec::new();
        send(&dashboard, &request).read_to_end(&mut answer).unwrap();
        answer.len()
    };
    let (plain, packed) = (length(""), length("Accept-Encoding: gzip\r\n"));
    assert!(packed * 2 < plain, "{packed} of {plain} bytes");
    // The whole page is small enough for a slow line.
    assert!(packed < 100_000, "{packed}");
    // Events arrive as they happen, although they are compressed.
    let request = "GET /events HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n";
    let mut stream = send(&dashboard, request);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        stream.read_line(&mut head).unwrap();
    }
    assert!(head.contains("content-encoding: gzip"), "{head}");
    assert!(!stream.fill_buf().unwrap().is_empty());
    // The stream ends as it should: with the last, empty chunk.
    drop(dashboard);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"\r\n0\r\n\r\n"));
}

/// They hold their connections, ask for the largest file many times and never read.
#[test]
fn clients_that_do_not_read_lock_nobody_out() {
    let folder = folder();
    begin(folder.path(), 1);
    let dashboard = serve(folder.path(), None, None);
    let request = "GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(60);
    let mut held: Vec<_> = (0..260).map(|_| send(&dashboard, &request)).collect();
    // Both give up after a minute, the time for which such clients used to keep others out.
    assert_eq!(ask(&dashboard, "GET /", &["Host: localhost"]).0, 200);
    Page::open(&dashboard).next("run");
    // The last one is not pushed out by others; it is cut off for taking nothing.
    std::thread::sleep(Duration::from_secs(3));
    let mut taken = Vec::new();
    let ended = held.pop().unwrap().read_to_end(&mut taken);
    assert!(ended.is_err() || taken.len() < 4 << 20, "{} bytes", taken.len());
}

#[test]
fn too_many_pages_are_told_so_and_the_rest_go_on() {
    let folder = folder();
    let log = begin(folder.path(), 1);
    let dashboard = serve(folder.path(), None, None);
    let mut pages: Vec<_> = (0..MOST_STREAMS_OF_ONE).map(|_| Page::open(&dashboard)).collect();
    pages.iter_mut().for_each(|page| drop(page.next("run")));
    let (status, answer) = ask(&dashboard, "GET /events", &["Host: localhost"]);
    assert_eq!(status, 503);
    assert!(answer.contains("from this address; close one"), "{answer}");
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
