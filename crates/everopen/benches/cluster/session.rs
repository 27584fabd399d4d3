//! Client sessions over one connection to the leader.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use everopen_domain::{
    Amount, AssetId, Command, Event as Happened, FeeScheduleId, FeeTiers, Instrument, InstrumentId,
    InstrumentLimits, MemberId, NewOrder, OrderType, Price, Quantity, Reference, Side, TimeInForce,
    TradingPhase,
};
use everopen_identity::{Identity, Name};
use everopen_rpc::{ConnId, Event, Hub, Limits, Security};
use everopen_testkit::load::{Busy, Done, Target};
use everopen_wire::command;
use everopen_wire::message::{Message, PROTOCOL, Role};

use crate::driver::COMMAND_BYTES;

const PATIENCE: Duration = Duration::from_secs(10);
/// Members whose orders are sent.
const MEMBERS: u32 = 64;
/// Bytes of an order's client order id.
const CLIENT_ID_BYTES: usize = 33;

/// A connection to a replica.
pub struct Link {
    hub: Hub,
    conn: ConnId,
    scratch: Vec<u8>,
    /// Whether answers are read, too: it takes the client's time.
    checked: bool,
}

/// An answer: to which request, whether it is a good one, and the session that was opened.
struct Reply {
    request: u64,
    good: bool,
    session: u64,
    /// Whether the venue refused something of it, looked at only while it is prepared.
    refused: bool,
}

impl Link {
    /// Connects; none when no connection can be made at all.
    pub fn connect(identity: &Arc<Identity>, address: SocketAddr, node: u64) -> Option<Self> {
        let security = Security::Mutual(Arc::clone(identity));
        let mut hub = Hub::new(Limits::default(), security).ok()?;
        let conn = hub.dial(address, Name::Node(node));
        let mut link = Self {
            hub,
            conn,
            scratch: Vec::new(),
            checked: false,
        };
        link.queue(&Message::Hello {
            protocol: PROTOCOL,
            role: Role::Client,
            node: 0,
            cluster: [0; 16],
            logic_min: 0,
            logic_max: 0,
            address: "",
            build: "",
        });
        Some(link)
    }

    fn queue(&mut self, message: &Message<'_>) {
        self.scratch.clear();
        message.encode(&mut self.scratch);
        let _ = self.hub.send(self.conn, &self.scratch);
    }

    /// Sends what was queued and takes what has come by `until`.
    fn turn(&mut self, until: Instant, replies: &mut Vec<Reply>) -> io::Result<()> {
        self.hub.flush();
        let mut ended = None;
        let checked = self.checked;
        let wait = until.saturating_duration_since(Instant::now());
        self.hub.turn(Some(wait), &mut |event| match event {
            Event::Opened { .. } => {}
            Event::Closed { reason, .. } => ended = Some(reason.to_string()),
            Event::Frame { bytes, .. } => match Message::decode(bytes) {
                Ok(Message::Outcome {
                    request, events, ..
                }) => {
                    let refused = checked && refuses(events);
                    replies.push(Reply {
                        request,
                        good: true,
                        session: 0,
                        refused,
                    });
                }
                Ok(Message::ReadAt { request, .. }) => {
                    replies.push(Reply {
                        request,
                        good: true,
                        session: 0,
                        refused: false,
                    });
                }
                Ok(Message::SessionOpened { request, client }) => replies.push(Reply {
                    request,
                    good: true,
                    session: client,
                    refused: false,
                }),
                Ok(Message::Refused { request, .. }) => replies.push(Reply {
                    request,
                    good: false,
                    session: 0,
                    refused: false,
                }),
                _ => {}
            },
        })?;
        match ended {
            Some(reason) => Err(io::Error::other(reason)),
            None => Ok(()),
        }
    }

