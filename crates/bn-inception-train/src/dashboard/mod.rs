//! The dashboard: what `run.jsonl` says, as a page that moves.
//!
//! A thread reads the logs of one or more runs into bounded memory (curves are down-sampled, of pictures the
//! newest are kept), another one serves a page and sends open pages what is new as server-sent events. Training knows
//! nothing of it: it writes its log, and this reads it, in the same process or in another.
//!
//! ```no_run
//! use bn_inception_train::dashboard::{Dashboard, DashboardConfig};
//!
//! let dashboard = Dashboard::open(DashboardConfig {
//!     runs: vec!["runs".into()],
//!     ..DashboardConfig::default()
//! })?;
//! println!("{}", dashboard.url());
//! dashboard.wait();
//! # Ok::<(), bn_inception_train::dashboard::DashboardError>(())
//! ```

mod access;
mod error;
mod export;
mod page;
mod runs;
mod series;
mod server;
mod stream;
#[cfg(test)]
mod tests;
mod track;
mod view;

use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use tokio::runtime::Builder;
use tokio::sync::{Semaphore, watch};

use crate::interrupt::StopSignal;
use access::Access;
use runs::Follower;
use server::{MOST_STREAMS, Site};

pub use error::DashboardError;
pub use export::export;

/// Where a dashboard listens unless it is told otherwise.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:8015";

/// Fewest characters of a token.
const SHORTEST_TOKEN: usize = 12;

/// What to show, where and to whom.
#[derive(Debug, Clone, Default)]
pub struct DashboardConfig {
    /// Run folders, and folders of run folders; new ones in the latter appear by themselves.
    pub runs: Vec<PathBuf>,
    /// `HOST:PORT`. `None` is [`DEFAULT_ADDRESS`], or any free port if that is taken.
    pub listen: Option<String>,
    /// What browsers must know. Needed where other machines can reach the address, and for the stop button.
    pub token: Option<String>,
    /// Stops the run of this process. Its folder is the one in `runs`, and its log may be yet to come.
    pub stop: Option<StopSignal>,
}

/// A dashboard that is being served. Dropping it sends pages what is left and ends it.
#[derive(Debug)]
pub struct Dashboard {
    address: SocketAddr,
    token: Option<String>,
    /// Tells the reading thread to come to its end.
    drained: Arc<AtomicBool>,
    /// Tells the serving thread that there is no more to send.
    closing: watch::Sender<bool>,
    reader: Option<JoinHandle<()>>,
    server: Option<JoinHandle<()>>,
}

impl Dashboard {
    /// Starts reading and serving, on threads of their own.
    ///
    /// # Errors
    /// [`DashboardError`]; afterwards nothing fails any more.
    pub fn open(config: DashboardConfig) -> Result<Self, DashboardError> {
        if let Some(token) = &config.token {
            check_token(token)?;
        }
        let follower = match config.stop {
            Some(_) => Follower::new(config.runs),
            None => Follower::of_existing(config.runs)?,
        };
        let listener = listen(config.listen.as_deref(), config.token.is_some())?;
        let address = listener.local_addr().map_err(DashboardError::Start)?;
        let (closing, closed) = watch::channel(false);
        let site = Arc::new(Site {
            access: Access {
                names: host_of(config.listen.as_deref()).into_iter().collect(),
                bound: address.ip(),
                token: config.token.clone(),
            },
            runs: follower.runs(),
            stop: config.stop,
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
            closing: closed,
        });
        let drained = Arc::new(AtomicBool::new(false));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(DashboardError::Start)?;
        let server = thread::Builder::new().name("dashboard".to_owned());
        let server = server.spawn(move || {
            runtime.block_on(async {
                if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                    server::serve(listener, site).await;
                }
            });
        });
        let reader = thread::Builder::new().name("dashboard-log".to_owned());
        let reading = drained.clone();
        let reader = reader.spawn(move || follower.follow(&reading));
        Ok(Self {
            address,
            token: config.token,
            drained,
            closing,
            reader: Some(reader.map_err(DashboardError::Start)?),
            server: Some(server.map_err(DashboardError::Start)?),
        })
    }

    /// The address to open in a browser. The token, if there is one, stands behind a `#`: browsers keep that part to
    /// themselves.
    #[must_use]
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address.is_ipv4() {
                true => std::net::Ipv4Addr::LOCALHOST.into(),
                false => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        match &self.token {
            Some(token) => format!("http://{address}/#token={token}"),
            None => format!("http://{address}/"),
        }
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        if let Some(server) = self.server.take() {
            // It ends by a panic only, which it has reported.
            let _ = server.join();
        }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.drained.store(true, Ordering::Release);
        if let Some(reader) = self.reader.take() {
            reader.thread().unpark();
            let _ = reader.join();
        }
        self.closing.send_replace(true);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// The name before the port of an address, if it is one.
fn host_of(listen: Option<&str>) -> Option<String> {
    let (host, _) = listen?.rsplit_once(':')?;
    Some(host.to_ascii_lowercase())
}

fn listen(address: Option<&str>, has_token: bool) -> Result<TcpListener, DashboardError> {
    let text = address.unwrap_or(DEFAULT_ADDRESS);
    let refused = |reason: String| DashboardError::Address {
        address: text.to_owned(),
        reason,
    };
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| refused(error.to_string()))?;
    let resolved = found
        .next()
        .ok_or_else(|| refused("no address of that name".to_owned()))?;
    if !resolved.ip().is_loopback() && !has_token {
        return Err(DashboardError::NeedsToken {
            address: text.to_owned(),
        });
    }
    let mut bound = TcpListener::bind(resolved);
    if bound.is_err() && address.is_none() {
        bound = TcpListener::bind(SocketAddr::new(resolved.ip(), 0));
    }
    let listener = bound.and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|source| DashboardError::Bind {
        address: text.to_owned(),
        source,
    })
}

/// A token goes into an address and a header as it is, and must not be guessed.
fn check_token(token: &str) -> Result<(), DashboardError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let length = token.chars().count();
    if (SHORTEST_TOKEN..=128).contains(&length) && token.bytes().all(plain) {
        return Ok(());
    }
    Err(DashboardError::Token {
        least: SHORTEST_TOKEN,
        found: length,
    })
}
