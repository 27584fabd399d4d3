//! Properties of every decoder. Goal: INV-WIRE-1 to 3 and "one value, one form". Method: arbitrary
//! values round trip; arbitrary, cut, extended and flipped bytes either fail or mean something
//! else; never a panic.

use core::fmt::Debug;
use std::collections::BTreeSet;

use everopen_domain::{Command, Timestamp};
use everopen_wire::{
    DecodeError, EntryReader, EntryWriter, command, event, snapshot, state_hash, strategies,
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

fn encode_entry(entry: &(Timestamp, Vec<Command>), out: &mut Vec<u8>) {
    let mut writer = EntryWriter::new(1 << 20);
    writer.begin(entry.0);
    for command in &entry.1 {
        writer.push(command).expect("room");
    }
    out.extend_from_slice(writer.finish());
}

fn decode_entry(bytes: &[u8]) -> Result<(Timestamp, Vec<Command>), DecodeError> {
    let reader = EntryReader::new(bytes)?;
    Ok((reader.time(), reader.collect::<Result<_, _>>()?))
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
        commands in prop::collection::vec(strategies::command(), 0..6),
        flip: usize,
        cut: usize,
    ) {
        let value = (Timestamp(time), commands);
        let mut bytes = Vec::new();
        encode_entry(&value, &mut bytes);
        check(&value, &bytes, encode_entry, decode_entry, flip, cut);
    }

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = command::decode(&bytes);
        let _ = event::decode(&bytes);
        let _ = snapshot::decode(&bytes);
        let _ = decode_entry(&bytes);
        let _ = event::decode_all(&bytes).count();
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
