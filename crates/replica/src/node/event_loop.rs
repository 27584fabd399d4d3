//! The loop: the network, the clock and the other threads on one side, the core on the other.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

use everopen_identity::Name;
use everopen_journal::SnapshotRef;
use everopen_rpc::{ConnId, Event, Hub};
use everopen_wire::message::{Message, PROTOCOL, RefusalCode, Role};

use super::awake::Awake;
use super::backlog::BACKLOG_MAX;
use super::disk::{Desk, Way};
use super::follow::{Follow, Ring};
use super::handover::Handover;
use super::outbox::Outbox;
use super::peers::Peer;
use super::publisher::Publication;
use super::tickets::Tickets;
use super::watch::Watch;
use super::{Config, Shown, Threads, bulk, clock};
use crate::core::{Core, Effects};
use crate::member;
use crate::recovery::Fault;

/// How long the others wait to be told what is committed when no entry tells them.
const COMMIT_TOLD_AFTER: Duration = Duration::from_millis(1);

/// How long a leader looks before it waits, where what it looks for comes that soon.
const LOOK: Duration = Duration::from_micros(100);

/// The same while an entry is being written by it and the others.
const LOOK_FOR_DISKS: Duration = Duration::from_micros(500);

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(super) struct Conn {
    /// Its certificate's name.
    pub name: Option<Name>,
    /// What it said that it is; none until then.
    pub role: Option<Role>,
    /// The replica's number, for a replica.
    pub node: u64,
    pub follow: Option<Follow>,
    /// The next entry to send to an operator who reads the log itself.
    pub tail: Option<u64>,
}

impl Conn {
    /// Whether it may read the log itself: other members' orders stand in it.
    fn reads_log(&self) -> bool {
        matches!(self.name, Some(Name::Operator | Name::Node(_)) | None)
    }
}

pub(super) struct EventLoop {
    hub: Hub,
    inner: Inner,
}

/// All of the loop but the network.
pub(super) struct Inner {
    pub config: Config,
    pub core: Core,
    pub threads: Threads,
    pub shown: Arc<Shown>,
    pub conns: HashMap<ConnId, Conn>,
    pub peers: BTreeMap<u64, Peer>,
    pub dials: Vec<u64>,
    pub outbox: Outbox,
    pub tickets: Tickets,
    pub ring: Ring,
    pub followers: HashMap<u64, ConnId>,
    pub followers_made: u64,
    pub tails: Vec<ConnId>,
    pub bulk: bulk::Bulk,
    pub backlog: VecDeque<Publication>,
    /// Events in it.
    pub backlog_events: usize,
    pub started: Instant,
    pub state_hash: Option<(u64, [u8; 16])>,
    pub answers: (
        std::sync::mpsc::Sender<super::calls::Late>,
        std::sync::mpsc::Receiver<super::calls::Late>,
    ),
    pub waker: everopen_rpc::Waker,
    pub commands: u64,
    last_tick: Instant,
    last_chores: Instant,
    /// What the others know to be committed while more is, and since when.
    untold: Option<(u64, Instant)>,
    /// Whether the publisher is to be woken for what there is.
    pub push_backlog_now: bool,
    pub handover: Handover,
    /// Whether the logs of earlier lives are no longer there.
    pub forgot: bool,
    /// The longest that a turn took, waits for the network left out.
    pub slowest_turn: Duration,
    /// Whether there is more than one.
    has_processors: bool,
    pub awake: Awake,
}

impl EventLoop {
    pub fn new(
        config: Config,
        core: Core,
        hub: Hub,
        threads: Threads,
        ring: Ring,
        file: Option<SnapshotRef>,
        shown: Arc<Shown>,
    ) -> Self {
        let now = Instant::now();
        let waker = hub.waker();
        let awake = Awake::new(config.keep_awake);
        let inner = Inner {
            config,
            core,
            threads,
            shown,
            conns: HashMap::new(),
            peers: BTreeMap::new(),
            dials: Vec::new(),
            outbox: Outbox::default(),
            tickets: Tickets::default(),
            ring,
            followers: HashMap::new(),
            followers_made: 0,
            tails: Vec::new(),
            bulk: bulk::Bulk::new(file),
            backlog: VecDeque::new(),
            backlog_events: 0,
            started: now,
            state_hash: None,
            answers: std::sync::mpsc::channel(),
            waker,
            commands: 0,
            last_tick: now,
            last_chores: now,
            untold: None,
            push_backlog_now: false,
            handover: Handover::default(),
            forgot: false,
            slowest_turn: Duration::ZERO,
            has_processors: std::thread::available_parallelism().is_ok_and(|count| count.get() > 1),
            awake,
        };
        Self { hub, inner }
    }

