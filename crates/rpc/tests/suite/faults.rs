//! Peers that are wrong, break off, or are not there.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use everopen_identity::{Authority, Identity};
use everopen_rpc::{CloseReason, Limits, Name, Security, SendError};

use crate::support::{PATIENCE, Peer, security, until};

#[test]
fn another_node_than_the_dialed_one_is_refused() {
    let (mut node, address) = Peer::listening(Limits::default(), security(true, Name::Node(2)));
    let mut dialer = Peer::new(Limits::default(), security(true, Name::Node(3)));
    let conn = dialer.hub.dial(address, Name::Node(1));
    until(
        "both have ended it",
        &mut dialer,
        &mut node,
        |dialer, node| !dialer.closed.is_empty() && !node.closed.is_empty(),
    );
    assert_eq!(dialer.closed[0].0, conn);
    let reason = dialer.closed[0].1.to_string();
    assert!(reason.contains("node-1.everopen.internal"), "{reason}");
    assert!(dialer.opened.is_empty() && node.opened.is_empty());
    assert_eq!(dialer.hub.send(conn, b"late"), Err(SendError::Gone));
}

#[test]
fn a_process_of_another_authority_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let other = Authority::create(&dir.path().join("authority")).expect("an authority");
    let files = other.issue(&Name::Node(1), dir.path()).expect("files");
    let stranger = Security::Mutual(Identity::load(&files).expect("good files"));
    let ours = || security(true, Name::Node(1));
    for (node, dialer) in [(ours(), stranger.clone()), (stranger, ours())] {
        let (mut node, address) = Peer::listening(Limits::default(), node);
        let mut dialer = Peer::new(Limits::default(), dialer);
        dialer.hub.dial(address, Name::Node(1));
        until(
            "both have ended it",
            &mut dialer,
            &mut node,
            |dialer, node| !dialer.closed.is_empty() && !node.closed.is_empty(),
        );
        assert!(matches!(dialer.closed[0].1, CloseReason::Session(_)));
        assert!(dialer.opened.is_empty() && node.opened.is_empty());
    }
}

#[test]
fn what_is_no_tls_is_cut_off() {
    let (mut node, address) = Peer::listening(Limits::default(), security(true, Name::Node(1)));
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 70_000],
        &[0x16; 70_000],
    ] {
        let have = node.closed.len();
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_nonblocking(true).expect("a socket");
        // It may be cut off before all of it is written.
        let _ = stream.write(garbage);
        node.until("it is cut off", |node| node.closed.len() > have);
        let reason = &node.closed[have].1;
        assert!(matches!(reason, CloseReason::Session(_)), "{reason:?}");
    }
    assert_eq!(node.opened, []);
}

#[test]
fn a_plain_dialer_and_a_tls_node_do_not_understand_each_other() {
    let (mut node, address) = Peer::listening(Limits::default(), security(true, Name::Node(1)));
    let mut dialer = Peer::new(Limits::default(), Security::Plain);
    let conn = dialer.hub.dial(address, Name::Node(1));
    dialer.hub.send(conn, &[1; 100]).expect("room");
    dialer.hub.flush();
    until(
        "both have ended it",
        &mut dialer,
        &mut node,
        |dialer, node| !dialer.closed.is_empty() && !node.closed.is_empty(),
    );
    assert_eq!(node.opened, []);
}

#[test]
fn an_end_between_frames_and_an_end_within_one_are_told_apart() {
    let (mut node, address) = Peer::listening(Limits::default(), Security::Plain);
    let whole = [2, 0, 0, 0, 7, 8];
    for (cut, expected) in [(0, "peer"), (2, "frame"), (5, "frame"), (6, "peer")] {
        let have = node.closed.len();
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(&whole[..cut]).expect("it is open");
        drop(stream);
        node.until("the end", |node| node.closed.len() > have);
        let reason = node.closed[have].1.to_string();
        assert!(reason.ends_with(expected), "{cut}: {reason}");
    }
    assert_eq!(node.frames.len(), 1);
}

