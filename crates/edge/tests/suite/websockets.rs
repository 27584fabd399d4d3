//! WebSockets over HTTP/2 (RFC 8441): many on one connection, to servers that speak HTTP/1.1.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use everopen_edge::config::ClientMode;
use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request as Asked, Response as Answer};
use tokio_tungstenite::tungstenite::http::Response as Refusal;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use super::certificates::Shop;
use super::support::{Place, Server, until};

type Sending = SendRequest<Empty<Bytes>>;
type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A WebSocket server that sends back what it gets. At `/closed` it says 403.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // The shape of a callback is the library's.
                #[allow(clippy::result_large_err)]
                let look = |asked: &Asked, mut answer: Answer| {
                    if asked.uri().path() == "/closed" {
                        let mut refusal = Refusal::new(Some("not here".to_string()));
                        *refusal.status_mut() = StatusCode::FORBIDDEN;
                        return Err(refusal);
                    }
                    let proto = asked.headers()["sec-websocket-protocol"].clone();
                    answer.headers_mut().insert("sec-websocket-protocol", proto);
                    Ok(answer)
                };
                let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, look).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A connection of HTTP/2.
async fn connection(to: SocketAddr) -> Sending {
    let stream = TcpStream::connect(to).await.expect("connected");
    let io = TokioIo::new(stream);
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
    let (mut sender, connection) = shaken.expect("HTTP/2");
    tokio::spawn(connection);
    sender.ready().await.expect("ready");
    // What the server offers is known when it has answered once.
    let first = Request::get("http://api.example/").body(Empty::new());
    let _ = sender.send_request(first.expect("a request")).await;
    sender
}

fn asks(path: &str, protocol: Option<&'static str>) -> Request<Empty<Bytes>> {
    let request = match protocol {
        Some(_) => Request::connect(format!("http://api.example{path}"))
            .header("sec-websocket-version", "13")
            .header("sec-websocket-protocol", "feed.v1"),
        None => Request::connect("api.example:443"),
    };
    let mut request = request.body(Empty::new()).expect("a request");
    if let Some(protocol) = protocol {
        let protocol = Protocol::from_static(protocol);
        request.extensions_mut().insert(protocol);
    }
    request
}

async fn open(sender: &mut Sending) -> Socket {
    let answer = sender.send_request(asks("/feed", Some("websocket"))).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "feed.v1");
    for name in ["sec-websocket-accept", "upgrade", "connection"] {
        assert!(!answer.headers().contains_key(name), "{name} is HTTP/1.1's");
    }
    let stream = hyper::upgrade::on(answer).await.expect("a stream");
    WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Client, None).await
}

async fn said(socket: &mut Socket, text: &str) -> String {
    socket.send(Message::text(text)).await.expect("sent");
    let back = socket.next().await.expect("an answer").expect("a message");
    back.into_text().expect("text").to_string()
}

async fn refused(sender: &mut Sending, request: Request<Empty<Bytes>>) -> (u16, String) {
    let answer = sender.send_request(request).await.expect("an answer");
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.expect("a body");
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    (status, body)
}

