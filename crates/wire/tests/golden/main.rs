//! Golden files: the bytes of every version, kept for ever. Goal: no change of the code changes a
//! byte that a log, a snapshot, a message or a hash already has. Method: samples with a distinct
//! value in every field, written by a fixed function, must equal the files in `golden/` and decode
//! from them. `EVEROPEN_BLESS=1` writes the files; do that only for kinds that are new.

mod messages;
mod samples;

use std::collections::BTreeSet;
use std::fmt::{Debug, Write};
use std::path::PathBuf;

use everopen_wire::entry::EntryWriterV1;
use everopen_wire::message::{self, Message};
use everopen_wire::{
    DecodeError, EntryReader, EntryWriter, EventHasher, Origin, Request, command, event, snapshot,
    state_hash,
};

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "golden", name]
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
    files: &[(&str, &[T])],
    tags: &[(u16, &str)],
    encode: fn(&T, &mut Vec<u8>),
    decode: fn(&[u8]) -> Result<T, DecodeError>,
) {
    let mut seen = BTreeSet::new();
    for (name, samples) in files {
        let (mut all, mut text) = (Vec::new(), String::new());
        for sample in *samples {
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
        compare(&format!("{name}.bin"), &all);
        compare(&format!("{name}.txt"), text.as_bytes());

        let golden = std::fs::read(path(&format!("{name}.bin"))).unwrap();
        let (mut rest, mut read) = (&golden[..], Vec::new());
        while !rest.is_empty() {
            let count = 4 + usize::from(u16::from_le_bytes([rest[2], rest[3]]));
            read.push(decode(&rest[..count]).unwrap());
            rest = &rest[count..];
        }
        assert_eq!(&read, samples);
    }
    let missing: Vec<_> = tags.iter().filter(|t| !seen.contains(&t.0)).collect();
    assert!(missing.is_empty(), "no sample of {missing:?}");
}

#[test]
fn commands_are_what_they_were() {
    framed(
        &[
            ("v1/commands", &samples::commands()),
            ("v2/commands", &samples::later_commands()),
        ],
        command::TAGS,
        command::encode,
        command::decode,
    );
}

#[test]
fn events_and_their_hash_are_what_they_were() {
    let events = samples::events();
    framed(
        &[
            ("v1/events", &events),
            ("v2/events", &samples::later_events()),
        ],
        event::TAGS,
        event::encode,
        event::decode,
    );
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
    compare("v1/events.hash.txt", text.as_bytes());
}

#[test]
fn an_entry_of_version_1_is_what_it_was() {
    let commands = samples::commands();
    let mut writer = EntryWriterV1::new(samples::TIME);
    for command in &commands {
        writer.push(command);
    }
    let bytes = writer.finish();
    compare("v1/entry.bin", &bytes);
    compare("v1/entry.txt", format!("{}\n", hex(&bytes)).as_bytes());
    let golden = std::fs::read(path("v1/entry.bin")).unwrap();
    let mut reader = EntryReader::new(&golden).unwrap();
    assert_eq!((reader.version(), reader.time()), (1, samples::TIME));
    let request = reader.next().unwrap().unwrap();
    assert_eq!(request.origin(), Origin::Internal);
    assert!(request.commands().eq(commands.into_iter().map(Ok)));
    assert!(reader.next().is_none());
}

#[test]
fn an_entry_is_what_it_was() {
    let commands = samples::commands();
    let requests = [
        Request::Internal {
            commands: &commands[..1],
        },
        Request::OpenSession {
            nonce: 0x0102_0304_0506_0708,
        },
        Request::Session {
            client: 0x1112_1314_1516_1718,
            sequence: 0x2122_2324_2526_2728,
            behind: 0x3132_3334,
            commands: &commands[1..],
        },
    ];
    let mut writer = EntryWriter::new(1 << 16);
    writer.begin(samples::TIME);
    for request in &requests {
        writer.push(request).unwrap();
    }
    let bytes = writer.finish().to_vec();
    compare("v2/entry.bin", &bytes);
    compare("v2/entry.txt", format!("{}\n", hex(&bytes)).as_bytes());
    let golden = std::fs::read(path("v2/entry.bin")).unwrap();
    let reader = EntryReader::new(&golden).unwrap();
    assert_eq!((reader.version(), reader.time()), (2, samples::TIME));
    let read: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(read.len(), requests.len());
    for (read, request) in read.iter().zip(&requests) {
        assert_eq!(read.origin(), request.origin());
        assert!(
            read.commands()
                .eq(request.commands().iter().copied().map(Ok))
        );
    }
}

#[test]
fn messages_are_what_they_were() {
    let samples = messages::messages();
    let (mut all, mut text, mut seen) = (Vec::new(), String::new(), BTreeSet::new());
    let mut bounds = vec![0];
    for sample in &samples {
        let start = all.len();
        sample.encode(&mut all);
        bounds.push(all.len());
        let bytes = &all[start..];
        seen.insert(bytes[0]);
        let debug = format!("{sample:?}");
        let name = debug.split(' ').next().unwrap();
        assert!(message::KINDS.contains(&(bytes[0], name)), "{debug}");
        writeln!(text, "{} {name}\n  {}\n  {debug}", bytes[0], hex(bytes)).unwrap();
    }
    let missing: Vec<_> = message::KINDS
        .iter()
        .filter(|kind| !seen.contains(&kind.0))
        .collect();
    assert!(missing.is_empty(), "no sample of {missing:?}");
    compare("protocol1/messages.bin", &all);
    compare("protocol1/messages.txt", text.as_bytes());
    let golden = std::fs::read(path("protocol1/messages.bin")).unwrap();
    for (bounds, sample) in bounds.windows(2).zip(samples) {
        assert_eq!(Message::decode(&golden[bounds[0]..bounds[1]]), Ok(sample));
    }
}

#[test]
fn a_snapshot_and_its_hash_are_what_they_were() {
    let first = samples::snapshot();
    let mut second = first.clone();
    second.logic = 2;
    for (version, state) in [("v1", first), ("v2", second)] {
        let mut bytes = Vec::new();
        snapshot::encode(&state, &mut bytes);
        compare(&format!("{version}/snapshot.bin"), &bytes);
        let text = format!("{}\n{}\n", state_hash(&state), hex(&bytes));
        if version == "v1" {
            // After these lines it has the state in Rust's form, which has new fields since.
            let released = std::fs::read_to_string(path("v1/snapshot.txt")).unwrap();
            assert!(released.starts_with(&text));
        } else {
            let text = format!("{text}{state:#?}\n");
            compare(&format!("{version}/snapshot.txt"), text.as_bytes());
        }
        let golden = std::fs::read(path(&format!("{version}/snapshot.bin"))).unwrap();
        assert_eq!(snapshot::decode(&golden), Ok(state));
    }
}
