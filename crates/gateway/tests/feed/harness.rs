//! A feed on a loopback socket, and a real WebSocket client for it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, State, WebSocketUpgrade};
use axum::routing::get;
use everopen_domain::MemberId;
use everopen_gateway::feed::{
    AuthError, Authenticator, DisconnectPort, Feed, FeedConfig, Session, serve_socket,
};
use everopen_views::{Config, Views};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::Entry;

/// Longer than anything here takes, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Takes key `member-N` with passphrase `pass` and signature `good`; `view-N` may not trade and
/// `trade-N` may not view.
struct Keys;

impl Authenticator for Keys {
    fn verify_ws(
        &self,
        key: &str,
        passphrase: &str,
        timestamp: &str,
        signature: &str,
        _: std::net::IpAddr,
    ) -> Result<Session, AuthError> {
        let error = |message: &str| AuthError {
            message: message.to_owned(),
        };
        let (kind, number) = key.split_once('-').ok_or(error("Invalid API Key"))?;
        let member = number.parse().map_err(|_| error("Invalid API Key"))?;
        if passphrase != "pass" {
            return Err(error("Invalid Passphrase"));
        }
        if signature != "good" || timestamp != "1795451067" {
            return Err(error("invalid signature"));
        }
        Ok(Session {
            key: key.into(),
            member: MemberId(member),
            can_view: kind != "trade",
            can_trade: kind != "view",
        })
    }

    fn holds(&self, _: &str, _: std::net::IpAddr) -> bool {
        true
    }
}

/// Remembers whose connections ended.
#[derive(Default)]
pub struct Disconnects(pub Mutex<Vec<MemberId>>);

impl DisconnectPort for Disconnects {
    fn disconnected(&self, member: MemberId) {
        self.0.lock().unwrap().push(member);
    }
}

pub struct Server {
    pub feed: Arc<Feed>,
    pub disconnects: Arc<Disconnects>,
    pub address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn upgrade(
    upgrade: WebSocketUpgrade,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    State(feed): State<Arc<Feed>>,
) -> axum::response::Response {
    let bytes = feed.config().inbound_bytes_max;
    upgrade
        .max_message_size(bytes)
        .max_frame_size(bytes)
        .on_upgrade(move |socket| serve_socket(socket, feed, peer.ip()))
}

impl Server {
    pub async fn start(config: FeedConfig) -> Self {
        let views = Arc::new(RwLock::new(Views::new(Config::default())));
        let disconnects = Arc::new(Disconnects::default());
        let feed = Arc::new(Feed::new(
            config,
            views,
            Arc::new(Keys),
            disconnects.clone(),
        ));
        let router = Router::new()
            .route("/", get(upgrade))
            .with_state(feed.clone())
            .into_make_service_with_connect_info::<SocketAddr>();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = vec![
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
            tokio::spawn(feed.clone().run_timers()),
        ];
        Self {
            feed,
            disconnects,
            address,
            tasks,
        }
    }

    pub fn publish(&self, entries: &[Entry]) {
        for entry in entries {
            self.feed.publish(entry.index, entry.time, &entry.events);
        }
    }

    pub fn views(&self) -> std::sync::RwLockReadGuard<'_, Views> {
        self.feed.views().read().unwrap()
    }

    pub async fn client(&self) -> Client {
        let (socket, _) = connect_async(format!("ws://{}/", self.address))
            .await
            .unwrap();
        Client { socket }
    }

    /// Waits until `holds`.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }
}

pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What a connection ended with.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// The messages before the end, an error frame last if all is well.
    pub messages: Vec<Value>,
    /// The code of the close frame, if there was one.
    pub code: Option<CloseCode>,
}

impl Client {
    pub async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next frame; none when the connection has ended.
    pub async fn frame(&mut self) -> Option<Message> {
        tokio::time::timeout(DEADLINE, self.socket.next())
            .await
            .expect("a frame in time")?
            .ok()
    }

    /// The next message.
    pub async fn next(&mut self) -> Value {
        loop {
            match self.frame().await {
                Some(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("no message but {other:?}"),
            }
        }
    }

    /// The next message of a type, skipping others.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return message;
            }
            assert_ne!(message["type"], "error", "{message}");
        }
    }

    /// All messages that were sent before the refusal of a message that nothing else sends.
    pub async fn drain(&mut self) -> Vec<Value> {
        self.send(json!({"type": "fence"})).await;
        let mut messages = Vec::new();
        loop {
            let message = self.next().await;
            if message["message"] == "Unknown message type" {
                return messages;
            }
            messages.push(message);
        }
    }

    pub async fn subscribe(&mut self, channels: &[&str], products: &[&str]) {
        self.send(json!({"type": "subscribe", "product_ids": products, "channels": channels}))
            .await;
    }

    pub async fn subscribe_signed(&mut self, key: &str, channels: &[&str], products: &[&str]) {
        self.send(json!({
            "type": "subscribe", "product_ids": products, "channels": channels,
            "key": key, "passphrase": "pass", "signature": "good", "timestamp": 1795451067_u64,
        }))
        .await;
    }

    /// Reads to the end.
    pub async fn ended(&mut self) -> Ended {
        let mut messages = Vec::new();
        let mut code = None;
        let read = async {
            while let Some(frame) = self.frame().await {
                match frame {
                    Message::Text(text) => messages.push(serde_json::from_str(&text).unwrap()),
                    Message::Close(close) => code = close.map(|frame| frame.code),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(DEADLINE, read)
            .await
            .expect("an end in time");
        Ended { messages, code }
    }

    /// Reads to the end, which must come with this error.
    pub async fn ended_by(&mut self, message: &str, reason: &str, code: CloseCode) {
        let ended = self.ended().await;
        let last = ended.messages.last().expect("an error frame");
        assert_eq!(last["type"], "error");
        assert_eq!(last["message"], message);
        let said = last["reason"].as_str().unwrap();
        assert!(said.contains(reason), "{said}");
        assert_eq!(ended.code, Some(code));
    }
}
