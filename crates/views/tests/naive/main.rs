//! The views against the venue itself and against recomputation from the whole event list, and
//! checkpoints against going on without one.

mod recomputed;
#[path = "../support/mod.rs"]
mod support;
mod venue;

use everopen_domain::{AssetId, Event, InstrumentId, MemberId, Timestamp};
use everopen_views::{
    Config, FillFilter, Granularity, OrderFilter, OrderStatus, OwnedCheckpoint, Page, StatusSet,
    Views,
};
use proptest::prelude::*;
use recomputed::same_as_recomputed;
use support::{Entry, Flow, INSTRUMENTS, MEMBERS};
use venue::same_as_venue;

const ALL: Page = Page {
    before: None,
    after: None,
    limit: u32::MAX,
};

fn apply(views: &mut Views, entries: &[Entry]) {
    for entry in entries {
        views.advance(entry.index, entry.time);
        for event in &entry.events {
            views.apply(entry.index, entry.time, event);
        }
    }
}

fn run(seed: u64, steps: usize, step_max: u64) -> (Flow, Vec<Entry>) {
    let (mut flow, mut entries) = Flow::new(seed);
    flow.step_max = step_max;
    entries.extend((0..steps).map(|_| flow.step()));
    (flow, entries)
}

/// All events with their times.
fn events(entries: &[Entry]) -> impl DoubleEndedIterator<Item = (Timestamp, &Event)> {
    entries
        .iter()
        .flat_map(|entry| entry.events.iter().map(move |event| (entry.time, event)))
}

fn checkpoint(views: &Views, config: Config) -> Views {
    let bytes = postcard::to_stdvec(&views.to_checkpoint()).unwrap();
    let checkpoint: OwnedCheckpoint = postcard::from_bytes(&bytes).unwrap();
    Views::restore(config, checkpoint)
}

const MINUTE: u64 = 60 * Timestamp::NANOS_PER_SECOND;

