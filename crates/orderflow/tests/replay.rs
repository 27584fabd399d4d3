//! Replays against a slow, obvious venue.

mod support;

use std::path::Path;

use everopen_domain::{Side, Timestamp};
use everopen_orderflow::feed::{Feed, Options};
use everopen_orderflow::replay::{Config, Driver};
use support::venue::Venue;
use support::{sample, shared_market};

/// Replays a file; `behind` messages are under way before their events are observed.
fn replay(path: &Path, behind: usize) -> (Driver, Venue) {
    let mut feed = Feed::open(path, Options::default()).unwrap();
    let mut config = Config::for_feed(&feed, Timestamp::ZERO);
    config.client_order_ids = behind > 0;
    let mut driver = Driver::new(config);
    let mut venue = Venue::default();
    let mut commands = Vec::new();
    let mut waiting = std::collections::VecDeque::new();
    let mut last = Timestamp::ZERO;
    for message in &mut feed {
        commands.clear();
        driver.next(&message.unwrap(), &mut commands);
        assert!(driver.now() >= last, "time went backwards");
        last = driver.now();
        waiting.extend(commands.iter().map(|command| venue.apply(command)));
        while waiting.len() > behind {
            driver.observe(&waiting.pop_front().unwrap());
        }
    }
    loop {
        waiting.drain(..).for_each(|events| driver.observe(&events));
        commands.clear();
        driver.finish(&mut commands);
        if commands.is_empty() {
            break;
        }
        waiting.extend(commands.iter().map(|command| venue.apply(command)));
    }
    (driver, venue)
}

fn assert_books_are_sane(driver: &Driver, venue: &Venue) {
    for book in driver.books() {
        let (bid, ask) = (
            venue.best(book.instrument, Side::Buy),
            venue.best(book.instrument, Side::Sell),
        );
        if let (Some(bid), Some(ask)) = (bid, ask) {
            assert!(bid < ask, "{}: crossed, {bid} and {ask}", book.symbol);
        }
    }
    let mut sums = std::collections::BTreeMap::new();
    for ((_, asset), balance) in &venue.balances {
        *sums.entry(*asset).or_insert(0) += balance;
    }
    for (asset, sum) in sums {
        assert_eq!(
            sum,
            10_i128.pow(32),
            "asset {asset}: trading must not change the sum"
        );
    }
}

#[test]
fn the_real_itch_file_replays_with_the_counted_unknown_references() {
    let Some(path) = shared_market("smoke.itch.gz") else {
        return;
    };
    for behind in [0, 64] {
        let (driver, venue) = replay(&path, behind);
        let summary = driver.summary();
        assert_eq!(summary.messages.messages, 291_913);
        assert_eq!(summary.unknown_references(), 13_138);
        assert_eq!(
            summary.unknown_references() - summary.unknown_after_replace,
            12_023
        );
        assert_eq!(summary.duplicate_references, 0);
        assert_books_are_sane(&driver, &venue);
    }
}

#[test]
fn the_real_lobster_file_replays() {
    let name = "AAPL_2012-06-21_34200000_57600000_message_10.csv";
    let Some(path) = shared_market(name) else {
        return;
    };
    let (driver, venue) = replay(&path, 0);
    let summary = driver.summary();
    assert_eq!(
        (summary.messages.messages, summary.unknown_references()),
        (999, 9)
    );
    assert_eq!(driver.books()[0].symbol.as_str(), "AAPL");
    assert_eq!(summary.messages.trade_reports, 61);
    assert_books_are_sane(&driver, &venue);
}

#[test]
fn the_real_bitstamp_file_replays() {
    let Some(path) = shared_market("bitstamp-btcusd-2015-05-01-orders.csv.xz") else {
        return;
    };
    let (driver, venue) = replay(&path, 0);
    let summary = driver.summary();
    assert_eq!(
        (summary.messages.messages, summary.unknown_references()),
        (50_414, 186)
    );
    assert_eq!(
        (summary.messages.adds, summary.messages.set_sizes),
        (24_894, 602)
    );
    assert_books_are_sane(&driver, &venue);
}

#[test]
fn the_samples_replay_without_a_rest() {
    for file in everopen_orderflow::samples::FILES {
        for behind in [0, 16] {
            let (driver, venue) = replay(&sample(file), behind);
            let summary = driver.summary();
            assert_eq!(summary.unknown_references(), 0, "{file}");
            // What is under way while an order trades by itself can come too late for it.
            let late = behind > 0 && file.contains("bitstamp");
            assert!(
                late || summary.rejections() == 0,
                "{file}: {:?}",
                summary.rejected
            );
            assert_eq!(
                (summary.after_end, summary.added_after_end),
                (0, 0),
                "{file}"
            );
            assert_eq!(summary.end_of_messages, file.contains("itch"), "{file}");
            assert!(summary.trades > 100, "{file}: {} trades", summary.trades);
            let executions = summary.executions;
            assert_eq!(executions.sent, summary.messages.executes, "{file}");
            assert_eq!(
                executions.hit_named, executions.sent,
                "{file}: {executions:?}"
            );
            assert_books_are_sane(&driver, &venue);
            // Our books hold exactly what the feed left in its own.
            let left: u64 = venue
                .markets
                .iter()
                .map(|market| market.resting.len() as u64)
                .sum();
            let crossed = summary.crossing_trades > 0;
            assert!(
                crossed == file.contains("bitstamp"),
                "{file}: crossing trades"
            );
            let expected = summary.orders_placed - summary.orders_canceled;
            assert!(
                left > 0 && left < expected,
                "{file}: {left} of {expected} rest"
            );
        }
    }
}

#[test]
fn an_instrument_called_like_the_money_and_a_refused_replacement_leave_nothing_behind() {
    use everopen_orderflow::itch::Writer;
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    let usd = everopen_domain::AssetCode::new(b"USD").unwrap();
    writer.add(1, 10, 1, Side::Buy, 100, usd, 50_000).unwrap();
    writer.add(1, 9, 2, Side::Sell, 100, usd, 60_000).unwrap();
    writer.replace(1, 12, 1, 3, 100, 0).unwrap();
    writer.executed(1, 13, 2, 40, 1).unwrap();
    writer.cancel(1, 14, 2, 10).unwrap();
    writer.delete(1, 15, 77).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, bytes).unwrap();
    let (driver, venue) = replay(&path, 0);
    let summary = driver.summary();
    assert_eq!(summary.rejected.len(), 1, "{:?}", summary.rejected);
    assert_eq!(summary.unknown[usize::from(b'D')], 1);
    assert_eq!((summary.trades, summary.volume), (1, 40));
    let resting = &venue.markets[0].resting;
    assert_eq!(resting.len(), 1);
    assert_eq!(
        (resting[0].order.side, resting[0].remaining),
        (Side::Sell, 50)
    );
}
