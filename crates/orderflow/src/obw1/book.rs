//! The private book inside the generator: just enough price-time priority to know which orders
//! live and where the market stands. It is the plainest dense layout that works, and no engine.

use super::{Side, Totals};

/// Lowest price of the workload, in ticks.
pub(super) const PRICE_MIN: u32 = 80_000;
const PRICES: usize = 40_000;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
pub(super) struct Order {
    pub id: u64,
    pub price: u32,
    pub quantity: u32,
    pub side: Side,
    next: u32,
    previous: u32,
    /// Place in `Book::live`.
    place: u32,
}

#[derive(Clone, Copy)]
struct Level {
    first: u32,
    last: u32,
}

/// One symbol. Orders are named by slot; slots are used again, so memory follows the live orders.
pub(super) struct Book {
    levels: Vec<Level>,
    orders: Vec<Order>,
    free: Vec<u32>,
    /// Slots of live orders in the order that the workload's definition prescribes.
    live: Vec<u32>,
    resting: [u32; 2],
    /// Index of the best level per side; meaningful while `resting` of that side is not zero.
    best: [usize; 2],
}

impl Book {
    pub fn new() -> Self {
        Self {
            levels: vec![
                Level {
                    first: NONE,
                    last: NONE
                };
                PRICES
            ],
            orders: Vec::new(),
            free: Vec::new(),
            live: Vec::new(),
            resting: [0; 2],
            best: [0; 2],
        }
    }

    pub fn live(&self) -> usize {
        self.live.len()
    }

    pub fn slot(&self, place: usize) -> u32 {
        self.live[place]
    }

    pub fn order(&self, slot: u32) -> &Order {
        &self.orders[slot as usize]
    }

    /// Best price of a side, if anything rests there.
    pub fn best(&self, side: Side) -> Option<u32> {
        (self.resting[side as usize] > 0).then(|| PRICE_MIN + self.best[side as usize] as u32)
    }

    /// Matches against the other side, then lets the remainder rest.
    pub fn place(&mut self, id: u64, side: Side, price: u32, quantity: u32, totals: &mut Totals) {
        let mut open = quantity;
        let other = match side {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        };
        while open > 0 {
            let Some(best) = self.best(other) else { break };
            let crosses = match side {
                Side::Buy => best <= price,
                Side::Sell => best >= price,
            };
            if !crosses {
                break;
            }
            let slot = self.levels[self.best[other as usize]].first;
            let maker = &mut self.orders[slot as usize];
            let traded = open.min(maker.quantity);
            maker.quantity -= traded;
            open -= traded;
            totals.trades += 1;
            totals.volume += u64::from(traded);
            if maker.quantity == 0 {
                self.remove(slot);
            }
        }
        if open > 0 {
            self.rest(id, side, price, open);
        }
    }

    fn rest(&mut self, id: u64, side: Side, price: u32, quantity: u32) {
        let place = self.live.len() as u32;
        let order = Order {
            id,
            price,
            quantity,
            side,
            next: NONE,
            previous: NONE,
            place,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.orders[slot as usize] = order;
                slot
            }
            None => {
                self.orders.push(order);
                (self.orders.len() - 1) as u32
            }
        };
        self.live.push(slot);
        self.link(slot);
    }

    /// Takes an order out of the book and out of the live array.
    pub fn remove(&mut self, slot: u32) {
        self.unlink(slot);
        let place = self.orders[slot as usize].place as usize;
        self.live.swap_remove(place);
        if let Some(&moved) = self.live.get(place) {
            self.orders[moved as usize].place = place as u32;
        }
        self.free.push(slot);
    }

    /// Moves an order to the back of the queue at another price.
    pub fn reprice(&mut self, slot: u32, price: u32) {
        self.unlink(slot);
        self.orders[slot as usize].price = price;
        self.link(slot);
    }

    fn link(&mut self, slot: u32) {
        let Order { price, side, .. } = self.orders[slot as usize];
        let index = price.wrapping_sub(PRICE_MIN) as usize;
        assert!(
            index < PRICES,
            "invariant: workload prices stay inside 80000 to 119999"
        );
        let last = self.levels[index].last;
        let order = &mut self.orders[slot as usize];
        order.previous = last;
        order.next = NONE;
        if last == NONE {
            self.levels[index].first = slot;
        } else {
            self.orders[last as usize].next = slot;
        }
        self.levels[index].last = slot;
        let resting = &mut self.resting[side as usize];
        let best = &mut self.best[side as usize];
        let better = match side {
            Side::Buy => index > *best,
            Side::Sell => index < *best,
        };
        if *resting == 0 || better {
            *best = index;
        }
        *resting += 1;
    }

    fn unlink(&mut self, slot: u32) {
        let Order {
            price,
            side,
            next,
            previous,
            ..
        } = self.orders[slot as usize];
        let index = (price - PRICE_MIN) as usize;
        if previous == NONE {
            self.levels[index].first = next;
        } else {
            self.orders[previous as usize].next = next;
        }
        if next == NONE {
            self.levels[index].last = previous;
        } else {
            self.orders[next as usize].previous = previous;
        }
        self.resting[side as usize] -= 1;
        if self.resting[side as usize] > 0 {
            let best = &mut self.best[side as usize];
            while self.levels[*best].first == NONE {
                match side {
                    Side::Buy => *best -= 1,
                    Side::Sell => *best += 1,
                }
            }
        }
    }
}
