//! What the documentation and the constants promise about the bytes, checked against the code.

use everopen_domain::{
    Command, FeeScheduleId, FeeTiers, InstrumentId, MemberId, NewOrder, OrderTarget, Price,
    Quantity, Text, Timestamp,
};
use everopen_wire::{DecodeError, EntryFull, EntryReader, EntryWriter, command, entry, event};

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

#[test]
fn a_full_entry_says_so_and_stays_as_it_was() {
    let one = bytes(&limit("")).len();
    let room = entry::HEADER_BYTES + command::BYTES_MAX;
    let mut writer = EntryWriter::new(room);
    assert!(writer.is_empty());
    let fit = command::BYTES_MAX / one;
    for _ in 0..fit {
        writer.push(&limit("")).unwrap();
    }
    assert_eq!(writer.push(&limit("")), Err(EntryFull));
    assert_eq!(writer.count() as usize, fit);
    let read: Result<Vec<_>, _> = EntryReader::new(writer.finish()).unwrap().collect();
    assert_eq!(read, Ok(vec![limit(""); fit]));

    // The next one begins afresh, and any one command fits.
    writer.begin(Timestamp(9));
    let largest = Command::SetFeeSchedule {
        schedule: FeeScheduleId(0),
        tiers: FeeTiers::default(),
    };
    writer.push(&largest).unwrap();
    let mut reader = EntryReader::new(writer.finish()).unwrap();
    assert_eq!((reader.time(), reader.command_count()), (Timestamp(9), 1));
    assert_eq!(reader.next(), Some(Ok(largest)));
    assert_eq!(reader.next(), None);
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
fn an_entry_of_another_version_or_with_more_commands_than_bytes_is_refused() {
    let mut writer = EntryWriter::new(1 << 10);
    writer.push(&Command::Tick).unwrap();
    let good = writer.finish().to_vec();
    let with = |at: usize, byte: u8| {
        let mut changed = good.clone();
        changed[at] = byte;
        changed
    };
    for (bytes, offset) in [(with(0, 2), 0), (with(2, 1), 2), (with(15, 255), 12)] {
        assert_eq!(EntryReader::new(&bytes).unwrap_err().offset, offset);
    }
    // Fewer commands than bytes: the rest is an error, once.
    let less = with(12, 0);
    let mut reader = EntryReader::new(&less).unwrap();
    assert_eq!(reader.next().unwrap().unwrap_err().what, "bytes left over");
    assert_eq!(reader.next(), None);
}
