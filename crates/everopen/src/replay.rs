//! `everopen replay`: drives recorded order flow through a venue in memory.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use everopen_domain::{Command, Event, InstrumentId, Price, Quantity, Side, Timestamp};
use everopen_orderflow::feed::{Feed, Format, Options, Symbol};
use everopen_orderflow::replay::{Book, Config, Driver, Summary};
use everopen_venue::Venue;
use everopen_views::Decimal;
use everopen_wire::{EventHasher, state_hash};
use serde_json::{Value, json};

use crate::cli;
use crate::progress::Bar;

/// Messages between two looks at the clock.
const LOOK_EVERY: u64 = 8_192;

/// A finished replay.
struct Replayed {
    venue: Venue,
    driver: Driver,
    commands: u64,
    events: u64,
    events_hash: String,
    took: Duration,
    price_decimals: u8,
    size_decimals: u8,
    format: Format,
}

/// Performs the command.
///
/// # Errors
/// Where the file is damaged; then no result is printed.
pub fn run(args: &cli::Replay) -> Result<()> {
    let symbol = match &args.symbol {
        Some(text) => Some(
            Symbol::new(text.as_bytes())
                .with_context(|| format!("symbol {text:?} is not usable"))?,
        ),
        None => None,
    };
    let options = Options {
        format: args.format.map(|format| match format {
            cli::FeedFormat::Itch => Format::Itch,
            cli::FeedFormat::Lobster => Format::Lobster,
            cli::FeedFormat::Bitstamp => Format::Bitstamp,
        }),
        symbol,
        ..Options::default()
    };
    let feed = Feed::open(&args.file, options)?;
    let replayed = replay(feed, &args.file.display().to_string())
        .context("the replay stopped there; what was applied before it is not a result")?;
    if args.json {
        say!(
            "{}",
            serde_json::to_string_pretty(&replayed.to_json(args.books))?
        );
    } else {
        replayed.print(args.books);
    }
    Ok(())
}

fn replay(mut feed: Feed<'static>, name: &str) -> Result<Replayed> {
    let total = feed.total_bytes().unwrap_or(0);
    let mut bar = Bar::bytes(name.to_string(), total);
    let config = Config::for_feed(&feed, Timestamp::ZERO);
    let (price_decimals, size_decimals) = (config.price_decimals, config.size_decimals);
    let format = feed.format();
    let mut driver = Driver::new(config);
    let mut venue = Venue::new();
    let mut hasher = EventHasher::new();
    let mut commands: Vec<Command> = Vec::new();
    let mut events: Vec<Event> = Vec::new();
    let (mut messages, mut sent, mut happened) = (0u64, 0u64, 0u64);
    let begun = Instant::now();
    loop {
        let message = feed.read()?;
        match &message {
            Some(message) => driver.next(message, &mut commands),
            None => driver.finish(&mut commands),
        }
        if message.is_none() && commands.is_empty() {
            break;
        }
        for command in commands.drain(..) {
            venue.apply(driver.now(), &command, &mut events);
            sent += 1;
            happened += events.len() as u64;
            events.iter().for_each(|event| hasher.push(event));
            driver.observe(&events);
            events.clear();
        }
        messages += u64::from(message.is_some());
        if messages % LOOK_EVERY == 0 {
            let rate = messages as f64 / begun.elapsed().as_secs_f64();
            bar.note(format!("{messages} messages · {rate:.0}/s"));
            bar.update(feed.position(), total);
        }
    }
    bar.finish();
    Ok(Replayed {
        took: begun.elapsed(),
        venue,
        driver,
        commands: sent,
        events: happened,
        events_hash: hasher.hash().to_string(),
        price_decimals,
        size_decimals,
        format,
    })
}

/// The best level of a side.
type Top = Option<(Price, Quantity)>;

impl Replayed {
    fn top(&self, instrument: InstrumentId) -> (Top, Top) {
        let side = |side| {
            let book = self.venue.book(instrument)?;
            let level = book.levels(side).next()?;
            Some((level.price, level.visible))
        };
        (side(Side::Buy), side(Side::Sell))
    }

    /// The instruments that were traded or ordered in, busiest first.
    fn books(&self) -> Vec<(&Book, u64)> {
        let mut books: Vec<_> = self
            .driver
            .books()
            .iter()
            .map(|book| (book, self.venue.sequence(book.instrument).unwrap_or(0)))
            .collect();
        books.sort_by_key(|(book, sequence)| (std::cmp::Reverse(*sequence), book.instrument));
        books
    }

