//! What stands behind every front: a server that answers each request with the same kilobyte, and keeps
//! WebSockets open.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Bytes of an answer's body.
const BODY: usize = 1_024;

/// The target in a process of its own; it ends with this value.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
}

impl Process {
    pub fn start() -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let mut child = Command::new(program)
            .arg("--target")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the target")?;
        let mut line = String::new();
        let out = child.stdout.take().context("the target's output")?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().parse().context("the target's address")?;
        Ok(Self { address, child })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until it is killed; the address is the first line of standard output.
pub async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let answer: &'static [u8] = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {BODY}\r\n\r\n{}",
        "x".repeat(BODY)
    )
    .leak()
    .as_bytes();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that goes away is no news.
            let _ = converse(stream, answer).await;
        });
    }
}

async fn converse(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(4_096);
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let key = key(&buffer[..end]);
        buffer.drain(..end);
        if let Some(key) = key {
            let switch = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-accept: {}\r\n\r\n",
                derive_accept_key(key.as_bytes())
            );
            stream.write_all(switch.as_bytes()).await?;
            return echo(stream).await;
        }
        stream.write_all(answer).await?;
    }
}

/// The key of a request for a WebSocket.
fn key(head: &[u8]) -> Option<String> {
    let lines = head.split(|byte| *byte == b'\n');
    let mut pairs = lines.filter_map(|line| std::str::from_utf8(line).ok()?.split_once(':'));
    let (_, key) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
    Some(key.trim().to_string())
}

/// Sends back what comes.
async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut some = [0; 64];
    loop {
        let read = stream.read(&mut some).await?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(&some[..read]).await?;
    }
}
