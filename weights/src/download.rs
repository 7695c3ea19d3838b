//! One file over HTTP: resumed, retried, verified, and only then given its name.
//!
//! Beside `FILE` there may lie `FILE.part`, what has arrived so far; `FILE.validator`, what the server said to tell
//! versions of the file apart; and `FILE.lock`, which the process that downloads holds.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, Response, StatusCode, header};

use crate::error::{FetchProblem, Mismatch};
use crate::registry::Entry;
use crate::store::{Event, LARGEST_FILE, check_size, io_at, verify};

/// How often a file is asked for before giving up.
const ATTEMPTS: u32 = 4;

/// Bytes that are read, written and reported at a time.
const CHUNK: usize = 1 << 16;

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// For a connection, with its TLS handshake.
    pub(crate) connect: Duration,
    /// For the next bytes of an answer.
    pub(crate) silence: Duration,
    /// Before the second attempt; twice as long before each further one.
    pub(crate) pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            silence: Duration::from_secs(30),
            pause: Duration::from_millis(500),
        }
    }
}

/// Downloads `url` to `path`, which exists and holds the published file afterwards. Any number of processes may do
/// this at once: one downloads, the others wait for it.
pub(crate) fn download(
    entry: &Entry,
    url: &str,
    path: &Path,
    timing: Timing,
    report: &dyn Fn(&Event),
) -> Result<(), FetchProblem> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io_at(folder))?;
    }
    let _lock = lock(&beside(path, "lock"), report)?;
    // Whoever held the lock before may have brought the file.
    if path.exists() {
        return Ok(());
    }
    let partial = Partial::of(path);
    let mut pause = timing.pause;
    for attempt in 1.. {
        let resumed = partial.length() > 0;
        match attempt_once(entry, url, &partial, timing, report) {
            Ok(()) => break,
            Err(problem) if attempt < ATTEMPTS && is_passing(&problem, resumed) => {
                report(&Event::Retrying {
                    problem: problem.to_string(),
                    after: pause,
                });
                thread::sleep(pause);
                pause *= 2;
            }
            Err(problem) => return Err(problem),
        }
    }
    partial.finish(path)
}

/// Whether trying again may help.
fn is_passing(problem: &FetchProblem, resumed: bool) -> bool {
    match problem {
        FetchProblem::Status(status) => matches!(status, 408 | 425 | 429 | 500 | 502..=504),
        FetchProblem::Short { .. } => true,
        FetchProblem::Transport(error) => !matches!(
            error.downcast_ref(),
            Some(ureq::Error::TooManyRedirects | ureq::Error::Tls(_) | ureq::Error::Rustls(_))
        ),
        // A file put together from two answers may be wrong where each answer was right.
        FetchProblem::Range | FetchProblem::Wrong(_) => resumed,
        _ => false,
    }
}

