//! What is under way and what each answer means for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use everopen_rpc::{ConnId, Event, Hub, SendError};
use everopen_wire::message::{Message, RefusalCode};

use crate::link::{Heard, Link};
use crate::pending::{Key, Pending, Submissions, outcome, retry_after};
use crate::reads::Reads;
use crate::shared::{Job, Shared};
use crate::{Outcome, Refusal};

/// A replica that is silent for so long while something is under way is left for another.
const SILENCE_LEAST: Duration = Duration::from_millis(500);
/// The longest that grows to for a leader that is slow and still the leader.
const SILENCE_MOST: Duration = Duration::from_secs(4);
/// A replica that says other things but does not answer the oldest submission for so long is left,
/// too.
const OVERDUE: Duration = Duration::from_secs(5);
/// When nothing is under way the leader is asked so often whether it still leads.
const PROBE: Duration = Duration::from_millis(250);
/// Hints to a leader that are followed at once, one after the other, before a pause.
const HINTS_MAX: u32 = 3;
/// The longest wait when nothing is under way.
const IDLE: Duration = Duration::from_millis(100);
/// The longest wait when something is.
const BUSY: Duration = Duration::from_millis(20);

/// What a request was about.
#[derive(Clone, Copy)]
enum Asked {
    Session,
    Submission(Key),
    Read(u64),
    Probe,
}

pub(crate) struct Desk {
    shared: Arc<Shared>,
    link: Link,
    /// Whether the replica has answered as only a leader does.
    confirmed: bool,
    hints: u32,
    /// When it was last heard while nothing was under way, or since when it is silent.
    heard: Instant,
    silence: Duration,
    /// What the replica was asked and did not answer yet.
    asked: HashMap<u64, Asked>,
    last_request: u64,
    /// The number of the session, once it is open.
    session: Option<u64>,
    epoch: u32,
    nonce: u64,
    session_at: Instant,
    submissions: Submissions,
    reads: Reads,
    frame: Vec<u8>,
}