    /// Sends one request and waits for its answer.
    fn ask(&mut self, request: u64, message: &Message<'_>) -> io::Result<Option<Reply>> {
        self.queue(message);
        let deadline = Instant::now() + PATIENCE;
        let mut replies = Vec::new();
        while Instant::now() < deadline {
            self.turn(deadline, &mut replies)?;
            if let Some(at) = replies.iter().position(|reply| reply.request == request) {
                return Ok(Some(replies.swap_remove(at)));
            }
            replies.clear();
        }
        Ok(None)
    }

    /// Whether the replica leads: only then it answers such a read.
    pub fn leads(&mut self) -> bool {
        let asked = self.ask(u64::MAX, &Message::ReadIndex { request: u64::MAX });
        matches!(asked, Ok(Some(Reply { good: true, .. })))
    }

    fn open(&mut self, nonce: u64) -> Result<u64> {
        let request = u64::MAX - 1;
        match self.ask(request, &Message::OpenSession { request, nonce })? {
            Some(Reply {
                good: true,
                session,
                ..
            }) => Ok(session),
            _ => bail!("no session was opened"),
        }
    }
}

/// Assets, an instrument and members with money.
pub fn prepare(link: &mut Link) -> Result<()> {
    let client = link.open(0)?;
    let code = |text: &str| text.parse().expect("invariant: a code");
    let mut commands = vec![
        Command::AddAsset {
            code: code("USD"),
            decimals: 10,
        },
        Command::AddAsset {
            code: code("BTC"),
            decimals: 8,
        },
        Command::SetFeeSchedule {
            schedule: FeeScheduleId(0),
            tiers: FeeTiers {
                len: 1,
                ..FeeTiers::default()
            },
        },
        Command::AddInstrument {
            instrument: Instrument {
                base: AssetId(1),
                quote: AssetId(0),
                price_decimals: 2,
                size_decimals: 8,
                limits: InstrumentLimits {
                    tick: Price(1),
                    lot: Quantity(1),
                    min_size: Quantity(1),
                    max_size: Quantity(1 << 40),
                    ..InstrumentLimits::default()
                },
            },
        },
        Command::SetTradingPhase {
            instrument: InstrumentId(0),
            phase: TradingPhase::Online,
        },
    ];
    for member in 0..MEMBERS {
        commands.push(Command::AddMember {
            code: format!("m{member}").parse().expect("invariant: a code"),
        });
        commands.push(Command::Deposit {
            member: MemberId(member),
            asset: AssetId(0),
            amount: Amount(10_i128.pow(20)),
            reference: Reference::default(),
        });
    }
    let mut bytes = Vec::new();
    for command in &commands {
        command::encode(command, &mut bytes);
    }
    link.checked = true;
    let answer = link.ask(
        1,
        &Message::Submit {
            request: 1,
            client,
            sequence: 0,
            behind: 0,
            count: commands.len() as u16,
            commands: &bytes,
        },
    )?;
    match answer {
        Some(Reply {
            good: true,
            refused: false,
            ..
        }) => {}
        _ => bail!("the venue could not be prepared"),
    }
    // What is measured as an order must be one to the venue, too.
    let mut bytes = Vec::new();
    order(u64::MAX, false, &mut bytes);
    let tried = link.ask(
        2,
        &Message::Submit {
            request: 2,
            client,
            sequence: 1,
            behind: 0,
            count: 1,
            commands: &bytes,
        },
    )?;
    link.checked = false;
    match tried {
        Some(Reply {
            good: true,
            refused: false,
            ..
        }) => Ok(()),
        _ => bail!("the venue refuses the orders that are to be measured"),
    }
}

fn refuses(events: &[u8]) -> bool {
    everopen_wire::event::decode_all(events).any(|event| {
        matches!(
            event,
            Err(_) | Ok(Happened::CommandRejected { .. } | Happened::OrderRejected { .. })
        )
    })
}

