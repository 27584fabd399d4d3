//! The live summary on a terminal: books, rates, latencies, redrawn in place.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use everopen_domain::{Event, Side};
use everopen_replica::{Handle, LatencySummary};
use everopen_views::Views;

/// What happened since the start of the process.
#[derive(Debug, Default)]
pub struct Counts {
    orders: AtomicU64,
    trades: AtomicU64,
    rejected: AtomicU64,
}

impl Counts {
    pub fn add(&self, events: &[Event]) {
        let count = |f: fn(&Event) -> bool| events.iter().filter(|e| f(e)).count() as u64;
        self.orders
            .fetch_add(count(|e| matches!(e, Event::OrderAccepted { .. })), Relaxed);
        self.trades
            .fetch_add(count(|e| matches!(e, Event::Traded { .. })), Relaxed);
        self.rejected
            .fetch_add(count(|e| matches!(e, Event::OrderRejected { .. })), Relaxed);
    }
}

/// How often the summary is redrawn.
const PERIOD: Duration = Duration::from_millis(500);

/// Products that are shown: the picture must fit on a small terminal.
const PRODUCTS: usize = 12;

/// Counts at one moment, to make rates of.
struct Sample {
    at: Instant,
    commands: u64,
    orders: u64,
    trades: u64,
    bytes: u64,
}

pub struct Summary {
    pub views: Arc<RwLock<Views>>,
    pub handle: Handle,
    pub counts: Arc<Counts>,
    pub durability: &'static str,
    pub address: String,
}

impl Summary {
    /// Draws until `stop` is set; the last picture stays.
    pub fn run(&self, stop: &AtomicBool) {
        let started = Instant::now();
        let mut before = self.sample();
        let mut lines = 0;
        while !stop.load(Relaxed) {
            std::thread::park_timeout(PERIOD);
            let now = self.sample();
            let text = self.draw(&before, &now, started.elapsed());
            before = now;
            let up = if lines > 0 {
                format!("\x1b[{lines}A")
            } else {
                String::new()
            };
            lines = text.lines().count();
            // A line that wraps would be two lines to go up.
            let columns = columns();
            let text: String = text
                .lines()
                .flat_map(|line| line.chars().take(columns).chain("\x1b[K\n".chars()))
                .collect();
            let mut out = io::stdout().lock();
            if write!(out, "{up}{text}")
                .and_then(|()| out.flush())
                .is_err()
            {
                return;
            }
        }
    }

    fn sample(&self) -> Sample {
        Sample {
            at: Instant::now(),
            commands: self.handle.stats().commands(),
            orders: self.counts.orders.load(Relaxed),
            trades: self.counts.trades.load(Relaxed),
            bytes: self.handle.stats().log_bytes(),
        }
    }

    fn draw(&self, before: &Sample, now: &Sample, running: Duration) -> String {
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
        let latency = self.handle.stats().take_latencies();
        let mut out = String::new();
        let _ = writeln!(
            out,
            "  {:<9}{:>12}{:>12}{:>12}{:>9}{:>12}{:>12}",
            "product", "bid", "ask", "last", "spread", "24 h vol.", "phase"
        );
        let views = self
            .views
            .read()
            .expect("invariant: views are never left half written");
        for product in views.products().take(PRODUCTS) {
            let book = views.book(product.id);
            let best = |side| book.and_then(|b| b.best(side)).map(|level| level.price);
            let (bid, ask) = (best(Side::Buy), best(Side::Sell));
            let price = |p: Option<_>| p.map_or("-".into(), |p| product.price(p).to_string());
            let spread = match (bid, ask) {
                (Some(bid), Some(ask)) if ask > bid => {
                    format!("{:.1} bp", (ask.0 - bid.0) as f64 * 1e4 / ask.0 as f64)
                }
                _ => "-".into(),
            };
            let ticker = views.ticker(product.id);
            let last = price(ticker.and_then(|t| t.trade).map(|t| t.price));
            let volume = views.stats_24h(product.id);
            let volume = volume.map_or("-".into(), |s| product.volume(s.volume).to_string());
            let volume = hundredths(&volume);
            let phase = format!("{:?}", product.phase).to_lowercase();
            let _ = writeln!(
                out,
                "  {:<9}{:>12}{:>12}{:>12}{:>9}{:>12}{:>12}",
                product.symbol,
                price(bid),
                price(ask),
                last,
                spread,
                volume,
                phase
            );
        }
        drop(views);
        let _ = writeln!(
            out,
            "  {:.0} orders/s · {:.0} trades/s · {:.0} commands/s · {:.1} kB/s log",
            rate(now.orders, before.orders),
            rate(now.trades, before.trades),
            rate(now.commands, before.commands),
            rate(now.bytes, before.bytes) / 1e3,
        );
        let _ = writeln!(out, "  {}", latencies(&latency, self.durability));
        let _ = writeln!(
            out,
            "  {} · up {} · entry {} · {} trades · Ctrl-C stops",
            self.address,
            clock(running),
            self.handle.stats().last_index(),
            now.trades
        );
        out
    }
}

/// Columns of the terminal.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.map_or(80, |size| usize::from(size.ws_col)).max(20)
}

/// A decimal number with at most two decimals, the rest cut off.
fn hundredths(number: &str) -> &str {
    let end = number.find('.').map_or(number.len(), |point| point + 3);
    number.get(..end).unwrap_or(number)
}

fn latencies(latency: &LatencySummary, durability: &str) -> String {
    if latency.count == 0 {
        return format!("latency - (submitted to answered, {durability})");
    }
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    format!(
        "latency p50 {:.2} ms · p99 {:.2} ms (submitted to answered, {durability})",
        ms(latency.p50),
        ms(latency.p99)
    )
}

fn clock(d: Duration) -> String {
    let s = d.as_secs();
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}
