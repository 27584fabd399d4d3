//! Decoders: whatever bytes come, the answer is a value or an error, and a value goes back to the same bytes.

use everopen_domain::{
    Amount, AssetId, Command, Event, InstrumentId, LogIndex, MemberId, NewOrder, OrderId,
    OrderTarget, OrderType, Price, Quantity, Side, Stop, StopDirection, Timestamp, TradeId,
};
use everopen_journal::{Tail, scan};
use everopen_orderflow::feed::{Feed, Format, Options};
use everopen_wire::entry::{EntryWriterV1, HEADER_BYTES, REQUEST_BYTES_MAX};
use everopen_wire::message::{DigestKind, Message, RefusalCode, Role};
use everopen_wire::{EntryReader, EntryWriter, Request, command, event, snapshot, state_hash};
use std::io::Read;

/// One command.
pub fn wire_command(data: &[u8]) {
    if let Ok(value) = command::decode(data) {
        let mut again = Vec::new();
        command::encode(&value, &mut again);
        assert_eq!(again, data, "one value, one form: {value:?}");
    }
}

/// One event, and the same bytes as a run of events.
pub fn wire_event(data: &[u8]) {
    if let Ok(value) = event::decode(data) {
        let mut again = Vec::new();
        event::encode(&value, &mut again);
        assert_eq!(again, data, "one value, one form: {value:?}");
    }
    let mut again = Vec::new();
    let mut failed = false;
    // Each event takes at least one byte, so a run that never ends shows itself.
    for result in event::decode_all(data).take(data.len() + 1) {
        assert!(!failed, "nothing comes after an error");
        match result {
            Ok(value) => event::encode(&value, &mut again),
            Err(_) => failed = true,
        }
    }
    assert!(data.starts_with(&again));
    assert!(
        failed || again == data,
        "the run ended before the bytes did"
    );
}

/// A log entry, of every version: a time and some requests.
pub fn wire_entry(data: &[u8]) {
    let Ok(reader) = EntryReader::new(data) else {
        return;
    };
    let mut writer =
        EntryWriter::new(data.len() + HEADER_BYTES + REQUEST_BYTES_MAX + command::BYTES_MAX);
    writer.begin(reader.time());
    let mut v1 = EntryWriterV1::new(reader.time());
    let version = reader.version();
    for request in reader {
        let Ok(request) = request else {
            return;
        };
        let commands: Vec<_> = request.commands().take(data.len() + 1).collect();
        for command in &commands {
            match command {
                Ok(command) => v1.push(command),
                Err(_) => return,
            }
        }
        if version > 1 {
            let count = u16::try_from(commands.len()).expect("the count of a request is two bytes");
            writer
                .push_encoded(request.origin(), count, request.commands().bytes())
                .expect("an entry of the same size has room");
        }
    }
    let again = match version {
        1 => v1.finish(),
        _ => writer.finish().to_vec(),
    };
    assert_eq!(again, data, "one value, one form");
}

/// A message between processes.
pub fn wire_message(data: &[u8]) {
    if let Ok(message) = Message::decode(data) {
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(again, data, "one value, one form: {message:?}");
        match message {
            Message::Submit {
                count, commands, ..
            } => {
                let read = command::decode_all(commands, count.into());
                assert!(read.count() <= usize::from(count) + 1);
            }
            Message::Outcome { events, .. } | Message::Entry { events, .. } => {
                assert!(event::decode_all(events).count() <= events.len());
            }
            _ => {}
        }
    }
}

/// A snapshot of the venue, which the venue takes or refuses.
pub fn wire_snapshot(data: &[u8]) {
    let Ok(state) = snapshot::decode(data) else {
        return;
    };
    let mut again = Vec::new();
    snapshot::encode(&state, &mut again);
    assert_eq!(again, data, "one value, one form");
    // A snapshot that was not written by a venue may contradict itself: that is an error, not a panic.
    if let Ok(venue) = everopen_venue::Venue::restore(&state) {
        assert_eq!(
            state_hash(&venue.snapshot()),
            state_hash(&state),
            "restored as it was"
        );
    }
}

/// NASDAQ TotalView-ITCH 5.0.
pub fn itch(data: &[u8]) {
    let whole = everopen_orderflow::itch::decode_slice(data)
        .ok()
        .map(|count| format!("{count:?}"));
    feed(data, Format::Itch, whole);
}

/// LOBSTER messages.
pub fn lobster(data: &[u8]) {
    let whole = everopen_orderflow::lobster::decode_slice(data)
        .ok()
        .map(|count| format!("{count:?}"));
    feed(data, Format::Lobster, whole);
}

/// A Bitstamp order table.
pub fn bitstamp(data: &[u8]) {
    let whole = everopen_orderflow::bitstamp::decode_slice(data)
        .ok()
        .map(|count| format!("{count:?}"));
    feed(data, Format::Bitstamp, whole);
}