#[test]
fn a_session_that_is_cut_within_a_frame_says_so() {
    // The peer's socket is cut by a relay, so that its goodbye does not come.
    let (mut node, address) = Peer::listening(Limits::default(), security(true, Name::Node(1)));
    let relay = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut dialer = Peer::new(Limits::default(), security(true, Name::Node(2)));
    let conn = dialer
        .hub
        .dial(relay.local_addr().expect("an address"), Name::Node(1));
    let (mut near, _) = relay.accept().expect("the dialer");
    let mut far = TcpStream::connect(address).expect("it listens");
    near.set_nonblocking(true).expect("a socket");
    far.set_nonblocking(true).expect("a socket");
    let mut carried = 0;
    let mut carry = |from: &mut TcpStream, to: &mut TcpStream, most: usize| {
        let mut bytes = vec![0; most];
        if let Ok(length) = from.read(&mut bytes) {
            to.write_all(&bytes[..length]).expect("room for so little");
            carried += length;
        }
        carried
    };
    until("both are open", &mut dialer, &mut node, |dialer, node| {
        carry(&mut near, &mut far, 4_096);
        carry(&mut far, &mut near, 4_096);
        !dialer.opened.is_empty() && !node.opened.is_empty()
    });
    dialer.hub.send(conn, &[1; 40_000]).expect("room");
    dialer.hub.flush();
    let before = carry(&mut near, &mut far, 0);
    until("a part of the frame", &mut dialer, &mut node, |_, _| {
        carry(&mut near, &mut far, 20_000) >= before + 20_000
    });
    drop((near, far));
    until(
        "both have ended it",
        &mut dialer,
        &mut node,
        |dialer, node| !dialer.closed.is_empty() && !node.closed.is_empty(),
    );
    assert!(matches!(node.closed[0].1, CloseReason::MidFrame));
    assert_eq!(node.frames, []);
}

#[test]
fn a_port_that_nobody_listens_on_is_not_reachable() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("an address");
    drop(free);
    for secure in [false, true] {
        let mut dialer = Peer::new(Limits::default(), security(secure, Name::Node(2)));
        let conn = dialer.hub.dial(address, Name::Node(1));
        dialer.hub.send(conn, b"into the void").expect("room");
        dialer.hub.flush();
        dialer.until("an end", |dialer| !dialer.closed.is_empty());
        assert_eq!(dialer.closed[0].0, conn);
        assert!(matches!(dialer.closed[0].1, CloseReason::Unreachable(_)));
        assert_eq!(dialer.opened, []);
    }
}

#[test]
fn a_dial_that_fails_at_once_is_told_in_the_next_turn_unless_it_was_closed() {
    let nowhere = "255.255.255.255:9".parse().expect("an address");
    let mut dialer = Peer::new(Limits::default(), security(true, Name::Node(2)));
    let told = dialer.hub.dial(nowhere, Name::Node(1));
    let closed = dialer.hub.dial(nowhere, Name::Node(1));
    assert_ne!(told, closed);
    dialer.hub.close(closed);
    dialer.turn(PATIENCE);
    assert_eq!(dialer.closed.len(), 1);
    assert_eq!(dialer.closed[0].0, told);
    assert!(matches!(dialer.closed[0].1, CloseReason::Unreachable(_)));
}

#[test]
fn what_a_peer_said_last_is_heard_though_it_no_longer_listens() {
    let (mut node, address) = Peer::listening(Limits::default(), Security::Plain);
    for round in 1..=20 {
        let mut stream = TcpStream::connect(address).expect("it listens");
        node.until("it is open", |node| node.opened.len() == round);
        let conn = node.opened[round - 1].0;
        stream
            .write_all(&[3, 0, 0, 0, b'b', b'y', b'e'])
            .expect("it is open");
        drop(stream);
        // The first write is answered with a reset, the next one fails.
        node.until("its end", |node| {
            let _ = node.hub.send(conn, b"are you there?");
            node.hub.flush();
            let _ = node.hub.send(conn, b"are you there?");
            node.hub.flush();
            node.closed.len() == round
        });
        assert_eq!(node.frames.len(), round, "{:?}", node.closed[round - 1]);
    }
}
