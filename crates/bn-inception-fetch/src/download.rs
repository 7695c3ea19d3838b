//! A file over HTTP: retried, verified, in memory.

use std::io::{self, Read as _};
use std::thread;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{StatusCode, header};

use crate::error::FetchProblem;
use crate::event::FetchEvent;
use crate::source::{LARGEST_FILE, Source};

/// Number of times a file is asked for before giving up.
pub(crate) const ATTEMPTS: u32 = 4;

/// Bytes that are read and reported at a time.
const CHUNK: u64 = 1 << 16;

/// Time limits and pauses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// Limit for a connection with its TLS handshake.
    pub(crate) connect: Duration,
    /// Limit for the next bytes of an answer.
    pub(crate) silence: Duration,
    /// Pause before the second attempt; twice as long before each further one.
    pub(crate) pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { connect: Duration::from_secs(15), silence: Duration::from_secs(30), pause: Duration::from_millis(500) }
    }
}

/// The published file. An interrupted download starts anew, a few times.
pub(crate) fn download(source: &Source, timing: Timing, report: &dyn Fn(&FetchEvent)) -> Result<Vec<u8>, FetchProblem> {
    let mut pause = timing.pause;
    for _ in 1..ATTEMPTS {
        match attempt(source, timing, report) {
            Err(problem) if is_passing(&problem) => {
                report(&FetchEvent::Retrying { problem: problem.to_string(), after: pause })
            }
            done => return done,
        }
        thread::sleep(pause);
        pause *= 2;
    }
    attempt(source, timing, report)
}

/// True if another attempt may succeed.
fn is_passing(problem: &FetchProblem) -> bool {
    match problem {
        FetchProblem::Status(status) => matches!(status, 408 | 425 | 429 | 500 | 502..=504),
        FetchProblem::Short { .. } => true,
        FetchProblem::Transport(error) => !matches!(
            error.downcast_ref(),
            Some(ureq::Error::TooManyRedirects | ureq::Error::Tls(_) | ureq::Error::Rustls(_))
        ),
        _ => false,
    }
}

/// Asks for the file once.
fn attempt(source: &Source, timing: Timing, report: &dyn Fn(&FetchEvent)) -> Result<Vec<u8>, FetchProblem> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("bn-inception/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(timing.connect))
        .timeout_resolve(Some(timing.connect))
        .timeout_per_read(Some(timing.silence))
        .timeout_per_write(Some(timing.silence))
        .build()
        .into();
    // A compressed answer does not have the published length.
    let request = agent.get(&source.url).header(header::ACCEPT_ENCODING, "identity");
    let response = request.call().map_err(|error| FetchProblem::Transport(error.into()))?;
    if response.status() != StatusCode::OK {
        return Err(FetchProblem::Status(response.status().as_u16()));
    }
    let mut body = response.into_body();
    let total = body.content_length();
    if let Some(total) = total {
        source.check_size(total).map_err(FetchProblem::Wrong)?;
    }
    let expected = total.or(source.size);
    let mut content = Vec::with_capacity(expected.unwrap_or_default() as usize);
    let mut body = body.as_reader();
    loop {
        let received = content.len() as u64;
        report(&FetchEvent::Progress { received, total });
        match body.by_ref().take(CHUNK).read_to_end(&mut content) {
            Ok(0) => break,
            // One chunk too many shows that the body is too long.
            Ok(_) if content.len() as u64 > expected.unwrap_or(LARGEST_FILE) => break,
            Ok(_) => {}
            // The number of missing bytes is reported below.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && expected.is_some() => {
                break;
            }
            Err(error) => return Err(FetchProblem::Transport(error.into())),
        }
    }
    let received = content.len() as u64;
    match expected {
        Some(expected) if received < expected => Err(FetchProblem::Short { received, expected }),
        _ => match source.check(&content) {
            Ok(()) => Ok(content),
            Err(mismatch) => Err(FetchProblem::Wrong(mismatch)),
        },
    }
}
