//! What the machine itself takes for one replicated command, with nothing of ours in between.
//!
//! A command goes from the client to the leader and from the leader to a follower and back: two
//! round trips. In `fsync` mode the three replicas write at about the same time, here to one disk.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use crate::driver::COMMAND_BYTES;
use crate::{CLIENTS, echo};

/// Replicas that write at once.
const FILES: usize = 3;
/// Rounds between two looks at the clock.
const ROUNDS: usize = 200;
const WARMUP: usize = 1_000;

/// The floor's parts, in nanoseconds.
pub struct Floor {
    /// A loopback TCP round trip of one command's bytes, both sides asleep while they wait.
    pub round_trip: Histogram<u64>,
    /// 4 KiB and `fdatasync` in each of three files at once.
    pub sync: Histogram<u64>,
    /// Echoes of one command's bytes a second over [`CLIENTS`] connections: the most that was measured.
    pub echoes: f64,
}

impl Floor {
    /// Two round trips and one sync of three files, each at its median, in microseconds.
    pub fn p50_us(&self) -> f64 {
        let p50 = |part: &Histogram<u64>| part.value_at_quantile(0.5) as f64 / 1e3;
        2.0 * p50(&self.round_trip) + p50(&self.sync)
    }

    /// Commands a second of that many closed-loop clients, were each answered after [`Floor::p50_us`].
    pub fn clients_per_second(&self) -> f64 {
        CLIENTS as f64 * 1e6 / self.p50_us()
    }

    /// Adds the measurements of another time.
    pub fn add(&mut self, other: &Self) {
        self.round_trip += &other.round_trip;
        self.sync += &other.sync;
        self.echoes = self.echoes.max(other.echoes);
    }
}

/// Measures the parts in that time together.
pub fn measure(dir: &Path, time: Duration) -> Result<Floor> {
    let round_trip = round_trips(time / 3).context("cannot measure a round trip")?;
    let mut sync = histogram()?;
    let echoes = echo::rate(CLIENTS, time / 3).context("cannot measure an echo")?;
    let end = Instant::now() + time / 3;
    while Instant::now() < end {
        for round in everopen_journal::probe::sync_cost(dir, FILES, ROUNDS)? {
            sync.saturating_record(round.as_nanos() as u64);
        }
    }
    Ok(Floor {
        round_trip,
        sync,
        echoes,
    })
}

fn round_trips(time: Duration) -> Result<Histogram<u64>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut client = TcpStream::connect(address)?;
    client.set_nodelay(true)?;
    let (mut server, _) = listener.accept()?;
    server.set_nodelay(true)?;
    let echo = std::thread::spawn(move || -> io::Result<()> {
        let mut bytes = [0; COMMAND_BYTES];
        loop {
            match server.read_exact(&mut bytes) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                other => other?,
            }
            server.write_all(&bytes)?;
        }
    });
    let mut times = histogram()?;
    let mut bytes = [0x5A; COMMAND_BYTES];
    let mut number = 0;
    let end = Instant::now() + time;
    loop {
        let begin = Instant::now();
        client.write_all(&bytes)?;
        client.read_exact(&mut bytes)?;
        let now = Instant::now();
        number += 1;
        if number > WARMUP {
            times.saturating_record((now - begin).as_nanos() as u64);
            if now >= end {
                break;
            }
        }
    }
    drop(client);
    echo.join()
        .map_err(|_| anyhow::anyhow!("the echo panicked"))??;
    Ok(times)
}

fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).context("cannot make a histogram")
}
