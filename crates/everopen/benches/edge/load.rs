//! Clients.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long one answer may take.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// WebSockets that are opened at once.
const AT_ONCE: usize = 64;

/// A request as a client of a real service would send it.
const REQUEST: &[u8] = b"GET /products/BTC-USD/ticker HTTP/1.1\r\nhost: market.example\r\n\
    accept: application/json\r\naccept-encoding: identity\r\nuser-agent: load/1\r\n\
    x-request-id: 6f1c2a54-0c3e-4a31-9a58-3b1f3a4b9d11\r\n\r\n";

/// One connection that is kept.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("connect")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(8_192),
        })
    }

    /// A request and its whole answer, which must be 200.
    async fn ask(&mut self) -> Result<()> {
        self.stream.write_all(REQUEST).await?;
        self.buffer.clear();
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200"), "answered {head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("no length")?.trim().parse()?;
        while self.buffer.len() < end + length {
            self.fill().await?;
        }
        Ok(())
    }

    async fn fill(&mut self) -> Result<()> {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        ensure!(
            read.context("no answer in time")?? > 0,
            "the connection ended"
        );
        Ok(())
    }
}

/// Each connection asks again as soon as it was answered. How many answers there were.
pub async fn closed(address: SocketAddr, connections: usize, time: Duration) -> Result<u64> {
    let until = Instant::now() + time;
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let mut client = Client::connect(address).await?;
        tasks.push(tokio::spawn(async move {
            let mut count = 0;
            while Instant::now() < until {
                client.ask().await?;
                count += 1;
            }
            anyhow::Ok(count)
        }));
    }
    let mut all = 0;
    for task in tasks {
        all += task.await??;
    }
    Ok(all)
}

/// Requests at fixed times, whatever the answers to earlier ones do; latencies in nanoseconds are from the
/// intended time.
pub async fn open(
    address: SocketAddr,
    connections: usize,
    rate: u64,
    time: Duration,
) -> Result<Histogram<u64>> {
    let interval = Duration::from_nanos(1_000_000_000 * connections as u64 / rate);
    let begin = Instant::now() + Duration::from_millis(50);
    let mut tasks = Vec::new();
    for number in 0..connections {
        let mut client = Client::connect(address).await?;
        let first = begin + interval * number as u32 / connections as u32;
        tasks.push(tokio::spawn(async move {
            let mut seen = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
            let mut intended = first;
            while intended < begin + time {
                tokio::time::sleep_until(intended).await;
                client.ask().await?;
                seen.saturating_record(intended.elapsed().as_nanos() as u64);
                intended += interval;
            }
            anyhow::Ok(seen)
        }));
    }
    let mut all = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    for task in tasks {
        all.add(task.await??)?;
    }
    Ok(all)
}

/// Opens so many WebSockets.
pub async fn sockets(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let some = AT_ONCE.min(count - all.len());
        let tasks: Vec<_> = (0..some).map(|_| tokio::spawn(upgrade(address))).collect();
        for task in tasks {
            all.push(task.await??);
        }
    }
    Ok(all)
}

async fn upgrade(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await.context("connect")?;
    let ask = b"GET /feed HTTP/1.1\r\nhost: market.example\r\nconnection: upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(ask).await?;
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut head)).await;
        ensure!(
            read.context("no answer in time")?? > 0,
            "the connection ended"
        );
    }
    ensure!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    Ok(stream)
}

/// Whether each of them still carries a few bytes there and back.
pub async fn all_answer(sockets: Vec<TcpStream>) -> Result<()> {
    for mut stream in sockets {
        stream.write_all(b"still?").await?;
        let mut back = [0; 6];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut back)).await;
        read.context("no answer in time")??;
    }
    Ok(())
}
