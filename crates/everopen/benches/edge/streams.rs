//! WebSockets over HTTP/2 (RFC 8441): many for each connection of a client.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Request, StatusCode};
use tokio::net::TcpStream;

use crate::load::PATIENCE;

/// WebSockets of one connection: what HAProxy allows by itself.
const EACH: usize = 100;

/// An open WebSocket, and the connection that it needs.
pub struct Socket {
    send: SendStream<Bytes>,
    receive: RecvStream,
    _connection: SendRequest<Bytes>,
}

/// Opens so many.
pub async fn sockets(address: SocketAddr, count: usize) -> Result<Vec<Socket>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let stream = TcpStream::connect(address).await.context("connect")?;
        stream.set_nodelay(true)?;
        let (mut connection, work) = h2::client::handshake(stream).await?;
        tokio::spawn(work);
        connection = connection.ready().await?;
        // What the other side offers is known when it has answered once.
        let first = Request::get("http://market.example/").body(())?;
        let (answer, _) = connection.send_request(first, true)?;
        answer.await.context("a first request")?;
        for _ in 0..EACH.min(count - all.len()) {
            connection = connection.ready().await?;
            all.push(open(&mut connection).await?);
        }
    }
    Ok(all)
}

async fn open(connection: &mut SendRequest<Bytes>) -> Result<Socket> {
    let mut ask = Request::connect("http://market.example/feed")
        .header("sec-websocket-version", "13")
        .body(())?;
    ask.extensions_mut()
        .insert(Protocol::from_static("websocket"));
    let (answer, send) = connection.send_request(ask, false)?;
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    let answer = answer.context("no answer in time")??;
    ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
    Ok(Socket {
        send,
        receive: answer.into_body(),
        _connection: connection.clone(),
    })
}

/// Whether each of them still carries a few bytes there and back.
pub async fn all_answer(sockets: Vec<Socket>) -> Result<()> {
    for mut socket in sockets {
        socket
            .send
            .send_data(Bytes::from_static(b"still?"), false)?;
        let mut back = BytesMut::new();
        while back.len() < 6 {
            let some = tokio::time::timeout(PATIENCE, socket.receive.data()).await;
            let some = some.context("no answer in time")?;
            back.extend_from_slice(&some.context("the stream ended")??);
        }
        ensure!(&back[..] == b"still?", "another answer");
    }
    Ok(())
}
