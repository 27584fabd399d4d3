//! The book on OBW1, with every event that a venue's log would hold of an order's life, beside the
//! reference floor. No money: holds, fees and balances are the venue's, and are zero here.
//!
//! `cargo bench -p everopen-book -- [--quick] [--json PATH] [--workload NAME]`

use std::hint::black_box;

use everopen_book::{Book, BookOrder, Ended, Fill, MatchSink, Slot, Taker};
use everopen_domain::{
    Amount, CancelReason, DoneReason, Event, InstrumentId, MemberId, NewOrder, OrderId, Price,
    Quantity, Rate, SelfTradePrevention, Side, TradeId,
};
use everopen_orderflow::obw1::{Kind, Record, Side as RecordSide, Totals};
use everopen_testkit::{Args, CountingAllocator, Engine, MakeEngine, bench};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// One instrument: its book and its counters.
struct Market {
    book: Book,
    sequence: u64,
    trade: u64,
}

/// A venue's order path without its money.
pub struct Driver {
    markets: Vec<Market>,
    /// The slot of each order, by the workload's id.
    slots: Vec<Slot>,
    /// The events of one command.
    events: Vec<Event>,
    totals: Totals,
}

/// Turns what the book says into events.
struct Sink<'a> {
    events: &'a mut Vec<Event>,
    totals: &'a mut Totals,
    sequence: &'a mut u64,
    trade: &'a mut u64,
    taker: OrderId,
    member: MemberId,
    maker_side: Side,
}

fn next(sequence: &mut u64) -> u64 {
    *sequence += 1;
    *sequence
}

impl Sink<'_> {
    #[inline]
    fn maker(&self, slot: Slot, sequence: u64) -> OrderId {
        OrderId {
            sequence,
            slot,
            ..self.taker
        }
    }
}

impl MatchSink for Sink<'_> {
    #[inline]
    fn traded(&mut self, fill: &Fill) {
        self.totals.trades += 1;
        self.totals.volume += fill.quantity.0;
        let maker = self.maker(fill.slot, fill.sequence);
        self.events.push(Event::Traded {
            trade: TradeId(next(self.trade)),
            sequence: next(self.sequence),
            maker_order: maker,
            taker_order: self.taker,
            maker: fill.member,
            taker: self.member,
            maker_side: self.maker_side,
            price: fill.price,
            quantity: fill.quantity,
            notional: Amount(i128::from(fill.price.0) * i128::from(fill.quantity.0)),
            maker_fee: Amount::ZERO,
            taker_fee: Amount::ZERO,
            maker_remaining: fill.maker_remaining,
            maker_visible: fill.maker_visible,
            taker_remaining: fill.taker_remaining,
            auction: false,
        });
        if fill.maker_remaining == Quantity::ZERO {
            self.events.push(Event::OrderDone {
                order: maker,
                member: fill.member,
                sequence: next(self.sequence),
                side: self.maker_side,
                price: fill.price,
                visible: Quantity::ZERO,
                remaining: Quantity::ZERO,
                reason: DoneReason::Filled,
            });
        }
    }

    fn refreshed(&mut self, slot: Slot, order: &BookOrder) {
        self.events.push(Event::OrderOpened {
            order: self.maker(slot, order.sequence),
            member: order.member,
            sequence: next(self.sequence),
            side: order.side,
            price: order.price,
            visible: order.visible,
            remaining: order.remaining(),
        });
    }

    fn maker_canceled(&mut self, slot: Slot, order: &BookOrder) {
        self.events.push(Event::OrderDone {
            order: self.maker(slot, order.sequence),
            member: order.member,
            sequence: next(self.sequence),
            side: order.side,
            price: order.price,
            visible: order.visible,
            remaining: order.remaining(),
            reason: DoneReason::Canceled(CancelReason::SelfTrade),
        });
    }

    fn maker_reduced(&mut self, _: Slot, _: &BookOrder, _: Quantity) {
        unreachable!("no two orders of one member meet in this workload");
    }
}

impl Driver {
    /// A fresh one for so many symbols and at most so many orders.
    pub fn make(symbols: u32, orders: u64) -> Box<dyn Engine> {
        let market = || Market {
            book: Book::new(),
            sequence: 0,
            trade: 0,
        };
        Box::new(Self {
            markets: (0..symbols).map(|_| market()).collect(),
            slots: vec![0; orders as usize + 1],
            events: Vec::with_capacity(1024),
            totals: Totals::default(),
        })
    }