/// A limit order that finds nobody and is canceled at once: it is checked, held for and released,
/// and the book stays as it is. Its client order id makes it as long as it is to be; the id is
/// another for each order, and the venue checks that, too.
fn order(number: u64, bare: bool, out: &mut Vec<u8>) {
    // The client shares the cores with what is measured: no formatting.
    let mut id = [b'0'; CLIENT_ID_BYTES];
    for (place, digit) in id.iter_mut().rev().take(16).enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * place) & 15) as usize];
    }
    let id = str::from_utf8(&id).expect("invariant: digits");
    let order = NewOrder {
        instrument: InstrumentId(0),
        side: Side::Buy,
        order_type: OrderType::Limit,
        price: Price(100),
        size: Quantity(1_000),
        time_in_force: TimeInForce::ImmediateOrCancel,
        client_order_id: id.parse().expect("invariant: an id"),
        ..NewOrder::default()
    };
    command::encode(
        &Command::PlaceOrder {
            // Nobody: refused before anything else is looked at.
            member: match bare {
                true => MemberId(u32::MAX),
                false => MemberId((number % u64::from(MEMBERS)) as u32),
            },
            order,
        },
        out,
    );
}

/// Sessions that share a connection. A command's token is the number of its request.
pub struct Sessions {
    link: Link,
    sessions: Vec<Session>,
    outstanding: usize,
    under_way: usize,
    orders: u64,
    bare: bool,
    replies: Vec<Reply>,
    bytes: Vec<u8>,
}

struct Session {
    client: u64,
    sequence: u64,
    /// Requests without an answer, in order: token and sequence.
    open: VecDeque<(u64, u64, bool)>,
}

impl Sessions {
    pub fn open(
        mut link: Link,
        nonce: u64,
        sessions: usize,
        outstanding: usize,
        bare: bool,
    ) -> Result<Self> {
        let mut opened = Vec::with_capacity(sessions);
        for number in 0..sessions as u64 {
            opened.push(Session {
                client: link.open(nonce + number)?,
                sequence: 0,
                open: VecDeque::new(),
            });
        }
        let mut bytes = Vec::new();
        order(0, bare, &mut bytes);
        if bytes.len() != COMMAND_BYTES {
            bail!("an order takes {} bytes, not {COMMAND_BYTES}", bytes.len());
        }
        Ok(Self {
            link,
            sessions: opened,
            outstanding,
            under_way: 0,
            // Ids of this connection's orders begin where no other one's are.
            orders: nonce << 20,
            bare,
            replies: Vec::new(),
            bytes,
        })
    }
}

impl Target for Sessions {
    fn submit(&mut self, token: u64) -> Result<(), Busy> {
        if self.under_way >= self.outstanding {
            return Err(Busy);
        }
        let count = self.sessions.len() as u64;
        let session = &mut self.sessions[(token % count) as usize];
        self.bytes.clear();
        self.orders += 1;
        order(self.orders, self.bare, &mut self.bytes);
        let sequence = session.sequence;
        session.sequence += 1;
        session.open.push_back((token, sequence, false));
        let oldest = session.open.front().map_or(sequence, |open| open.1);
        self.under_way += 1;
        self.link.scratch.clear();
        Message::Submit {
            request: token,
            client: session.client,
            sequence,
            behind: (sequence - oldest) as u32,
            count: 1,
            commands: &self.bytes,
        }
        .encode(&mut self.link.scratch);
        let _ = self.link.hub.send(self.link.conn, &self.link.scratch);
        Ok(())
    }

    fn poll(&mut self, until: Instant, done: &mut Vec<Done>) -> io::Result<()> {
        self.link.turn(until, &mut self.replies)?;
        let count = self.sessions.len() as u64;
        for reply in self.replies.drain(..) {
            let session = &mut self.sessions[(reply.request % count) as usize];
            let answered = session
                .open
                .iter_mut()
                .find(|open| open.0 == reply.request && !open.2);
            if let Some(open) = answered {
                open.2 = true;
                self.under_way -= 1;
                done.push(Done {
                    token: reply.request,
                    accepted: reply.good,
                });
            }
            while session.open.front().is_some_and(|open| open.2) {
                session.open.pop_front();
            }
        }
        Ok(())
    }
}
