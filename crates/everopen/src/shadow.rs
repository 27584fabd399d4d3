//! `everopen shadow`: runs this program's rules over the live log beside the replicas and reports
//! the first event that differs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use everopen_identity::Name;
use everopen_replica::shadow::{Difference, Shadow};
use everopen_rpc::{ConnId, Event, Hub, Limits, Security};
use everopen_wire::message::{Message, PROTOCOL, RefusalCode, Role};
use serde_json::json;

use crate::cluster::Where;
use crate::cluster::access::{Access, PATIENCE};
use crate::config::Peer;

/// How long a replica may take to make a snapshot, or to send something.
const SILENCE: Duration = Duration::from_secs(30);
/// Between two lines about how far the comparison is.
const SAY_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    at: Where,
    /// Compare with rules that are not in force yet: from the snapshot on, here alone
    #[arg(long, value_name = "VERSION")]
    activate: Option<u16>,
    /// Stop after so many seconds; by default only a difference or Ctrl-C ends it
    #[arg(long)]
    seconds: Option<u64>,
}

/// Follows until something differs, the time is over, or the replica is gone.
///
/// # Errors
/// The first difference, or why the log can't be followed.
pub fn run(args: &Arguments) -> Result<()> {
    let mut access = args.at.access()?;
    let (node, place, bytes) = snapshot(&mut access)?;
    let mut link = Link::open(&access, &node)?;
    let state = link.fetch(place, bytes)?;
    let mut shadow = Shadow::new(&state, args.activate)?;
    let from = shadow.index();
    say!(
        "shadow of replica {} from entry {from}, {} kB of state{}",
        node.id,
        state.len() / 1_000,
        match args.activate {
            Some(version) => format!(", with rules {version}"),
            None => String::new(),
        }
    );
    link.send(&Message::Tail { after: from });
    link.send(&Message::Follow {
        after: from,
        checkpoint: false,
    });
    let end = args
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut said = Instant::now();
    while end.is_none_or(|end| Instant::now() < end) {
        if let Some(difference) = link.compare(&mut shadow)? {
            return Err(report(&difference));
        }
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            let (entries, events) = shadow.compared();
            say!(
                "{entries} entries, {events} events alike, up to entry {}",
                shadow.index()
            );
        }
    }
    let (entries, events) = shadow.compared();
    if entries == 0 {
        bail!("no entry came in that time; nothing was compared");
    }
    say!("no difference in {entries} entries, {events} events");
    Ok(())
}

fn report(difference: &Difference) -> anyhow::Error {
    anyhow!(
        "entry {} differs at its event {}:\n  live    {:?}\n  shadow  {:?}",
        difference.index,
        difference.event,
        difference.live,
        difference.shadow
    )
}