/// Holds until dropped. Waits while another process holds it.
fn lock(path: &Path, report: &dyn Fn(&Event)) -> Result<File, FetchProblem> {
    let mut options = OpenOptions::new();
    let open = options.write(true).create(true).truncate(false).open(path);
    let file = open.map_err(io_at(path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => report(&Event::Waiting),
        Err(TryLockError::Error(error)) => return Err(io_at(path)(error)),
    }
    file.lock().map_err(io_at(path))?;
    Ok(file)
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// What has arrived so far.
struct Partial {
    path: PathBuf,
    validator: PathBuf,
}

impl Partial {
    fn of(path: &Path) -> Self {
        Self {
            path: beside(path, "part"),
            validator: beside(path, "validator"),
        }
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// What the server said to tell versions of the file apart.
    fn validator(&self) -> Option<String> {
        let text = fs::read_to_string(&self.validator).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// Starts a new file, from an answer with these headers.
    fn restart(&self, headers: &HeaderMap) -> Result<File, FetchProblem> {
        // In this order no part is ever taken for one of another version.
        let file = File::create(&self.path).map_err(io_at(&self.path))?;
        let validator = validator(headers).unwrap_or_default();
        fs::write(&self.validator, validator).map_err(io_at(&self.validator))?;
        Ok(file)
    }

    fn discard(&self) -> Result<(), FetchProblem> {
        for path in [&self.path, &self.validator] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_at(path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives the verified file its name, all or nothing.
    fn finish(&self, path: &Path) -> Result<(), FetchProblem> {
        let file = File::open(&self.path).map_err(io_at(&self.path))?;
        file.sync_all().map_err(io_at(&self.path))?;
        fs::rename(&self.path, path).map_err(io_at(path))?;
        self.discard()
    }
}

/// What `If-Range` may hold: a strong entity tag, else the date of the last change (RFC 9110, section 13.1.5).
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let strong = text(header::ETAG).filter(|tag| tag.starts_with('"'));
    strong.or(text(header::LAST_MODIFIED)).map(str::to_owned)
}

/// Asks for the file, or for what is missing of it, once. Afterwards the partial file is whole and verified.
fn attempt_once(
    entry: &Entry,
    url: &str,
    partial: &Partial,
    timing: Timing,
    report: &dyn Fn(&Event),
) -> Result<(), FetchProblem> {
    let have = partial.length();
    // A process may have died between the last byte and the new name.
    if have > 0 && verify(entry, &partial.path)?.is_ok() {
        return Ok(());
    }
    let resume = partial.validator().filter(|_| have > 0);
    let mut response = ask(url, have, resume.as_deref(), timing)?;
    let body = Body::of(&response, if resume.is_some() { have } else { 0 });
    let body = match body {
        Ok(body) => body,
        Err(problem) => {
            // Whatever is there does not lead to the whole file.
            if matches!(problem, FetchProblem::Range) {
                partial.discard()?;
            }
            return Err(problem);
        }
    };
    if let Some(total) = body.total
        && let Err(mismatch) = check_size(entry, total)
    {
        partial.discard()?;
        return Err(FetchProblem::Wrong(mismatch));
    }
    let mut file = match body.start {
        0 => partial.restart(response.headers())?,
        _ => OpenOptions::new()
            .append(true)
            .open(&partial.path)
            .map_err(io_at(&partial.path))?,
    };
    let arrived = receive(&body, response.body_mut().as_reader(), &mut file, report);
    let arrived = arrived.map_err(|problem| match problem {
        Interruption::Disk(error) => io_at(&partial.path)(error),
        Interruption::Network(error) => FetchProblem::Transport(error.into()),
    })?;
    match body.total {
        Some(expected) if arrived < expected => {
            return Err(FetchProblem::Short {
                received: arrived,
                expected,
            });
        }
        _ => {}
    }
    if let Err(mismatch) = verify(entry, &partial.path)? {
        // Without an announced length a broken connection looks like the end.
        let short = matches!(mismatch, Mismatch::Size { found, expected } if found < expected);
        if short && body.total.is_none() {
            return Err(FetchProblem::Short {
                received: arrived,
                expected: entry.size.unwrap_or_default(),
            });
        }
        partial.discard()?;
        return Err(FetchProblem::Wrong(mismatch));
    }
    Ok(())
}

fn ask(
    url: &str,
    have: u64,
    resume: Option<&str>,
    timing: Timing,
) -> Result<Response<ureq::Body>, FetchProblem> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("bn-inception/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(timing.connect))
        .timeout_resolve(Some(timing.connect))
        .timeout_per_read(Some(timing.silence))
        .timeout_per_write(Some(timing.silence))
        .build()
        .into();
    // A compressed answer has neither the published length nor ranges of the published file.
    let mut request = agent.get(url).header(header::ACCEPT_ENCODING, "identity");
    if let Some(validator) = resume {
        request = request
            .header(header::RANGE, format!("bytes={have}-"))
            .header(header::IF_RANGE, validator);
    }
    request
        .call()
        .map_err(|error| FetchProblem::Transport(error.into()))
}

/// What an answer holds.
#[derive(Debug, PartialEq)]
struct Body {
    /// Position of its first byte in the file.
    start: u64,
    /// Length of the file, if the server says so.
    total: Option<u64>,
}

impl Body {
    /// Understands an answer to a request for everything from byte `have` on.
    fn of<T>(response: &Response<T>, have: u64) -> Result<Self, FetchProblem> {
        let text = |name| response.headers().get(name)?.to_str().ok();
        match response.status() {
            // Also the answer of a server that knows no ranges, or has another version by now.
            StatusCode::OK => Ok(Body {
                start: 0,
                total: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            }),
            StatusCode::PARTIAL_CONTENT if have > 0 => {
                let range = text(header::CONTENT_RANGE).and_then(content_range);
                match range {
                    Some((start, total)) if start == have => Ok(Body { start, total }),
                    _ => Err(FetchProblem::Range),
                }
            }
            StatusCode::PARTIAL_CONTENT => Err(FetchProblem::Range),
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => Err(FetchProblem::Range),
            status => Err(FetchProblem::Status(status.as_u16())),
        }
    }
}

/// First byte and length of the whole from `bytes FIRST-LAST/LENGTH` (RFC 9110, section 14.4).
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, length) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    let length = match length {
        "*" => None,
        digits => Some(digits.parse().ok()?),
    };
    Some((first.parse().ok()?, length))
}

/// Which side failed.
#[derive(Debug)]
enum Interruption {
    Disk(io::Error),
    Network(io::Error),
}

/// Copies an answer to the file until its end; returns the length of the file.
fn receive(
    body: &Body,
    mut from: impl Read,
    mut to: impl Write,
    report: &dyn Fn(&Event),
) -> Result<u64, Interruption> {
    let (mut received, total) = (body.start, body.total);
    let mut buffer = vec![0; CHUNK];
    loop {
        report(&Event::Progress { received, total });
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(received),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The caller says how much is missing.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && total.is_some() => {
                return Ok(received);
            }
            Err(error) => return Err(Interruption::Network(error)),
        };
        to.write_all(&buffer[..n]).map_err(Interruption::Disk)?;
        received += n as u64;
        if received > total.unwrap_or(LARGEST_FILE) {
            return Ok(received);
        }
    }
}

#[cfg(test)]
mod tests;
