//! Every bound has an answer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use everopen_rpc::{CloseReason, Hub, Limits, Name, Security, SendError};

use crate::support::{PATIENCE, Pair, Peer, join, security, until};

#[test]
fn an_announced_frame_above_the_limit_ends_the_connection() {
    let limits = Limits {
        frame_bytes_max: 1_000,
        ..Limits::default()
    };
    let (mut node, address) = Peer::listening(limits, Security::Plain);
    for split in [false, true] {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let mut bytes = [3, 0, 0, 0, b'o', b'k', b'!', 0xe9, 3, 0, 0].to_vec();
        if split {
            let last = bytes.pop().expect("many");
            stream.write_all(&bytes).expect("it is open");
            let have = node.frames.len();
            node.until("the frame before", |node| node.frames.len() > have);
            bytes = vec![last];
        }
        stream.write_all(&bytes).expect("it is open");
        let have = node.closed.len();
        node.until("the end", |node| node.closed.len() > have);
        assert!(matches!(
            node.closed[have].1,
            CloseReason::FrameTooLarge {
                bytes: 1_001,
                limit: 1_000
            }
        ));
        assert_eq!(node.frames[have].1, b"ok!");
        // Cut off: the end, or a reset because something was left unread.
        assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)));
    }
}

#[test]
fn a_larger_frame_is_refused_over_tls_by_either_end() {
    let small = Limits {
        frame_bytes_max: 1_000,
        ..Limits::default()
    };
    let mut pair = Pair::open(small, Limits::default(), true);
    let sent = pair.node.hub.send(pair.node_conn, &[0; 1_001]);
    assert_eq!(sent, Err(SendError::TooLarge));
    let frame = [1; 1_001];
    pair.dialer
        .hub
        .send(pair.dialer_conn, &frame[..1_000])
        .expect("room");
    pair.dialer
        .hub
        .send(pair.dialer_conn, &frame)
        .expect("room");
    pair.dialer.hub.flush();
    let Pair { node, dialer, .. } = &mut pair;
    until("both have ended it", node, dialer, |node, dialer| {
        !node.closed.is_empty() && !dialer.closed.is_empty()
    });
    assert!(matches!(
        node.closed[0].1,
        CloseReason::FrameTooLarge { .. }
    ));
    assert_eq!(node.frames.len(), 1);
}

#[test]
fn limits_that_contradict_themselves_are_refused() {
    let sound = Limits::default();
    for limits in [
        Limits {
            outgoing_bytes_max: sound.frame_bytes_max,
            ..sound
        },
        Limits {
            frame_bytes_max: usize::MAX,
            outgoing_bytes_max: usize::MAX,
            ..sound
        },
        Limits {
            read_bytes_per_turn: 0,
            ..sound
        },
        Limits {
            connections_max: usize::MAX,
            ..sound
        },
    ] {
        assert!(Hub::new(limits, Security::Plain).is_err(), "{limits:?}");
    }
}

#[test]
fn a_reader_that_stops_makes_sending_full_and_one_that_goes_on_makes_room() {
    let limits = Limits {
        frame_bytes_max: 100_000,
        outgoing_bytes_max: 200_000,
        ..Limits::default()
    };
    for secure in [false, true] {
        let mut pair = Pair::open(limits, limits, secure);
        let Pair {
            node,
            node_conn,
            dialer,
            dialer_conn,
        } = &mut pair;
        node.hub.pause_reading(*node_conn, true);
        let mut sent: u32 = 0;
        let deadline = Instant::now() + PATIENCE;
        let mut full_turns = 0;
        // Full for several turns: the system's buffers are full, too.
        while full_turns < 10 {
            assert!(Instant::now() < deadline && sent < 10_000, "no end of room");
            let mut frame = vec![0; 50_000];
            frame[..4].copy_from_slice(&sent.to_le_bytes());
            match dialer.hub.send(*dialer_conn, &frame) {
                Ok(()) => (sent, full_turns) = (sent + 1, 0),
                Err(SendError::Full) => {
                    full_turns += 1;
                    dialer.hub.flush();
                    dialer.turn(Duration::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
            assert!(dialer.hub.queued(*dialer_conn) <= limits.outgoing_bytes_max);
            node.turn(Duration::ZERO);
            assert_eq!(node.frames, [], "paused");
        }
        node.hub.pause_reading(*node_conn, false);
        until("all frames", node, dialer, |node, _| {
            node.frames.len() == sent as usize
        });
        for (number, (_, bytes)) in node.frames.iter().enumerate() {
            assert_eq!(bytes[..4], (number as u32).to_le_bytes());
            assert_eq!(bytes.len(), 50_000);
        }
        assert_eq!(dialer.hub.queued(*dialer_conn), 0);
        dialer.hub.send(*dialer_conn, b"room again").expect("room");
    }
}

#[test]
fn connections_above_the_limit_are_turned_away_until_one_ends() {
    let limits = Limits {
        connections_max: 2,
        ..Limits::default()
    };
    let (mut node, address) = Peer::listening(limits, Security::Plain);
    let first = TcpStream::connect(address).expect("it listens");
    let _second = TcpStream::connect(address).expect("it listens");
    node.until("two are open", |node| node.opened.len() == 2);
    let mut third = TcpStream::connect(address).expect("it listens");
    third.set_nonblocking(true).expect("a socket");
    node.until("the third is turned away", |_| {
        matches!(third.read(&mut [0]), Ok(0))
    });
    assert_eq!(node.opened.len(), 2);

    // What the hub itself dials is not counted.
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dialed = elsewhere.local_addr().expect("an address");
    node.hub.dial(dialed, Name::Node(5));
    node.until("dialed", |node| node.opened.len() == 3);

    drop(first);
    node.until("the first has ended", |node| node.closed.len() == 1);
    let _fourth = TcpStream::connect(address).expect("it listens");
    node.until("there is room again", |node| node.opened.len() == 4);
}

#[test]
fn who_says_nothing_is_cut_off_in_time() {
    let limits = Limits {
        handshake: Duration::from_millis(200),
        ..Limits::default()
    };
    let start = Instant::now();
    let (mut node, address) = Peer::listening(limits, security(true, Name::Node(1)));
    let mut silent = TcpStream::connect(address).expect("it listens");
    // It waits for as long as it may, and is woken by the deadline.
    while node.closed.is_empty() {
        node.turn(PATIENCE);
        assert!(start.elapsed() < PATIENCE);
    }
    assert!(matches!(node.closed[0].1, CloseReason::HandshakeSlow));
    assert!(start.elapsed() >= limits.handshake);
    assert_eq!(node.opened, []);
    assert!(matches!(silent.read(&mut [0]), Ok(0) | Err(_)));

    // In the other direction: a port that takes connections and says nothing.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let conn = node
        .hub
        .dial(deaf.local_addr().expect("an address"), Name::Node(2));
    node.until("it is cut off", |node| node.closed.len() == 2);
    assert_eq!(node.closed[1].0, conn);
    assert!(matches!(node.closed[1].1, CloseReason::HandshakeSlow));
}

#[test]
fn a_finished_handshake_is_not_cut_off() {
    let limits = Limits {
        handshake: Duration::from_millis(300),
        ..Limits::default()
    };
    let (mut node, address) = Peer::listening(limits, security(true, Name::Node(1)));
    let mut dialer = Peer::new(limits, security(true, Name::Node(2)));
    join(&mut dialer, &mut node, address);
    let start = Instant::now();
    until("longer than a handshake", &mut node, &mut dialer, |_, _| {
        start.elapsed() > 2 * limits.handshake
    });
    assert!(node.closed.is_empty() && dialer.closed.is_empty());
}
