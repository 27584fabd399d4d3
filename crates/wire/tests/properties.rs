//! Properties of every decoder. Goal: INV-WIRE-1 to 3 and "one value, one form". Method: arbitrary
//! values round trip; arbitrary, cut, extended and flipped bytes either fail or mean something
//! else; never a panic.

mod messages;

use core::fmt::Debug;
use std::collections::BTreeSet;

use everopen_domain::{Command, Timestamp};
use everopen_wire::entry::EntryWriterV1;
use everopen_wire::message::{self, Message};
use everopen_wire::{
    DecodeError, EntryReader, EntryWriter, Origin, Request, command, event, snapshot, state_hash,
    strategies,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Checks one value's bytes against everything that can happen to them.
fn check<T: PartialEq + Debug>(
    value: &T,
    bytes: &[u8],
    encode: impl Fn(&T, &mut Vec<u8>),
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    flip: usize,
    cut: usize,
) {
    assert_eq!(decode(bytes).as_ref(), Ok(value), "round trip");

    let cut = cut % bytes.len();
    let error = decode(&bytes[..cut]).expect_err("cut bytes decoded");
    assert!(error.offset <= cut, "{error:?} lies past the end {cut}");

    let longer = [bytes, &[0]].concat();
    decode(&longer).expect_err("bytes left over were taken");

    let mut flipped = bytes.to_vec();
    let bit = flip % (bytes.len() * 8);
    flipped[bit / 8] ^= 1 << (bit % 8);
    if let Ok(other) = decode(&flipped) {
        assert_ne!(&other, value, "bit {bit} means nothing");
        let mut again = Vec::new();
        encode(&other, &mut again);
        assert_eq!(again, flipped, "another form of one value");
    }
}

type Requests = Vec<(Origin, Vec<Command>)>;

fn encode_entry(entry: &(Timestamp, Requests), out: &mut Vec<u8>) {
    let mut writer = EntryWriter::new(1 << 20);
    writer.begin(entry.0);
    for (origin, commands) in &entry.1 {
        let commands = &commands[..];
        let request = match *origin {
            Origin::Internal => Request::Internal { commands },
            Origin::OpenSession { nonce } => Request::OpenSession { nonce },
            Origin::Session {
                client,
                sequence,
                behind,
            } => Request::Session {
                client,
                sequence,
                behind,
                commands,
            },
        };
        writer.push(&request).expect("room");
    }
    out.extend_from_slice(writer.finish());
}

fn encode_entry_v1(entry: &(Timestamp, Requests), out: &mut Vec<u8>) {
    let mut writer = EntryWriterV1::new(entry.0);
    for command in entry.1.iter().flat_map(|(_, commands)| commands) {
        writer.push(command);
    }
    out.extend(writer.finish());
}

fn decode_entry(bytes: &[u8]) -> Result<(Timestamp, Requests), DecodeError> {
    let reader = EntryReader::new(bytes)?;
    let time = reader.time();
    let requests = reader.map(|request| {
        let request = request?;
        Ok((
            request.origin(),
            request.commands().collect::<Result<_, _>>()?,
        ))
    });
    let requests = requests.collect::<Result<Requests, _>>();
    // Read in place, it is the same, or fails as well.
    assert_eq!(in_place(bytes).ok(), requests.clone().ok());
    Ok((time, requests?))
}

fn in_place(bytes: &[u8]) -> Result<Requests, DecodeError> {
    let mut reader = EntryReader::new(bytes)?.in_place();
    let mut requests = Vec::new();
    while let Some(request) = reader.next_request() {
        let (origin, _) = request?;
        let mut commands = Vec::new();
        let mut command = Command::Tick;
        while let Some(read) = reader.next_command(&mut command) {
            read?;
            commands.push(command);
        }
        requests.push((origin, commands));
    }
    Ok(requests)
}

fn request() -> impl Strategy<Value = (Origin, Vec<Command>)> {
    let commands = || prop::collection::vec(strategies::command(), 0..4);
    prop_oneof![
        commands().prop_map(|commands| (Origin::Internal, commands)),
        any::<u64>().prop_map(|nonce| (Origin::OpenSession { nonce }, Vec::new())),
        (any::<(u64, u64, u32)>(), commands()).prop_map(
            |((client, sequence, behind), commands)| {
                (
                    Origin::Session {
                        client,
                        sequence,
                        behind,
                    },
                    commands,
                )
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn commands(value in strategies::command(), flip: usize, cut: usize) {
        let mut bytes = Vec::new();
        command::encode(&value, &mut bytes);
        prop_assert!(bytes.len() <= command::BYTES_MAX);
        check(&value, &bytes, command::encode, command::decode, flip, cut);
    }

    #[test]
    fn events(value in strategies::event(), flip: usize, cut: usize) {
        let mut bytes = Vec::new();
        event::encode(&value, &mut bytes);
        check(&value, &bytes, event::encode, event::decode, flip, cut);
    }

    #[test]
    fn entries(
        time: u64,
        requests in prop::collection::vec(request(), 0..5),
        flip: usize,
        cut: usize,
    ) {
        let value = (Timestamp(time), requests);
        let mut bytes = Vec::new();
        encode_entry(&value, &mut bytes);
        check(&value, &bytes, encode_entry, decode_entry, flip, cut);

        // A leader that copies what it read writes the same bytes.
        let mut writer = EntryWriter::new(1 << 20);
        writer.begin(value.0);
        for request in EntryReader::new(&bytes).unwrap() {
            let request = request.unwrap();
            let commands = request.commands();
            let count = u16::try_from(request.command_count()).unwrap();
            writer.push_encoded(request.origin(), count, commands.bytes()).unwrap();
        }
        prop_assert_eq!(writer.finish(), &bytes[..]);
    }

    #[test]
    fn entries_of_version_1(
        time: u64,
        commands in prop::collection::vec(strategies::command(), 0..6),
        flip: usize,
        cut: usize,
    ) {
        let value = (Timestamp(time), vec![(Origin::Internal, commands)]);
        let mut bytes = Vec::new();
        encode_entry_v1(&value, &mut bytes);
        check(&value, &bytes, encode_entry_v1, decode_entry, flip, cut);
    }

    #[test]
    fn messages(kind in prop::sample::select(message::KINDS.to_vec()), seed in any::<[u64; 4]>(), texts: [String; 2],
        bytes in prop::collection::vec(any::<u8>(), 0..100), flip: usize, cut: usize) {
        let value = messages::message(kind.0, seed, [&texts[0], &texts[1]], &bytes);
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        prop_assert_eq!(bytes[0], kind.0);
        prop_assert_eq!(Message::decode(&bytes), Ok(value));
        messages::check(&value, &bytes, flip, cut);
    }

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = command::decode(&bytes);
        let _ = event::decode(&bytes);
        let _ = snapshot::decode(&bytes);
        let _ = decode_entry(&bytes);
        let _ = event::decode_all(&bytes).count();
        let _ = command::decode_all(&bytes, 7).count();
        let _ = Message::decode(&bytes);
    }

    /// Bytes that get past an entry's header, or a message's kind.
    #[test]
    fn arbitrary_contents(
        version in 1u8..=2,
        count in 0u8..5,
        kind in prop::sample::select(message::KINDS.to_vec()),
        body in prop::collection::vec(prop_oneof![3 => Just(0u8), 3 => 0..4u8, 2 => any::<u8>()], 0..250),
    ) {
        let mut bytes = vec![version, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, count, 0, 0, 0];
        bytes.extend(&body);
        if let Ok(value) = decode_entry(&bytes) {
            let encode = if version == 1 { encode_entry_v1 } else { encode_entry };
            let mut again = Vec::new();
            encode(&value, &mut again);
            prop_assert_eq!(&again, &bytes);
        }
        let bytes = [&[kind.0], &body[..]].concat();
        if let Ok(value) = Message::decode(&bytes) {
            let mut again = Vec::new();
            value.encode(&mut again);
            prop_assert_eq!(&again, &bytes);
        }
    }

    /// Bytes that get past the frame: a known tag and a length that fits.
    #[test]
    fn arbitrary_bodies(
        tag in prop::sample::select(command::TAGS.iter().chain(event::TAGS).map(|t| t.0).collect::<Vec<_>>()),
        body in prop::collection::vec(prop_oneof![3 => Just(0u8), 3 => 0..4u8, 2 => any::<u8>()], 0..250),
    ) {
        let mut bytes = tag.to_le_bytes().to_vec();
        bytes.extend((body.len() as u16).to_le_bytes());
        bytes.extend(&body);
        if let Ok(value) = command::decode(&bytes) {
            let mut again = Vec::new();
            command::encode(&value, &mut again);
            prop_assert_eq!(&again, &bytes);
        }
        if let Ok(value) = event::decode(&bytes) {
            let mut again = Vec::new();
            event::encode(&value, &mut again);
            prop_assert_eq!(&again, &bytes);
        }
    }
}

/// The strategies leave no kind out: the properties above are of all of them.
#[test]
fn strategies_make_every_kind() {
    fn kinds<T: Debug>(strategy: BoxedStrategy<T>, tag_of: impl Fn(&T) -> u16) -> BTreeSet<u16> {
        let mut runner = TestRunner::deterministic();
        let mut next = || strategy.new_tree(&mut runner).unwrap().current();
        (0..2_000).map(|_| tag_of(&next())).collect()
    }
    fn tag(encode: impl FnOnce(&mut Vec<u8>)) -> u16 {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        u16::from_le_bytes([bytes[0], bytes[1]])
    }
    let commands = kinds(strategies::command(), |c| {
        tag(|out| command::encode(c, out))
    });
    assert!(commands.into_iter().eq(command::TAGS.iter().map(|t| t.0)));
    let events = kinds(strategies::event(), |e| tag(|out| event::encode(e, out)));
    assert!(events.into_iter().eq(event::TAGS.iter().map(|t| t.0)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn snapshots(value in strategies::venue_snapshot(), flip: usize, cut: usize) {
        let mut bytes = Vec::new();
        snapshot::encode(&value, &mut bytes);
        check(&value, &bytes, snapshot::encode, snapshot::decode, flip, cut);
        // The streamed hash is the hash of the bytes.
        let whole = twox_hash::XxHash3_128::oneshot(&bytes);
        prop_assert_eq!(state_hash(&value).0, whole.to_be_bytes());
    }
}
