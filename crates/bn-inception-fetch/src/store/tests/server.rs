//! A server that answers as it is told, and a client with a cache of its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

use crate::checksum::Checksum;
use crate::download::Timing;
use crate::event::FetchEvent;
use crate::source::Source;
use crate::store::Store;

/// The published file.
pub(super) fn content() -> Vec<u8> {
    (0..300_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect()
}

/// Answers one connection each, in order, then refuses.
pub(super) struct Server {
    pub(super) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

pub(super) type Answer = Box<dyn FnOnce(&str, &mut TcpStream) + Send>;

impl Server {
    pub(super) fn new(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let thread = thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = String::new();
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                while lines.read_line(&mut request).unwrap_or(0) > 2 {}
                if request.is_empty() {
                    return;
                }
                seen.lock().unwrap().push(request.to_lowercase());
                answer(&request, &mut stream);
            }
        });
        Self { url: format!("http://{address}/file.bin"), requests, thread: Some(thread), address }
    }

    /// The requests so far, in lower case.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes a server that still waits for a request.
        drop(TcpStream::connect(self.address));
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking());
    }
}

pub(super) fn send(stream: &mut TcpStream, head: &str, body: &[u8]) {
    // The client may hang up at any time.
    let _ = write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(body);
}

/// The whole file, as it should be.
pub(super) fn whole() -> Answer {
    says("200 OK\r\nETag: \"v1\"\r\nContent-Length: 300000", content())
}

pub(super) fn says(head: &'static str, body: impl Into<Vec<u8>>) -> Answer {
    let body = body.into();
    Box::new(move |_, stream| send(stream, head, &body))
}

/// The first half of the file under the headers of the whole.
pub(super) fn half() -> Answer {
    let half = content()[..150_000].to_vec();
    says("200 OK\r\nETag: \"v1\"\r\nContent-Length: 300000", half)
}

pub(super) struct Client {
    pub(super) folder: TempDir,
    pub(super) source: Source,
    pub(super) events: Arc<Mutex<Vec<FetchEvent>>>,
}

impl Client {
    pub(super) fn of(server: &Server) -> Self {
        let digits = Checksum::Sha256(String::new()).of(&content());
        Self {
            folder: TempDir::new().unwrap(),
            source: Source {
                url: server.url.clone(),
                file: "file.bin".to_owned(),
                size: Some(300_000),
                checksum: Checksum::Sha256(digits),
            },
            events: Arc::default(),
        }
    }

    /// The published length is not known.
    pub(super) fn unsized_source(mut self) -> Self {
        self.source.size = None;
        self
    }

    pub(super) fn store(&self) -> Store {
        let events = Arc::clone(&self.events);
        let store = Store::at(self.folder.path().join("cache"))
            .on_event(move |event| events.lock().unwrap().push(event.clone()));
        Store {
            timing: Timing {
                connect: Duration::from_secs(5),
                silence: Duration::from_millis(300),
                pause: Duration::from_millis(1),
            },
            ..store
        }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("cache").join(name)
    }

    pub(super) fn succeeds(&self) {
        assert_eq!(self.store().bytes(&self.source).unwrap().len(), 300_000);
        assert_eq!(fs::read(self.file("file.bin")).unwrap(), content());
        assert_eq!(self.left(), ["file.bin", "file.bin.lock"]);
    }

    /// The error must be one line, hold `parts` and leave nothing of the file behind.
    pub(super) fn fails(&self, parts: &[&str]) {
        let error = self.store().bytes(&self.source).unwrap_err();
        let text = error.to_string();
        assert_eq!(text.lines().count(), 1, "{text}");
        let place = self.file("file.bin").display().to_string();
        let url = self.source.url.clone();
        let checksum = self.source.checksum.to_string();
        for part in parts.iter().chain(&[place.as_str(), &url, &checksum]) {
            assert!(text.contains(part), "`{text}` does not say `{part}`");
        }
        assert_eq!(self.left(), ["file.bin.lock"]);
    }

    /// Names of the files in the cache, sorted.
    pub(super) fn left(&self) -> Vec<String> {
        let files = fs::read_dir(self.file("")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    pub(super) fn retries(&self) -> usize {
        let events = self.events.lock().unwrap();
        let retries = events.iter().filter(|e| matches!(e, FetchEvent::Retrying { .. }));
        retries.count()
    }
}
