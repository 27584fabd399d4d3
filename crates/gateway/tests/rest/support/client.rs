//! A plain HTTP/1.1 client on one connection, which signs as clients of this API do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use everopen_gateway::NewKey;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No answer takes longer, unless something is broken.
const DEADLINE: Duration = Duration::from_secs(20);

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Value,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        assert!(
            self.body.get("message").is_none(),
            "clients take `message` for an error"
        );
        self.body
    }

    /// Status and message of a refusal.
    #[track_caller]
    pub fn refusal(&self) -> (u16, &str) {
        let message = self.body["message"].as_str();
        (
            self.status,
            message.unwrap_or_else(|| panic!("no message: {self:?}")),
        )
    }
}

/// The signature of a request.
pub fn signature(secret: &str, timestamp: &str, method: &str, target: &str, body: &str) -> String {
    let secret = STANDARD.decode(secret).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
    mac.update(format!("{timestamp}{method}{target}{body}").as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    key: Option<NewKey>,
    unread: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr, key: Option<NewKey>) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self {
            stream,
            key,
            unread: Vec::new(),
        }
    }

    /// An unsigned request.
    pub async fn get(&mut self, target: &str) -> Answer {
        self.plain("GET", target, "").await
    }

    /// An unsigned request.
    pub async fn plain(&mut self, method: &str, target: &str, body: &str) -> Answer {
        self.with_headers(method, target, &[], body).await
    }

    /// A signed request.
    pub async fn signed(&mut self, method: &str, target: &str, body: &str) -> Answer {
        self.signed_at(&super::now_s().to_string(), method, target, body)
            .await
    }

    pub async fn signed_at(
        &mut self,
        timestamp: &str,
        method: &str,
        target: &str,
        body: &str,
    ) -> Answer {
        let key = self.key.clone().expect("the connection has a key");
        let signature = signature(&key.secret, timestamp, method, target, body);
        let headers = [
            ("CB-ACCESS-KEY", key.key.as_str()),
            ("CB-ACCESS-SIGN", &signature),
            ("CB-ACCESS-TIMESTAMP", timestamp),
            ("CB-ACCESS-PASSPHRASE", &key.passphrase),
        ];
        self.with_headers(method, target, &headers, body).await
    }

    pub async fn with_headers(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        self.write(text.as_bytes()).await;
        self.read().await
    }

    /// Bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) {
        // The server may answer and close before it has read everything.
        let _ = timeout(DEADLINE, self.stream.write_all(bytes))
            .await
            .expect("a deadline");
    }

    /// The next response.
    pub async fn read(&mut self) -> Answer {
        timeout(DEADLINE, self.read_answer())
            .await
            .expect("a deadline")
    }

    /// Waits for the end of the connection and gives what came before it.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.unread);
        let _ = timeout(DEADLINE, self.stream.read_to_end(&mut bytes))
            .await
            .expect("a deadline");
        bytes
    }

    /// The head of the next answer, whatever it is; empty if there is none.
    pub async fn read_to_end_of_answer(&mut self) -> String {
        let read = timeout(DEADLINE, self.stream.read_buf(&mut self.unread)).await;
        let _ = read.expect("a deadline");
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }

    async fn read_answer(&mut self) -> Answer {
        let head_end = loop {
            let end = self
                .unread
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => self.fill().await,
            }
        };
        let head = String::from_utf8(self.unread.drain(..head_end).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers: HashMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers
            .get("content-length")
            .map_or(0, |n| n.parse().unwrap());
        while self.unread.len() < length {
            self.fill().await;
        }
        let body: Vec<u8> = self.unread.drain(..length).collect();
        let is_json = headers
            .get("content-type")
            .is_some_and(|kind| kind == "application/json");
        let body = match is_json {
            true => serde_json::from_slice(&body).unwrap(),
            false => Value::String(String::from_utf8(body).unwrap()),
        };
        Answer {
            status,
            headers,
            body,
        }
    }

    async fn fill(&mut self) {
        let mut chunk = [0; 64 << 10];
        let read = self
            .stream
            .read(&mut chunk)
            .await
            .expect("a connection that is open");
        assert!(read > 0, "the connection ended in the middle of an answer");
        self.unread.extend_from_slice(&chunk[..read]);
    }
}
