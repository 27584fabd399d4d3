//! One peer's manners are not another one's trouble.

use std::time::Duration;

use everopen_rpc::{Limits, Name, SendError};

use crate::support::{Peer, join, security, until};

#[test]
fn a_peer_that_does_not_read_does_not_hold_up_another() {
    let limits = Limits {
        frame_bytes_max: 100_000,
        outgoing_bytes_max: 1 << 20,
        ..Limits::default()
    };
    for secure in [false, true] {
        let (mut node, address) = Peer::listening(limits, security(secure, Name::Node(1)));
        let mut slow = Peer::new(limits, security(secure, Name::Gateway(1)));
        let mut quick = Peer::new(limits, security(secure, Name::Gateway(2)));
        let (slow_conn, to_slow) = join(&mut slow, &mut node, address);
        let (_, to_quick) = join(&mut quick, &mut node, address);
        slow.hub.pause_reading(slow_conn, true);
        let (mut full, mut tries) = (0, 0);
        while full < 10 {
            tries += 1;
            assert!(tries < 10_000, "no end of room");
            match node.hub.send(to_slow, &[0; 100_000]) {
                Ok(()) => full = 0,
                Err(SendError::Full) => full += 1,
                Err(error) => panic!("{error}"),
            }
            node.hub.flush();
            node.turn(Duration::from_millis(1));
        }
        for round in 1..=100 {
            node.hub.send(to_quick, &[1; 1_000]).expect("room");
            node.hub.flush();
            until("the quick one has it", &mut quick, &mut node, |quick, _| {
                quick.frames.len() == round
            });
        }
        assert_eq!(slow.frames, []);
    }
}

#[test]
fn a_peer_that_says_much_leaves_the_others_their_turn() {
    let limits = Limits {
        read_bytes_per_turn: 64 << 10,
        ..Limits::default()
    };
    for secure in [false, true] {
        let (mut node, address) = Peer::listening(limits, security(secure, Name::Node(1)));
        let mut loud = Peer::new(limits, security(secure, Name::Gateway(1)));
        let mut quiet = Peer::new(limits, security(secure, Name::Gateway(2)));
        let (loud_conn, from_loud) = join(&mut loud, &mut node, address);
        let (quiet_conn, from_quiet) = join(&mut quiet, &mut node, address);
        for round in 1..=20 {
            // As much as the system takes for the loud one, before the quiet one says a word.
            for _ in 0..500 {
                let _ = loud.hub.send(loud_conn, &[0; 4_000]);
            }
            loud.hub.flush();
            quiet.hub.send(quiet_conn, b"a word").expect("room");
            quiet.hub.flush();
            node.frames.clear();
            node.until("the quiet one is heard", |node| {
                node.frames.iter().any(|(conn, _)| *conn == from_quiet)
            });
            let before: usize = node
                .frames
                .iter()
                .take_while(|(conn, _)| *conn == from_loud)
                .map(|(_, bytes)| bytes.len())
                .sum();
            // Its share, and what one read takes beyond; twice, because a turn may have begun.
            assert!(before <= 2 * (128 << 10), "{before} bytes, round {round}");
        }
    }
}

#[test]
fn a_turn_reads_its_share_and_the_next_one_goes_on() {
    let limits = Limits {
        read_bytes_per_turn: 1,
        ..Limits::default()
    };
    for secure in [false, true] {
        let (mut node, address) = Peer::listening(limits, security(secure, Name::Node(1)));
        let mut dialer = Peer::new(limits, security(secure, Name::Node(2)));
        let (conn, _) = join(&mut dialer, &mut node, address);
        for _ in 0..1_000 {
            dialer.hub.send(conn, &[5; 1_000]).expect("room");
        }
        dialer.hub.flush();
        // No more comes from the dialer than is on its way; nothing of it may be left behind.
        let mut turns = 0;
        until("all of it", &mut node, &mut dialer, |node, _| {
            turns += 1;
            node.frames.len() == 1_000
        });
        assert!(turns > 10, "read in {turns} turns");
    }
}
