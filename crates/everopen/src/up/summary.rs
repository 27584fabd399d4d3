//! The live summary on a terminal: books, rates, latencies, replicas, redrawn in place.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::endpoints;
use crate::admin::{self, Action};
use crate::cluster::access::{Access, Answered};
use crate::cluster::table;

/// How often the summary is redrawn.
const PERIOD: Duration = Duration::from_millis(500);

/// Products that are shown: the picture must fit on a small terminal.
const PRODUCTS: usize = 12;

/// Draws until `stop` is set; the last picture stays.
///
/// # Errors
/// When there is nobody to ask, or no thread.
pub fn start(
    dir: &Path,
    endpoints: &endpoints::Access,
    stop: &Arc<AtomicBool>,
) -> Result<JoinHandle<()>> {
    let mut summary = Summary {
        dir: dir.to_path_buf(),
        access: Access::of_dir(dir)?,
        address: endpoints.rest.clone(),
        durability: endpoints.durability.clone(),
        started: Instant::now(),
        before: None,
    };
    let stop = Arc::clone(stop);
    std::thread::Builder::new()
        .name("everopen-summary".into())
        .spawn(move || summary.run(&stop))
        .context("start a thread")
}

struct Summary {
    dir: PathBuf,
    access: Access,
    address: String,
    durability: String,
    started: Instant,
    /// The gateway's counts of the last picture, to make rates of.
    before: Option<(Instant, Value)>,
}

impl Summary {
    fn run(&mut self, stop: &AtomicBool) {
        let mut lines = 0;
        loop {
            let next = Instant::now() + PERIOD;
            // Asking wakes this thread, too, so one wait may end at once.
            while Instant::now() < next && !stop.load(Relaxed) {
                std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
            }
            if stop.load(Relaxed) {
                return;
            }
            let text = self.draw();
            let up = if lines > 0 {
                // What was longer before is cleared.
                format!("\x1b[{lines}A\x1b[J")
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

    fn draw(&mut self) -> String {
        let asked = Instant::now();
        let gateway = admin::perform(&self.dir, &Action::Summary);
        // The directory may have more or fewer replicas by now.
        if let Ok(access) = Access::of_dir(&self.dir) {
            self.access = access;
        }
        let statuses = self.access.statuses();
        let mut out = String::new();
        match gateway {
            Ok(now) => {
                let before = self.before.take();
                self.products(&mut out, &now);
                self.rates(&mut out, &now, before.as_ref(), asked);
                self.before = Some((asked, now));
            }
            Err(error) => {
                self.before = None;
                let _ = writeln!(out, "  the gateway does not answer: {error:#}");
            }
        }
        self.replicas(&mut out, &statuses);
        let trades = self
            .before
            .as_ref()
            .map_or(0, |(_, now)| count(now, "trades"));
        let index = self
            .before
            .as_ref()
            .map_or(0, |(_, now)| count(now, "index"));
        let _ = writeln!(
            out,
            "  {} · up {} · entry {index} · {trades} trades · Ctrl-C stops",
            self.address,
            clock(self.started.elapsed()),
        );
        out
    }

    fn products(&self, out: &mut String, now: &Value) {
        let _ = writeln!(
            out,
            "  {:<9}{:>12}{:>12}{:>12}{:>9}{:>12}{:>12}",
            "product", "bid", "ask", "last", "spread", "24 h vol.", "phase"
        );
        let products = now["products"].as_array().into_iter().flatten();
        for product in products.take(PRODUCTS) {
            let text = |name: &str| product[name].as_str().unwrap_or("-").to_string();
            let _ = writeln!(
                out,
                "  {:<9}{:>12}{:>12}{:>12}{:>9}{:>12}{:>12}",
                text("id"),
                text("bid"),
                text("ask"),
                text("last"),
                text("spread"),
                hundredths(&text("volume")),
                text("phase")
            );
        }
    }

    fn rates(&self, out: &mut String, now: &Value, before: Option<&(Instant, Value)>, at: Instant) {
        let rate = |name: &str| {
            let (then, before) = before?;
            let seconds = at.duration_since(*then).as_secs_f64().max(0.001);
            // The gateway may have been started again and counts from zero.
            Some(count(now, name).checked_sub(count(before, name))? as f64 / seconds)
        };
        let shown = |name: &str| rate(name).map_or("-".into(), |rate| format!("{rate:.0}"));
        let _ = writeln!(
            out,
            "  {} orders/s · {} trades/s · {} commands/s",
            shown("orders"),
            shown("trades"),
            shown("commands"),
        );
        let latency = &now["latency"];
        let ms = |name: &str| latency[name].as_f64().map(|us| us / 1e3);
        let _ = match (ms("p50_us"), ms("p99_us")) {
            (Some(p50), Some(p99)) => writeln!(
                out,
                "  latency p50 {p50:.2} ms · p99 {p99:.2} ms (submitted to answered, {})",
                self.durability
            ),
            _ => writeln!(
                out,
                "  latency - (submitted to answered, {})",
                self.durability
            ),
        };
    }

    fn replicas(&self, out: &mut String, statuses: &[Answered]) {
        let newest = table::newest(statuses);
        for answered in statuses {
            let id = answered.node.id;
            let _ = match &answered.answer {
                Ok(status) => writeln!(
                    out,
                    "  replica {id} {:<10} applied {:<12} lag {}",
                    table::text(status, "role"),
                    table::shown(status, "applied"),
                    table::lag(status, newest),
                ),
                Err(error) => writeln!(out, "  replica {id} down: {error}"),
            };
        }
    }
}

fn count(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or(0)
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

fn clock(d: Duration) -> String {
    let s = d.as_secs();
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}
