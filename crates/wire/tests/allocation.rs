//! Goal: INV-WIRE-4 and the bound of INV-WIRE-2. Method: an allocator that
//! counts, and the same work once to grow and many times to count.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use everopen_domain::{Command, Event, MemberId, NewOrder, Price, Quantity, Text, Timestamp};
use everopen_wire::message::Message;
use everopen_wire::{EntryReader, EntryWriter, EventHasher, Request, event, snapshot};

struct Counting;

thread_local! {
    /// Of this thread, so that the test harness does not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: passes everything on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn commands_events_entries_and_messages_allocate_nothing() {
    let order = NewOrder {
        price: Price(5),
        size: Quantity(6),
        client_order_id: Text::new(b"c-1").unwrap(),
        ..NewOrder::default()
    };
    let member = MemberId(1);
    let place = Command::PlaceOrder { member, order };
    let added = Event::MemberAdded {
        member,
        code: Text::new(b"northwind").unwrap(),
    };
    let request = Request::Session {
        client: 1,
        sequence: 2,
        behind: 0,
        commands: &[place; 3],
    };
    let message = Message::Raft { bytes: &[7; 100] };
    let mut writer = EntryWriter::new(1 << 12);
    let mut hasher = EventHasher::new();
    let mut bytes = Vec::with_capacity(1 << 10);
    let work = || {
        for time in 0..100 {
            writer.begin(Timestamp(time));
            while writer.push(&request).is_ok() {}
            let count = writer.count();
            let reader = EntryReader::new(writer.finish()).unwrap();
            let commands = reader.flat_map(|request| request.unwrap().commands());
            let read = commands.inspect(|command| assert_eq!(*command, Ok(place)));
            assert_eq!(read.count(), 3 * count as usize);
            bytes.clear();
            message.encode(&mut bytes);
            assert_eq!(Message::decode(&bytes), Ok(message));
            bytes.clear();
            event::encode(&added, &mut bytes);
            assert_eq!(event::decode(&bytes), Ok(added));
            hasher.push(&added);
        }
    };
    assert_eq!(allocations(work), 0);
    assert_eq!(
        allocations(|| drop(std::hint::black_box(Box::new(1)))),
        1,
        "the counter counts"
    );

    // Lists that claim 2^32 - 1 items are refused before anything is allocated for them.
    let mut lie = Vec::new();
    snapshot::encode(&Default::default(), &mut lie);
    lie[29..33].fill(0xff);
    let error = snapshot::decode(&lie).unwrap_err();
    assert_eq!(error.what, "list longer than the bytes that are left");
    assert_eq!(allocations(|| drop(snapshot::decode(&lie))), 0);
}
