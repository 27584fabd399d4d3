//! Round trips of 64 bytes over loopback between two threads: the standard library's TCP, the hub
//! without TLS and with it; waiting in the system and polling. And how much a hub moves.
//!
//! `cargo run --release -p everopen-rpc --example round-trip [-- ROUNDS]`
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use everopen_identity::{Authority, Identity};
use everopen_rpc::{ConnId, Event, Hub, Limits, Name, Security, SendError};
use hdrhistogram::Histogram;

const BYTES: usize = 64;
const WARM_UP: usize = 2_000;
/// Bytes that are moved one way for the throughput.
const BULK: usize = 1 << 30;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let rounds = match std::env::args().nth(1) {
        Some(rounds) => rounds.parse()?,
        None => 50_000,
    };
    let dir = tempfile::tempdir()?;
    let authority = Authority::create(&dir.path().join("authority"))?;
    let identity = |node| -> Outcome<_> {
        let files = authority.issue(&Name::Node(node), &dir.path().join(node.to_string()))?;
        Ok(Security::Mutual(Identity::load(&files)?))
    };
    let tls = [identity(1)?, identity(2)?];
    let plain = [Security::Plain, Security::Plain];

    println!("{BYTES} bytes there and back, {rounds} times");
    for (name, wait) in [("waiting", None), ("polling", Some(Duration::ZERO))] {
        show(&format!("std TCP, {name}"), &std_round_trips(rounds, wait)?);
        show(
            &format!("hub plain, {name}"),
            &hub_round_trips(rounds, wait, &plain)?,
        );
        show(
            &format!("hub TLS, {name}"),
            &hub_round_trips(rounds, wait, &tls)?,
        );
    }
    println!("{} MiB one way", BULK >> 20);
    for (name, security) in [("hub plain", &plain), ("hub TLS", &tls)] {
        for frame in [64, 4 << 10, 256 << 10] {
            let took = hub_bulk(frame, security)?.as_secs_f64();
            println!(
                "{name:12} frames of {frame:6} bytes: {:6.0} MiB/s, {:9.0} frames/s",
                BULK as f64 / f64::from(1 << 20) / took,
                (BULK / frame) as f64 / took
            );
        }
    }
    Ok(())
}

fn show(name: &str, times: &Histogram<u64>) {
    let us = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    println!("{name:20} p50 {:6.1} us   p99 {:6.1} us", us(0.5), us(0.99));
}

fn std_round_trips(rounds: usize, wait: Option<Duration>) -> Outcome<Histogram<u64>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        prepare(&stream, wait)?;
        let mut bytes = [0; BYTES];
        for _ in 0..rounds + WARM_UP {
            read_all(&mut stream, &mut bytes)?;
            stream.write_all(&bytes)?;
        }
        Ok(())
    });
    let mut stream = TcpStream::connect(address)?;
    prepare(&stream, wait)?;
    let mut times = Histogram::new(3)?;
    let mut bytes = [7; BYTES];
    for round in 0..rounds + WARM_UP {
        let start = Instant::now();
        stream.write_all(&bytes)?;
        read_all(&mut stream, &mut bytes)?;
        if round >= WARM_UP {
            times.record(start.elapsed().as_nanos() as u64)?;
        }
    }
    echo.join().expect("the echo does not panic")?;
    Ok(times)
}

fn prepare(stream: &TcpStream, wait: Option<Duration>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(wait.is_some())
}

fn read_all(stream: &mut TcpStream, mut bytes: &mut [u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match stream.read(bytes) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => bytes = &mut bytes[length..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn hub_round_trips(
    rounds: usize,
    wait: Option<Duration>,
    security: &[Security; 2],
) -> Outcome<Histogram<u64>> {
    let (address, mut server) = server(security)?;
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let mut got = Vec::with_capacity(1);
        let mut closed = false;
        while !closed {
            server.turn(wait, &mut |event| match event {
                Event::Frame { conn, bytes } => {
                    let frame: [u8; BYTES] = bytes.try_into().expect("a frame as it was sent");
                    got.push((conn, frame));
                }
                Event::Closed { .. } => closed = true,
                Event::Opened { .. } => {}
            })?;
            for (conn, frame) in got.drain(..) {
                server.send(conn, &frame).expect("one frame has room");
            }
            server.flush();
        }
        Ok(())
    });
    let (mut hub, conn) = client(address, security)?;
    let mut times = Histogram::new(3)?;
    let frame = [7; BYTES];
    for round in 0..rounds + WARM_UP {
        let start = Instant::now();
        hub.send(conn, &frame)?;
        hub.flush();
        let mut answered = false;
        while !answered {
            hub.turn(wait, &mut |event| {
                answered = matches!(event, Event::Frame { .. })
            })?;
        }
        if round >= WARM_UP {
            times.record(start.elapsed().as_nanos() as u64)?;
        }
    }
    hub.close(conn);
    echo.join().expect("the echo does not panic")?;
    Ok(times)
}

/// How long it takes to move [`BULK`] bytes one way.
fn hub_bulk(frame: usize, security: &[Security; 2]) -> Outcome<Duration> {
    let (address, mut server) = server(security)?;
    let sink = thread::spawn(move || -> std::io::Result<()> {
        let (mut bytes, mut answered) = (0, false);
        let mut peer = None;
        let mut closed = false;
        while !closed {
            server.turn(None, &mut |event| match event {
                Event::Opened { conn, .. } => peer = Some(conn),
                Event::Frame { bytes: frame, .. } => bytes += frame.len(),
                Event::Closed { .. } => closed = true,
            })?;
            if let Some(conn) = peer
                && bytes == BULK
                && !answered
            {
                answered = true;
                server.send(conn, &[]).expect("an empty frame has room");
                server.flush();
            }
        }
        Ok(())
    });
    let (mut hub, conn) = client(address, security)?;
    let payload = vec![7; frame];
    let start = Instant::now();
    let (mut left, mut answered) = (BULK / frame, false);
    while !answered {
        // As much as an event loop would gather in a turn.
        while left > 0 && hub.queued(conn) < 1 << 20 {
            match hub.send(conn, &payload) {
                Ok(()) => left -= 1,
                Err(SendError::Full) => break,
                Err(error) => return Err(error.into()),
            }
        }
        hub.flush();
        let wait = (left > 0 && hub.queued(conn) < 1 << 20).then_some(Duration::ZERO);
        hub.turn(wait, &mut |event| {
            answered = matches!(event, Event::Frame { .. })
        })?;
    }
    let took = start.elapsed();
    hub.close(conn);
    sink.join().expect("the sink does not panic")?;
    Ok(took)
}

fn server(security: &[Security; 2]) -> Outcome<(SocketAddr, Hub)> {
    let mut hub = Hub::new(Limits::default(), security[0].clone())?;
    let address = hub.listen(TcpListener::bind("127.0.0.1:0")?)?;
    Ok((address, hub))
}

fn client(address: SocketAddr, security: &[Security; 2]) -> Outcome<(Hub, ConnId)> {
    let mut hub = Hub::new(Limits::default(), security[1].clone())?;
    let conn = hub.dial(address, Name::Node(1));
    let mut opened = false;
    let mut failed = None;
    while !opened {
        hub.turn(None, &mut |event| match event {
            Event::Opened { .. } => opened = true,
            Event::Closed { reason, .. } => failed = Some(reason),
            Event::Frame { .. } => {}
        })?;
        if let Some(reason) = failed {
            return Err(reason.into());
        }
    }
    Ok((hub, conn))
}