/// Reading in small pieces must find what reading at once finds; compressed input is opened here, too.
fn feed(data: &[u8], format: Format, whole: Option<String>) {
    let options = || Options {
        format: Some(format),
        ..Options::default()
    };
    let pieces = Pieces { data, size: 1 };
    let mut count = everopen_orderflow::feed::Count::default();
    let Ok(mut opened) = Feed::from_reader("fuzz", pieces, Some(data.len() as u64), options())
    else {
        return;
    };
    let ended_well = loop {
        match opened.read() {
            Ok(Some(message)) => count.add(&message),
            Ok(None) => break true,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break false;
            }
        }
    };
    let compressed = data.starts_with(&[0x1f, 0x8b]) || data.starts_with(&[0xfd, b'7']);
    if !compressed {
        assert_eq!(
            ended_well.then(|| format!("{count:?}")),
            whole,
            "pieces and the whole differ"
        );
    }
}

/// Gives its bytes in pieces of 1, 2, … 7 and again from 1.
struct Pieces<'a> {
    data: &'a [u8],
    size: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.size.min(self.data.len()).min(out.len());
        let (now, later) = self.data.split_at(count);
        out[..count].copy_from_slice(now);
        self.data = later;
        self.size = self.size % 7 + 1;
        Ok(count)
    }
}

/// A journal segment.
pub fn journal_scan(data: &[u8]) {
    let report = scan(data);
    if report.header.is_none() {
        assert!(
            matches!(report.tail, Tail::Corrupt { .. } | Tail::Torn { .. }),
            "{report:?}"
        );
    }
    if let Some(last) = report.last_frame {
        assert!(report.frames > 0 && last < report.end, "{report:?}");
    }
    if let Tail::Torn { offset, .. } | Tail::Corrupt { offset, .. } = report.tail {
        assert!(offset <= data.len().max(4096) as u64, "{report:?}");
    }
    assert_eq!(scan(data), report, "the same bytes, the same report");
}

fn orders() -> [NewOrder; 3] {
    let limit = NewOrder {
        instrument: InstrumentId(1),
        side: Side::Sell,
        price: Price(6_000_000),
        size: Quantity(150_000),
        client_order_id: "11838707-bf9c-4d65-8cec-b57c9a7cab42"
            .parse()
            .unwrap_or_default(),
        ..NewOrder::default()
    };
    let market = NewOrder {
        order_type: OrderType::Market,
        price: Price::ZERO,
        funds: Amount(1 << 70),
        ..limit
    };
    let stop = Stop {
        direction: StopDirection::Entry,
        price: Price(7_000_000),
    };
    [
        limit,
        market,
        NewOrder {
            stop: Some(stop),
            post_only: true,
            ..limit
        },
    ]
}

fn some_commands() -> Vec<Command> {
    let order = OrderId {
        sequence: 77,
        instrument: InstrumentId(1),
        slot: 3,
    };
    let mut all = vec![
        Command::Tick,
        Command::AddAsset {
            code: "BTC".parse().unwrap_or_default(),
            decimals: 8,
        },
        Command::CancelOrder {
            member: MemberId(2),
            target: OrderTarget::Order(order),
        },
        Command::Deposit {
            member: MemberId(2),
            asset: AssetId(1),
            amount: Amount(i128::MAX),
            reference: "ref-1".parse().unwrap_or_default(),
        },
    ];
    all.extend(orders().map(|order| Command::PlaceOrder {
        member: MemberId(2),
        order,
    }));
    all
}

fn encoded<T>(values: &[T], encode: fn(&T, &mut Vec<u8>)) -> Vec<Vec<u8>> {
    let one = |value| {
        let mut bytes = Vec::new();
        encode(value, &mut bytes);
        bytes
    };
    values.iter().map(one).collect()
}

/// Commands of several kinds.
pub fn command_seeds() -> Vec<Vec<u8>> {
    encoded(&some_commands(), command::encode)
}

/// Events of several kinds.
pub fn event_seeds() -> Vec<Vec<u8>> {
    let id = |slot| OrderId {
        sequence: 77,
        instrument: InstrumentId(1),
        slot,
    };
    let traded = Event::Traded {
        trade: TradeId(9),
        sequence: 1000,
        maker_order: id(1),
        taker_order: id(2),
        maker: MemberId(1),
        taker: MemberId(2),
        maker_side: Side::Buy,
        price: Price(6_000_000),
        quantity: Quantity(100),
        notional: Amount(600_000_000),
        maker_fee: Amount(-3),
        taker_fee: Amount(7),
        maker_remaining: Quantity(5),
        maker_visible: Quantity(5),
        taker_remaining: Quantity(0),
        auction: false,
    };
    let balance = Event::BalanceChanged {
        member: MemberId(1),
        asset: AssetId(1),
        available: Amount(1),
        held: Amount(2),
    };
    let mut seeds = encoded(&[traded, balance], event::encode);
    seeds.push(seeds.concat());
    seeds
}

