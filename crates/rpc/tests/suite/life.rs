//! Opening and closing, many times.

use std::collections::BTreeSet;
use std::time::Duration;

use everopen_rpc::{CloseReason, Limits, Name, SendError};

use crate::support::{Pair, Peer, join, security, until};

#[test]
fn closing_writes_what_is_queued_and_tells_the_other_end_alone() {
    for secure in [false, true] {
        let mut pair = Pair::open(Limits::default(), Limits::default(), secure);
        let Pair {
            node,
            dialer,
            dialer_conn,
            ..
        } = &mut pair;
        dialer.hub.send(*dialer_conn, b"farewell").expect("room");
        dialer.hub.close(*dialer_conn);
        assert_eq!(dialer.hub.send(*dialer_conn, b"late"), Err(SendError::Gone));
        assert_eq!(dialer.hub.queued(*dialer_conn), 0);
        dialer.hub.close(*dialer_conn);
        until("the end", node, dialer, |node, _| !node.closed.is_empty());
        assert_eq!(node.frames[0].1, b"farewell");
        assert!(matches!(node.closed[0].1, CloseReason::ByPeer));
        for _ in 0..5 {
            dialer.turn(Duration::from_millis(1));
        }
        assert!(dialer.closed.is_empty());
    }
}

#[test]
fn a_dial_that_was_closed_at_once_is_not_heard_of() {
    let (mut node, address) = Peer::listening(Limits::default(), security(true, Name::Node(1)));
    let mut dialer = Peer::new(Limits::default(), security(true, Name::Node(2)));
    let conn = dialer.hub.dial(address, Name::Node(1));
    dialer.hub.close(conn);
    until("the node sees it go", &mut dialer, &mut node, |_, node| {
        !node.closed.is_empty()
    });
    assert!(dialer.opened.is_empty() && dialer.closed.is_empty());
}

#[test]
fn ids_are_never_used_again() {
    let limits = Limits {
        connections_max: 1,
        ..Limits::default()
    };
    let (mut node, address) = Peer::listening(limits, security(false, Name::Node(1)));
    let mut dialer = Peer::new(limits, security(false, Name::Node(2)));
    let mut seen = BTreeSet::new();
    for round in 1..=200 {
        let (conn, there) = join(&mut dialer, &mut node, address);
        assert!(seen.insert(conn), "{conn} was used before");
        for old in seen.iter().filter(|old| **old != conn) {
            assert_eq!(dialer.hub.send(*old, b"late"), Err(SendError::Gone));
        }
        dialer.hub.close(conn);
        node.until("the end", |node| node.closed.len() == round);
        assert_eq!(node.closed[round - 1].0, there);
    }
}

#[test]
fn a_paused_connection_is_quiet_until_it_goes_on() {
    for secure in [false, true] {
        let mut pair = Pair::open(Limits::default(), Limits::default(), secure);
        let Pair {
            node,
            node_conn,
            dialer,
            dialer_conn,
        } = &mut pair;
        node.hub.pause_reading(*node_conn, true);
        for number in 0..10 {
            dialer.hub.send(*dialer_conn, &[number]).expect("room");
            dialer.hub.flush();
            node.turn(Duration::from_millis(1));
        }
        dialer.hub.close(*dialer_conn);
        for _ in 0..10 {
            node.turn(Duration::from_millis(1));
        }
        assert!(node.frames.is_empty() && node.closed.is_empty());
        node.hub.pause_reading(*node_conn, false);
        node.until("the end", |node| !node.closed.is_empty());
        let numbers: Vec<_> = node.frames.iter().map(|(_, bytes)| bytes[0]).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}

#[test]
fn a_node_accepts_many_at_once() {
    let (mut node, address) = Peer::listening(Limits::default(), security(true, Name::Node(1)));
    let mut dialer = Peer::new(Limits::default(), security(true, Name::Node(2)));
    let dialed: BTreeSet<_> = (0..100)
        .map(|_| dialer.hub.dial(address, Name::Node(1)))
        .collect();
    until("all are open", &mut dialer, &mut node, |dialer, node| {
        dialer.opened.len() == 100 && node.opened.len() == 100
    });
    let opened: BTreeSet<_> = dialer.opened.iter().map(|(conn, ..)| *conn).collect();
    assert_eq!(opened, dialed);
    for (_, peer, _) in &node.opened {
        assert_eq!(*peer, Some(Name::Node(2)));
    }
}