impl Desk {
    pub fn new(shared: Arc<Shared>, nonce: u64) -> Self {
        let now = Instant::now();
        let mut submissions = Submissions::default();
        submissions.new_session(1);
        Self {
            link: Link::new(Arc::clone(&shared), 0),
            shared,
            confirmed: false,
            hints: 0,
            heard: now,
            silence: SILENCE_LEAST,
            asked: HashMap::new(),
            last_request: 0,
            session: None,
            epoch: 1,
            nonce,
            session_at: now,
            submissions,
            reads: Reads::default(),
            frame: Vec::new(),
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.shared.is_stopped()
    }

    /// How long nothing has to be done unless the network or a handle says something.
    pub fn patience(&self, now: Instant) -> Duration {
        let idle = self.submissions.is_empty() && self.reads.is_empty() && self.asked.is_empty();
        let most = if idle { IDLE } else { BUSY };
        let wake_at = [self.link.wake_at(), self.submissions.wake_at()];
        wake_at.into_iter().flatten().fold(most, |patience, at| {
            patience.min(at.saturating_duration_since(now))
        })
    }

    pub fn take_jobs(&mut self, jobs: &mut VecDeque<Job>) {
        self.shared.take_jobs(jobs);
        for job in jobs.drain(..) {
            match job {
                Job::Submit(pending) => self.submissions.push(pending),
                Job::Read { answer, deadline } => self.reads.push(answer, deadline),
            }
        }
    }

    /// Takes what the network tells.
    pub fn hear(&mut self, event: &Event<'_>) {
        match self.link.hear(event) {
            Heard::Nothing => {}
            Heard::Up => {
                self.confirmed = false;
                self.heard = Instant::now();
            }
            Heard::Lost => self.lost(),
            Heard::Message(message) => {
                self.heard = Instant::now();
                self.message(&message);
            }
        }
    }

    fn message(&mut self, message: &Message<'_>) {
        match *message {
            Message::Outcome {
                request,
                index,
                time,
                count,
                events,
            } => {
                let Some(outcome) = outcome(index, time, count, events) else {
                    tracing::error!("a replica's events can't be read");
                    self.link.give_up();
                    return self.lost();
                };
                self.confirm(index.0);
                if let Some(Asked::Submission(key)) = self.asked.remove(&request)
                    && let Some(numbered) = self.submissions.remove(key)
                {
                    finish(&self.shared, numbered.pending, Ok(outcome));
                }
            }
            Message::SessionOpened { request, client } => {
                self.confirm(0);
                if let Some(Asked::Session) = self.asked.remove(&request) {
                    self.session = Some(client);
                }
            }
            Message::ReadAt { request, index } => {
                self.confirm(index.0);
                if let Some(Asked::Read(id)) = self.asked.remove(&request) {
                    self.reads.finish(&self.shared, id, Ok(index));
                }
            }
            Message::Refused {
                request,
                code,
                retry_after_ms,
                leader,
                leader_address,
            } => {
                let asked = self.asked.remove(&request);
                self.refused(asked, code, retry_after(retry_after_ms));
                if matches!(
                    code,
                    RefusalCode::NotLeader | RefusalCode::Stopping | RefusalCode::OutcomeUnknown
                ) {
                    self.move_on(leader, leader_address);
                }
            }
            _ => {}
        }
    }

    /// The replica leads.
    fn confirm(&mut self, index: u64) {
        self.shared.saw(index);
        self.shared.set_leader(true);
        self.confirmed = true;
        self.hints = 0;
        self.silence = SILENCE_LEAST;
        self.link.is_good();
    }

    /// The replica does not lead: to the one that does, if it says which.
    fn move_on(&mut self, leader: u64, address: &str) {
        let place = self.shared.place_of(leader, address);
        match place.filter(|_| self.hints < HINTS_MAX) {
            Some(place) => {
                self.hints += 1;
                self.link.go_to(place);
            }
            None => {
                self.hints = 0;
                self.link.give_up();
            }
        }
        self.lost();
    }

    /// The connection is gone: what was asked on it is asked again elsewhere, and submissions may
    /// have been taken.
    fn lost(&mut self) {
        self.confirmed = false;
        self.shared.set_leader(false);
        for (_, asked) in self.asked.drain() {
            match asked {
                Asked::Submission(key) => self.submissions.again(key, true, None),
                Asked::Read(id) => self.reads.again(id),
                Asked::Session | Asked::Probe => {}
            }
        }
    }

    fn refused(&mut self, asked: Option<Asked>, code: RefusalCode, after: Duration) {
        match asked {
            Some(Asked::Submission(key)) => self.submission_refused(key, code, after),
            Some(Asked::Read(id)) => match code {
                RefusalCode::Busy => {
                    let busy = Refusal::Busy { retry_after: after };
                    self.reads.finish(&self.shared, id, Err(busy));
                }
                RefusalCode::NotAllowed | RefusalCode::Malformed => {
                    tracing::error!(%code, "a read was refused");
                    self.reads
                        .finish(&self.shared, id, Err(Refusal::Unavailable));
                }
                _ => self.reads.again(id),
            },
            Some(Asked::Session) => {
                if code == RefusalCode::NotAllowed {
                    tracing::error!("this process may not submit");
                }
                self.session_at = Instant::now() + after;
            }
            Some(Asked::Probe) | None => {}
        }
    }

    /// INV-CLIENT-2 is decided here: this attempt was not taken, but one before it may have been.
    fn submission_refused(&mut self, key: Key, code: RefusalCode, after: Duration) {
        let Some(numbered) = self.submissions.get(key) else {
            return;
        };
        let maybe_taken = numbered.pending.maybe_taken;
        let later = Some(Instant::now() + after);
        let refusal = match code {
            RefusalCode::NotLeader | RefusalCode::Stopping => {
                return self.submissions.again(key, false, None);
            }
            RefusalCode::OutcomeUnknown => return self.submissions.again(key, true, None),
            RefusalCode::WindowFull => return self.submissions.again(key, false, later),
            RefusalCode::SessionUnknown => return self.session_unknown(key),
            RefusalCode::SequenceForgotten => {
                tracing::error!("a replica says that this client has an answer that it has not");
                Refusal::OutcomeUnknown
            }
            _ if maybe_taken => return self.submissions.again(key, false, later),
            RefusalCode::Busy => Refusal::Busy { retry_after: after },
            RefusalCode::JournalFull => Refusal::JournalFull,
            RefusalCode::TooLarge => Refusal::TooLarge,
            RefusalCode::Malformed | RefusalCode::NotAllowed | RefusalCode::TooFarBehind => {
                tracing::error!(%code, "a submission was refused");
                Refusal::Unavailable
            }
        };
        if let Some(numbered) = self.submissions.remove(key) {
            finish(&self.shared, numbered.pending, Err(refusal));
        }
    }

    fn session_unknown(&mut self, key: Key) {
        if key.epoch == self.epoch && self.session.take().is_some() {
            tracing::warn!("the cluster has forgotten this client's session; another is opened");
            self.epoch += 1;
            // Another nonce, since the same one could be the same session.
            self.nonce = self.nonce.wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.submissions.new_session(self.epoch);
        }
        if let Some(pending) = self.submissions.session_lost(key) {
            finish(&self.shared, pending, Err(Refusal::OutcomeUnknown));
        }
    }

    /// Does what is due.
    pub fn step(&mut self, now: Instant, hub: &mut Hub) {
        let shared = &self.shared;
        self.submissions.pass_time(now, |pending, refusal| {
            finish(shared, pending, Err(refusal));
        });
        self.reads.pass_time(shared, now);
        let silent =
            !self.asked.is_empty() && now.saturating_duration_since(self.heard) >= self.silence;
        if self.link.up().is_some() && (silent || self.submissions.is_overdue(now, OVERDUE)) {
            tracing::debug!(silent, "a replica does not answer; another is asked");
            if self.confirmed {
                // It led, and may only be slow: it is given more time if it still leads.
                self.silence = (self.silence * 2).min(SILENCE_MOST);
            }
            self.link.give_up();
            self.lost();
        }
        self.link.tend(now, hub);
        if let Some(conn) = self.link.up() {
            self.ask(now, conn, hub);
        }
    }

    /// Sends what is due. Until the replica has shown that it leads it is asked one thing only, so
    /// that a refusal leaves nothing open.
    fn ask(&mut self, now: Instant, conn: ConnId, hub: &mut Hub) {
        if self.session.is_none() && self.may_ask() && now >= self.session_at {
            let open = self
                .asked
                .values()
                .any(|asked| matches!(asked, Asked::Session));
            let nonce = self.nonce;
            if !open {
                self.send(now, conn, hub, Asked::Session, |request| {
                    Message::OpenSession { request, nonce }
                });
            }
        }
        while self.may_ask()
            && let Some(key) = self.submissions.next_due(self.session)
            && self.send_submission(now, conn, hub, key)
        {}
        let mut read = 0;
        while self.may_ask()
            && let Some(next) = self.reads.next_due(read)
            && self.send(now, conn, hub, Asked::Read(next), |request| {
                Message::ReadIndex { request }
            })
        {
            self.reads.sent(next, now);
            read = next;
        }
        let quiet = now.saturating_duration_since(self.heard) >= PROBE || !self.confirmed;
        if self.asked.is_empty() && quiet && self.session.is_some() {
            self.send(now, conn, hub, Asked::Probe, |request| Message::ReadIndex {
                request,
            });
        }
    }

    fn may_ask(&self) -> bool {
        self.confirmed || self.asked.is_empty()
    }

    fn send_submission(&mut self, now: Instant, conn: ConnId, hub: &mut Hub, key: Key) -> bool {
        let behind = self.submissions.behind(key);
        let Some(numbered) = self.submissions.get(key) else {
            return false;
        };
        self.last_request += 1;
        self.frame.clear();
        let message = Message::Submit {
            request: self.last_request,
            client: numbered.client,
            sequence: key.sequence,
            behind,
            count: numbered.pending.count,
            commands: &numbered.pending.commands,
        };
        message.encode(&mut self.frame);
        if !self.queue(now, conn, hub, Asked::Submission(key)) {
            return false;
        }
        self.submissions.sent(key, now);
        true
    }

    fn send(
        &mut self,
        now: Instant,
        conn: ConnId,
        hub: &mut Hub,
        asked: Asked,
        message: impl FnOnce(u64) -> Message<'static>,
    ) -> bool {
        self.last_request += 1;
        self.frame.clear();
        message(self.last_request).encode(&mut self.frame);
        self.queue(now, conn, hub, asked)
    }

    /// Queues the frame. False when there is no room now, or no connection any more, which the hub
    /// tells itself.
    fn queue(&mut self, now: Instant, conn: ConnId, hub: &mut Hub, asked: Asked) -> bool {
        match hub.send(conn, &self.frame) {
            Ok(()) => {
                if self.asked.is_empty() {
                    self.heard = now;
                }
                self.asked.insert(self.last_request, asked);
                true
            }
            Err(SendError::Full | SendError::Gone) => false,
            Err(SendError::TooLarge) => {
                unreachable!("invariant: submissions are smaller than frames")
            }
        }
    }

    /// Answers everything that is under way.
    pub fn end(mut self) {
        let shared = &self.shared;
        self.submissions.end(|pending, refusal| {
            finish(shared, pending, Err(refusal));
        });
        self.reads.end(shared);
    }
}

fn finish(shared: &Shared, pending: Pending, result: Result<Outcome, Refusal>) {
    shared.answered();
    (pending.answer)(result);
}