/// Entries with no, one and all of the commands above, of both versions.
pub fn entry_seeds() -> Vec<Vec<u8>> {
    let commands = some_commands();
    let time = Timestamp(1_700_000_000_000_000_000);
    let mut seeds = Vec::new();
    for count in [0, 1, commands.len()] {
        let commands = &commands[..count];
        let mut v1 = EntryWriterV1::new(time);
        commands.iter().for_each(|command| v1.push(command));
        seeds.push(v1.finish());
        let mut writer = EntryWriter::new(1 << 16);
        writer.begin(time);
        for request in [
            Request::OpenSession { nonce: 5 },
            Request::Internal { commands },
            Request::Session {
                client: 1,
                sequence: 2,
                behind: 1,
                commands,
            },
        ] {
            writer.push(&request).expect("a few commands fit");
        }
        seeds.push(writer.finish().to_vec());
    }
    seeds
}

/// Messages of several kinds.
pub fn message_seeds() -> Vec<Vec<u8>> {
    let commands = command_seeds();
    let events = event_seeds();
    let messages = [
        Message::Hello {
            protocol: 1,
            role: Role::Client,
            node: 0,
            cluster: [1; 16],
            logic_min: 1,
            logic_max: 2,
            address: "127.0.0.1:7001",
            build: "0.1.0",
        },
        Message::Submit {
            request: 1,
            client: 2,
            sequence: 3,
            behind: 1,
            count: 1,
            commands: &commands[0],
        },
        Message::Outcome {
            request: 1,
            index: LogIndex(9),
            time: Timestamp(10),
            count: 1,
            events: &events[0],
        },
        Message::Refused {
            request: 1,
            code: RefusalCode::NotLeader,
            retry_after_ms: 5,
            leader: 2,
            leader_address: "127.0.0.1:7002",
        },
        Message::Digest {
            index: LogIndex(4),
            hash: [7; 16],
            kind: DigestKind::State,
        },
    ];
    let mut seeds = Vec::new();
    for message in messages {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        seeds.push(bytes);
    }
    seeds
}

/// The state of an empty venue and of one that was used.
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    let states = [
        everopen_venue::Venue::new().snapshot(),
        crate::venue::used_venue().snapshot(),
    ];
    encoded(&states, snapshot::encode)
}

/// A short day, by the crate's own writer.
pub fn itch_seeds() -> Vec<Vec<u8>> {
    let symbol = "TEST".parse().expect("four letters are a symbol");
    let mut writer = everopen_orderflow::itch::Writer::new(Vec::new());
    let mut write = || -> std::io::Result<()> {
        writer.system_event(1, b'O')?;
        writer.directory(1, 2, symbol, 100)?;
        writer.add(1, 3, 10, Side::Buy, 500, symbol, 1_000_000)?;
        writer.add(1, 4, 11, Side::Sell, 300, symbol, 1_010_000)?;
        writer.delete(1, 5, 11)?;
        writer.system_event(6, b'C')
    };
    write().expect("a vector takes all bytes");
    vec![writer.into_inner()]
}

/// Rows of each event type.
pub fn lobster_seeds() -> Vec<Vec<u8>> {
    vec![
        b"34200.004241176,1,16113575,18,5853300,1\n34200.025551909,4,16113575,10,5853300,1\n\
          34200.1,2,16113575,4,5853300,1\n34200.2,3,16113575,4,5853300,1\n34200.3,5,0,7,5853400,-1\n"
            .to_vec(),
    ]
}

/// A header and a life of an order.
pub fn bitstamp_seeds() -> Vec<Vec<u8>> {
    vec![
        b"id,timestamp,exchange.timestamp,price,volume,action,direction\n\
          65512451,1430438404000,1430438404000,236.50,7000000000,created,bid\n\
          65512451,1430438405000,1430438404000,236.50,6000000000,changed,bid\n\
          65512451,1430438406000,1430438404000,236.50,6000000000,deleted,bid\n"
            .to_vec(),
    ]
}

/// The first segment of a small journal that was closed, and the same bytes without its zeros.
pub fn journal_seeds() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = everopen_journal::Config::new(folder.path());
    config.segment_bytes = 64 << 10;
    config.max_record_bytes = 4 << 10;
    config.durability = everopen_journal::Durability::Memory;
    let (mut journal, _) = everopen_journal::Journal::open(config).expect("an empty folder opens");
    for size in [1, 64, 0, 700] {
        journal.append(&vec![7; size]).expect("a small record fits");
        journal.commit().expect("a commit without a disk's promise");
    }
    drop(journal);
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(folder.path()).expect("the folder can be read") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a segment can be read");
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            seeds.push(bytes[..=last].to_vec());
        }
    }
    seeds
}
