//! Arbitrary messages, which borrow what they are made of.

use everopen_domain::{LogIndex, Timestamp};
use everopen_wire::message::{DigestKind, Message, RefusalCode, Role, TEXT_BYTES_MAX};

/// A message of that kind whose fields come from the other arguments.
pub fn message<'a>(kind: u8, seed: [u64; 4], texts: [&'a str; 2], bytes: &'a [u8]) -> Message<'a> {
    let [a, b, c, d] = seed;
    let hash = (u128::from(a) << 64 | u128::from(b)).to_le_bytes();
    let flag = d & 1 == 1;
    let [first, second] = texts.map(cut);
    match kind {
        1 => Message::Hello {
            protocol: a as u16,
            role: if flag { Role::Client } else { Role::Replica },
            node: b,
            cluster: hash,
            logic_min: c as u16,
            logic_max: d as u16,
            address: first,
            build: second,
        },
        16 => Message::OpenSession {
            request: a,
            nonce: b,
        },
        17 => Message::Submit {
            request: a,
            client: b,
            sequence: c,
            behind: d as u32,
            count: (d >> 32) as u16,
            commands: bytes,
        },
        18 => Message::ReadIndex { request: a },
        19 => Message::Follow {
            after: a,
            checkpoint: flag,
        },
        20 => Message::Call {
            request: a,
            question: bytes,
        },
        21 => Message::Tail { after: a },
        32 => Message::Outcome {
            request: a,
            index: LogIndex(b),
            time: Timestamp(c),
            count: d as u32,
            events: bytes,
        },
        33 => Message::Refused {
            request: a,
            code: RefusalCode::ALL[b as usize % RefusalCode::ALL.len()],
            retry_after_ms: c as u32,
            leader: d,
            leader_address: first,
        },
        34 => Message::SessionOpened {
            request: a,
            client: b,
        },
        35 => Message::ReadAt {
            request: a,
            index: LogIndex(b),
        },
        36 => Message::Checkpoint {
            index: LogIndex(a),
            time: Timestamp(b),
            last: flag,
            chunk: bytes,
        },
        37 => Message::Entry {
            index: LogIndex(a),
            time: Timestamp(b),
            count: c as u32,
            events: bytes,
        },
        38 => Message::CallAnswer {
            request: a,
            ok: flag,
            answer: bytes,
        },
        39 => Message::Progress {
            commit: LogIndex(a),
            applied: LogIndex(b),
        },
        40 => Message::LogEntry {
            index: LogIndex(a),
            term: b,
            commands: flag,
            data: bytes,
        },
        64 => Message::Raft { bytes },
        65 => Message::SnapshotOffer {
            index: LogIndex(a),
            term: b,
            bytes: c,
            hash,
            id: d,
        },
        66 => Message::SnapshotAsk { id: a, offset: b },
        67 => Message::SnapshotPart {
            id: a,
            offset: b,
            last: flag,
            chunk: bytes,
        },
        68 => Message::Digest {
            index: LogIndex(a),
            hash,
            kind: if flag {
                DigestKind::Events
            } else {
                DigestKind::State
            },
        },
        69 => Message::Ping {
            nonce: a,
            sent_ns: b,
        },
        70 => Message::Pong {
            nonce: a,
            sent_ns: b,
            clock_ns: c,
        },
        _ => panic!("a kind that no message has: {kind}"),
    }
}

fn cut(text: &str) -> &str {
    let mut length = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    &text[..length]
}

/// What ends in "rest" may be cut and extended; whatever decodes is another message with one form.
pub fn check(value: &Message<'_>, bytes: &[u8], flip: usize, cut: usize) {
    let mut flipped = bytes.to_vec();
    let bit = flip % (bytes.len() * 8);
    flipped[bit / 8] ^= 1 << (bit % 8);
    let longer = [bytes, &[0]].concat();
    for other in [&bytes[..cut % bytes.len()], &flipped, &longer] {
        match Message::decode(other) {
            Ok(decoded) => {
                assert_ne!(&decoded, value, "other bytes, the same message");
                let mut again = Vec::new();
                decoded.encode(&mut again);
                assert_eq!(again, other, "another form of one message");
            }
            Err(error) => assert!(error.offset <= other.len(), "{error:?} lies past the end"),
        }
    }
}