/// Has a replica that follows take a snapshot now, and says where it is.
fn snapshot(access: &mut Access) -> Result<(Peer, u64, u64)> {
    let statuses = access.statuses();
    let answered = statuses.iter().filter_map(|answered| {
        let status = answered.answer.as_ref().ok()?;
        Some((answered.node.clone(), status.clone()))
    });
    let mut known: Vec<_> = answered.collect();
    // One that does not lead has the time for it.
    known.sort_by_key(|(_, status)| status["role"] == "leader");
    let (node, status) = known.first().context("no replica answers")?.clone();
    let before = status["snapshot_index"].as_u64().unwrap_or(0);
    let asked = access.ask(&node, &json!({ "ask": "snapshot" }), PATIENCE);
    let started = asked.map_err(|error| anyhow!("{error}"))?["started"] == true;
    let deadline = Instant::now() + SILENCE;
    loop {
        let status = access
            .ask(&node, &json!({ "ask": "status" }), PATIENCE)
            .map_err(|error| anyhow!("{error}"))?;
        let index = status["snapshot_index"].as_u64().unwrap_or(0);
        if (!started || index > before)
            && let (Some(place), Some(bytes)) = (
                status["snapshot_place"].as_u64(),
                status["snapshot_bytes"].as_u64(),
            )
        {
            return Ok((node, place, bytes));
        }
        if Instant::now() > deadline {
            bail!("replica {} did not take a snapshot in time", node.id);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A connection to a replica.
struct Link {
    hub: Hub,
    conn: ConnId,
    heard: Instant,
}

impl Link {
    fn open(access: &Access, node: &Peer) -> Result<Self> {
        let security = Security::Mutual(access.identity());
        let mut hub =
            Hub::new(Limits::within_a_cluster(), security).context("open a connection")?;
        let socket = std::net::ToSocketAddrs::to_socket_addrs(node.address.as_str())
            .with_context(|| format!("look up {}", node.address))?
            .next()
            .with_context(|| format!("{} has no address", node.address))?;
        let conn = hub.dial(socket, Name::Node(node.id));
        let mut link = Self {
            hub,
            conn,
            heard: Instant::now(),
        };
        link.send(&Message::Hello {
            protocol: PROTOCOL,
            role: Role::Client,
            node: 0,
            cluster: [0; 16],
            logic_min: 0,
            logic_max: 0,
            address: "",
            build: env!("CARGO_PKG_VERSION"),
        });
        Ok(link)
    }

    fn send(&mut self, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        // A connection that has ended says so at the next turn.
        let _ = self.hub.send(self.conn, &bytes);
        self.hub.flush();
    }

    /// Waits for frames, a little while, and shows them.
    fn turn(&mut self, on: &mut dyn FnMut(&Message<'_>) -> Result<()>) -> Result<()> {
        let mut outcome = Ok(());
        let mut heard = false;
        self.hub
            .turn(Some(Duration::from_millis(200)), &mut |event| {
                if outcome.is_err() {
                    return;
                }
                outcome = match event {
                    Event::Opened { .. } => Ok(()),
                    Event::Closed { reason, .. } => Err(anyhow!("the replica is gone: {reason}")),
                    Event::Frame { bytes, .. } => {
                        heard = true;
                        match Message::decode(bytes) {
                            Err(error) => Err(anyhow!("a frame can't be read: {error}")),
                            Ok(Message::Refused {
                                code: RefusalCode::TooFarBehind,
                                ..
                            }) => Err(anyhow!(
                                "the replica no longer has the entries that follow; start again"
                            )),
                            Ok(Message::Refused { code, .. }) => Err(anyhow!("{code}")),
                            Ok(message) => on(&message),
                        }
                    }
                };
            })
            .context("wait for the replica")?;
        if heard {
            self.heard = Instant::now();
        } else if self.heard.elapsed() > SILENCE {
            bail!("the replica has been silent for {SILENCE:?}");
        }
        outcome
    }

    /// The bytes of a snapshot.
    fn fetch(&mut self, place: u64, bytes: u64) -> Result<Vec<u8>> {
        let mut state = Vec::new();
        while (state.len() as u64) < bytes {
            let offset = state.len() as u64;
            self.send(&Message::SnapshotAsk { id: place, offset });
            while state.len() as u64 == offset {
                self.turn(&mut |message| {
                    if let Message::SnapshotPart {
                        offset: at, chunk, ..
                    } = message
                        && *at == offset
                    {
                        if chunk.is_empty() {
                            bail!("the replica has a newer snapshot by now; start again");
                        }
                        state.extend_from_slice(chunk);
                    }
                    Ok(())
                })?;
            }
        }
        Ok(state)
    }

    fn compare(&mut self, shadow: &mut Shadow) -> Result<Option<Difference>> {
        let mut difference = None;
        self.turn(&mut |message| {
            let found = match message {
                Message::LogEntry {
                    index,
                    term,
                    commands,
                    data,
                } => shadow.entry(index.0, *term, *commands, data)?,
                Message::Entry { index, events, .. } => shadow.events(index.0, events)?,
                _ => None,
            };
            if difference.is_none() {
                difference = found;
            }
            Ok(())
        })?;
        Ok(difference)
    }
}
