//! What the documentation and the constants promise about the bytes, checked against the code.

use everopen_domain::{
    Command, FeeScheduleId, FeeTiers, InstrumentId, LogIndex, MemberId, NewOrder, OrderTarget,
    Price, Quantity, Text, Timestamp,
};
use everopen_wire::message::{DigestKind, Message, RefusalCode, Role, TEXT_BYTES_MAX};
use everopen_wire::{
    DecodeError, EntryFull, EntryReader, EntryWriter, Origin, Request, command, entry, event,
    message,
};

/// The rows `| tag | `Name` |` of a module's documentation are exactly its tags.
fn documented(source: &str, tags: &[(u16, &str)]) {
    let rows: Vec<String> = source
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
        .collect();
    let expected: Vec<String> = tags
        .iter()
        .map(|(tag, name)| format!("{tag} | `{name}` |"))
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn the_tables_of_tags_are_the_tags() {
    documented(include_str!("../src/command.rs"), command::TAGS);
    documented(include_str!("../src/event.rs"), event::TAGS);
}

fn limit(client_order_id: &str) -> Command {
    Command::PlaceOrder {
        member: MemberId(1),
        order: NewOrder {
            instrument: InstrumentId(2),
            price: Price(6_423_115),
            size: Quantity(150_000_000),
            client_order_id: Text::new(client_order_id.as_bytes()).unwrap(),
            ..NewOrder::default()
        },
    }
}

fn bytes(command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    command::encode(command, &mut bytes);
    bytes
}

#[test]
fn a_plain_limit_order_is_small() {
    assert_eq!(bytes(&limit("")).len(), 30);
    assert_eq!(bytes(&limit("0123456789abcdef")).len(), 47);
    let largest = Command::SetFeeSchedule {
        schedule: FeeScheduleId(0),
        tiers: FeeTiers::default(),
    };
    assert_eq!(bytes(&largest).len(), command::BYTES_MAX);
}

fn from_client(commands: &[Command]) -> Request<'_> {
    Request::Session {
        client: 3,
        sequence: 4,
        behind: 1,
        commands,
    }
}

#[test]
fn a_full_entry_says_so_and_stays_as_it_was() {
    let one = entry::REQUEST_BYTES_MAX + bytes(&limit("")).len();
    let room = entry::HEADER_BYTES + entry::REQUEST_BYTES_MAX + command::BYTES_MAX;
    let mut writer = EntryWriter::new(room);
    assert!(writer.is_empty());
    let orders = [limit("")];
    let request = from_client(&orders);
    let fit = (room - entry::HEADER_BYTES) / one;
    for _ in 0..fit {
        writer.push(&request).unwrap();
    }
    let full = writer.clone();
    assert_eq!(writer.push(&request), Err(EntryFull));
    let encoded = bytes(&limit(""));
    assert_eq!(
        writer.push_encoded(request.origin(), 1, &encoded),
        Err(EntryFull)
    );
    assert_eq!(
        writer.push_encoded(Origin::Internal, 9, &[0; 4_000]),
        Err(EntryFull)
    );
    let many = vec![Command::Tick; entry::REQUEST_COMMANDS_MAX + 1];
    assert_eq!(
        EntryWriter::new(1 << 20).push(&from_client(&many)),
        Err(EntryFull)
    );
    assert_eq!(writer.count() as usize, fit);
    assert_eq!(writer.finish(), full.clone().finish());
    for request in EntryReader::new(writer.finish()).unwrap() {
        let request = request.unwrap();
        assert_eq!(
            request.origin(),
            Origin::Session {
                client: 3,
                sequence: 4,
                behind: 1
            }
        );
        assert!(request.commands().eq([Ok(limit(""))]));
    }

    // The next one begins afresh, and any one command fits.
    writer.begin(Timestamp(9));
    let largest = [Command::SetFeeSchedule {
        schedule: FeeScheduleId(0),
        tiers: FeeTiers::default(),
    }];
    writer.push(&from_client(&largest)).unwrap();
    assert_eq!(writer.len(), room);
    let mut reader = EntryReader::new(writer.finish()).unwrap();
    assert_eq!((reader.time(), reader.request_count()), (Timestamp(9), 1));
    let request = reader.next().unwrap().unwrap();
    assert!(request.commands().eq([Ok(largest[0])]));
    assert!(reader.next().is_none());
}

