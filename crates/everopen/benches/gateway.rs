//! REST order round trips against the real binary: open loop, timed from the intended send time.
//!
//! Each connection sends a signed `POST /orders` (a limit order that rests) and a signed
//! `DELETE /orders/{id}` in turn, at fixed times that don't wait for answers to earlier requests: a
//! request that can only be sent late counts its lateness as latency (no coordinated omission).
//! Client and server share the machine's cores. `--json PATH` writes the numbers, `--quick` makes
//! it short, `--dir DIR` chooses the disk.

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use support::{Client, Venue};

/// Runs one connection's schedule; returns the latencies of orders and of cancels.
fn drive(
    mut client: Client,
    number: usize,
    name: &str,
    begin: Instant,
    interval: Duration,
    pairs: u32,
) -> io::Result<(Histogram<u64>, Histogram<u64>)> {
    let new = || Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other);
    let (mut orders, mut cancels) = (new()?, new()?);
    for pair in 0..pairs {
        let mut intended = begin + interval * (pair * 2);
        wait_until(intended);
        let body = format!(
            r#"{{"type":"limit","side":"buy","product_id":"BTC-USD","price":"{}","size":"0.001","client_oid":"{name}-{pair}"}}"#,
            1_000 + number
        );
        let order = client.good("POST", "/orders", &body)?;
        orders.saturating_record(intended.elapsed().as_nanos() as u64);
        let id = order["id"]
            .as_str()
            .ok_or_else(|| io::Error::other("no order id"))?;
        intended += interval;
        wait_until(intended);
        client.good("DELETE", &format!("/orders/{id}"), "")?;
        cancels.saturating_record(intended.elapsed().as_nanos() as u64);
    }
    Ok((orders, cancels))
}

fn wait_until(at: Instant) {
    loop {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}

/// One row: so many connections at so many requests per second in all.
fn row(venue: &Arc<Venue>, connections: usize, rate: u32, seconds: u32) -> io::Result<Value> {
    let interval = Duration::from_secs(1) * connections as u32 / rate;
    let pairs = (rate * seconds / connections as u32 / 2).max(1);
    let begin = Instant::now() + Duration::from_millis(200);
    let mut threads = Vec::new();
    for number in 0..connections {
        let client = Client::connect(venue)?;
        // Spread over the interval, so that connections don't send all at once.
        let begin = begin + interval * number as u32 / connections as u32;
        let name = format!("bench-{connections}-{rate}-{number}");
        threads.push(std::thread::spawn(move || {
            drive(client, number, &name, begin, interval, pairs)
        }));
    }
    let mut results = Vec::new();
    for thread in threads {
        results.push(
            thread
                .join()
                .map_err(|_| io::Error::other("a client panicked"))??,
        );
    }
    let took = begin.elapsed();
    let mut all = [results[0].0.clone(), results[0].1.clone()];
    for (orders, cancels) in &results[1..] {
        all[0].add(orders).map_err(io::Error::other)?;
        all[1].add(cancels).map_err(io::Error::other)?;
    }
    let us = |ns: u64| ns as f64 / 1e3;
    let [orders, cancels] = all.map(|h| {
        json!({
            "count": h.len(),
            "p50_us": us(h.value_at_quantile(0.5)),
            "p99_us": us(h.value_at_quantile(0.99)),
            "p999_us": us(h.value_at_quantile(0.999)),
            "max_us": us(h.max()),
        })
    });
    let sent = f64::from(pairs * 2) * connections as f64;
    Ok(json!({
        "connections": connections,
        "intended_per_s": rate,
        "achieved_per_s": sent / took.as_secs_f64(),
        "place": orders,
        "cancel": cancels,
    }))
}

/// Median and p99 of a 4 KiB write with `fdatasync`, in µs, for comparison.
fn raw_fdatasync(dir: &Path) -> io::Result<(f64, f64)> {
    let path = dir.join("raw-fdatasync");
    let mut file = std::fs::File::create(&path)?;
    file.write_all(&vec![0; 1 << 20])?;
    file.sync_all()?;
    let mut times = Vec::new();
    for block in 0..200u64 {
        use std::os::unix::fs::FileExt;
        let begin = Instant::now();
        file.write_all_at(&[block as u8; 4096], block * 4096)?;
        file.sync_data()?;
        times.push(begin.elapsed().as_nanos() as f64 / 1e3);
    }
    std::fs::remove_file(&path)?;
    times.sort_by(f64::total_cmp);
    Ok((times[100], times[197]))
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        args.iter()
            .position(|a| a == name)
            .and_then(|at| args.get(at + 1))
            .map(PathBuf::from)
    };
    let seconds = if args.iter().any(|a| a == "--quick") {
        2
    } else {
        10
    };
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let base = value("--dir").unwrap_or_else(|| target.to_path_buf());
    let dir = base.join(format!("bench-gateway-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let (sync_p50, sync_p99) = raw_fdatasync(&dir)?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_string();
    println!("REST order round trips, open loop from intended send time, client on the same cores");
    println!(
        "load average {load} · raw 4 KiB write + fdatasync here: p50 {sync_p50:.0} µs, p99 {sync_p99:.0} µs"
    );
    println!(
        "{:<11}{:>6}{:>12}{:>12}  {:<7}{:>12}{:>12}{:>12}{:>12}",
        "durability",
        "conns",
        "intended/s",
        "achieved/s",
        "",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "max µs"
    );
    let mut rows = Vec::new();
    for durability in ["fsync", "memory"] {
        let venue = Arc::new(Venue::start(
            &dir.join(durability),
            // The gateway itself, as it was measured before there was an edge in front of it.
            &["--durability", durability, "--no-edge"],
        )?);
        for (connections, rate) in [(1, 200), (64, 200), (64, 1_000), (64, 2_000)] {
            let mut row = row(&venue, connections, rate, seconds)?;
            row["durability"] = json!(durability);
            for kind in ["place", "cancel"] {
                let of = |name: &str| row[kind][name].as_f64().unwrap_or_default();
                println!(
                    "{durability:<11}{connections:>6}{rate:>12}{:>12.0}  {kind:<7}{:>12.0}{:>12.0}{:>12.0}{:>12.0}",
                    row["achieved_per_s"].as_f64().unwrap_or_default(),
                    of("p50_us"),
                    of("p99_us"),
                    of("p999_us"),
                    of("max_us")
                );
            }
            rows.push(row);
        }
    }
    std::fs::remove_dir_all(&dir)?;
    if let Some(path) = value("--json") {
        let document = json!({
            "bench": "gateway",
            "method": "open loop, latency from intended send time, client and server on the same cores",
            "load_average": load,
            "raw_fdatasync_us": { "p50": sync_p50, "p99": sync_p99 },
            "rows": rows,
        });
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, serde_json::to_string_pretty(&document)?)?;
    }
    Ok(())
}
