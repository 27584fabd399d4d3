//! The edge itself: its listeners and its operators' socket, and an orderly end.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ::http::HeaderValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::admin;
use crate::config::{Config, Listener, Protocol};
use crate::handover::{self, Sockets};
use crate::headers::{Peer, Vouched};
use crate::http::{self, Speaks};
use crate::proxy::Front;
use crate::table::{Table, TableError};
use crate::tcp;
use crate::tls::{self, Tls};
use crate::workers::Workers;

/// Connections of one edge.
const CONNECTIONS_MAX: usize = 50_000;
/// How long accepting pauses when the process has no more files.
const BREATH: Duration = Duration::from_millis(20);

/// Why an edge does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// A listener can't be made.
    #[error("listener {name:?}: listen on {address}")]
    Listen {
        /// The listener.
        name: String,
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The operators' socket can't be made.
    #[error("operators' socket {}", path.display())]
    Admin {
        /// Its path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What was kept of the last run can't be read or used.
    #[error("what the last run left in {}: {detail}", path.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// Why not.
        detail: String,
    },
    /// Keys, certificates, trust stores or the connection log can't be used.
    #[error("{place}: {what}")]
    Tls {
        /// The listener, the store or the log.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The threads that serve connections can't be started.
    #[error("start the threads that serve connections")]
    Workers(#[source] io::Error),
    /// The sockets of the edge that runs can't be had.
    #[error("take over from the edge that runs")]
    TakeOver(#[source] io::Error),
}

/// A running edge.
#[derive(Debug)]
pub struct Edge {
    shared: Arc<Shared>,
    stop: watch::Sender<Option<Instant>>,
    tasks: JoinSet<()>,
    /// Looks after files of TLS until the last connection has ended.
    care: JoinSet<()>,
    handed: mpsc::Receiver<()>,
    admin: PathBuf,
}

/// What its tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub table: Table,
    pub kept: PathBuf,
    pub sockets: Sockets,
    pub tls: Arc<Tls>,
    workers: Workers,
    open: AtomicUsize,
    /// The next connection's number. It begins at the time, so that an edge that was started again does
    /// not give numbers twice.
    connections: AtomicU64,
    /// One write of the kept weights at a time, in the order of the changes.
    pub keeping: tokio::sync::Mutex<()>,
}

impl Edge {
    /// Takes connections. With `take_over`, on the sockets of the edge that runs with the same admin
    /// socket, which then drains and ends. Must be called in a `tokio` runtime.
    ///
    /// # Errors
    /// [`EdgeError`]; nothing is changed then, and an edge that runs goes on.
    pub async fn start(config: &Config, take_over: bool) -> Result<Self, EdgeError> {
        Self::start_on(config, take_over, BTreeMap::new()).await
    }

    /// As [`Edge::start`], with listening sockets, by their listeners' names, that somebody has kept. One
    /// whose address is not the listener's is not used.
    ///
    /// # Errors
    /// [`EdgeError`], as there.
    pub async fn start_on(
        config: &Config,
        take_over: bool,
        mut inherited: BTreeMap<String, StdListener>,
    ) -> Result<Self, EdgeError> {
        let tls = Tls::new(config, &config.admin.with_extension("trust"))
            .map_err(|(place, what)| EdgeError::Tls { place, what })?;
        let mut predecessor = None;
        if take_over {
            let taken = handover::take(&config.admin).await;
            predecessor = Some(taken.map_err(EdgeError::TakeOver)?);
        }
        if let Some(predecessor) = &mut predecessor {
            inherited.append(&mut predecessor.listeners);
        }
        let mut listeners = BTreeMap::new();
        for listener in &config.listeners {
            let socket = match inherited.remove(&listener.name) {
                // One that moved to another address is a new one.
                Some(socket) if socket.local_addr().is_ok_and(|at| at == listener.address) => {
                    socket
                }
                _ => StdListener::bind(listener.address).map_err(|source| EdgeError::Listen {
                    name: listener.name.clone(),
                    address: listener.address,
                    source,
                })?,
            };
            let listen = |source| EdgeError::Listen {
                name: listener.name.clone(),
                address: listener.address,
                source,
            };
            socket.set_nonblocking(true).map_err(listen)?;
            listeners.insert(listener.name.clone(), socket);
        }
        let table = Table::new(config);
        let kept = config.admin.with_extension("weights.json");
        admin::restore(&table, &kept).map_err(|detail| EdgeError::Kept {
            path: kept.clone(),
            detail,
        })?;
        let duplicates: io::Result<BTreeMap<String, StdListener>> = listeners
            .iter()
            .map(|(name, socket)| Ok((name.clone(), socket.try_clone()?)))
            .collect();
        let shared = Arc::new(Shared {
            table,
            kept,
            sockets: Sockets::new(duplicates.map_err(EdgeError::TakeOver)?),
            tls: Arc::new(tls),
            workers: Workers::start().map_err(EdgeError::Workers)?,
            open: AtomicUsize::new(0),
            connections: AtomicU64::new(tls::now_ms() << 20),
            keeping: tokio::sync::Mutex::new(()),
        });
        let (stop, stopped) = watch::channel(None);
        let (tell, handed) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        let admin_error = |source| EdgeError::Admin {
            path: config.admin.clone(),
            source,
        };
        let admin_socket = admin::bind(&config.admin).map_err(admin_error)?;
        let handover_socket = admin::bind(&handover::path(&config.admin)).map_err(admin_error)?;
        for listener in &config.listeners {
            let socket = listeners
                .remove(&listener.name)
                .expect("invariant: it was made");
            let socket = TcpListener::from_std(socket).map_err(|source| EdgeError::Listen {
                name: listener.name.clone(),
                address: listener.address,
                source,
            })?;
            let service = shared.table.service(&listener.service);
            let front = Arc::new(Front {
                service: Arc::clone(service.expect("invariant: the configuration was checked")),
                group: listener.group.clone(),
                test: listener.test,
                group_header: listener.group_header,
            });
            tasks.spawn(listen(
                socket,
                Arc::new(listener.clone()),
                front,
                Arc::clone(&shared),
                stopped.clone(),
            ));
        }
        tasks.spawn(admin::serve(
            admin_socket,
            Arc::clone(&shared),
            stopped.clone(),
        ));
        let mut care = JoinSet::new();
        care.spawn(tls::look_after(Arc::clone(&shared.tls)));
        tasks.spawn(handover::serve(
            handover_socket,
            Arc::clone(&shared),
            tell,
            stopped,
        ));
        if let Some(predecessor) = predecessor {
            predecessor.release().await.map_err(EdgeError::TakeOver)?;
        }
        Ok(Self {
            shared,
            stop,
            tasks,
            care,
            handed,
            admin: config.admin.clone(),
        })
    }

    /// Its services.
    pub fn table(&self) -> &Table {
        &self.shared.table
    }

    /// Comes back when a next version has the sockets: it is time to [`Edge::stop`].
    pub async fn handed_over(&mut self) {
        if self.handed.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes no more connections and ends those that there are after their next answer, which says so.
    /// Idle ones are closed when three quarters of `patience` are over, not at once: a request may be on
    /// its way. Tunnels stay until their clients go. After `patience` the rest is cut; how much that was.
    pub async fn stop(self, patience: Duration) -> usize {
        self.end_by(patience * 3 / 4, patience).await
    }

    /// As [`Edge::stop`], and idle connections and tunnels are closed at once: nobody will serve their clients here.
    pub async fn end(self, patience: Duration) -> usize {
        self.shared.table.cut_tunnels();
        self.end_by(Duration::ZERO, patience).await
    }

    async fn end_by(mut self, idle: Duration, patience: Duration) -> usize {
        self.stop.send_replace(Some(Instant::now() + idle));
        let all = async {
            while self.tasks.join_next().await.is_some() {}
            // Upgraded connections are nobody's task any more.
            self.shared.table.idled().await;
        };
        let in_time = tokio::time::timeout(patience, all).await.is_ok();
        let under_way = self.shared.table.cut_tunnels();
        let cut = self.shared.open.load(Relaxed).max(under_way);
        if !in_time {
            self.tasks.shutdown().await;
        }
        self.care.shutdown().await;
        self.shared.sockets.close();
        cut
    }

    /// Removes the operators' socket; not after a handover, when it is the next version's.
    pub fn remove_sockets(admin: &Path) {
        for path in [admin.to_path_buf(), handover::path(admin)] {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Where operators reach it.
    pub fn admin(&self) -> &Path {
        &self.admin
    }
}

struct Slot(Arc<Shared>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// Comes back when the edge is to stop.
pub(crate) async fn told(stopped: &mut Stopped) {
    let _ = stopped.wait_for(Option::is_some).await;
}

/// Whether the edge is to stop, and then when its idle connections are to end.
pub(crate) type Stopped = watch::Receiver<Option<Instant>>;

/// Takes connections until the edge stops, then waits for those it has.
async fn listen(
    socket: TcpListener,
    listener: Arc<Listener>,
    front: Arc<Front>,
    shared: Arc<Shared>,
    mut stopped: Stopped,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = told(&mut stopped) => break,
            Some(_) = connections.join_next() => continue,
            accepted = socket.accept() => accepted,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !is_of_the_client(&error) {
                    tracing::warn!(listener = listener.name, %error, "no connection can be taken");
                    tokio::time::sleep(BREATH).await;
                }
                continue;
            }
        };
        if shared.open.fetch_add(1, Relaxed) >= CONNECTIONS_MAX {
            shared.open.fetch_sub(1, Relaxed);
            tracing::warn!(
                listener = listener.name,
                "too many connections; one is closed"
            );
            continue;
        }
        let slot = Slot(Arc::clone(&shared));
        // Its next bytes are another event loop's.
        let Ok(stream) = stream.into_std() else {
            continue;
        };
        let (front, its) = (Arc::clone(&front), Arc::clone(&shared));
        let (listener, stopped) = (Arc::clone(&listener), stopped.clone());
        shared.workers.spawn(&mut connections, async move {
            let _slot = slot;
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(stream, client, &listener, front, &its, stopped).await,
                Err(error) => tracing::warn!(%error, "a connection can't be served"),
            }
        });
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// Bytes for a client that may wait in the system before they are sent (`TCP_NOTSENT_LOWAT`). By itself it
/// takes megabytes for a client that does not read, which a server behind the edge would not notice for long;
/// what is on its way is not bounded by it, so a distant client gets what its line carries.
pub(crate) const UNSENT_MAX: u32 = 128 << 10;

/// Serves one connection.
async fn serve(
    stream: TcpStream,
    client: SocketAddr,
    listener: &Listener,
    front: Arc<Front>,
    shared: &Shared,
    stopped: Stopped,
) {
    let _ = stream.set_nodelay(true);
    // Only bounds what waits here; without it the edge works as well.
    let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_MAX);
    let number = shared.connections.fetch_add(1, Relaxed);
    let mut peer = Peer {
        address: client.ip(),
        forwarded: forwarded(client.ip()),
        scheme: "http",
        connection: HeaderValue::from(number),
        vouched: Vouched::default(),
    };
    let name = &listener.name;
    match (shared.tls.listener(name), listener.protocol) {
        (None, Protocol::Tcp) => tcp::serve(stream, &front).await,
        (None, Protocol::Http) => {
            let speaks = match listener.http2 {
                Some(true) => Speaks::Either,
                _ => Speaks::Http1,
            };
            http::converse(stream, speaks, peer, front, stopped).await;
        }
        (Some(tls), protocol) => {
            let welcome = tls::welcome(stream, client, name, tls, &shared.tls).await;
            let Some(welcome) = welcome else { return };
            if protocol == Protocol::Tcp {
                return tcp::serve(welcome.stream, &front).await;
            }
            (peer.scheme, peer.vouched) = ("https", welcome.vouched);
            let speaks = match welcome.is_http2 {
                true => Speaks::Http2,
                false => Speaks::Http1,
            };
            http::converse(welcome.stream, speaks, peer, front, stopped).await;
        }
    }
}

fn forwarded(address: IpAddr) -> HeaderValue {
    HeaderValue::try_from(address.to_string()).expect("invariant: an address is ASCII")
}

fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

impl From<TableError> for io::Error {
    fn from(error: TableError) -> Self {
        Self::other(error)
    }
}
