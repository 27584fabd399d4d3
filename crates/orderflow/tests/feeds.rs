//! Recorded feeds: the real files where they are at hand, damage of every kind.

mod support;

use std::collections::BTreeMap;

use std::io::{Read, Write};

use everopen_orderflow::feed::{
    Action, Clock, Compression, Count, Feed, FeedError, FeedMessage, Format, Options, Problem, Side,
};
use everopen_orderflow::{bitstamp, itch, lobster, samples};
use lzma_rust2::{XzOptions, XzWriter};
use support::{sample, shared_market};

fn read(bytes: &[u8]) -> Result<Vec<FeedMessage>, FeedError> {
    Feed::from_reader("test", bytes, Some(bytes.len() as u64), Options::default())?.collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// The uncompressed bytes of a sample.
fn plain(file: &str) -> Vec<u8> {
    let bytes = std::fs::read(sample(file)).unwrap();
    if !file.ends_with(".gz") {
        return bytes;
    }
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..])
        .read_to_end(&mut out)
        .unwrap();
    out
}

/// The first messages of a sample, small enough to damage every byte of.
fn small(file: &str) -> Vec<u8> {
    let mut bytes = plain(file);
    let messages = read(&bytes).unwrap();
    bytes.truncate(messages[60].offset as usize);
    bytes
}

#[test]
fn samples_are_made_again_byte_for_byte() {
    for file in samples::FILES {
        let mut made = Vec::new();
        samples::make(file, samples::SEED, &mut made).unwrap();
        if file.ends_with(".gz") {
            // Another version of the compressor may pack the same content otherwise.
            let mut content = Vec::new();
            flate2::read::MultiGzDecoder::new(&made[..])
                .read_to_end(&mut content)
                .unwrap();
            made = content;
        }
        assert!(made == plain(file), "{file} is not what its seed makes");
    }
}

#[test]
fn compression_is_seen_through_whatever_the_name_and_however_many_parts() {
    for file in samples::FILES {
        let bytes = plain(file);
        let messages = read(&bytes).unwrap();
        let (front, back) = bytes.split_at(bytes.len() / 3);
        for packed in [
            gzip(&bytes),
            [gzip(front), gzip(back)].concat(),
            [gzip(front), gzip(b""), gzip(back)].concat(),
            xz(&bytes),
            [xz(front), vec![0; 8], xz(back)].concat(),
        ] {
            assert!(read(&packed).unwrap() == messages, "{file}");
        }
    }
}

#[test]
fn a_cut_file_is_an_error_unless_the_cut_falls_between_messages() {
    for file in samples::FILES {
        let bytes = small(file);
        let messages = read(&bytes).unwrap();
        for cut in 0..bytes.len() {
            let at_boundary = messages.iter().any(|message| message.offset == cut as u64)
                // A last line is whole without its line break.
                || (file.ends_with(".csv") && bytes[cut] == b'\n');
            match read(&bytes[..cut]) {
                Ok(some) => assert!(
                    at_boundary && some[..] == messages[..some.len()],
                    "{file} {cut}"
                ),
                Err(error) => {
                    let empty = matches!(error.problem, Problem::Empty);
                    assert!(!at_boundary || empty, "{file} at {cut}: {error}");
                    assert!(error.offset <= cut as u64, "{file} at {cut}: {error}");
                    assert!(error.to_string().starts_with("test: at offset "), "{error}");
                    let text = file.ends_with(".csv") && cut > 80;
                    assert!(!text || error.line.is_some(), "{file} at {cut}: {error}");
                }
            }
        }
        for packed in [gzip(&bytes), xz(&bytes)] {
            for cut in 0..packed.len() {
                let error = read(&packed[..cut]).expect_err("a cut stream read to its end");
                assert!(
                    error.offset <= bytes.len() as u64,
                    "{file} at {cut}: {error}"
                );
            }
        }
    }
}

#[test]
fn a_flipped_bit_never_panics_and_compressed_never_passes() {
    for file in samples::FILES {
        let bytes = small(file);
        let messages = read(&bytes).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                if let Err(error) = read(&damaged) {
                    assert!(
                        error.offset <= bytes.len() as u64,
                        "{file} {at}.{bit}: {error}"
                    );
                }
            }
        }
        for packed in [gzip(&bytes), xz(&bytes)] {
            for at in 0..packed.len() {
                for bit in 0..8 {
                    let mut damaged = packed.clone();
                    damaged[at] ^= 1 << bit;
                    // Some bits of a gzip header carry nothing, such as the time of packing.
                    if let Ok(read) = read(&damaged) {
                        assert!(read == messages, "{file} {at}.{bit}: other messages pass");
                    }
                }
            }
        }
    }
}