    pub fn run(mut self) -> Result<(), Fault> {
        let signal = self.inner.threads.desk.as_ref().and_then(Desk::signal);
        match signal {
            Some(_) => tracing::info!("as the leader it goes on while its disk writes (io_uring)"),
            None => {
                tracing::info!(
                    "it waits for its disk, as the leader too: no io_uring, or memory mode"
                )
            }
        }
        let watched = signal.map_or(Ok(()), |signal| self.hub.watch(signal));
        let ended = watched
            .map_err(Fault::Network)
            .and_then(|()| self.turn_until_end());
        self.inner.show(ended.as_ref().err());
        let Inner { mut threads, .. } = self.inner;
        // The network first: nobody is to get an answer that was not meant for it.
        drop(self.hub);
        drop(threads.publications.take());
        if let Some(mut desk) = threads.desk.take()
            && ended.is_ok()
        {
            desk.stop();
        }
        let disk = threads.disk.take().map(|thread| thread.join());
        drop(threads.published);
        let publisher = threads.publisher.take().map(|thread| thread.join());
        ended?;
        for joined in [disk, publisher].into_iter().flatten() {
            joined.unwrap_or(Err(Fault::Panicked))?;
        }
        Ok(())
    }

    fn turn_until_end(&mut self) -> Result<(), Fault> {
        loop {
            let inner = &mut self.inner;
            if inner.shown.ended.load(Relaxed) || inner.is_done() {
                return Ok(());
            }
            let timeout = inner.patience();
            let full = inner.backlog.len() > BACKLOG_MAX;
            self.hub.look_before_waiting(inner.look());
            self.hub
                .turn(Some(timeout), &mut |event| inner.on(event))
                .map_err(Fault::Network)?;
            let mut watch = Watch::start();
            inner.hear_threads()?;
            inner.pass_time();
            watch.lap("other threads");
            inner.agree(&mut self.hub)?;
            watch.lap("consensus and disk");
            let effects = inner.core.apply()?;
            watch.lap("applying");
            inner.carry_out(effects);
            inner.feed_followers(&self.hub);
            inner.feed_tails(&self.hub);
            inner.send(&mut self.hub);
            self.hub.flush();
            if inner.peers.values().any(|peer| peer.is_followed) {
                // Whoever follows a follower waits for this, but nobody else: after the answers.
                inner.core.tell_commit();
            }
            watch.lap("sending");
            inner.slowest_turn = inner.slowest_turn.max(watch.end());
            let stuck = inner.backlog.len() > BACKLOG_MAX;
            if stuck != full {
                for conn in inner.conns.keys() {
                    self.hub.pause_reading(*conn, stuck);
                }
            }
        }
    }
}

impl Inner {
    fn patience(&self) -> Duration {
        if self.core.has_work() {
            return Duration::ZERO;
        }
        let tick = self.config.tick.saturating_sub(self.last_tick.elapsed());
        match self.core.untold_commit() {
            Some(_) => tick.min(COMMIT_TOLD_AFTER),
            None => tick,
        }
    }

    /// How long to look for what comes before a wait: everybody waits for the leader, and it for the
    /// others' word, which takes about as long as being woken. One processor would only be kept from
    /// whom it waits for.
    fn look(&self) -> Duration {
        if !self.core.is_leader() || !self.has_processors {
            return Duration::ZERO;
        }
        match self.core.awaits_others() {
            true => LOOK_FOR_DISKS,
            false => LOOK,
        }
    }

    fn on(&mut self, event: Event<'_>) {
        match event {
            Event::Opened { conn, peer, dialed } => {
                self.conns.insert(
                    conn,
                    Conn {
                        name: peer,
                        role: None,
                        node: 0,
                        follow: None,
                        tail: None,
                    },
                );
                self.greet(conn);
                if dialed {
                    self.bulk_opened(conn);
                }
            }
            Event::Frame { conn, bytes } => {
                let Ok(message) = Message::decode(bytes) else {
                    tracing::warn!(%conn, "a frame can't be read; the connection is closed");
                    self.drop_conn(conn);
                    return;
                };
                self.message(conn, &message);
            }
            Event::Closed { conn, reason } => {
                tracing::debug!(%conn, %reason, "connection ended");
                self.closed(conn);
            }
        }
    }

    fn greet(&mut self, conn: ConnId) {
        let message = Message::Hello {
            protocol: PROTOCOL,
            role: Role::Replica,
            node: self.config.node,
            cluster: self.config.cluster,
            logic_min: 1,
            logic_max: self.config.core.logic_max,
            address: &self.config.advertise,
            build: &self.config.build,
        };
        self.outbox.push(conn, &message);
    }

    fn message(&mut self, conn: ConnId, message: &Message<'_>) {
        let Some(known) = self.conns.get(&conn) else {
            return;
        };
        let is_replica = known.role == Some(Role::Replica);
        match (message, known.role) {
            (Message::Hello { .. }, None) => self.hello(conn, message),
            (_, None) | (Message::Hello { .. }, _) => {
                tracing::warn!(%conn, "a peer does not begin with a greeting");
                self.drop_conn(conn);
            }
            (
                Message::OpenSession { .. }
                | Message::Submit { .. }
                | Message::ReadIndex { .. }
                | Message::Follow { .. },
                _,
            ) => self.client_message(conn, message),
            (Message::Tail { after }, _) if known.reads_log() => self.tail(conn, *after),
            (Message::SnapshotAsk { id, offset }, Some(Role::Client)) if known.reads_log() => {
                self.snapshot_asked(conn, 0, *id, *offset);
            }
            (Message::Call { request, question }, _) => self.call(conn, *request, question),
            (_, _) if is_replica => {
                let node = known.node;
                self.peer_message(conn, node, message);
            }
            _ => self.refuse(conn, 0, RefusalCode::NotAllowed, 0),
        }
    }