#[test]
fn an_entry_of_version_1_reads_as_one_request() {
    let mut writer = entry::EntryWriterV1::new(Timestamp(7));
    let orders = [limit("a"), limit("b")];
    orders.iter().for_each(|order| writer.push(order));
    let bytes = writer.finish();
    let mut reader = EntryReader::new(&bytes).unwrap();
    assert_eq!(
        (reader.version(), reader.time(), reader.request_count()),
        (1, Timestamp(7), 1)
    );
    let request = reader.next().unwrap().unwrap();
    assert_eq!(
        (request.origin(), request.command_count()),
        (Origin::Internal, 2)
    );
    assert!(request.commands().eq(orders.map(Ok)));
    assert!(reader.next().is_none());
}

#[test]
fn the_tables_of_messages_are_the_messages() {
    let source = include_str!("../src/message/mod.rs");
    let rows: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .collect();
    let kinds: Vec<String> = rows
        .iter()
        .filter(|row| row.starts_with(|c: char| c.is_ascii_digit()))
        .map(|row| row.split(" |").take(2).collect::<Vec<_>>().join(" |"))
        .collect();
    let expected: Vec<String> = message::KINDS
        .iter()
        .map(|(kind, name)| format!("{kind} | `{name}`"))
        .collect();
    assert_eq!(kinds, expected);

    let codes: Vec<String> = RefusalCode::ALL
        .iter()
        .map(|code| format!("{} `{code:?}`", code.code()))
        .collect();
    assert!(rows.contains(&format!("`RefusalCode` | {} |", codes.join(", ")).as_str()));
    for code in RefusalCode::ALL {
        assert_eq!(RefusalCode::from_code(code.code()), Some(*code));
    }
    assert_eq!(RefusalCode::from_code(0), None);
}

#[test]
fn the_longest_text_is_cut_between_two_characters() {
    let address = format!("{}é", "x".repeat(TEXT_BYTES_MAX - 1));
    let hello = |address| Message::Hello {
        protocol: message::PROTOCOL,
        role: Role::Replica,
        node: 1,
        cluster: [2; 16],
        logic_min: 1,
        logic_max: 2,
        address,
        build: &address[..0],
    };
    let mut bytes = Vec::new();
    hello(&address).encode(&mut bytes);
    let read = Message::decode(&bytes);
    assert_eq!(read, Ok(hello(&address[..TEXT_BYTES_MAX - 1])));
    let full = "y".repeat(TEXT_BYTES_MAX);
    let mut bytes = Vec::new();
    Message::Hello {
        protocol: 1,
        role: Role::Client,
        node: 0,
        cluster: [0; 16],
        logic_min: 0,
        logic_max: 0,
        address: &full,
        build: &full,
    }
    .encode(&mut bytes);
    assert_eq!(bytes.len(), message::HEAD_BYTES_MAX);
}

