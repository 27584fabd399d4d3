//! One HTTP request on a connection of its own.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Bytes of an answer that are read at most.
const ANSWER_MAX: usize = 4 << 20;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: Bytes,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub at: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a BTreeMap<String, String>,
    pub body: String,
}

/// Asks, and reads the whole answer.
pub(crate) async fn ask(asked: Asked<'_>, patience: Duration) -> io::Result<Answer> {
    let all = async {
        let stream = TcpStream::connect(asked.at).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let driver = tokio::spawn(connection);
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
        let body = Limited::new(response.into_body(), ANSWER_MAX)
            .collect()
            .await;
        let body = body.map_err(io::Error::other)?.to_bytes();
        driver.abort();
        Ok(Answer { status, body })
    };
    tokio::time::timeout(patience, all)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
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
