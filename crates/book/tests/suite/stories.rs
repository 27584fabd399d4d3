//! The book's rules as stories: commands, and behind `>` all that they must show, on both books.
//!
//! Orders are numbered by acceptance: `#1`, `#2` … A story's words: `buys`/`sells SIZE @ PRICE`
//! with `peak N`, `funds N`, `ioc` (rests nothing), `rests` (does not match first) and
//! `own oldest|newest|both|decrease|allow`; `cancel #N`; `reduce #N to VISIBLE + HIDDEN`;
//! `NAME stops loss|entry @ PRICE`; `price P` (triggers stops); `indicate P` and `uncross P`
//! (reference P); `book`.

use everopen_book::twin::TwinBook;
use everopen_book::*;
use everopen_domain::{MemberId, Price, Quantity, SelfTradePrevention, Side, StopDirection};

use crate::both::{Recorder, Said, Subject};

struct Teller<B> {
    book: B,
    /// The slot of each order, by its number.
    slots: Vec<Slot>,
    names: Vec<String>,
}

fn number<T: std::str::FromStr>(word: &str) -> T {
    let digits = word.trim_start_matches('#');
    digits
        .parse()
        .unwrap_or_else(|_| panic!("not a number: {word}"))
}

impl<B: Subject> Teller<B> {
    fn member(&mut self, name: &str) -> MemberId {
        let at = self.names.iter().position(|known| known == name);
        MemberId(at.unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        }) as u32)
    }

    fn tell(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut sink = Recorder::default();
        let mut out = Vec::new();
        match words[..] {
            ["book"] => out.push(self.show()),
            ["cancel", id] => {
                let slot = self.slots[number::<usize>(id) - 1];
                self.book.remove(slot);
            }
            ["reduce", id, "to", visible, "+", hidden] => {
                let slot = self.slots[number::<usize>(id) - 1];
                let (visible, hidden) = (Quantity(number(visible)), Quantity(number(hidden)));
                self.book.reduce(slot, visible, hidden);
            }
            ["price", price] => {
                while let Some(slot) = self.book.pop_triggered(Price(number(price))) {
                    let id = self.slots.iter().rposition(|s| *s == slot).unwrap() + 1;
                    out.push(format!("#{id} triggers"));
                    self.book.free(slot);
                }
            }
            ["indicate", reference] => {
                let i = self.book.indicate(Price(number(reference)));
                let (volume, surplus) = (i.volume.0, i.surplus.0);
                out.push(format!(
                    "{volume} @ {}, {surplus} more {:?}",
                    i.price, i.surplus_side
                ));
            }
            ["uncross", reference] => {
                let price = self.book.indicate(Price(number(reference))).price;
                let volume = self.book.uncross(price, &mut sink);
                out.extend(sink.said.iter().map(spell));
                out.push(format!("volume {volume}"));
            }
            [name, "stops", way, "@", price] => {
                let way = match way {
                    "loss" => StopDirection::Loss,
                    "entry" => StopDirection::Entry,
                    _ => panic!("no direction: {way}"),
                };
                let member = self.member(name);
                let slot = self.book.allocate();
                self.slots.push(slot);
                let sequence = self.slots.len() as u64;
                self.book
                    .add_stop(slot, way, Price(number(price)), sequence, member);
            }
            [
                name,
                side @ ("buys" | "sells"),
                size,
                "@",
                price,
                ref rest @ ..,
            ] => {
                let order = BookOrder {
                    sequence: self.slots.len() as u64 + 1,
                    price: Price(number(price)),
                    visible: Quantity(number(size)),
                    member: self.member(name),
                    side: if side == "buys" {
                        Side::Buy
                    } else {
                        Side::Sell
                    },
                    ..BookOrder::default()
                };
                self.place(order, rest, &mut out);
            }
            _ => panic!("no such command: {line}"),
        }
        out
    }

    fn place(&mut self, mut order: BookOrder, mut words: &[&str], out: &mut Vec<String>) {
        let mut sink = Recorder::default();
        let (mut ioc, mut rests) = (false, false);
        loop {
            words = match *words {
                [] => break,
                ["ioc", ref rest @ ..] => {
                    ioc = true;
                    rest
                }
                ["rests", ref rest @ ..] => {
                    rests = true;
                    rest
                }
                ["peak", n, ref rest @ ..] => {
                    order.peak = Quantity(number(n));
                    rest
                }
                ["funds", n, ref rest @ ..] => {
                    sink.funds = Some(number(n));
                    rest
                }
                ["own", how, ref rest @ ..] => {
                    order.self_trade_prevention = match how {
                        "decrease" => SelfTradePrevention::DecreaseAndCancel,
                        "oldest" => SelfTradePrevention::CancelOldest,
                        "newest" => SelfTradePrevention::CancelNewest,
                        "both" => SelfTradePrevention::CancelBoth,
                        "allow" => SelfTradePrevention::Allow,
                        _ => panic!("no instruction: {how}"),
                    };
                    rest
                }
                _ => panic!("not understood: {words:?}"),
            };
        }
        let slot = self.book.allocate();
        self.slots.push(slot);
        if !rests {
            let matched = self.book.take(
                &Taker {
                    sequence: order.sequence,
                    member: order.member,
                    side: order.side,
                    limit: order.price,
                    size: order.visible,
                    self_trade_prevention: order.self_trade_prevention,
                },
                &mut sink,
            );
            out.extend(sink.said.iter().map(spell));
            if ioc || matched.ended != Ended::Exhausted {
                out.push(format!("{:?}, {} left", matched.ended, matched.remaining));
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

    /// Each level as the numbers and sizes of its orders, so that queues are seen.
    fn show(&self) -> String {
        let lists = self.book.lists();
        let side = |orders: &[(Slot, BookOrder)]| {
            let texts: Vec<String> = orders
                .iter()
                .map(|(_, o)| match o.hidden.0 {
                    0 => format!("#{} {}@{}", o.sequence, o.visible, o.price),
                    hidden => format!("#{} {}+{hidden}@{}", o.sequence, o.visible, o.price),
                })
                .collect();
            texts.join(", ")
        };
        format!("{} | {}", side(&lists.bids), side(&lists.asks))
    }
}

fn spell(said: &Said) -> String {
    match said {
        Said::Traded(f) => format!("trades {} @ {} with #{}", f.quantity, f.price, f.sequence),
        Said::Refreshed(_, o) => format!("#{} shows {} more", o.sequence, o.visible),
        Said::MakerCanceled(_, o) | Said::Canceled(_, o) => {
            format!("#{} canceled, {} left", o.sequence, o.remaining())
        }
        Said::MakerReduced(_, o, by) | Said::Reduced(_, o, by) => {
            format!("#{} shrinks by {by} to {}", o.sequence, o.remaining())
        }
        Said::TakerReduced(price, by) => format!("shrinks by {by} @ {price}"),
        Said::Uncrossed(f) => format!(
            "#{} and #{} trade {} @ {}",
            f.maker.sequence, f.taker.sequence, f.quantity, f.price
        ),
    }
}

fn told<B: Subject>(story: &str) -> String {
    let mut teller = Teller {
        book: B::empty(),
        slots: vec![],
        names: vec![],
    };
    let mut text = String::new();
    for line in story.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if line.starts_with('>') {
            continue;
        }
        text += &format!("{line}\n");
        for shown in teller.tell(line) {
            text += &format!("> {}\n", shown.trim());
        }
    }
    text
}

/// Both books must tell the story as it is written.
fn check(story: &str) {
    let lines = story.lines().map(str::trim).filter(|l| !l.is_empty());
    let written: String = lines.map(|line| format!("{line}\n")).collect();
    assert_eq!(told::<TwinBook>(story), written, "the twin");
    assert_eq!(told::<Book>(story), written, "the book");
}

#[test]
fn better_prices_then_older_orders_trade_first_at_the_makers_price() {
    check(
        "ann sells 5 @ 102
         bob sells 3 @ 101
         cat sells 4 @ 101
         dan buys 9 @ 102
         > trades 3 @ 101 with #2
         > trades 4 @ 101 with #3
         > trades 2 @ 102 with #1
         > Filled, 0 left
         book
         > | #1 3@102",
    );
}

#[test]
fn what_is_left_rests_and_an_immediate_order_rests_nothing() {
    check(
        "ann sells 5 @ 101
         bob buys 7 @ 101
         > trades 5 @ 101 with #1
         cat sells 3 @ 101 ioc
         > trades 2 @ 101 with #2
         > Exhausted, 1 left
         dan sells 3 @ 101 ioc
         > Exhausted, 3 left
         book
         > |",
    );
}

#[test]
fn an_iceberg_shows_its_next_peak_at_the_back() {
    check(
        "ann sells 7 @ 100 peak 3
         bob sells 2 @ 100
         book
         > | #1 3+4@100, #2 2@100
         cat buys 4 @ 100
         > trades 3 @ 100 with #1
         > #1 shows 3 more
         > trades 1 @ 100 with #2
         > Filled, 0 left
         book
         > | #2 1@100, #1 3+1@100
         cat buys 9 @ 100 ioc
         > trades 1 @ 100 with #2
         > trades 3 @ 100 with #1
         > #1 shows 1 more
         > trades 1 @ 100 with #1
         > Exhausted, 4 left",
    );
}

#[test]
fn a_smaller_size_keeps_priority() {
    check(
        "ann buys 6 @ 100 peak 4
         bob buys 5 @ 100
         reduce #1 to 2 + 1
         cat sells 3 @ 100
         > trades 2 @ 100 with #1
         > #1 shows 1 more
         > trades 1 @ 100 with #2
         > Filled, 0 left
         cancel #2
         book
         > #1 1@100 |",
    );
}

#[test]
fn funds_cap_a_match() {
    check(
        "ann sells 5 @ 10
         bob sells 5 @ 20
         cat buys 100 @ 1000 ioc funds 95
         > trades 5 @ 10 with #1
         > trades 2 @ 20 with #2
         > Capped, 93 left",
    );
}

#[test]
fn self_trade_prevention_cancels_the_oldest_the_newest_or_both() {
    check(
        "ann sells 5 @ 100
         bob sells 5 @ 100
         ann buys 7 @ 100 own oldest
         > #1 canceled, 5 left
         > trades 5 @ 100 with #2
         book
         > #3 2@100 |
         ann sells 1 @ 100 own newest
         > SelfTrade, 1 left
         ann sells 1 @ 100 own both
         > #3 canceled, 2 left
         > SelfTrade, 1 left
         ann buys 1 @ 100
         ann sells 1 @ 100 own allow
         > trades 1 @ 100 with #6
         > Filled, 0 left",
    );
}

#[test]
fn decrease_and_cancel_shrinks_both_hidden_part_first() {
    check(
        "ann sells 9 @ 100 peak 4
         ann buys 6 @ 100
         > #1 shrinks by 6 to 3
         > shrinks by 6 @ 100
         > SelfTrade, 0 left
         book
         > | #1 3@100
         ann buys 8 @ 100
         > #1 canceled, 3 left
         > shrinks by 3 @ 100
         book
         > #3 5@100 |
         ann sells 5 @ 100
         > #3 canceled, 5 left
         > shrinks by 5 @ 100
         > SelfTrade, 0 left",
    );
}

#[test]
fn stops_trigger_losses_first_nearest_price_first_oldest_first() {
    check(
        "ann stops loss @ 95
         bob stops entry @ 90
         cat stops loss @ 97
         dan stops loss @ 95
         eve stops entry @ 110
         fay stops loss @ 89
         price 100
         > #2 triggers
         bob stops entry @ 94
         price 95
         > #3 triggers
         > #1 triggers
         > #4 triggers
         > #7 triggers
         price 111
         > #5 triggers
         price 89
         > #6 triggers",
    );
}

#[test]
fn an_auction_takes_the_price_nearest_to_the_reference_when_nothing_is_left() {
    check(
        "ann buys 10 @ 102 rests
         bob sells 10 @ 98 rests
         indicate 100
         > 10 @ 100, 0 more Buy
         indicate 97
         > 10 @ 98, 0 more Buy
         indicate 200
         > 10 @ 102, 0 more Buy
         uncross 100
         > #1 and #2 trade 10 @ 100
         > volume 10
         book
         > |",
    );
}

#[test]
fn an_auction_follows_the_pressure_of_the_surplus() {
    check(
        "ann buys 15 @ 102 rests
         bob sells 10 @ 98 rests
         indicate 100
         > 10 @ 102, 5 more Buy
         cat sells 10 @ 98 rests
         indicate 100
         > 15 @ 98, 5 more Sell
         dan buys 10 @ 99 rests
         indicate 100
         > 20 @ 99, 5 more Buy
         uncross 100
         > #1 and #2 trade 10 @ 99
         > #1 and #3 trade 5 @ 99
         > #3 and #4 trade 5 @ 99
         > volume 20
         book
         > #4 5@99 |",
    );
}

#[test]
fn an_auction_that_crosses_nothing_has_no_price() {
    check(
        "ann buys 10 @ 98 rests
         bob sells 10 @ 99 rests
         indicate 100
         > 0 @ 0, 0 more Buy
         uncross 100
         > volume 0
         book
         > #1 10@98 | #2 10@99",
    );
}

#[test]
fn an_auction_prevents_self_trades_and_leaves_no_crossed_book() {
    check(
        "ann buys 10 @ 105 rests own oldest
         ann sells 10 @ 95 rests own newest
         bob sells 4 @ 103 rests
         indicate 100
         > 10 @ 100, 0 more Buy
         uncross 100
         > #2 canceled, 10 left
         > #1 and #3 trade 4 @ 103
         > volume 4
         book
         > #1 6@105 |",
    );
}
