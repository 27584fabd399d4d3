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

use crate::driver::{COMMAND_BYTES, Work};

const PATIENCE: Duration = Duration::from_secs(10);
/// Members whose orders are sent.
const MEMBERS: u32 = 64;
/// Bytes of an order's client order id.
const CLIENT_ID_BYTES: usize = 33;

/// Connections to a replica.
pub struct Link {
    hub: Hub,
    address: SocketAddr,
    node: u64,
    /// The first is asked what is asked once.
    conns: Vec<ConnId>,
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
        let mut link = Self {
            hub: Hub::new(Limits::default(), security).ok()?,
            address,
            node,
            conns: Vec::new(),
            scratch: Vec::new(),
            checked: false,
        };
        link.dial();
        Some(link)
    }

    fn dial(&mut self) {
        let conn = self.hub.dial(self.address, Name::Node(self.node));
        self.conns.push(conn);
        let hello = Message::Hello {
            protocol: PROTOCOL,
            role: Role::Client,
            node: 0,
            cluster: [0; 16],
            logic_min: 0,
            logic_max: 0,
            address: "",
            build: "",
        };
        self.queue(self.conns.len() - 1, &hello);
    }

    /// Sends over one of the connections.
    fn queue(&mut self, connection: usize, message: &Message<'_>) {
        self.scratch.clear();
        message.encode(&mut self.scratch);
        let _ = self.hub.send(self.conns[connection], &self.scratch);
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
        self.queue(0, message);
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
    encode(u64::MAX, Work::Order, &mut bytes);
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
/// another for each order, and the venue checks that, too. A bare one is of nobody: it takes the
/// same way, is applied once and answered, and the venue refuses it before it looks at anything.
fn encode(number: u64, work: Work, out: &mut Vec<u8>) {
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
    let member = match work {
        Work::Bare => MemberId(u32::MAX),
        Work::Order => MemberId((number % u64::from(MEMBERS)) as u32),
    };
    command::encode(&Command::PlaceOrder { member, order }, out);
}

/// What is sent, and how.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Sessions; a command's token says which one's it is.
    pub sessions: usize,
    /// Connections that the sessions share evenly.
    pub connections: usize,
    /// Commands under way at once, of all sessions together.
    pub outstanding: usize,
    /// What commands do.
    pub work: Work,
    /// Commands in one request at most: as many as are there when it goes out.
    pub per_request: usize,
}

/// Sessions that share connections.
pub struct Sessions {
    link: Link,
    sessions: Vec<Session>,
    plan: Plan,
    under_way: usize,
    orders: u64,
    replies: Vec<Reply>,
}

#[derive(Default)]
struct Session {
    client: u64,
    /// Of the next request.
    sequence: u64,
    /// The tokens of the next request's commands, and these.
    tokens: Vec<u64>,
    commands: Vec<u8>,
    /// Requests from `oldest` on: the tokens of their commands, and whether they were answered.
    open: VecDeque<(Vec<u64>, bool)>,
    oldest: u64,
    /// Lists to be used again.
    spare: Vec<Vec<u64>>,
}

impl Sessions {
    pub fn open(mut link: Link, nonce: u64, plan: Plan) -> Result<Self> {
        while link.conns.len() < plan.connections {
            link.dial();
        }
        let mut opened = Vec::with_capacity(plan.sessions);
        for number in 0..plan.sessions as u64 {
            opened.push(Session {
                client: link.open(nonce + number)?,
                ..Session::default()
            });
        }
        let mut bytes = Vec::new();
        encode(0, plan.work, &mut bytes);
        if bytes.len() != COMMAND_BYTES {
            bail!("a command takes {} bytes, not {COMMAND_BYTES}", bytes.len());
        }
        Ok(Self {
            link,
            sessions: opened,
            plan,
            under_way: 0,
            // Ids of this connection's orders begin where no other one's are.
            orders: nonce << 20,
            replies: Vec::new(),
        })
    }

    /// Sends what a session has gathered.
    fn send(&mut self, number: usize) {
        let count = self.sessions.len() as u64;
        let session = &mut self.sessions[number];
        if session.tokens.is_empty() {
            return;
        }
        let sequence = session.sequence;
        session.sequence += 1;
        let submit = Message::Submit {
            request: sequence * count + number as u64,
            client: session.client,
            sequence,
            behind: (sequence - session.oldest) as u32,
            count: session.tokens.len() as u16,
            commands: &session.commands,
        };
        self.link.queue(number % self.plan.connections, &submit);
        session.commands.clear();
        let next = session.spare.pop().unwrap_or_default();
        let tokens = std::mem::replace(&mut session.tokens, next);
        session.open.push_back((tokens, false));
    }
}

impl Target for Sessions {
    fn submit(&mut self, token: u64) -> Result<(), Busy> {
        if self.under_way >= self.plan.outstanding {
            return Err(Busy);
        }
        let number = (token % self.sessions.len() as u64) as usize;
        let session = &mut self.sessions[number];
        self.orders += 1;
        encode(self.orders, self.plan.work, &mut session.commands);
        session.tokens.push(token);
        self.under_way += 1;
        if session.tokens.len() >= self.plan.per_request {
            self.send(number);
        }
        Ok(())
    }

    fn poll(&mut self, until: Instant, done: &mut Vec<Done>) -> io::Result<()> {
        if self.plan.per_request > 1 {
            for number in 0..self.sessions.len() {
                self.send(number);
            }
        }
        self.link.turn(until, &mut self.replies)?;
        let count = self.sessions.len() as u64;
        for reply in self.replies.drain(..) {
            let session = &mut self.sessions[(reply.request % count) as usize];
            let place = (reply.request / count).checked_sub(session.oldest);
            let open = place.and_then(|place| session.open.get_mut(place as usize));
            if let Some((tokens, answered)) = open.filter(|(_, answered)| !answered) {
                *answered = true;
                self.under_way -= tokens.len();
                let accepted = reply.good;
                done.extend(tokens.iter().map(|token| Done {
                    token: *token,
                    accepted,
                }));
            }
            while session.open.front().is_some_and(|(_, answered)| *answered) {
                session.oldest += 1;
                if let Some((mut tokens, _)) = session.open.pop_front() {
                    tokens.clear();
                    session.spare.push(tokens);
                }
            }
        }
        Ok(())
    }
}