#[test]
fn damage_in_the_real_files_is_named() {
    let names = [
        "smoke.itch.gz",
        "bitstamp-btcusd-2015-05-01-orders.csv.xz",
        "AAPL_2012-06-21_34200000_57600000_message_10.csv",
    ];
    for name in names {
        let Some(path) = shared_market(name) else {
            continue;
        };
        let bytes = std::fs::read(path).unwrap();
        let packed = !name.ends_with(".csv");
        let whole = read(&bytes).unwrap();
        for part in 1..12 {
            let at = bytes.len() * part / 12;
            match read(&bytes[..at]) {
                Ok(some) => assert!(!packed && some.len() < whole.len(), "{name} at {at}"),
                Err(error) => assert!(error.to_string().contains("at offset "), "{error}"),
            }
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            match read(&damaged) {
                Ok(_) => assert!(!packed, "{name} at {at}: damage passes"),
                Err(error) => assert!(error.to_string().contains("at offset "), "{error}"),
            }
        }
    }
}

fn problem(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

#[test]
fn errors_say_where_and_what_was_expected() {
    let header = "id,timestamp,exchange.timestamp,price,volume,action,direction\n";
    let good = "7,1430438404518,1430438404000,236.47,200000000,created,bid\n";
    let table = |row: &str| problem(format!("{header}{good}{row}").as_bytes());
    for (row, expected) in [
        (
            "x,1430438404518,0,236.47,1,created,bid",
            "in id: expected a whole number, found \"x\"",
        ),
        (
            "7,2015-02-30 00:00:00,0,236.47,1,created,bid",
            "found \"2015-02-30 00:00:00\"",
        ),
        (
            "7,1430438404518,0,236.471,1,created,bid",
            "in price: expected a price above zero",
        ),
        ("7,1430438404518,0,-1,1,created,bid", "found \"-1\""),
        (
            "7,1430438404518,0,1,-5,changed,bid",
            "in volume: expected a volume of zero or more",
        ),
        ("7,1430438404518,0,1,0,created,bid", "in volume"),
        (
            "7,1430438404518,0,1,1,invented,bid",
            "expected created, changed or deleted",
        ),
        (
            "7,1430438404518,0,1,1,created,up",
            "expected bid or ask, found \"up\"",
        ),
        (
            "7,1430438404518,0,1,1,created",
            "expected as many as the header's columns, found 6",
        ),
        ("", ""),
    ] {
        if !row.is_empty() {
            let found = table(row);
            assert!(
                found.contains("(line 3)") && found.contains(expected),
                "{row}: {found}"
            );
        }
    }
    let fault = read(format!("{header}{good}7,now,0,1,1,created,bid").as_bytes()).unwrap_err();
    assert_eq!(
        (fault.offset, fault.line),
        ((header.len() + good.len() + 2) as u64, Some(3))
    );

    let row = "34200.004241176,1,16113575,18,5853300,1\n";
    for (bad, expected) in [
        (
            "34200.1,1,5,18,5853300,1,x,y",
            "expected 6 or 7 columns, found 8",
        ),
        ("86400.1,1,5,18,5853300,1", "less than 24 hours"),
        ("34200.1,8,5,18,5853300,1", "expected a number from 1 to 7"),
        (
            "34200.1,1,5,-18,5853300,1",
            "in the size: expected a whole number above zero",
        ),
        ("34200.1,1,5,18,58e3.00,1", "in the price"),
        ("34200.1,1,5,18,5853300,2", "expected 1 or -1"),
        ("34200.1,7,0,0,3,1", "expected -1, 0 or 1"),
    ] {
        let found = problem(format!("{row}{bad}\n").as_bytes());
        assert!(
            found.contains("(line 2)") && found.contains(expected),
            "{bad}: {found}"
        );
    }

    let mut bytes = small("synthetic.itch.gz");
    let end = bytes.len();
    bytes.extend([0, 12, b'z', 0, 0]);
    let found = problem(&bytes);
    let expected = format!(
        "test: at offset {}: expected an ITCH 5.0 message type, found 0x7a",
        end + 2
    );
    assert_eq!(found, expected);
    bytes.truncate(end);
    bytes.extend([0, 13, b'S', 0, 0]);
    let expected =
        format!("test: at offset {end}: expected length 12 for message type S, found 13");
    assert_eq!(problem(&bytes), expected);
    bytes.truncate(end);
    bytes.extend([0, 12, b'S', 0, 0]);
    let expected = "expected a whole message, found the end of the file after 5 of 14 bytes";
    assert_eq!(
        problem(&bytes),
        format!("test: at offset {end}: {expected}")
    );
    bytes.truncate(end);
    bytes.extend([0, 0]);
    assert_eq!(
        read(&bytes).unwrap().len(),
        60,
        "a zero length ends the session"
    );
    bytes.push(1);
    assert!(problem(&bytes).contains("expected the end of the file after the zero length"));

    assert!(problem(b"").contains("empty file"));
    assert!(problem(b"hello, world\n").contains("found none of them"));
    assert!(problem(&[0xFF; 10_000]).contains("found none of them"));
    let missing = Feed::open("/no/such/file", Options::default())
        .err()
        .unwrap();
    assert!(missing.to_string().contains("could not open the file"));
    let long = format!("{row}{}", "1".repeat(10_000));
    assert!(problem(long.as_bytes()).contains("expected a line of at most 4096 bytes"));
}

#[test]
fn other_tables_of_the_same_kind_are_read_by_their_header() {
    let table = "\u{feff}\"side\",\"amount\",\"event\",\"order_id\",\"microtimestamp\",\"price\",\"x\"\r\n\
        \"buy\",\"1.5\",\"order_created\",\"9\",\"1430438404518000\",\"1e+02\",\"\"\r\n";
    let messages = read(table.as_bytes()).unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].time, 1_430_438_404_518_000_000);
    let symbol = everopen_domain::AssetCode::new(b"BTC").unwrap();
    let (side, price, size) = (Side::Buy, 10_000, 150_000_000);
    assert_eq!(
        messages[0].action,
        Action::Add {
            order_ref: 9,
            side,
            price,
            size,
            symbol
        }
    );
}

