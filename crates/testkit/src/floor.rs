//! `ref-dense`, the reference floor: the least that price-time matching of OBW1 can cost with plain
//! arrays. Levels are an array indexed by price, orders an array indexed by id, queues are linked.
//! No hash, no checks beyond the language's, no events. It is no product: it knows the workload's
//! range of prices and cannot reuse memory.

use everopen_orderflow::obw1::{Kind, Record, Side, Totals};

use crate::Engine;

/// Prices of the workload stay inside these.
const LOWEST: u32 = 80_000;
const PRICES: usize = 40_000;
const NONE: u32 = 0;

#[derive(Clone, Copy, Default)]
struct Order {
    price: u32,
    quantity: u32,
    prev: u32,
    next: u32,
}

#[derive(Clone, Copy, Default)]
struct Queue {
    head: u32,
    tail: u32,
}

struct Symbol {
    levels: Vec<Queue>,
    /// Place of the best bid, -1 for none.
    bid: i32,
    /// Place of the best ask, `PRICES` for none.
    ask: i32,
}

/// The floor.
pub struct Floor {
    orders: Vec<Order>,
    symbols: Vec<Symbol>,
    totals: Totals,
}

impl Floor {
    /// A floor for this workload.
    pub fn new(symbols: u32, orders: u64) -> Self {
        let symbol = || Symbol {
            levels: vec![Queue::default(); PRICES],
            bid: -1,
            ask: PRICES as i32,
        };
        Self {
            orders: vec![Order::default(); orders as usize + 1],
            symbols: (0..symbols).map(|_| symbol()).collect(),
            totals: Totals::default(),
        }
    }

    /// The same behind the interface that [`crate::bench`] takes.
    pub fn boxed(symbols: u32, orders: u64) -> Box<dyn Engine> {
        Box::new(Self::new(symbols, orders))
    }

    #[inline]
    fn rest(&mut self, record: &Record, quantity: u32) {
        let id = record.id as u32;
        let symbol = &mut self.symbols[record.symbol as usize];
        let place = record.price - LOWEST;
        let queue = &mut symbol.levels[place as usize];
        self.orders[id as usize] = Order {
            price: record.price,
            quantity,
            prev: queue.tail,
            next: NONE,
        };
        if queue.tail == NONE {
            queue.head = id;
        } else {
            self.orders[queue.tail as usize].next = id;
        }
        queue.tail = id;
        match record.side {
            Side::Buy => symbol.bid = symbol.bid.max(place as i32),
            Side::Sell => symbol.ask = symbol.ask.min(place as i32),
        }
    }

    #[inline]
    fn unlink(&mut self, symbol: u16, id: u32) {
        let order = self.orders[id as usize];
        let symbol = &mut self.symbols[symbol as usize];
        let place = (order.price - LOWEST) as usize;
        let queue = &mut symbol.levels[place];
        if order.prev == NONE {
            queue.head = order.next;
        } else {
            self.orders[order.prev as usize].next = order.next;
        }
        if order.next == NONE {
            queue.tail = order.prev;
        } else {
            self.orders[order.next as usize].prev = order.prev;
        }
        if queue.head == NONE {
            if place as i32 == symbol.bid {
                symbol.bid -= 1;
                while symbol.bid >= 0 && symbol.levels[symbol.bid as usize].head == NONE {
                    symbol.bid -= 1;
                }
            } else if place as i32 == symbol.ask {
                symbol.ask += 1;
                while (symbol.ask as usize) < PRICES
                    && symbol.levels[symbol.ask as usize].head == NONE
                {
                    symbol.ask += 1;
                }
            }
        }
    }

    #[inline]
    fn take(&mut self, record: &Record) -> u32 {
        let mut left = record.quantity;
        let limit = (record.price - LOWEST) as i32;
        while left > 0 {
            let symbol = &self.symbols[record.symbol as usize];
            let place = match record.side {
                Side::Buy if symbol.ask <= limit => symbol.ask,
                Side::Sell if symbol.bid >= limit => symbol.bid,
                _ => break,
            };
            let maker = symbol.levels[place as usize].head;
            let order = &mut self.orders[maker as usize];
            let quantity = left.min(order.quantity);
            left -= quantity;
            order.quantity -= quantity;
            self.totals.trades += 1;
            self.totals.volume += u64::from(quantity);
            if order.quantity == 0 {
                self.unlink(record.symbol, maker);
            }
        }
        left
    }
}

impl Engine for Floor {
    #[inline]
    fn apply(&mut self, record: &Record) {
        match record.kind {
            Kind::New | Kind::Marketable => {
                let left = self.take(record);
                if left > 0 {
                    self.rest(record, left);
                }
            }
            Kind::Cancel => self.unlink(record.symbol, record.id as u32),
            Kind::Replace => {
                let quantity = self.orders[record.id as usize].quantity;
                self.unlink(record.symbol, record.id as u32);
                self.rest(record, quantity);
            }
        }
    }

    fn apply_all(&mut self, records: &[Record]) {
        records.iter().for_each(|record| self.apply(record));
    }

    fn totals(&self) -> Totals {
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everopen_orderflow::obw1::{self, Workload};

    #[test]
    fn the_floor_reaches_the_published_totals() {
        for name in ["s1k", "s100"] {
            let known = obw1::named(name).unwrap();
            let workload = Workload::generate(known.params);
            let mut floor = Floor::new(known.params.symbols, workload.records.len() as u64);
            floor.apply_all(&workload.records);
            assert_eq!(Some(floor.totals()), known.totals_after(100_000), "{name}");
        }
    }
}
