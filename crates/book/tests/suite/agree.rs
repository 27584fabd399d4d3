//! Random histories: both books must say and hold the same at every step.

use everopen_book::twin::TwinBook;
use everopen_book::*;
use everopen_domain::{MemberId, Price, Quantity, SelfTradePrevention, Side, StopDirection};
use proptest::prelude::*;

use crate::both::{Lists, Recorder, Said, Subject};

/// What happens next. Prices are places on a [`Scale`], `pick` chooses among what there is.
#[derive(Clone, Debug)]
pub enum Op {
    /// Takes, then rests what is left; with `gather` rests without taking, as in a call auction.
    Place {
        member: u32,
        side: Side,
        price: u64,
        size: u64,
        peak: u64,
        prevention: SelfTradePrevention,
        gather: bool,
    },
    /// Takes and rests nothing; the price may be unbounded, the funds limited.
    Sweep {
        member: u32,
        side: Side,
        price: Option<u64>,
        size: u64,
        prevention: SelfTradePrevention,
        funds: Option<u64>,
    },
    Cancel(usize),
    Reduce(usize, u64, u64),
    Reprice(usize, u64),
    Stop(StopDirection, u64, u32),
    CancelStop(usize),
    Trigger(u64),
    Uncross(u64),
    /// Into lists and back.
    Restore,
}

/// How places become prices: the structure of the fast book depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    base: u64,
    tick: u64,
    /// Scatter over all prices, order kept within a side no longer.
    wild: bool,
}

impl Scale {
    pub fn price(self, place: u64) -> Price {
        let price = if self.wild {
            // A fixed scramble of the place, spread over all magnitudes.
            let z = (place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (z >> (2 + place % 61)).max(1)
        } else {
            self.base + place * self.tick
        };
        Price(price.min(Price::MAX.0))
    }
}

fn scale() -> impl Strategy<Value = Scale> {
    let fixed = |base, tick| {
        Just(Scale {
            base,
            tick,
            wild: false,
        })
    };
    prop_oneof![
        fixed(100_000, 1),
        fixed(1, 1),
        fixed(1_000_000, 1_000_000),
        fixed(4096 - 20, 1),
        fixed(7, 63),
        fixed(1 << 40, (1 << 36) + 12_345),
        fixed(Price::MAX.0 - 40, 1),
        fixed(5, (Price::MAX.0 - 5) / 40),
        Just(Scale {
            base: 0,
            tick: 0,
            wild: true
        }),
    ]
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell)]
}

fn direction() -> impl Strategy<Value = StopDirection> {
    prop_oneof![Just(StopDirection::Loss), Just(StopDirection::Entry)]
}