fn step_max() -> impl Strategy<Value = u64> {
    // Within seconds, across hours, and across months.
    prop_oneof![Just(MINUTE), Just(120 * MINUTE), Just(3_000 * MINUTE)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn views_agree_with_the_venue_and_with_recomputation(
        seed in any::<u64>(),
        steps in 1usize..500,
        step_max in step_max(),
    ) {
        let (flow, entries) = run(seed, steps, step_max);
        let mut views = Views::new(Config::default());
        apply(&mut views, &entries);
        same_as_venue(&views, &flow);
        same_as_recomputed(&views, &entries);
    }

    #[test]
    fn a_checkpoint_anywhere_and_the_rest_give_the_same_views(
        seed in any::<u64>(),
        steps in 1usize..300,
        cut in any::<prop::sample::Index>(),
        step_max in step_max(),
        tiny in any::<bool>(),
    ) {
        let config = if tiny { TINY } else { Config::default() };
        let (_, entries) = run(seed, steps, step_max);
        let mut whole = Views::new(config);
        apply(&mut whole, &entries);
        let cut = cut.index(entries.len());
        let mut first = Views::new(config);
        apply(&mut first, &entries[..cut]);
        let mut rest = checkpoint(&first, config);
        prop_assert_eq!(&rest, &first);
        apply(&mut rest, &entries[cut..]);
        prop_assert_eq!(rest, whole);
    }

    #[test]
    fn tiny_limits_keep_the_newest_and_nothing_live_is_lost(
        seed in any::<u64>(),
        steps in 100usize..400,
    ) {
        let (flow, entries) = run(seed, steps, 10 * MINUTE);
        let mut all = Views::new(Config::default());
        let mut few = Views::new(TINY);
        apply(&mut all, &entries);
        apply(&mut few, &entries);
        same_as_venue(&few, &flow);
        for id in (0..INSTRUMENTS).map(InstrumentId) {
            let newest: Vec<_> = all.trades(id, ALL).take(3).collect();
            prop_assert_eq!(few.trades(id, ALL).collect::<Vec<_>>(), newest);
            for granularity in Granularity::ALL {
                let kept = if granularity == Granularity::Minute { 4 } else { 2 };
                let newest: Vec<_> =
                    all.candles(id, granularity, 0, u64::MAX, kept).collect();
                let seen: Vec<_> =
                    few.candles(id, granularity, 0, u64::MAX, u32::MAX).collect();
                prop_assert_eq!(seen, newest);
            }
            // Statistics hold for the candles that are kept.
            let volume: u128 = few
                .candles(id, Granularity::Minute, 0, u64::MAX, u32::MAX)
                .filter(|c| c.start / 60 + 1_440 > few.time().0 / MINUTE)
                .map(|c| c.volume)
                .sum();
            prop_assert_eq!(few.stats_24h(id).unwrap().volume, volume);
        }
        for member in (0..MEMBERS).map(MemberId) {
            let filter = OrderFilter {
                statuses: StatusSet::NONE.with(OrderStatus::Done),
                page: ALL,
                ..OrderFilter::default()
            };
            prop_assert!(few.orders(member, &filter).count() <= 5);
            let filter = FillFilter { page: ALL, ..FillFilter::default() };
            let newest: Vec<_> = all.fills(member, &filter).take(3).collect();
            prop_assert_eq!(few.fills(member, &filter).collect::<Vec<_>>(), newest);
            for asset in (0..3).map(AssetId) {
                let newest: Vec<_> = all.ledger_entries(member, asset, ALL).take(2).collect();
                let seen: Vec<_> = few.ledger_entries(member, asset, ALL).collect();
                prop_assert_eq!(seen, newest);
            }
            prop_assert!(few.transfers(member, ALL, |_| true).count() <= 2);
        }
    }
}

const TINY: Config = Config {
    trades_per_instrument: 3,
    ended_orders_per_member: 5,
    fills_per_member: 3,
    ledger_entries_per_account: 2,
    transfers_per_member: 2,
    minute_candles: 4,
    larger_candles: 2,
};

#[test]
fn a_checkpoint_of_another_format_is_refused() {
    let views = Views::new(Config::default());
    let mut bytes = postcard::to_stdvec(&views.to_checkpoint()).unwrap();
    bytes[0] += 1;
    let error = postcard::from_bytes::<OwnedCheckpoint>(&bytes);
    assert!(error.is_err());
}

#[test]
fn products_are_found_by_dash_and_slash() {
    let (_, entries) = Flow::new(1);
    let mut views = Views::new(Config::default());
    apply(&mut views, &entries);
    for symbol in ["BTC-USD", "BTC/USD"] {
        assert_eq!(views.product_by_symbol(symbol).unwrap().id, InstrumentId(0));
    }
    for symbol in ["BTC_USD", "BTC", "", "/", "BTC/USD/", "btc-usd"] {
        assert!(views.product_by_symbol(symbol).is_none(), "{symbol}");
    }
    // Every asset has an account, whether or not it was ever touched.
    assert_eq!(views.accounts(MemberId(0)).count(), 3);
    assert_eq!(views.accounts(MemberId(99)).count(), 0);
    assert_eq!(views.member_by_code("member-2"), Some(MemberId(2)));
}

/// The properties above say little if the random flow never does what they are about.
#[test]
fn the_random_flow_does_everything() {
    let (_, entries) = run(7, 6_000, MINUTE);
    let count = |what: fn(&Event) -> bool| events(&entries).filter(|(_, e)| what(e)).count();
    let kinds: [(&str, usize); 12] = [
        (
            "trades",
            count(|e| matches!(e, Event::Traded { auction: false, .. })),
        ),
        (
            "auction trades",
            count(|e| matches!(e, Event::Traded { auction: true, .. })),
        ),
        (
            "iceberg peaks that trade",
            count(|e| {
                matches!(e, Event::Traded { maker_remaining, maker_visible, .. }
                    if maker_visible < maker_remaining)
            }),
        ),
        (
            "triggers",
            count(|e| matches!(e, Event::OrderTriggered { .. })),
        ),
        (
            "stops that never triggered",
            count(|e| matches!(e, Event::OrderDone { sequence: 0, .. })),
        ),
        (
            "amendments in place",
            count(|e| {
                matches!(
                    e,
                    Event::OrderAmended {
                        kept_priority: true,
                        ..
                    }
                )
            }),
        ),
        (
            "amendments that requeue",
            count(|e| {
                matches!(
                    e,
                    Event::OrderAmended {
                        kept_priority: false,
                        self_trade: false,
                        ..
                    }
                )
            }),
        ),
        (
            "self-trade decreases of makers",
            count(|e| {
                matches!(
                    e,
                    Event::OrderAmended {
                        kept_priority: true,
                        self_trade: true,
                        ..
                    }
                )
            }),
        ),
        (
            "self-trade decreases of takers",
            count(|e| {
                matches!(
                    e,
                    Event::OrderAmended {
                        kept_priority: false,
                        self_trade: true,
                        ..
                    }
                )
            }),
        ),
        (
            "self trades",
            count(|e| matches!(e, Event::Traded { maker, taker, .. } if maker == taker)),
        ),
        (
            "rebates",
            count(|e| matches!(e, Event::Traded { maker_fee, .. } if maker_fee.0 < 0)),
        ),
        (
            "indications",
            count(|e| matches!(e, Event::AuctionIndicated { .. })),
        ),
    ];
    for (kind, times) in kinds {
        assert!(times >= 10, "{kind}: {times}");
    }
}
