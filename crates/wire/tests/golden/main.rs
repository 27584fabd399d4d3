//! Golden files: the bytes of version 1, kept for ever. Goal: no change of the code changes a
//! byte that a log, a snapshot or a hash already has. Method: samples with a distinct value in
//! every field, written by a fixed function, must equal the files in `golden/v1/` and decode from
//! them. `EVEROPEN_BLESS=1` writes the files; do that only for kinds that are new.

mod samples;

use std::collections::BTreeSet;
use std::fmt::{Debug, Write};
use std::path::PathBuf;

use everopen_wire::{
    DecodeError, EntryReader, EntryWriter, EventHasher, command, event, snapshot, state_hash,
};

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "golden", "v1", name]
        .iter()
        .collect()
}

/// Compares with a file, or writes it when asked to.
fn compare(name: &str, bytes: &[u8]) {
    let path = path(name);
    if std::env::var_os("EVEROPEN_BLESS").is_some_and(|v| v == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        return;
    }
    let golden = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let first = bytes.iter().zip(&golden).position(|(a, b)| a != b);
    assert!(
        golden == bytes,
        "{name} differs at byte {:?} of {} and {}",
        first.unwrap_or(bytes.len().min(golden.len())),
        bytes.len(),
        golden.len()
    );
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// Checks the samples of one framed type: bytes, files, decoding of the files, every tag covered.
fn framed<T: Debug + PartialEq>(
    name: &str,
    samples: &[T],
    tags: &[(u16, &str)],
    encode: fn(&T, &mut Vec<u8>),
    decode: fn(&[u8]) -> Result<T, DecodeError>,
) {
    let (mut all, mut text, mut seen) = (Vec::new(), String::new(), BTreeSet::new());
    for sample in samples {
        let start = all.len();
        encode(sample, &mut all);
        let bytes = &all[start..];
        let tag = u16::from_le_bytes([bytes[0], bytes[1]]);
        seen.insert(tag);
        let variant = tags.iter().find(|t| t.0 == tag).expect("a listed tag").1;
        let debug = format!("{sample:?}");
        assert!(
            debug.starts_with(variant),
            "tag {tag} is {variant}, not {debug}"
        );
        writeln!(text, "{tag} {variant}\n  {}\n  {debug}", hex(bytes)).unwrap();
    }
    let missing: Vec<_> = tags.iter().filter(|t| !seen.contains(&t.0)).collect();
    assert!(missing.is_empty(), "no sample of {missing:?}");
    compare(&format!("{name}.bin"), &all);
    compare(&format!("{name}.txt"), text.as_bytes());

    let golden = std::fs::read(path(&format!("{name}.bin"))).unwrap();
    let (mut rest, mut read) = (&golden[..], Vec::new());
    while !rest.is_empty() {
        let count = 4 + usize::from(u16::from_le_bytes([rest[2], rest[3]]));
        read.push(decode(&rest[..count]).unwrap());
        rest = &rest[count..];
    }
    assert_eq!(read, samples);
}

#[test]
fn commands_are_what_they_were() {
    framed(
        "commands",
        &samples::commands(),
        command::TAGS,
        command::encode,
        command::decode,
    );
}

#[test]
fn events_and_their_hash_are_what_they_were() {
    let events = samples::events();
    framed("events", &events, event::TAGS, event::encode, event::decode);
    let mut hasher = EventHasher::new();
    let mut text = format!("{} before the first event\n", hasher.hash());
    for event in &events {
        hasher.push(event);
        let debug = format!("{event:?}");
        let name = debug.split([' ', '{']).next().unwrap();
        writeln!(text, "{} {name}", hasher.hash()).unwrap();
        // Going on from 16 bytes is going on.
        hasher = EventHasher::resume(hasher.hash());
    }
    compare("events.hash.txt", text.as_bytes());
}

#[test]
fn an_entry_is_what_it_was() {
    let commands = samples::commands();
    let mut writer = EntryWriter::new(1 << 16);
    writer.begin(samples::TIME);
    for command in &commands {
        writer.push(command).unwrap();
    }
    let bytes = writer.finish().to_vec();
    compare("entry.bin", &bytes);
    compare("entry.txt", format!("{}\n", hex(&bytes)).as_bytes());
    let golden = std::fs::read(path("entry.bin")).unwrap();
    let reader = EntryReader::new(&golden).unwrap();
    assert_eq!(reader.time(), samples::TIME);
    let read: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(read, commands);
}

#[test]
fn a_snapshot_and_its_hash_are_what_they_were() {
    let state = samples::snapshot();
    let mut bytes = Vec::new();
    snapshot::encode(&state, &mut bytes);
    compare("snapshot.bin", &bytes);
    let text = format!("{}\n{}\n{state:#?}\n", state_hash(&state), hex(&bytes));
    compare("snapshot.txt", text.as_bytes());
    let golden = std::fs::read(path("snapshot.bin")).unwrap();
    assert_eq!(snapshot::decode(&golden), Ok(state));
}