    /// Matches and rests an order that is in no queue.
    #[inline]
    fn enter(&mut self, instrument: InstrumentId, slot: Slot, mut order: BookOrder) {
        let market = &mut self.markets[instrument.0 as usize];
        let id = OrderId {
            sequence: order.sequence,
            instrument,
            slot,
        };
        let taker = Taker {
            sequence: order.sequence,
            member: order.member,
            side: order.side,
            limit: order.price,
            size: order.visible,
            self_trade_prevention: order.self_trade_prevention,
        };
        let mut sink = Sink {
            events: &mut self.events,
            totals: &mut self.totals,
            sequence: &mut market.sequence,
            trade: &mut market.trade,
            taker: id,
            member: order.member,
            maker_side: order.side.opposite(),
        };
        let matched = market.book.take(&taker, &mut sink);
        if matched.ended == Ended::Exhausted {
            order.visible = matched.remaining;
            market.book.rest(slot, order);
            self.events.push(Event::OrderOpened {
                order: id,
                member: order.member,
                sequence: next(&mut market.sequence),
                side: order.side,
                price: order.price,
                visible: order.visible,
                remaining: order.visible,
            });
        } else {
            market.book.free(slot);
            self.events.push(Event::OrderDone {
                order: id,
                member: order.member,
                sequence: next(&mut market.sequence),
                side: order.side,
                price: order.price,
                visible: Quantity::ZERO,
                remaining: matched.remaining,
                reason: DoneReason::Filled,
            });
        }
    }

    #[inline]
    fn place(&mut self, record: &Record) {
        let instrument = InstrumentId(u32::from(record.symbol));
        let side = match record.side {
            RecordSide::Buy => Side::Buy,
            RecordSide::Sell => Side::Sell,
        };
        // Buyers and sellers are others, so that every order is checked for self-trades and none
        // is one: the workload knows no members.
        let member = MemberId((record.id as u32 & 0x1ff) << 1 | side as u32);
        let (price, size) = (Price(record.price.into()), Quantity(record.quantity.into()));
        let market = &mut self.markets[instrument.0 as usize];
        let slot = market.book.allocate();
        self.slots[record.id as usize] = slot;
        self.events.push(Event::OrderAccepted {
            order: OrderId {
                sequence: record.id,
                instrument,
                slot,
            },
            member,
            sequence: next(&mut market.sequence),
            details: NewOrder {
                instrument,
                side,
                price,
                size,
                ..NewOrder::default()
            },
            hold: Amount::ZERO,
            maker_rate: Rate::ZERO,
            taker_rate: Rate::ZERO,
        });
        let order = BookOrder {
            sequence: record.id,
            price,
            visible: size,
            hidden: Quantity::ZERO,
            peak: Quantity::ZERO,
            member,
            side,
            self_trade_prevention: SelfTradePrevention::DecreaseAndCancel,
        };
        self.enter(instrument, slot, order);
    }

    #[inline]
    fn cancel(&mut self, record: &Record) {
        let instrument = InstrumentId(u32::from(record.symbol));
        let market = &mut self.markets[instrument.0 as usize];
        let slot = self.slots[record.id as usize];
        let found = market.book.get(slot, record.id).is_some();
        assert!(found, "the workload cancels only orders that rest");
        let order = market.book.remove(slot);
        self.events.push(Event::OrderDone {
            order: OrderId {
                sequence: record.id,
                instrument,
                slot,
            },
            member: order.member,
            sequence: next(&mut market.sequence),
            side: order.side,
            price: order.price,
            visible: order.visible,
            remaining: order.remaining(),
            reason: DoneReason::Canceled(CancelReason::Requested),
        });
    }

    #[inline]
    fn replace(&mut self, record: &Record) {
        let instrument = InstrumentId(u32::from(record.symbol));
        let market = &mut self.markets[instrument.0 as usize];
        let slot = self.slots[record.id as usize];
        let found = market.book.get(slot, record.id).is_some();
        assert!(found, "the workload replaces only orders that rest");
        let mut order = market.book.take_out(slot);
        let old_price = order.price;
        order.price = Price(record.price.into());
        self.events.push(Event::OrderAmended {
            order: OrderId {
                sequence: record.id,
                instrument,
                slot,
            },
            member: order.member,
            sequence: next(&mut market.sequence),
            side: order.side,
            old_price,
            price: order.price,
            size: order.visible,
            old_visible: order.visible,
            visible: Quantity::ZERO,
            remaining: order.visible,
            hold: Amount::ZERO,
            kept_priority: false,
            self_trade: false,
        });
        self.enter(instrument, slot, order);
    }
}

impl Engine for Driver {
    #[inline]
    fn apply(&mut self, record: &Record) {
        self.events.clear();
        match record.kind {
            Kind::New | Kind::Marketable => self.place(record),
            Kind::Cancel => self.cancel(record),
            Kind::Replace => self.replace(record),
        }
        // The events must be there for a reader.
        black_box(self.events.as_slice());
    }

    fn apply_all(&mut self, records: &[Record]) {
        records.iter().for_each(|record| self.apply(record));
    }

    fn totals(&self) -> Totals {
        self.totals
    }
}

fn main() {
    let engines: &[(&str, MakeEngine)] = &[("book", Driver::make)];
    println!("an event takes {} bytes", size_of::<Event>());
    bench("book", &Args::parse(), &["d1k", "d100k", "m100"], engines);
}
