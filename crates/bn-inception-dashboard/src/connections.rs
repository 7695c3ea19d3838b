//! The open connections, bounded in all and for each client.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::{AbortHandle, JoinSet};

/// Maximum number of connections, low enough to leave a training process its file descriptors.
const MOST: usize = 256;

/// Maximum number of connections of one address. An SSH tunnel brings everybody from the same one.
const MOST_OF_ONE: usize = 128;

/// The tasks that serve connections, oldest first. At a bound the newest client gets in, at the expense of the oldest
/// connection of its own address or of the one with most of them: a page that is cut off comes back, a client that
/// holds connections without reading does not.
#[derive(Default)]
pub struct Connections {
    tasks: JoinSet<()>,
    open: Vec<(IpAddr, AbortHandle)>,
}

impl Connections {
    /// True if none is being served.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Serves a connection from `client`.
    pub fn spawn(&mut self, client: IpAddr, serve: impl Future<Output = ()> + Send + 'static) {
        let client = client.to_canonical();
        self.open.retain(|(_, task)| !task.is_finished());
        if self.count(client) >= MOST_OF_ONE {
            self.cut_oldest(client);
        } else if self.open.len() >= MOST
            && let Some(most) = self.open.iter().map(|(address, _)| *address).max_by_key(|address| self.count(*address))
        {
            self.cut_oldest(most);
        }
        self.open.push((client, self.tasks.spawn(serve)));
    }

    fn count(&self, client: IpAddr) -> usize {
        self.open.iter().filter(|(address, _)| *address == client).count()
    }

    fn cut_oldest(&mut self, client: IpAddr) {
        if let Some(oldest) = self.open.iter().position(|(address, _)| *address == client) {
            self.open.remove(oldest).1.abort();
        }
    }

    /// Waits until a connection ends.
    pub async fn reap(&mut self) {
        let _ = self.tasks.join_next().await;
    }

    /// Waits until all have ended.
    pub async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Maximum number of event streams; each is an open page.
pub const MOST_STREAMS: usize = 64;

/// Maximum number of event streams of one address.
pub const MOST_STREAMS_OF_ONE: usize = 32;

/// The clients of the open event streams.
#[derive(Debug, Clone, Default)]
pub struct Streams(Arc<Mutex<Vec<IpAddr>>>);

impl Streams {
    /// Makes room for another stream of `client`.
    ///
    /// # Errors
    /// The bound that is reached, and whether it is that of the address.
    pub fn admit(&self, client: IpAddr) -> Result<Permit, (usize, bool)> {
        let client = client.to_canonical();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.iter().filter(|address| **address == client).count() >= MOST_STREAMS_OF_ONE {
            return Err((MOST_STREAMS_OF_ONE, true));
        }
        if open.len() >= MOST_STREAMS {
            return Err((MOST_STREAMS, false));
        }
        open.push(client);
        Ok(Permit { streams: self.clone(), client })
    }
}

/// The right to an event stream, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    streams: Streams,
    client: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = open.iter().position(|address| *address == self.client) {
            open.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_room_for_another() {
        let streams = Streams::default();
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let mut first: Vec<_> = (0..MOST_STREAMS_OF_ONE).map(|_| streams.admit(address(1)).unwrap()).collect();
        assert_eq!(streams.admit(address(1)).unwrap_err(), (MOST_STREAMS_OF_ONE, true));
        // The same address, written as one of IPv6.
        assert!(streams.admit("::ffff:10.0.0.1".parse().unwrap()).is_err());
        let second: Vec<_> = (0..MOST_STREAMS_OF_ONE).map(|_| streams.admit(address(2)).unwrap()).collect();
        assert_eq!(streams.admit(address(3)).unwrap_err(), (MOST_STREAMS, false));
        first.pop();
        assert!(streams.admit(address(3)).is_ok());
        drop(second);
        assert!(streams.admit(address(1)).is_ok());
    }
}