#[test]
fn every_decoder_takes_any_bytes() {
    type Decode = fn(&[u8]) -> Result<Count, FeedError>;
    let decoders: [Decode; 3] = [
        itch::decode_slice,
        lobster::decode_slice,
        bitstamp::decode_slice,
    ];
    let inputs = samples::FILES.map(small);
    for (decode, own) in decoders.iter().zip(&inputs) {
        assert_eq!(decode(own).unwrap().messages, 60);
        for other in inputs.iter().filter(|other| *other != own) {
            decode(other).expect_err("another format passes");
        }
    }
}

#[test]
fn steps_back_in_time_are_passed_on_and_counted() {
    let rows = "34200.5,1,1,18,5853300,1\n34200.4,1,2,18,5853200,1\n34200.6,3,1,18,5853300,1";
    let mut feed = Feed::from_reader("t", rows.as_bytes(), None, Options::default()).unwrap();
    let times: Vec<u64> = feed.by_ref().map(|message| message.unwrap().time).collect();
    assert_eq!(
        times,
        [34_200_500_000_000, 34_200_400_000_000, 34_200_600_000_000]
    );
    assert_eq!((feed.time_reversals(), feed.line()), (1, Some(4)));
}

#[test]
fn the_real_itch_file_has_the_counted_messages() {
    let Some(path) = shared_market("smoke.itch.gz") else {
        return;
    };
    let mut feed = Feed::open(path, Options::default()).unwrap();
    assert_eq!(feed.format(), Format::Itch);
    assert_eq!(feed.compression(), Compression::Gzip);
    assert_eq!(feed.clock(), Clock::Midnight);
    let mut kinds = BTreeMap::new();
    for message in &mut feed {
        *kinds
            .entry(char::from(message.unwrap().kind))
            .or_insert(0_u32) += 1;
    }
    let counted = [
        ('A', 18_173),
        ('C', 26),
        ('D', 8_811),
        ('E', 271),
        ('F', 18_096),
        ('H', 8_851),
        ('I', 43),
        ('L', 210_669),
        ('P', 242),
        ('Q', 190),
        ('R', 8_849),
        ('S', 3),
        ('U', 8_655),
        ('V', 1),
        ('X', 184),
        ('Y', 8_849),
    ];
    assert_eq!(kinds, BTreeMap::from(counted));
    assert_eq!((feed.offset(), feed.time_reversals()), (8_687_026, 0));
    assert_eq!(
        (feed.position(), feed.total_bytes()),
        (3_565_513, Some(3_565_513))
    );
}

#[test]
fn blank_lines_are_passed_over_and_counted() {
    let text = b"34200.1,1,1,100,5853300,1\r\n\n34200.2,1,2,100,5853400,-1\n\n\r\n";
    assert_eq!(
        everopen_orderflow::lobster::decode_slice(text)
            .expect("a feed")
            .adds,
        2
    );
    let text = b"34200.1,1,1,100,5853300,1\n\n34200.2,1,2,abc,5853400,-1\n";
    let error = everopen_orderflow::lobster::decode_slice(text).unwrap_err();
    assert_eq!((error.offset, error.line), (39, Some(3)), "{error}");
}
