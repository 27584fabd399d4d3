//! One HTTP request on a connection of its own.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Bytes of an answer that are read at most.
const ANSWER_MAX: usize = 4 << 20;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers; the first of each name, and those that are text.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Bytes,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The host and perhaps the port, as they stand in the `Host` header.
    pub at: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path and query.
    pub path: &'a str,
    /// Headers besides those that every request has.
    pub headers: &'a BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// Asks in the clear, and reads the whole answer: 4 MiB at most.
///
/// # Errors
/// Nobody is there, what comes is no answer, or it takes too long.
pub async fn ask(asked: Asked<'_>, patience: Duration) -> io::Result<Answer> {
    let all = async {
        let stream = TcpStream::connect(asked.at).await?;
        stream.set_nodelay(true)?;
        ask_over(stream, asked).await
    };
    tokio::time::timeout(patience, all)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Asks over a connection that is there, which is used for nothing else.
///
/// # Errors
/// What comes is no answer.
pub async fn ask_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    asked: Asked<'_>,
) -> io::Result<Answer> {
    let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let driver = Driver(tokio::spawn(connection));
    let mut request = Request::builder()
        .method(asked.method)
        .uri(asked.path)
        .header(http::header::HOST, asked.at)
        .header(http::header::CONNECTION, "close");
    for (name, value) in asked.headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Full::from(asked.body))
        .map_err(io::Error::other)?;
    let response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let status = response.status().as_u16();
    let mut headers = BTreeMap::new();
    for (name, value) in response.headers() {
        if let Ok(value) = value.to_str() {
            let name = name.as_str().to_string();
            headers.entry(name).or_insert_with(|| value.to_string());
        }
    }
    let body = Limited::new(response.into_body(), ANSWER_MAX)
        .collect()
        .await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    drop(driver);
    Ok(Answer {
        status,
        headers,
        body,
    })
}

/// A connection's task, which ends with what it is for.
struct Driver(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks for a path.
pub(crate) async fn get(at: &str, path: &str, patience: Duration) -> io::Result<Answer> {
    let headers = BTreeMap::new();
    let asked = Asked {
        at,
        method: "GET",
        path,
        headers: &headers,
        body: String::new(),
    };
    ask(asked, patience).await
}