    fn hello(&mut self, conn: ConnId, message: &Message<'_>) {
        let Message::Hello {
            protocol,
            role,
            node,
            cluster,
            logic_max,
            address,
            build,
            ..
        } = *message
        else {
            return;
        };
        let Some(known) = self.conns.get_mut(&conn) else {
            return;
        };
        let named = match known.name {
            Some(Name::Node(name)) => Some(name),
            Some(_) => None,
            // Plain connections carry no name: whoever chose them trusts what is said.
            None => Some(member::number(node)),
        };
        let foreign = cluster != [0; 16] && cluster != self.config.cluster;
        let wrong = match role {
            _ if protocol != PROTOCOL => Some("speaks another version of the protocol"),
            Role::Replica if named != Some(member::number(node)) => {
                Some("is not the replica that it says")
            }
            Role::Replica if foreign => Some("belongs to another cluster"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            tracing::warn!(%conn, node, "a peer {wrong}; the connection is closed");
            return self.drop_conn(conn);
        }
        known.role = Some(role);
        known.node = if role == Role::Replica { node } else { 0 };
        if role == Role::Replica {
            self.core.set_support(node, logic_max);
            let peer = self.peers.entry(node).or_default();
            peer.build = build.to_string();
            peer.logic_max = logic_max;
            if peer.address.is_empty() {
                peer.address = address.to_string();
            }
            if !self.is_whom_dialed(conn, node) {
                self.drop_conn(conn);
            }
        }
    }

    pub fn drop_conn(&mut self, conn: ConnId) {
        self.outbox.closes.push(conn);
        self.closed(conn);
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        self.peer_closed(conn);
        self.bulk_closed(conn);
        self.tails.retain(|tail| *tail != conn);
        if let Some(conn) = self.conns.remove(&conn)
            && let Some(follow) = conn.follow
        {
            self.followers.remove(&follow.number);
        }
    }

    fn pass_time(&mut self) {
        let now = Instant::now();
        let since = now.duration_since(self.last_tick);
        if since >= self.config.tick {
            // At most one, however long the pause was: a burst would begin an election.
            self.core.tick();
            self.last_tick = if since < self.config.tick * 2 {
                self.last_tick + self.config.tick
            } else {
                now
            };
            self.dial_peers(now);
            self.bulk_tick(now);
        }
        if now.duration_since(self.last_chores) >= Duration::from_millis(100) {
            self.last_chores = now;
            self.push_backlog_now = true;
            self.awake.pass(self.commands);
            self.tell_digest();
            self.ping_peers();
            self.welcome_back();
            self.forget_lost_logs();
            self.show(None);
        }
        match self.core.untold_commit() {
            Some(told) if self.untold.is_none_or(|(before, _)| before != told) => {
                self.untold = Some((told, now));
            }
            Some(_) => {
                let since = self.untold.map_or(now, |(_, since)| since);
                if now.duration_since(since) >= COMMIT_TOLD_AFTER {
                    self.core.tell_commit();
                }
            }
            None => self.untold = None,
        }
        self.hand_over(now);
    }

    /// Lets the core agree with the others, and the disk work: what they wait for leaves before
    /// the disk begins, and what waits for a quick disk before anything is applied.
    fn agree(&mut self, hub: &mut Hub) -> Result<(), Fault> {
        loop {
            let mut effects = self.core.agree_on(clock())?;
            self.note_trust()?;
            let writes = std::mem::take(&mut effects.writes);
            self.carry_out(effects);
            let Some(desk) = &mut self.threads.desk else {
                return Ok(());
            };
            if writes.is_empty() {
                break;
            }
            let is_waited_for = self.core.is_leader();
            let way = desk.way(&writes, is_waited_for, self.core.is_taking_snapshot());
            if way == Way::Thread {
                desk.hand_over(writes);
                break;
            }
            self.send(hub);
            hub.flush();
            if let Some(desk) = &mut self.threads.desk {
                match way {
                    Way::Behind => desk.begin(writes)?,
                    _ => desk.write(writes)?,
                }
            }
            self.core
                .persisted(self.threads.progress.durable.load(Acquire));
        }
        if !self.core.is_leader() {
            // The leader waits for this; for what is applied here nobody does.
            self.send(hub);
            hub.flush();
        }
        Ok(())
    }

    fn carry_out(&mut self, effects: Effects) {
        for notice in effects.notices {
            tracing::info!("{notice}");
        }
        for message in effects.messages {
            self.send_raft(message);
        }
        debug_assert!(effects.writes.is_empty(), "they are carried out apart");
        for step in effects.steps {
            self.step(step);
        }
        for (ticket, answer) in effects.answers {
            self.answer(ticket, answer);
        }
        self.shown.applied.store(self.core.state().index, Relaxed);
        // A failed publisher is noticed in the next turn.
        let _ = self.push_backlog();
    }
}
