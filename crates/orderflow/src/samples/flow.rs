//! A random but consistent flow of order events.

use std::collections::{BTreeMap, VecDeque};

use everopen_domain::Side;

use crate::random::Random;

/// How one book looks.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Where its price starts.
    pub mid: u64,
    /// Smallest step of prices.
    pub tick: u64,
    /// Smallest step of sizes.
    pub lot: u64,
    /// Mean time between events of all books together.
    pub step_ns: u64,
}

/// What happened to which order.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Add {
        order: u64,
        side: Side,
        price: u64,
        size: u64,
    },
    Reduce {
        order: u64,
        side: Side,
        price: u64,
        by: u64,
        left: u64,
    },
    Delete {
        order: u64,
        side: Side,
        price: u64,
        left: u64,
    },
    Replace {
        old: u64,
        new: u64,
        price: u64,
        size: u64,
        was: Resting,
    },
    /// The front of the best queue traded; `taker` is a number for who came.
    Execute {
        order: u64,
        taker: u64,
        side: Side,
        price: u64,
        size: u64,
        left: u64,
    },
    /// A trade between hidden orders at the middle.
    Hidden { price: u64, size: u64 },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// Nanoseconds on the flow's clock.
    pub time: u64,
    /// Index of the book.
    pub book: usize,
    pub what: What,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Resting {
    pub order: u64,
    pub side: Side,
    pub price: u64,
    pub size: u64,
}

struct Book {
    shape: Shape,
    mid: u64,
    /// Orders by number; the numbers rise, so this is also the order of arrival.
    orders: BTreeMap<u64, Resting>,
    queues: [BTreeMap<u64, VecDeque<u64>>; 2],
}

pub(super) struct Flow {
    random: Random,
    books: Vec<Book>,
    time: u64,
    next_order: u64,
}

impl Flow {
    pub fn new(seed: u64, shapes: &[Shape], start: u64) -> Self {
        let book = |shape: &Shape| Book {
            shape: *shape,
            mid: shape.mid,
            orders: BTreeMap::new(),
            queues: [BTreeMap::new(), BTreeMap::new()],
        };
        let books = shapes.iter().map(book).collect();
        Self {
            random: Random::new(seed),
            books,
            time: start,
            next_order: 1,
        }
    }

    fn number(&mut self) -> u64 {
        // Real numbers have gaps: most orders of a market belong to other instruments.
        self.next_order += 1 + self.random.below(7);
        self.next_order
    }
}

impl Iterator for Flow {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let book = (self.random.below(self.books.len() as u64)) as usize;
        let shape = self.books[book].shape;
        self.time += 1 + self.random.below(2 * shape.step_ns);
        if self.random.percent(3) {
            let up = self.random.percent(50);
            let mid = &mut self.books[book].mid;
            *mid = if up {
                *mid + shape.tick
            } else {
                *mid - shape.tick
            };
        }
        let few = self.books[book].orders.len() < 40;
        let what = match self.random.below(100) {
            _ if few => self.add(book),
            0..47 => self.add(book),
            47..82 => self.delete(book),
            82..89 => self.replace(book),
            89..92 => self.reduce(book),
            92..99 => self.execute(book),
            _ => self.hidden(book),
        };
        Some(Event {
            time: self.time,
            book,
            what,
        })
    }
}

impl Flow {
    fn side(&mut self) -> Side {
        if self.random.percent(50) {
            Side::Buy
        } else {
            Side::Sell
        }
    }

    /// A price that does not cross, near the middle more often than far from it.
    fn price(&mut self, book: usize, side: Side) -> u64 {
        let distance = self.random.below(30) * self.random.below(30) / 30;
        let book = &self.books[book];
        let tick = book.shape.tick;
        let grid = book.mid / tick * tick;
        match side {
            Side::Buy => {
                let price = grid - tick * (1 + distance);
                let ask = book.queues[1].keys().next();
                ask.map_or(price, |ask| price.min(ask - tick))
            }
            Side::Sell => {
                let price = grid + tick * (1 + distance);
                let bid = book.queues[0].keys().next_back();
                bid.map_or(price, |bid| price.max(bid + tick))
            }
        }
    }

