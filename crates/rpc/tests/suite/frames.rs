//! Frames come out as they went in, in order, without memory of their own.

use everopen_rpc::{ConnId, Limits, Name, SendError};
use everopen_testkit::allocations;
use std::time::Duration;

use crate::support::{Draw, Pair, Peer, join, security, until};

/// What frame `number` holds: its number and bytes that depend on it.
fn content(number: u32, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length).map(|at| (at as u32 ^ number) as u8).collect();
    let head = length.min(4);
    bytes[..head].copy_from_slice(&number.to_le_bytes()[..head]);
    bytes
}

/// Sends `count` frames to a peer that sends each back.
fn echo(count: u32, secure: bool, length: impl Fn(&mut Draw) -> u64) {
    let limits = Limits {
        frame_bytes_max: 300 << 10,
        outgoing_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let Pair {
        mut node,
        node_conn,
        mut dialer,
        dialer_conn,
    } = Pair::open(limits, limits, secure);
    let (mut draw_sent, mut draw_seen) = (Draw(count.into()), Draw(count.into()));
    let mut next = content(0, length(&mut draw_sent) as usize);
    let (mut sent, mut seen) = (0, 0);
    until("all came back", &mut dialer, &mut node, |dialer, node| {
        while sent < count {
            match dialer.hub.send(dialer_conn, &next) {
                Ok(()) => {
                    sent += 1;
                    next = content(sent, length(&mut draw_sent) as usize);
                }
                Err(SendError::Full) => break,
                Err(error) => panic!("{error}"),
            }
        }
        dialer.hub.flush();
        let mut kept = Vec::new();
        for (conn, bytes) in node.frames.drain(..) {
            assert_eq!(conn, node_conn);
            if !kept.is_empty() || node.hub.send(conn, &bytes) == Err(SendError::Full) {
                kept.push((conn, bytes));
            }
        }
        node.hub.pause_reading(node_conn, !kept.is_empty());
        node.frames = kept;
        node.hub.flush();
        for (conn, bytes) in dialer.frames.drain(..) {
            assert_eq!(conn, dialer_conn);
            assert_eq!(bytes, content(seen, length(&mut draw_seen) as usize));
            seen += 1;
        }
        seen == count
    });
    assert_eq!(dialer.hub.queued(dialer_conn), 0);
    assert_eq!(node.hub.queued(node_conn), 0);
}

#[test]
fn one_frame_comes_back() {
    for secure in [false, true] {
        for length in [0, 1, 64, 16 << 10, (16 << 10) + 1, 300 << 10] {
            echo(1, secure, |_| length);
        }
    }
}

#[test]
fn a_hundred_thousand_small_frames_come_back() {
    for secure in [false, true] {
        echo(100_000, secure, |draw| draw.below(100));
    }
}

#[test]
fn frames_of_all_sizes_come_back() {
    for secure in [false, true] {
        echo(3_000, secure, |draw| {
            let magnitude = draw.below(19);
            draw.below(1 << magnitude)
        });
    }
}

#[test]
fn a_frame_from_several_parts_is_one() {
    let mut pair = Pair::open(Limits::default(), Limits::default(), true);
    let parts: [&[u8]; 4] = [b"one", b"", b" frame", b"!"];
    pair.dialer
        .hub
        .send_parts(pair.dialer_conn, &parts)
        .expect("room");
    pair.dialer.hub.flush();
    pair.node.until("the frame", |node| node.frames.len() == 1);
    assert_eq!(pair.node.frames[0].1, b"one frame!");
}

#[test]
fn nothing_is_written_before_a_flush() {
    for secure in [false, true] {
        let mut pair = Pair::open(Limits::default(), Limits::default(), secure);
        pair.dialer
            .hub
            .send(pair.dialer_conn, b"held")
            .expect("room");
        for _ in 0..20 {
            pair.dialer.turn(Duration::from_millis(1));
            pair.node.turn(Duration::from_millis(1));
        }
        assert_eq!(pair.node.frames, []);
        assert_eq!(pair.dialer.hub.queued(pair.dialer_conn), 8);
        pair.dialer.hub.flush();
        pair.node.until("the frame", |node| node.frames.len() == 1);
    }
}

#[test]
fn frames_queued_while_dialing_follow_the_handshake() {
    for secure in [false, true] {
        let (mut node, address) =
            Peer::listening(Limits::default(), security(secure, Name::Node(1)));
        let mut dialer = Peer::new(Limits::default(), security(secure, Name::Gateway(4)));
        let conn = dialer.hub.dial(address, Name::Node(1));
        dialer.hub.send(conn, b"first").expect("room");
        dialer.hub.flush();
        dialer.hub.send(conn, b"second").expect("room");
        dialer.hub.flush();
        until("both frames", &mut dialer, &mut node, |_, node| {
            node.frames.len() == 2
        });
        assert_eq!(node.frames[0].1, b"first");
        assert_eq!(node.frames[1].1, b"second");
        assert_eq!(
            dialer.opened,
            [(conn, secure.then_some(Name::Node(1)), true)]
        );
        let name = secure.then_some(Name::Gateway(4));
        assert_eq!(node.opened, [(node.frames[0].0, name, false)]);
    }
}

/// Memory that a thousand small round trips get.
fn memory_of_round_trips(secure: bool) -> u64 {
    let limits = Limits::default();
    let (mut node, address) = Peer::listening(limits, security(secure, Name::Node(1)));
    let mut dialer = Peer::new(limits, security(secure, Name::Node(2)));
    let (conn, _) = join(&mut dialer, &mut node, address);
    let (mut node, mut dialer) = (node.hub, dialer.hub);
    let mut round_trip = || {
        dialer.send(conn, &[7; 64]).expect("room");
        dialer.flush();
        let mut asked: Option<(ConnId, [u8; 64])> = None;
        while asked.is_none() {
            node.turn(Some(Duration::from_millis(1)), &mut |event| {
                if let everopen_rpc::Event::Frame { conn, bytes } = event {
                    asked = Some((conn, bytes.try_into().expect("64 bytes")));
                }
            })
            .expect("the poll works");
        }
        let (back, frame) = asked.expect("just seen");
        node.send(back, &frame).expect("room");
        node.flush();
        let mut answered = false;
        while !answered {
            dialer
                .turn(Some(Duration::from_millis(1)), &mut |event| {
                    answered = matches!(event, everopen_rpc::Event::Frame { .. });
                })
                .expect("the poll works");
        }
    };
    for _ in 0..100 {
        round_trip();
    }
    let before = allocations();
    for _ in 0..1_000 {
        round_trip();
    }
    allocations() - before
}

#[test]
fn frames_need_no_memory_in_the_long_run() {
    assert_eq!(memory_of_round_trips(false), 0);
    // rustls takes a buffer for each record it seals and opens, whatever number of frames is in it.
    let records = 2 * 1_000;
    let secure = memory_of_round_trips(true);
    assert!(secure <= 3 * records, "{secure} for {records} records");
}
