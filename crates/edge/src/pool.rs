//! Connections to one target that are used again.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;

use crate::stream::{Forgiving, FromClient};
use crate::workers::PerWorker;

/// Connections that a worker keeps for later.
const IDLE_MAX: usize = 512;
/// How long one is kept: below what servers usually wait, so that it is not closed while a request is
/// on its way.
const IDLE: Duration = Duration::from_secs(4);

/// Bytes that the system may hold of what a target has sent. By itself it takes megabytes for each, in which
/// a server that drops slow readers would not see for long that one does not read.
const RECEIVE: u32 = 256 << 10;

/// The body of a request to a target: what the client sends; or, when it is sent again, what is known of it.
pub(crate) type Outgoing = Either<FromClient, Full<Bytes>>;
pub(crate) type Sender = SendRequest<Outgoing>;
/// An idle connection, and since when it is.
type Kept = (Sender, Instant);

/// Idle connections to one target.
#[derive(Debug)]
pub(crate) struct Pool {
    address: SocketAddr,
    /// One of each worker: its connections are served by its own event loop.
    idle: PerWorker<Mutex<Vec<Kept>>>,
}

impl Pool {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            idle: PerWorker::default(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Kept>> {
        let mine = self.idle.here().lock();
        mine.unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last, if it still stands.
    pub fn take(&self) -> Option<Sender> {
        let mut idle = self.idle();
        while let Some((sender, since)) = idle.pop() {
            if since.elapsed() >= IDLE {
                // Those below are older.
                idle.clear();
                return None;
            }
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub fn put(&self, sender: Sender) {
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX && sender.is_ready() {
            idle.push((sender, Instant::now()));
        }
    }

    /// A new connection.
    pub async fn connect(&self, patience: Duration) -> io::Result<Sender> {
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_recv_buffer_size(RECEIVE)?;
        let connected = tokio::time::timeout(patience, socket.connect(self.address)).await;
        let stream = connected.map_err(|_| late())??;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(Forgiving::new(stream)))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to a target ended");
            }
        });
        Ok(sender)
    }
}
