//! The dashboard: a thread that reads the logs, and one that serves the page.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::runtime::Builder;
use tokio::sync::{Semaphore, watch};

use crate::access::Access;
use crate::connections::Streams;
use crate::error::DashboardError;
use crate::runs::Follower;
use crate::server::{self, Site, StopAction};

/// Default address.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:8015";

/// Minimum number of characters of a token.
const SHORTEST_TOKEN: usize = 12;

/// Configuration of a dashboard: which runs it shows, at which address and to whom.
#[derive(Default)]
pub struct DashboardConfig {
    /// Run folders, and folders of run folders, in which new runs appear by themselves.
    pub runs: Vec<PathBuf>,
    /// Address as `HOST:PORT`. `None` is [`DEFAULT_ADDRESS`], or any free port if that is taken.
    pub listen: Option<String>,
    /// Secret that browsers must know, of 12 to 128 letters, digits and `-._~`. Needed where other machines can reach
    /// the address, and for the stop button.
    pub token: Option<String>,
    /// Action of the stop button, for a process that trains the run it shows; its log need not exist yet. `None` shows
    /// no button.
    pub on_stop: Option<StopAction>,
}

/// A dashboard that is being served. Dropping it sends open pages the rest of the logs and ends it.
#[derive(Debug)]
pub struct Dashboard {
    address: SocketAddr,
    token: Option<String>,
    /// Asks the reading thread to finish.
    drained: Arc<AtomicBool>,
    /// Tells the serving thread that everything was read.
    closing: watch::Sender<bool>,
    reader: Option<JoinHandle<()>>,
    server: Option<JoinHandle<()>>,
}

impl Dashboard {
    /// Starts reading and serving, on threads of their own.
    ///
    /// # Errors
    /// [`DashboardError`] if a folder has no run, the token is too weak, or the address cannot be bound.
    pub fn open(config: DashboardConfig) -> Result<Self, DashboardError> {
        if let Some(token) = &config.token {
            check_token(token)?;
        }
        let follower =
            if config.on_stop.is_some() { Follower::new(config.runs) } else { Follower::of_existing(config.runs)? };
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
            on_stop: config.on_stop,
            streams: Streams::default(),
            readers: Semaphore::new(1),
            session: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64),
            closing: closed,
        });
        let drained = Arc::new(AtomicBool::new(false));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(DashboardError::Start)?;
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

    /// Address to open in a browser. A token follows a `#`, the part that browsers do not send.
    #[must_use]
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        match &self.token {
            Some(token) => format!("http://{address}/#token={token}"),
            None => format!("http://{address}/"),
        }
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        if let Some(server) = self.server.take() {
            // It ends only by a panic, which is on standard error already.
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

/// The host of `HOST:PORT`, in lower case.
fn host_of(listen: Option<&str>) -> Option<String> {
    let (host, _) = listen?.rsplit_once(':')?;
    Some(host.to_ascii_lowercase())
}

fn listen(address: Option<&str>, has_token: bool) -> Result<TcpListener, DashboardError> {
    let text = address.unwrap_or(DEFAULT_ADDRESS);
    let refused = |reason: String| DashboardError::Address { address: text.to_owned(), reason };
    let mut found = text.to_socket_addrs().map_err(|error| refused(error.to_string()))?;
    let resolved = found.next().ok_or_else(|| refused("no address of that name".to_owned()))?;
    if !resolved.ip().is_loopback() && !has_token {
        return Err(DashboardError::NeedsToken { address: text.to_owned() });
    }
    let mut bound = TcpListener::bind(resolved);
    if bound.is_err() && address.is_none() {
        bound = TcpListener::bind(SocketAddr::new(resolved.ip(), 0));
    }
    let listener = bound.and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|source| DashboardError::Bind { address: text.to_owned(), source })
}

/// A token goes into an address and a header verbatim, and must not be guessed.
fn check_token(token: &str) -> Result<(), DashboardError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let length = token.chars().count();
    if (SHORTEST_TOKEN..=128).contains(&length) && token.bytes().all(plain) {
        return Ok(());
    }
    Err(DashboardError::Token { least: SHORTEST_TOKEN, found: length })
}
