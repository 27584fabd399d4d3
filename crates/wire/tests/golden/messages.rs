//! One message of each kind, with a distinct value in every field.

use everopen_domain::{LogIndex, Timestamp};
use everopen_wire::message::{DigestKind, Message, RefusalCode, Role};

const HASH: [u8; 16] = [
    0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
];

/// At least one of each kind.
#[allow(clippy::too_many_lines)]
pub fn messages() -> Vec<Message<'static>> {
    vec![
        Message::Hello {
            protocol: 1,
            role: Role::Replica,
            node: 2,
            cluster: HASH,
            logic_min: 3,
            logic_max: 4,
            address: "10.0.0.5:7001",
            build: "0.2.0 zürich",
        },
        Message::OpenSession {
            request: 6,
            nonce: 7,
        },
        Message::Submit {
            request: 8,
            client: 9,
            sequence: 10,
            behind: 11,
            count: 1,
            commands: &[1, 0, 0, 0],
        },
        Message::ReadIndex { request: 12 },
        Message::Follow {
            after: 13,
            checkpoint: true,
        },
        Message::Call {
            request: 14,
            question: br#"{"ask":"status"}"#,
        },
        Message::Outcome {
            request: 15,
            index: LogIndex(16),
            time: Timestamp(17),
            count: 1,
            events: &[1, 0, 2, 0, 44, 1],
        },
        Message::Refused {
            request: 18,
            code: RefusalCode::NotLeader,
            retry_after_ms: 19,
            leader: 20,
            leader_address: "10.0.0.6:7001",
        },
        Message::SessionOpened {
            request: 21,
            client: 22,
        },
        Message::ReadAt {
            request: 23,
            index: LogIndex(24),
        },
        Message::Checkpoint {
            index: LogIndex(25),
            time: Timestamp(26),
            last: true,
            chunk: b"views",
        },
        Message::Entry {
            index: LogIndex(27),
            time: Timestamp(28),
            count: 1,
            events: &[1, 0, 2, 0, 45, 1],
        },
        Message::CallAnswer {
            request: 29,
            ok: true,
            answer: br#"{"role":"leader"}"#,
        },
        Message::Progress {
            commit: LogIndex(30),
            applied: LogIndex(31),
        },
        Message::Raft { bytes: b"raft" },
        Message::Tail { after: 46 },
        Message::LogEntry {
            index: LogIndex(47),
            term: 48,
            commands: true,
            data: b"entry",
        },
        Message::SnapshotOffer {
            index: LogIndex(32),
            term: 33,
            bytes: 34,
            hash: HASH,
            id: 35,
        },
        Message::SnapshotAsk { id: 36, offset: 37 },
        Message::SnapshotPart {
            id: 38,
            offset: 39,
            last: false,
            chunk: b"state",
        },
        Message::Digest {
            index: LogIndex(40),
            hash: HASH,
            kind: DigestKind::State,
        },
        Message::Ping {
            nonce: 41,
            sent_ns: 42,
        },
        Message::Pong {
            nonce: 43,
            sent_ns: 44,
            clock_ns: 45,
        },
    ]
}