    fn size(&mut self, book: usize) -> u64 {
        self.books[book].shape.lot * (1 + self.random.below(8) * self.random.below(4))
    }

    fn any(&mut self, book: usize) -> Resting {
        let orders = &self.books[book].orders;
        let at = self.random.below(orders.len() as u64) as usize;
        *orders
            .values()
            .nth(at)
            .expect("invariant: a flow never empties its books")
    }

    fn add(&mut self, book: usize) -> What {
        let side = self.side();
        let price = self.price(book, side);
        let size = self.size(book);
        let order = self.number();
        self.books[book].insert(Resting {
            order,
            side,
            price,
            size,
        });
        What::Add {
            order,
            side,
            price,
            size,
        }
    }

    fn delete(&mut self, book: usize) -> What {
        let Resting {
            order,
            side,
            price,
            size,
        } = self.any(book);
        self.books[book].remove(order);
        What::Delete {
            order,
            side,
            price,
            left: size,
        }
    }

    fn replace(&mut self, book: usize) -> What {
        let was = self.any(book);
        self.books[book].remove(was.order);
        let price = self.price(book, was.side);
        let size = self.size(book);
        let new = self.number();
        self.books[book].insert(Resting {
            order: new,
            side: was.side,
            price,
            size,
        });
        What::Replace {
            old: was.order,
            new,
            price,
            size,
            was,
        }
    }

    fn reduce(&mut self, book: usize) -> What {
        let Resting {
            order,
            side,
            price,
            size,
        } = self.any(book);
        let lot = self.books[book].shape.lot;
        let lots = size / lot;
        if lots < 2 {
            return self.add(book);
        }
        let by = lot * (1 + self.random.below(lots - 1));
        self.books[book].shrink(order, by);
        What::Reduce {
            order,
            side,
            price,
            by,
            left: size - by,
        }
    }

    fn execute(&mut self, book: usize) -> What {
        let side = self.side();
        let queues = &self.books[book].queues[side as usize];
        let best = match side {
            Side::Buy => queues.values().next_back(),
            Side::Sell => queues.values().next(),
        };
        let Some(order) = best.and_then(|queue| queue.front().copied()) else {
            return self.add(book);
        };
        let Resting { price, size, .. } = self.books[book].orders[&order];
        let lot = self.books[book].shape.lot;
        let whole = self.random.percent(60);
        let traded = if whole {
            size
        } else {
            lot * (1 + self.random.below(size / lot))
        };
        if traded == size {
            self.books[book].remove(order);
        } else {
            self.books[book].shrink(order, traded);
        }
        let taker = self.number();
        What::Execute {
            order,
            taker,
            side,
            price,
            size: traded,
            left: size - traded,
        }
    }

    fn hidden(&mut self, book: usize) -> What {
        What::Hidden {
            price: self.books[book].mid,
            size: self.size(book),
        }
    }
}

impl Book {
    fn insert(&mut self, resting: Resting) {
        self.orders.insert(resting.order, resting);
        let queues = &mut self.queues[resting.side as usize];
        queues
            .entry(resting.price)
            .or_default()
            .push_back(resting.order);
    }

    fn remove(&mut self, order: u64) {
        let Some(Resting { side, price, .. }) = self.orders.remove(&order) else {
            return;
        };
        let queues = &mut self.queues[side as usize];
        let queue = queues
            .get_mut(&price)
            .expect("invariant: an order's price has a queue");
        queue.retain(|other| *other != order);
        if queue.is_empty() {
            queues.remove(&price);
        }
    }

    fn shrink(&mut self, order: u64, by: u64) {
        if let Some(resting) = self.orders.get_mut(&order) {
            resting.size -= by;
        }
    }
}
