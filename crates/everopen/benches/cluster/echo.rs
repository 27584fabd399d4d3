//! What connections of their own cost, with nothing behind them: an echo of one command's bytes.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::driver::COMMAND_BYTES;

/// Echoes a second over that many connections in a closed loop: one thread sends, one answers, each takes
/// whatever has come before it waits.
pub fn rate(connections: usize, time: Duration) -> Result<f64> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        for (side, stream) in [
            (&mut near, std::net::TcpStream::connect(address)?),
            (&mut far, listener.accept()?.0),
        ] {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            side.push(TcpStream::from_std(stream));
        }
    }
    let server = std::thread::spawn(move || serve(far));
    let echoes = ask(&mut near, time)?;
    // The other side ends with its connections.
    drop(near);
    server
        .join()
        .map_err(|_| anyhow::anyhow!("the echo panicked"))??;
    Ok(echoes)
}

fn ask(streams: &mut [TcpStream], time: Duration) -> Result<f64> {
    let mut poll = watch(streams)?;
    let bytes = [0x5A; COMMAND_BYTES];
    let mut got = vec![0; streams.len()];
    for stream in streams.iter_mut() {
        stream.write_all(&bytes)?;
    }
    let mut events = Events::with_capacity(streams.len());
    let mut scratch = [0; 4 << 10];
    let (begin, mut echoes) = (Instant::now(), 0_u64);
    while begin.elapsed() < time {
        poll.poll(&mut events, Some(time))?;
        for event in &events {
            let Token(at) = event.token();
            got[at] += read(&mut streams[at], &mut scratch)?.context("the echo is gone")?;
            if got[at] >= COMMAND_BYTES {
                got[at] -= COMMAND_BYTES;
                echoes += 1;
                streams[at].write_all(&bytes)?;
            }
        }
    }
    Ok(echoes as f64 / begin.elapsed().as_secs_f64())
}

fn serve(mut streams: Vec<TcpStream>) -> Result<()> {
    let mut poll = watch(&mut streams)?;
    let mut events = Events::with_capacity(streams.len());
    let mut scratch = [0; 4 << 10];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Token(at) = event.token();
            match read(&mut streams[at], &mut scratch)? {
                Some(read) => streams[at].write_all(&scratch[..read])?,
                None => return Ok(()),
            }
        }
    }
}

fn watch(streams: &mut [TcpStream]) -> Result<Poll> {
    let poll = Poll::new()?;
    for (at, stream) in streams.iter_mut().enumerate() {
        poll.registry()
            .register(stream, Token(at), Interest::READABLE)?;
    }
    Ok(poll)
}

/// What has come; none at the end.
fn read(stream: &mut TcpStream, into: &mut [u8]) -> Result<Option<usize>> {
    match stream.read(into) {
        Ok(0) => Ok(None),
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Some(0)),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error.into()),
    }
}
