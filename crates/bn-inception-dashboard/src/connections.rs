//! The open connections, bounded in all and for each client.

use std::net::IpAddr;

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
