//! As much gRPC as two calls to etcd need: unary calls over HTTP/2 with hand-written messages.

use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use everopen_testkit::load::{Busy, Done, Target};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::driver::COMMAND_BYTES;

const PUT: &str = "/etcdserverpb.KV/Put";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";
/// Before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Answers of these calls are some tens of bytes.
const ANSWER_MAX: usize = 64 << 10;
/// Keys of each client; after that it overwrites.
const KEYS: u64 = 1_024;

/// One HTTP/2 connection. Driven by the runtime that opened it.
#[derive(Clone)]
pub struct Connection {
    send: SendRequest<Cursor<Vec<u8>>>,
    address: SocketAddr,
}

/// A unary call that the server answered.
enum Answer {
    Ok(Vec<u8>),
    Refused(String),
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (send, connection) = h2::client::Builder::new().handshake(stream).await?;
        // Ends with the connection; a fault shows in the calls.
        tokio::spawn(connection);
        Ok(Self { send, address })
    }

    async fn call(self, path: &'static str, message: Vec<u8>) -> Result<Answer> {
        let request = Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc+proto")
            .header("te", "trailers")
            .body(())?;
        let (response, mut stream) = self.send.ready().await?.send_request(request, false)?;
        stream.send_data(Cursor::new(message), true)?;
        let response = response.await?;
        ensure!(response.status() == 200, "HTTP {}", response.status());
        // An answer without a message has its status in the headers.
        if let Some(refused) = refusal(response.headers()) {
            return Ok(Answer::Refused(refused));
        }
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            ensure!(
                bytes.len() + chunk.len() <= ANSWER_MAX,
                "too long an answer"
            );
            bytes.extend_from_slice(&chunk);
            body.flow_control().release_capacity(chunk.len())?;
        }
        let trailers = body.trailers().await?.context("an answer without status")?;
        if let Some(refused) = refusal(&trailers) {
            return Ok(Answer::Refused(refused));
        }
        ensure!(trailers.contains_key("grpc-status"), "no grpc-status");
        ensure!(
            bytes.len() >= PREFIX && bytes[0] == 0,
            "no uncompressed message"
        );
        Ok(Answer::Ok(bytes.split_off(PREFIX)))
    }

    /// Asks this member about itself.
    pub async fn status(self) -> Result<Status> {
        match self.call(STATUS, framed(&[])).await? {
            Answer::Ok(message) => Status::decode(&message),
            Answer::Refused(why) => bail!("refused: {why}"),
        }
    }
}

fn refusal(headers: &HeaderMap) -> Option<String> {
    let status = headers.get("grpc-status")?;
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    (status != "0").then(|| {
        let message = text("grpc-message").unwrap_or_default();
        format!("grpc-status {status:?} {message}")
    })
}

/// What a member says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub member: u64,
    /// 0 for none.
    pub leader: u64,
}

impl Status {
    /// `StatusResponse`: field 1 is the header, whose field 2 is the member's id; field 4 the leader's.
    fn decode(message: &[u8]) -> Result<Self> {
        let mut status = Self::default();
        for (number, field) in fields(message)? {
            match (number, field) {
                (1, Field::Bytes(header)) => {
                    for (number, field) in fields(header)? {
                        if let (2, Field::Number(id)) = (number, field) {
                            status.member = id;
                        }
                    }
                }
                (4, Field::Number(id)) => status.leader = id,
                _ => {}
            }
        }
        Ok(status)
    }
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)?),
            2 => {
                let length = varint(&mut bytes)?;
                let (field, rest) = usize::try_from(length)
                    .ok()
                    .and_then(|length| bytes.split_at_checked(length))
                    .context("a message that ends early")?;
                bytes = rest;
                Field::Bytes(field)
            }
            other => bail!("a field of wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    Ok(fields)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().context("a message that ends early")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    bail!("too long a number")
}

/// `PutRequest`: field 1 is the key, field 2 the value; both shorter than 128 bytes.
fn put(client: u64, sequence: u64) -> Vec<u8> {
    let key = format!("{client:08x}{:08x}", sequence % KEYS);
    let mut message = vec![0x0A, key.len() as u8];
    message.extend_from_slice(key.as_bytes());
    message.extend_from_slice(&[0x12, COMMAND_BYTES as u8]);
    message.extend_from_slice(&sequence.to_le_bytes());
    message.resize(message.len() + COMMAND_BYTES - size_of::<u64>(), 0x5A);
    framed(&message)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// Clients that put; one thread drives them all.
pub struct Puts {
    runtime: Runtime,
    connections: Vec<Connection>,
    sequence: u64,
    answers: mpsc::UnboundedSender<(u64, Result<Answer>)>,
    answered: mpsc::UnboundedReceiver<(u64, Result<Answer>)>,
    /// The first refusal, to be told once.
    refused: Option<String>,
}

impl Puts {
    /// Connects that many times.
    pub fn connect(leader: SocketAddr, connections: usize) -> Result<Self> {
        let runtime = runtime()?;
        let connections = (0..connections)
            .map(|_| runtime.block_on(Connection::open(leader)))
            .collect::<Result<Vec<_>>>()?;
        // As many answers as commands under way, which the generator bounds.
        let (answers, answered) = mpsc::unbounded_channel();
        Ok(Self {
            runtime,
            connections,
            sequence: 0,
            answers,
            answered,
            refused: None,
        })
    }
}

/// A runtime on the calling thread.
pub fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")
}

impl Target for Puts {
    fn submit(&mut self, token: u64) -> Result<(), Busy> {
        let at = token as usize % self.connections.len();
        let call = self.connections[at]
            .clone()
            .call(PUT, put(token, self.sequence));
        self.sequence += 1;
        let answers = self.answers.clone();
        self.runtime.spawn(async move {
            // Nobody waits any more when the measurement has ended.
            let _ = answers.send((token, call.await));
        });
        Ok(())
    }

    fn poll(&mut self, until: Instant, done: &mut Vec<Done>) -> io::Result<()> {
        let answered = &mut self.answered;
        let first = self
            .runtime
            .block_on(async { tokio::time::timeout_at(until.into(), answered.recv()).await });
        let mut next = first.ok().flatten();
        while let Some((token, answer)) = next {
            let accepted = match answer.map_err(io::Error::other)? {
                Answer::Ok(_) => true,
                Answer::Refused(why) => {
                    if self.refused.is_none() {
                        println!("etcd refused a put: {why}");
                        self.refused = Some(why);
                    }
                    false
                }
            };
            done.push(Done { token, accepted });
            next = answered.try_recv().ok();
        }
        Ok(())
    }
}