#[test]
fn what_is_wrong_with_a_message_is_named_with_its_place() {
    let mut digest = Vec::new();
    Message::Digest {
        index: LogIndex(1),
        hash: [2; 16],
        kind: DigestKind::State,
    }
    .encode(&mut digest);
    let changed = |at: usize, byte: u8| {
        let mut changed = digest.clone();
        changed[at] = byte;
        changed
    };
    let table: [(&[u8], usize, &str); 6] = [
        (&[], 0, "too short"),
        (&[2], 0, "unknown kind of a message"),
        (&digest[..9], 9, "too short"),
        (&changed(25, 2), 25, "unknown kind of a digest"),
        (&[&digest[..], &[0]].concat(), 26, "bytes left over"),
        (
            &[33, 0, 0, 0, 0, 0, 0, 0, 0, 13, 0],
            9,
            "unknown code of a refusal",
        ),
    ];
    for (bytes, offset, what) in table {
        assert_eq!(Message::decode(bytes), Err(DecodeError { offset, what }));
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let order = bytes(&limit("a"));
    let with = |at: usize, byte: u8| {
        let mut changed = order.clone();
        changed[at] = byte;
        changed
    };
    let body_length = |length: u16| {
        let mut changed = order.clone();
        changed[2..4].copy_from_slice(&length.to_le_bytes());
        changed
    };
    let zero_price = {
        let mut changed = order.clone();
        changed[14..22].fill(0);
        changed
    };
    let cancel = bytes(&Command::CancelOrder {
        member: MemberId(1),
        target: OrderTarget::Client(Text::EMPTY),
    });
    let long_text = [&cancel[..9], &[37], &[b'x'; 37]].concat();
    let long_text = [&[103, 0, 43, 0], &long_text[4..]].concat();
    let table: [(&[u8], usize, &str); 9] = [
        (&[], 0, "too short"),
        (&order[..20], 4, "too short"),
        (&with(0, 99), 0, "unknown tag of a command"),
        (&with(9, 0x80 | order[9]), 8, "unknown flags of an order"),
        (
            &with(8, 0b1010_0000 | order[8]),
            8,
            "unknown flags of an order",
        ),
        (
            &zero_price,
            14,
            "a given field of an order is zero or empty",
        ),
        (&body_length(27), 31, "too short"),
        (
            &with(31, b'\n'),
            30,
            "text is too long or not printable ascii",
        ),
        (&long_text, 9, "text is too long or not printable ascii"),
    ];
    for (bytes, offset, what) in table {
        assert_eq!(command::decode(bytes), Err(DecodeError { offset, what }));
    }
}

#[test]
fn an_entry_of_another_version_or_with_more_than_its_bytes_is_refused() {
    let tick = [Command::Tick];
    let mut writer = EntryWriter::new(1 << 10);
    writer.push(&Request::Internal { commands: &tick }).unwrap();
    let good = writer.finish().to_vec();
    let mut v1 = entry::EntryWriterV1::new(Timestamp(0));
    v1.push(&Command::Tick);
    let v1 = v1.finish();
    let with = |bytes: &[u8], at: usize, byte: u8| {
        let mut changed = bytes.to_vec();
        changed[at] = byte;
        changed
    };
    for bytes in [&good, &v1] {
        for (at, byte, offset) in [(0, 3, 0), (0, 0, 0), (2, 1, 2), (15, 255, 12)] {
            let changed = with(bytes, at, byte);
            assert_eq!(EntryReader::new(&changed).unwrap_err().offset, offset);
        }
    }
    let first = |bytes: &[u8]| {
        let mut reader = EntryReader::new(bytes).unwrap();
        let first = reader.next().unwrap();
        let first = first.map(|request| request.commands().find_map(Result::err));
        (first.err(), reader.next().is_none())
    };
    let failed = |offset, what| (Some(DecodeError { offset, what }), true);
    // Fewer requests than bytes: the rest is an error, once.
    assert_eq!(first(&with(&good, 12, 0)), failed(16, "bytes left over"));
    assert_eq!(
        first(&with(&good, 16, 9)),
        failed(16, "unknown kind of a request")
    );
    assert_eq!(first(&with(&good, 17, 2)), failed(23, "too short"));
    // The same of commands, which show it when they are read.
    let less = with(&v1, 12, 0);
    let mut reader = EntryReader::new(&less).unwrap();
    let mut commands = reader.next().unwrap().unwrap().commands();
    assert_eq!(
        commands.next().unwrap().unwrap_err(),
        DecodeError {
            offset: 16,
            what: "bytes left over"
        }
    );
    assert_eq!(commands.next(), None);
}
