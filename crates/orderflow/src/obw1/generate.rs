//! The generator: draws random numbers in exactly the order that the definition fixes.

use super::book::Book;
use super::{Kind, Params, Record, Side, Totals};
use crate::random::Random;

/// Yields the records of a workload one by one: `Params::warm_up` of them, then `commands` more.
/// Memory follows the number of live orders, not the length of the workload.
pub struct Generator {
    params: Params,
    random: Random,
    symbols: Vec<Symbol>,
    next: u64,
    end: u64,
    next_id: u64,
    totals: Totals,
}

struct Symbol {
    mid: u32,
    book: Book,
}

impl Generator {
    /// Starts a workload.
    ///
    /// # Panics
    ///
    /// When `symbols` is zero or over 65 536: such a workload has no file form.
    pub fn new(params: Params) -> Self {
        assert!(
            (1..=65_536).contains(&params.symbols),
            "a workload has between 1 and 65536 symbols"
        );
        Self {
            params,
            random: Random::new(params.seed),
            symbols: (0..params.symbols)
                .map(|_| Symbol {
                    mid: 100_000,
                    book: Book::new(),
                })
                .collect(),
            next: 0,
            end: params.warm_up() + params.commands,
            next_id: 1,
            totals: Totals::default(),
        }
    }

    /// Trades and volume of the records yielded so far, by the generator's own book.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    fn make(&mut self) -> Record {
        let warming = self.next < self.params.warm_up();
        let symbol = self.pick_symbol(warming);
        let Self {
            random,
            symbols,
            params,
            next_id,
            totals,
            ..
        } = self;
        let state = &mut symbols[usize::from(symbol)];

        if random.below(1_000) == 0 {
            if random.below(2) == 1 {
                if state.mid < 110_000 {
                    state.mid += 1;
                }
            } else if state.mid > 90_000 {
                state.mid -= 1;
            }
        }

        let live = state.book.live();
        let mut kind = if warming {
            Kind::New
        } else {
            let new_below = if live < params.depth as usize { 60 } else { 50 };
            match random.below(100) {
                0..5 => Kind::Replace,
                5..10 => Kind::Marketable,
                x if x < new_below => Kind::New,
                _ => Kind::Cancel,
            }
        };
        if live == 0 && matches!(kind, Kind::Replace | Kind::Cancel) {
            kind = Kind::New;
        }

        if matches!(kind, Kind::Replace | Kind::Cancel) {
            let slot = state.book.slot(random.below(live as u64) as usize);
            let order = *state.book.order(slot);
            let mut record = Record {
                id: order.id,
                price: order.price,
                quantity: order.quantity,
                symbol,
                kind,
                side: order.side,
            };
            if kind == Kind::Cancel {
                state.book.remove(slot);
            } else {
                record.price = state.passive(random, order.side);
                if record.price == order.price {
                    match order.side {
                        Side::Buy => record.price -= 1,
                        Side::Sell => record.price += 1,
                    }
                }
                state.book.reprice(slot, record.price);
            }
            return record;
        }

        let through = if kind == Kind::Marketable {
            let side = side(random);
            let quantity = quantity(random);
            match side {
                Side::Buy => state
                    .book
                    .best(Side::Sell)
                    .map(|ask| (side, ask + 10, quantity)),
                Side::Sell => state
                    .book
                    .best(Side::Buy)
                    .map(|bid| (side, bid - 10, quantity)),
            }
        } else {
            None
        };
        let (side, price, quantity) = through.unwrap_or_else(|| {
            // A marketable order without a market turns into a new one and draws again.
            kind = Kind::New;
            let side = side(random);
            let price = state.passive(random, side);
            (side, price, quantity(random))
        });
        let id = *next_id;
        *next_id += 1;
        state.book.place(id, side, price, quantity, totals);
        Record {
            id,
            price,
            quantity,
            symbol,
            kind,
            side,
        }
    }

    fn pick_symbol(&mut self, warming: bool) -> u16 {
        let symbols = self.params.symbols;
        if symbols == 1 {
            0
        } else if warming {
            (self.next % u64::from(symbols)) as u16
        } else {
            let u = unit(&mut self.random);
            // Rounding depends on the association: it must stay (symbols * u) * u.
            ((f64::from(symbols) * u) * u) as u16
        }
    }
}

impl Iterator for Generator {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.next == self.end {
            return None;
        }
        let record = self.make();
        self.next += 1;
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.end - self.next) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Generator {}

impl Symbol {
    fn passive(&self, random: &mut Random, side: Side) -> u32 {
        let u = unit(random);
        let distance = ((200.0 * u) * u) as u32;
        match side {
            Side::Buy => {
                let price = self.mid - 1 - distance;
                self.book
                    .best(Side::Sell)
                    .map_or(price, |ask| price.min(ask - 1))
            }
            Side::Sell => {
                let price = self.mid + 1 + distance;
                self.book
                    .best(Side::Buy)
                    .map_or(price, |bid| price.max(bid + 1))
            }
        }
    }
}

/// Uniform in `[0, 1)`, in steps of 2^-53.
fn unit(random: &mut Random) -> f64 {
    (random.draw() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

fn side(random: &mut Random) -> Side {
    if random.below(2) == 0 {
        Side::Buy
    } else {
        Side::Sell
    }
}

fn quantity(random: &mut Random) -> u32 {
    1 + random.below(100) as u32
}