    fn volume(&self, volume: u128) -> String {
        Decimal::new(
            i128::try_from(volume).unwrap_or(i128::MAX),
            self.size_decimals,
        )
        .to_string()
    }

    fn price(&self, price: Price) -> String {
        Decimal::price(price, self.price_decimals).to_string()
    }

    fn size(&self, size: Quantity) -> String {
        Decimal::size(size, self.size_decimals).to_string()
    }

    fn print(&self, show: usize) {
        let summary = self.driver.summary();
        let seconds = self.took.as_secs_f64().max(1e-9);
        let messages: u64 = summary.kinds.iter().sum();
        say!("format            {:?}", self.format);
        say!(
            "messages          {messages} in {seconds:.3} s = {:.0} messages/s",
            messages as f64 / seconds
        );
        say!(
            "commands          {} giving {} events",
            self.commands,
            self.events
        );
        say!(
            "orders            {} placed, {} amended, {} canceled",
            summary.orders_placed,
            summary.orders_amended,
            summary.orders_canceled
        );
        say!("trades            {}", summary.trades);
        say!("volume            {}", self.volume(summary.volume));
        say!(
            "unknown orders    {} messages referred to orders that the file never added",
            summary.unknown_references()
        );
        executions(summary);
        if summary.rejections() > 0 {
            say!("refused commands  {}", summary.rejections());
            for (reason, count) in &summary.rejected {
                say!("  {count:>10}  {reason} (code {})", reason.code());
            }
        }
        say!("events hash       {}", self.events_hash);
        say!("state hash        {}", state_hash(&self.venue.snapshot()));
        let books = self.books();
        say!();
        say!(
            "{:<12}{:>14}{:>14}{:>14}{:>14}{:>12}",
            "book",
            "bid size",
            "bid",
            "ask",
            "ask size",
            "events"
        );
        for (book, sequence) in books.iter().take(show) {
            let (bid, ask) = self.top(book.instrument);
            let price = |top: Top| top.map_or("-".into(), |(price, _)| self.price(price));
            let size = |top: Top| top.map_or("-".into(), |(_, size)| self.size(size));
            say!(
                "{:<12}{:>14}{:>14}{:>14}{:>14}{:>12}",
                book.symbol.as_str(),
                size(bid),
                price(bid),
                price(ask),
                size(ask),
                sequence
            );
        }
        if books.len() > show {
            say!("… and {} more (--books N shows more)", books.len() - show);
        }
    }

    fn to_json(&self, show: usize) -> Value {
        let summary = self.driver.summary();
        let messages: u64 = summary.kinds.iter().sum();
        let top = |top: Top| top.map(|(price, size)| json!([self.price(price), self.size(size)]));
        let books: Vec<Value> = self
            .books()
            .iter()
            .take(show)
            .map(|(book, sequence)| {
                let (bid, ask) = self.top(book.instrument);
                json!({ "symbol": book.symbol.as_str(), "sequence": sequence, "bid": top(bid), "ask": top(ask) })
            })
            .collect();
        let rejected: serde_json::Map<String, Value> = summary
            .rejected
            .iter()
            .map(|(reason, count)| (reason.name().to_string(), json!(count)))
            .collect();
        let kinds: serde_json::Map<String, Value> = summary
            .kinds_seen()
            .map(|(kind, count)| (kind.to_string(), json!(count)))
            .collect();
        json!({
            "format": format!("{:?}", self.format),
            "messages": messages,
            "messages_by_type": kinds,
            "seconds": self.took.as_secs_f64(),
            "messages_per_s": messages as f64 / self.took.as_secs_f64().max(1e-9),
            "commands": self.commands,
            "events": self.events,
            "orders_placed": summary.orders_placed,
            "orders_amended": summary.orders_amended,
            "orders_canceled": summary.orders_canceled,
            "trades": summary.trades,
            "volume": self.volume(summary.volume),
            "unknown_references": summary.unknown_references(),
            "rejected": rejected,
            "events_hash": self.events_hash,
            "state_hash": state_hash(&self.venue.snapshot()).to_string(),
            "books_touched": self.driver.books().len(),
            "books": books,
        })
    }
}

/// How the executions of the feed came out in a venue that does its own matching.
fn executions(summary: &Summary) {
    let executions = &summary.executions;
    if executions.sent > 0 {
        say!(
            "executions        {} sent: {} hit the order that the file names, {} another before it, {} found less",
            executions.sent,
            executions.hit_named,
            executions.hit_other,
            executions.unfilled
        );
    }
}
