//! Connections that become something else: WebSocket, and plain TCP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use everopen_edge::config::Protocol;
use serde_json::json;

use super::support::{Client, Place, read_message, until};

/// A server that echoes lines after an upgrade, or at once.
fn echo(upgrades: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                if upgrades {
                    let Some((head, _)) = read_message(&mut reader) else {
                        return;
                    };
                    assert!(head.to_lowercase().contains("upgrade: websocket"), "{head}");
                    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                                  upgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nhello\n";
                    let _ = reader.get_mut().write_all(answer.as_bytes());
                }
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                    if reader.get_mut().write_all(line.as_bytes()).is_err() {
                        return;
                    }
                    line.clear();
                }
            });
        }
    });
    address
}

fn upgraded(place: &Place) -> Client {
    let mut client = Client::connect(place.public()).expect("connected");
    let head =
        "GET /feed HTTP/1.1\r\nhost: api\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    client.stream().write_all(head.as_bytes()).expect("sent");
    let (status, head, _) = client.receive().expect("an answer");
    assert_eq!(status, 101);
    assert!(
        head.to_lowercase().contains("sec-websocket-accept: x"),
        "{head}"
    );
    assert_eq!(
        client.read_line(),
        "hello\n",
        "what came right behind the head"
    );
    client
}

#[test]
fn an_upgraded_connection_carries_bytes_until_its_group_is_drained() {
    let place = Place::new(&[echo(true)], &[], (1, 0));
    let _edge = place.start();
    let mut clients: Vec<Client> = (0..3).map(|_| upgraded(&place)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let line = format!("line {number}\n");
        client.stream().write_all(line.as_bytes()).expect("sent");
        assert_eq!(client.read_line(), line);
    }
    let open = || place.operator().status().expect("status").services["api"].groups["blue"].open;
    assert_eq!(open(), 3);
    drop(clients.pop());
    until("one has ended", || open() == 2);
    let left = place.order(
        "POST",
        "/services/api/groups/blue/drain",
        &json!({ "ms": 50 }),
    );
    assert_eq!(left.expect("drained"), json!({ "left": 2 }));
    for client in &mut clients {
        assert_eq!(client.read_line(), "", "it was cut");
    }
    until("all have ended", || open() == 0);
    // The next one is not touched by that.
    let mut next = upgraded(&place);
    next.stream().write_all(b"on\n").expect("sent");
    assert_eq!(next.read_line(), "on\n");
}

#[test]
fn plain_tcp_goes_through_unseen() {
    let mut place = Place::new(&[echo(false)], &[], (1, 0));
    place.config.listeners[0].protocol = Protocol::Tcp;
    let _edge = place.start();
    let mut stream = TcpStream::connect(place.public()).expect("connected");
    let bytes: Vec<u8> = (0..200_000u32)
        .map(|n| b'a' + (n % 26) as u8)
        .chain(*b"\n")
        .collect();
    let mut back = vec![0; bytes.len()];
    let (sent, mut writer) = (bytes.clone(), stream.try_clone().expect("cloned"));
    let sending = std::thread::spawn(move || writer.write_all(&sent));
    stream.read_exact(&mut back).expect("it comes back");
    sending.join().expect("joined").expect("sent");
    assert!(back == bytes);
}