#[test]
fn many_share_a_connection_until_their_group_is_drained() {
    let mut place = Place::new(&[], &[], (1, 0));
    let (blue, green) = place
        .runtime
        .block_on(async { (echo().await, echo().await) });
    let groups = &mut place.config.services.get_mut("api").expect("api").groups;
    groups.get_mut("blue").expect("blue").targets = vec![blue];
    groups.get_mut("green").expect("green").targets = vec![green];
    place.config.listeners[0].http2 = Some(true);
    let _edge = place.start();
    let opens = |group: &str| {
        let status = place.operator().status().expect("status");
        status.services["api"].groups[group].open
    };
    let (mut sender, mut sockets) = place.runtime.block_on(async {
        let mut sender = connection(place.public()).await;
        let mut sockets = Vec::new();
        for number in 0..40 {
            let mut socket = open(&mut sender).await;
            let text = format!("first of {number}");
            assert_eq!(said(&mut socket, &text).await, text);
            sockets.push(socket);
        }
        // Others go on while one carries more than a window of HTTP/2.
        let long = "x".repeat(3 << 20);
        let (one, others) = sockets.split_first_mut().expect("some");
        let carried = async { assert!(said(one, &long).await == long) };
        let meanwhile = async {
            for socket in others.iter_mut() {
                assert_eq!(said(socket, "meanwhile").await, "meanwhile");
            }
        };
        tokio::join!(carried, meanwhile);
        (sender, sockets)
    });
    assert_eq!(opens("blue"), 40);
    place.runtime.block_on(async {
        let mut last = sockets.pop().expect("some");
        last.close(None).await.expect("closed");
        while let Some(Ok(_)) = last.next().await {}
    });
    until("one has ended", || opens("blue") == 39);
    place
        .order(
            "PUT",
            "/services/api/weights",
            &json!({ "blue": 0, "green": 1 }),
        )
        .expect("shifted");
    place.runtime.block_on(async {
        assert_eq!(said(&mut sockets[0], "stays").await, "stays");
        let mut next = open(&mut sender).await;
        assert_eq!(said(&mut next, "goes there").await, "goes there");
        sockets.push(next);
    });
    let left = place.order(
        "POST",
        "/services/api/groups/blue/drain",
        &json!({ "ms": 50 }),
    );
    assert_eq!(left.expect("drained"), json!({ "left": 39 }));
    place.runtime.block_on(async {
        let mut next = sockets.pop().expect("some");
        for mut socket in sockets {
            let ended = socket.next().await;
            assert!(!matches!(ended, Some(Ok(_))), "it was cut: {ended:?}");
        }
        assert_eq!(said(&mut next, "is not touched").await, "is not touched");
    });
    until("all have ended", || opens("blue") == 0);
}

#[test]
fn what_is_no_websocket_is_refused_with_the_reason() {
    let plain = Server::start("a page");
    let mut place = Place::new(&[], &[plain.address], (1, 0));
    let blue = place.runtime.block_on(echo());
    let groups = &mut place.config.services.get_mut("api").expect("api").groups;
    groups.get_mut("blue").expect("blue").targets = vec![blue];
    place.config.listeners[0].http2 = Some(true);
    place.config.listeners[1].http2 = Some(true);
    let _edge = place.start();
    place.runtime.block_on(async {
        let mut sender = connection(place.public()).await;
        let closed = refused(&mut sender, asks("/closed", Some("websocket"))).await;
        assert_eq!(closed, (403, "not here".to_string()));
        let (status, body) = refused(&mut sender, asks("/feed", Some("connect-udp"))).await;
        assert!(status == 501 && body.contains("edge_protocol"), "{body}");
        let (status, body) = refused(&mut sender, asks("", None)).await;
        assert!(status == 405 && body.contains("edge_method"), "{body}");
        // It is none of these that ends the connection.
        let mut socket = open(&mut sender).await;
        assert_eq!(said(&mut socket, "goes on").await, "goes on");
        // Before a server that answers 200, which over HTTP/2 would be a WebSocket.
        let mut sender = connection(place.test()).await;
        let (status, body) = refused(&mut sender, asks("/feed", Some("websocket"))).await;
        assert!(
            status == 502 && body.contains("edge_not_websocket"),
            "{body}"
        );
    });
}

#[test]
fn a_client_that_others_wrote_opens_one_over_tls() {
    let mut shop = Shop::new(ClientMode::Off);
    let blue = shop.place.runtime.block_on(echo());
    let services = &mut shop.place.config.services;
    for group in services
        .values_mut()
        .flat_map(|all| all.groups.values_mut())
    {
        group.targets = vec![blue];
    }
    let _edge = shop.place.start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/websocket.mjs");
    let output = Command::new("node")
        .arg(script)
        .arg(format!("https://localhost:{}", shop.port()))
        .arg(shop.at("ours.pem"))
        .output()
        .expect("node is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.trim(), "200 feed.v1 hello", "{complained}");
}
