//! A gateway on a port of its own with a venue in the same process, and a plain HTTP/1.1 client.

mod client;
mod venue;

use std::sync::{Arc, RwLock};

use everopen_domain::{Command, MemberId, Timestamp};
use everopen_gateway::{Config, Gateway, KeyStore, NewKey, Parts, Permissions, serve};
use everopen_views::Views;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use client::{Answer, Client, signature};
pub use venue::{BTC_USD, VenuePort};

/// A running gateway.
pub struct Harness {
    pub address: std::net::SocketAddr,
    pub gateway: Arc<Gateway>,
    pub port: Arc<VenuePort>,
    pub keys: Arc<KeyStore>,
    pub key: NewKey,
    pub member: MemberId,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<std::io::Result<()>>>,
    dir: tempfile::TempDir,
}

impl Harness {
    /// A gateway for a demonstration with generous limits.
    pub async fn start() -> Self {
        Self::with(Config::demo()).await
    }

    pub async fn with(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = Arc::new(KeyStore::open(dir.path()).unwrap());
        let views = Arc::new(RwLock::new(Views::new(Default::default())));
        let port = Arc::new(VenuePort::new());
        let parts = Parts::new(port.clone(), views, keys.clone());
        let gateway = Gateway::new(config, parts).unwrap();
        port.publish_to(gateway.feed().clone());
        venue::set_up(&port);
        let member = port.add_member("alice");
        let key = keys
            .create(member, "test", Permissions::ALL, vec![])
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let server = tokio::spawn(serve(gateway.clone(), listener, shutdown));
        Self {
            address,
            gateway,
            port,
            keys,
            key,
            member,
            stop: Some(stop),
            server: Some(server),
            dir,
        }
    }

    /// A new connection that signs as the first member.
    pub async fn client(&self) -> Client {
        Client::connect(self.address, Some(self.key.clone())).await
    }

    /// A new connection that signs with another key.
    pub async fn client_of(&self, key: &NewKey) -> Client {
        Client::connect(self.address, Some(key.clone())).await
    }

    /// Another member with a funded account and its connection.
    pub async fn other(&self, code: &str) -> Client {
        let member = self.port.add_member(code);
        let key = self
            .keys
            .create(member, code, Permissions::ALL, vec![])
            .unwrap();
        self.client_of(&key).await
    }

    /// Where the keys are.
    pub fn key_dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Ends the server and waits for it.
    pub async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.server.take().unwrap().await.unwrap().unwrap();
    }

    /// Applies an operator's command.
    pub fn operator(&self, command: Command) {
        self.port.apply(command);
    }
}

/// Seconds since 1970, as signed.
pub fn now_s() -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    now.as_secs()
}

/// A time so many seconds from now.
pub fn in_seconds(seconds: u64) -> Timestamp {
    Timestamp((now_s() + seconds) * Timestamp::NANOS_PER_SECOND)
}