fn prevention() -> impl Strategy<Value = SelfTradePrevention> {
    use SelfTradePrevention::*;
    prop_oneof![
        Just(DecreaseAndCancel),
        Just(CancelOldest),
        Just(CancelNewest),
        Just(CancelBoth),
        Just(Allow)
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let place = 0..40u64;
    let peak = prop_oneof![3 => Just(0u64), 1 => 1..6u64];
    prop_oneof![
        12 => (0..5u32, side(), place.clone(), 1..30u64, peak, prevention(), prop::bool::weighted(0.2))
            .prop_map(|(member, side, price, size, peak, prevention, gather)| Op::Place {
                member, side, price, size, peak, prevention, gather
            }),
        3 => (0..5u32, side(), prop::option::of(place.clone()), 1..80u64, prevention(),
              prop::option::of(0..60u64))
            .prop_map(|(member, side, price, size, prevention, funds)| Op::Sweep {
                member, side, price, size, prevention, funds
            }),
        4 => any::<usize>().prop_map(Op::Cancel),
        2 => (any::<usize>(), any::<u64>(), any::<u64>()).prop_map(|(p, v, h)| Op::Reduce(p, v, h)),
        2 => (any::<usize>(), place.clone()).prop_map(|(p, to)| Op::Reprice(p, to)),
        2 => (direction(), place.clone(), 0..5u32).prop_map(|(d, p, m)| Op::Stop(d, p, m)),
        1 => any::<usize>().prop_map(Op::CancelStop),
        1 => place.clone().prop_map(Op::Trigger),
        1 => place.prop_map(Op::Uncross),
        1 => Just(Op::Restore),
    ]
}

/// A book and all it said and answered.
struct World<B> {
    book: B,
    scale: Scale,
    sequence: u64,
}

/// What one step showed.
#[derive(Debug, PartialEq)]
struct Step {
    said: Vec<Said>,
    answers: Vec<String>,
    lists: Lists,
    levels: [Vec<Level>; 2],
    best: [Option<Price>; 2],
}

impl<B: Subject> World<B> {
    fn new(scale: Scale) -> Self {
        Self {
            book: B::empty(),
            scale,
            sequence: 0,
        }
    }

    fn resting(&self, pick: usize) -> Option<(Slot, BookOrder)> {
        let lists = self.book.lists();
        let all: Vec<_> = lists.bids.into_iter().chain(lists.asks).collect();
        (!all.is_empty()).then(|| all[pick % all.len()])
    }

    fn step(&mut self, op: &Op) -> Step {
        let mut sink = Recorder::default();
        let mut answers = Vec::new();
        self.apply(op, &mut sink, &mut answers);
        let lists = self.book.lists();
        for (slot, order) in lists.bids.iter().chain(&lists.asks) {
            assert_eq!(self.book.get(*slot, order.sequence), Some(*order));
            assert_eq!(self.book.get(*slot, order.sequence + 1), None);
            assert_eq!(self.book.get_stop(*slot, order.sequence), None);
        }
        for stop in &lists.stops {
            assert_eq!(self.book.get_stop(stop.slot, stop.sequence), Some(*stop));
            assert_eq!(self.book.get(stop.slot, stop.sequence), None);
        }
        for slot in &lists.free {
            assert!((0..self.sequence + 2).all(|s| self.book.get(*slot, s).is_none()));
        }
        let sides = [Side::Buy, Side::Sell];
        Step {
            said: sink.said,
            answers,
            lists,
            levels: sides.map(|side| self.book.levels(side)),
            best: sides.map(|side| self.book.best(side)),
        }
    }

    fn apply(&mut self, op: &Op, sink: &mut Recorder, answers: &mut Vec<String>) {
        match *op {
            Op::Place {
                member,
                side,
                price,
                size,
                peak,
                prevention,
                gather,
            } => {
                self.sequence += 1;
                let slot = self.book.allocate();
                answers.push(format!("slot {slot}"));
                let order = BookOrder {
                    sequence: self.sequence,
                    price: self.scale.price(price),
                    visible: Quantity(size),
                    hidden: Quantity::ZERO,
                    peak: Quantity(peak),
                    member: MemberId(member),
                    side,
                    self_trade_prevention: prevention,
                };
                self.enter(slot, order, gather, sink, answers);
            }
            Op::Sweep {
                member,
                side,
                price,
                size,
                prevention,
                funds,
            } => {
                self.sequence += 1;
                let slot = self.book.allocate();
                let limit = match (price, side) {
                    (Some(price), _) => self.scale.price(price),
                    (None, Side::Buy) => Price::MAX,
                    (None, Side::Sell) => Price::ZERO,
                };
                let taker = Taker {
                    sequence: self.sequence,
                    member: MemberId(member),
                    side,
                    limit,
                    size: Quantity(size),
                    self_trade_prevention: prevention,
                };
                let reachable = self.book.reachable(&taker);
                answers.push(format!("{reachable:?}"));
                sink.funds = funds.map(|f| u128::from(f) * u128::from(self.scale.price(20).0));
                let matched = self.book.take(&taker, sink);
                answers.push(format!("{matched:?}"));
                if sink.funds.is_none() {
                    check_reachable(reachable, &sink.said);
                }
                self.book.free(slot);
            }
            Op::Cancel(pick) => {
                if let Some((slot, order)) = self.resting(pick) {
                    assert_eq!(self.book.remove(slot), order);
                }
            }
            Op::Reduce(pick, visible, hidden) => {
                if let Some((slot, order)) = self.resting(pick) {
                    let visible = 1 + visible % order.visible.0;
                    let hidden = hidden % (order.hidden.0 + 1);
                    self.book.reduce(slot, Quantity(visible), Quantity(hidden));
                }
            }
            Op::Reprice(pick, to) => {
                if let Some((slot, _)) = self.resting(pick) {
                    let mut order = self.book.take_out(slot);
                    order.price = self.scale.price(to);
                    order.visible = order.remaining();
                    order.hidden = Quantity::ZERO;
                    self.enter(slot, order, false, sink, answers);
                }
            }
            Op::Stop(direction, price, member) => {
                self.sequence += 1;
                let slot = self.book.allocate();
                let price = self.scale.price(price);
                self.book
                    .add_stop(slot, direction, price, self.sequence, MemberId(member));
            }
            Op::CancelStop(pick) => {
                let stops = self.book.lists().stops;
                if let Some(stop) = stops.get(pick % stops.len().max(1)) {
                    assert_eq!(self.book.remove_stop(stop.slot), *stop);
                }
            }
            Op::Trigger(price) => {
                while let Some(slot) = self.book.pop_triggered(self.scale.price(price)) {
                    answers.push(format!("triggered {slot}"));
                    self.book.free(slot);
                }
            }
            Op::Uncross(reference) => {
                let indication = self.book.indicate(self.scale.price(reference));
                answers.push(format!("{indication:?}"));
                let volume = self.book.uncross(indication.price, sink);
                answers.push(format!("{volume:?}"));
                check_uncross(indication, volume, &sink.said);
                let best = [Side::Buy, Side::Sell].map(|side| self.book.best(side));
                if let [Some(bid), Some(ask)] = best {
                    assert!(bid < ask, "INV-BOOK-6");
                }
            }
            Op::Restore => {
                let lists = self.book.lists();
                self.book = B::restore(lists.clone()).expect("a book's own lists");
                assert_eq!(self.book.lists(), lists);
            }
        }
    }

    fn enter(
        &mut self,
        slot: Slot,
        mut order: BookOrder,
        gather: bool,
        sink: &mut Recorder,
        answers: &mut Vec<String>,
    ) {
        let taker = Taker {
            sequence: order.sequence,
            member: order.member,
            side: order.side,
            limit: order.price,
            size: order.visible,
            self_trade_prevention: order.self_trade_prevention,
        };
        if !gather {
            let reachable = self.book.reachable(&taker);
            answers.push(format!("{reachable:?}"));
            let matched = self.book.take(&taker, sink);
            answers.push(format!("{matched:?}"));
            check_reachable(reachable, &sink.said);
            if matched.ended != Ended::Exhausted {
                return self.book.free(slot);
            }
            order.visible = matched.remaining;
        }
        if order.peak > Quantity::ZERO && order.peak < order.visible {
            order.hidden = Quantity(order.visible.0 - order.peak.0);
            order.visible = order.peak;
        }
        self.book.rest(slot, order);
    }
}

/// A dry run promises what the match then does.
fn check_reachable(reachable: Reachable, said: &[Said]) {
    let mut sum = Reachable::default();
    for said in said {
        if let Said::Traded(fill) = said {
            sum.quantity.0 += fill.quantity.0;
            sum.notional_units += u128::from(fill.price.0) * u128::from(fill.quantity.0);
        }
    }
    assert_eq!(reachable, sum);
}

/// Without self-trade prevention an uncross does exactly what was indicated, at one price.
fn check_uncross(indication: Indication, volume: Quantity, said: &[Said]) {
    let prevented = said
        .iter()
        .any(|said| matches!(said, Said::Canceled(..) | Said::Reduced(..)));
    let mut traded = 0;
    for said in said {
        if let Said::Uncrossed(fill) = said {
            traded += fill.quantity.0;
            assert!(prevented || fill.price == indication.price);
            for order in [fill.maker, fill.taker] {
                let within = match order.side {
                    Side::Buy => fill.price <= order.price,
                    Side::Sell => fill.price >= order.price,
                };
                assert!(within, "no order trades beyond its limit");
            }
        }
    }
    assert_eq!(traded, volume.0);
    assert!(prevented || volume == indication.volume);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn both_books_agree_on_every_step(scale in scale(), ops in prop::collection::vec(op(), 1..120)) {
        let mut fast = World::<Book>::new(scale);
        let mut slow = World::<TwinBook>::new(scale);
        for (at, op) in ops.iter().enumerate() {
            let (said, expected) = (fast.step(op), slow.step(op));
            prop_assert_eq!(said, expected, "step {}: {:?}", at, op);
        }
    }
}
