//! The controller of one rollout: its journal, its edge, and how it ends.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use everopen_edge::admin::{Client, Status};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::cluster::Cluster;
use crate::execute::{By, Ended, Fault, Site, io_fault};
use crate::journal::{Entry, Journal, Line, Outcome};
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::plan::{Plan, Step};
use crate::state::{Folder, Running, now_ms};

/// Between two looks whether a process is ready, or a pause has ended.
pub(crate) const READY_LOOK: Duration = Duration::from_millis(50);
/// How long the edge may take for an order.
pub(crate) const EDGE: Duration = Duration::from_secs(5);
/// How long what a failed version still does may take to end.
const UNDO_DRAIN: Duration = Duration::from_secs(2);

pub(crate) struct Controller<'a> {
    pub(crate) folder: Folder,
    pub(crate) path: PathBuf,
    pub(crate) plan: Plan,
    pub(crate) edge: Client,
    pub(crate) cluster: Option<&'a dyn Cluster>,
    journal: Journal,
    past: Vec<Line>,
    /// The last step that was ever begun.
    begun: Option<usize>,
    pub(crate) meter: Option<Meter>,
    pub(crate) metrics: Metrics,
    /// What the edge had counted before traffic moved.
    pub(crate) before: Option<Status>,
    tell: &'a mut dyn FnMut(&Line),
}

impl<'a> Controller<'a> {
    pub(crate) fn open(
        folder: Folder,
        path: PathBuf,
        plan: Plan,
        site: &Site<'a>,
        tell: &'a mut dyn FnMut(&Line),
    ) -> Result<Self, Fault> {
        let opened = Journal::open(&path.join("journal.jsonl"));
        let (journal, past) = io_fault("open the journal", opened)?;
        let mut controller = Self {
            edge: Client::new(&plan.file.edge),
            cluster: site.cluster,
            folder,
            path,
            plan,
            journal,
            begun: past
                .iter()
                .filter_map(|line| match line.entry {
                    Entry::Begun { step, .. } => Some(step),
                    _ => None,
                })
                .max(),
            past,
            meter: None,
            metrics: Metrics::default(),
            before: None,
            tell,
        };
        controller.note(Entry::Opened {
            who: site.by.who.clone(),
            why: site.by.why.clone(),
        })?;
        Ok(controller)
    }

    pub(crate) fn note(&mut self, entry: Entry) -> Result<(), Fault> {
        let line = io_fault("write the journal", self.journal.write(entry))?;
        (self.tell)(&line);
        Ok(())
    }

    pub(crate) fn order(&self, method: &str, what: &str, body: &Value) -> io::Result<Value> {
        let path = format!("/services/{}/{what}", self.plan.file.service);
        block_in_place(|| self.edge.call(method, &path, body, EDGE))
    }

    pub(crate) async fn go_on(mut self, back: bool) -> Result<Ended, Fault> {
        let ended = self.past.iter().rev().find_map(|line| match &line.entry {
            Entry::Ended { outcome, .. } => Some(*outcome),
            _ => None,
        });
        if let Some(outcome) = ended {
            // Only the word of it was missing.
            self.settle(outcome)?;
            return Ok(Ended {
                outcome,
                reason: None,
                noticed: self.noticed(),
            });
        }
        let failed = self.past.iter().rev().find_map(|line| match &line.entry {
            Entry::Failed { reason, .. } => Some(reason.clone()),
            Entry::Undoing { .. } => {
                Some("it was being taken back when the controller was cut off".into())
            }
            _ => None,
        });
        if back || failed.is_some() {
            let reason = failed.unwrap_or_else(|| "somebody asked for it".to_string());
            return self.undo(reason).await;
        }
        match self.forth().await {
            Ok(None) => self.end(Outcome::New, None),
            Ok(Some(reason)) => self.undo(reason).await,
            Err(fault) => Err(self.old_serves(fault)),
        }
    }

    /// Goes through the steps that are not done: why it is to come back, if it is.
    async fn forth(&mut self) -> Result<Option<String>, Fault> {
        if let Some(budget) = &self.plan.file.budget
            && self.plan.from.is_some()
        {
            self.meter = Some(Meter::start(budget));
        }
        let done = self.past.iter().filter_map(|line| match line.entry {
            Entry::Done { step, .. } => Some(step + 1),
            _ => None,
        });
        let first = done.max().unwrap_or(0);
        for step in first..self.plan.steps.len() {
            self.wait_while_paused().await?;
            let what = self.plan.steps[step].clone();
            self.note(Entry::Begun {
                step,
                text: what.to_string(),
            })?;
            self.begun = Some(step);
            let mut performed = self.perform(&what).await;
            if performed.is_ok()
                && let Some(breach) = self.meter.as_ref().and_then(Meter::breach)
            {
                performed = Err(breach);
            }
            match performed {
                Ok(evidence) => self.note(Entry::Done { step, evidence })?,
                Err(reason) => {
                    self.note(Entry::Failed {
                        step,
                        reason: reason.clone(),
                    })?;
                    return Ok(Some(reason));
                }
            }
        }
        Ok(None)
    }

    /// The journal can't be written, so nothing more is begun. Clients are not left with a version that
    /// nobody watches: all of them go to the old one, which needs no journal. The rollout itself stays cut
    /// off, to be taken back when there is room.
    fn old_serves(&self, fault: Fault) -> Fault {
        let Some(from) = &self.plan.from else {
            return fault;
        };
        let weights = json!({ from.as_str(): 100, self.plan.to.as_str(): 0 });
        // With a full disk the edge may not be able to keep them, but they are in force.
        let ordered = self.order("PUT", "weights", &weights);
        let status = block_in_place(|| self.edge.status());
        let serves = status.ok().and_then(|status| {
            let groups = &status.services.get(&self.plan.file.service)?.groups;
            Some(groups.get(from)?.weight > 0 && groups.get(&self.plan.to)?.weight == 0)
        });
        let Fault::Io { what, source } = fault else {
            return fault;
        };
        let then = match (serves, ordered) {
            (Some(true), _) => format!(
                "all new requests go to {from}; `everopen rollout rollback` ends the rollout when this is mended"
            ),
            (_, Err(error)) => format!("and requests could not be sent back to {from}: {error}"),
            _ => format!("and whether requests go to {from} is not known"),
        };
        Fault::Io {
            what: format!("{what} ({then})"),
            source,
        }
    }

    pub(crate) async fn wait_while_paused(&mut self) -> Result<(), Fault> {
        let pause = self.path.join("pause");
        let Ok(text) = std::fs::read(&pause) else {
            return Ok(());
        };
        let By { who, why } = serde_json::from_slice(&text).unwrap_or_default();
        self.note(Entry::Paused { who, why })?;
        while pause.exists() {
            tokio::time::sleep(READY_LOOK).await;
        }
        let text = std::fs::read(self.path.join("resumed")).unwrap_or_default();
        let By { who, why } = serde_json::from_slice(&text).unwrap_or_default();
        self.note(Entry::Resumed { who, why })
    }

    /// The last word, and what follows of it for the service.
    pub(crate) fn end(&mut self, outcome: Outcome, reason: Option<String>) -> Result<Ended, Fault> {
        let noticed = self.noticed();
        self.note(Entry::Ended {
            outcome,
            noticed: noticed.clone(),
        })?;
        self.settle(outcome)?;
        Ok(Ended {
            outcome,
            reason,
            noticed,
        })
    }

    fn noticed(&self) -> String {
        let noticed = self.meter.as_ref().map(|meter| meter.noticed().to_string());
        noticed.unwrap_or_else(|| "not measured".into())
    }

    fn settle(&mut self, outcome: Outcome) -> Result<(), Fault> {
        let mut state = io_fault("read the service's state", self.folder.state())?;
        if outcome != Outcome::Back && state.under_way.as_deref() == Some(&self.plan.id) {
            state.under_way = None;
            let file = &self.plan.file;
            match outcome {
                Outcome::New => {
                    let running = Running {
                        rollout: self.plan.id.clone(),
                        version: file.version.clone(),
                        stop_ms: file.start.stop_ms,
                    };
                    state.groups.insert(self.plan.to.clone(), running);
                    let from = self.plan.from.clone();
                    state.back = from.map(|from| (from, now_ms() + file.after.warm_ms));
                }
                _ if self.has_changed_group() => {
                    state.groups.remove(&self.plan.to);
                    let kept = state.back.take();
                    state.back = kept.filter(|(group, _)| *group != self.plan.to);
                }
                _ => {}
            }
            io_fault("write the service's state", self.folder.set_state(&state))?;
        }
        Ok(())
    }

    /// Takes back what was done, in the opposite order; all of it may be done again.
    async fn undo(mut self, reason: String) -> Result<Ended, Fault> {
        match self.take_back().await {
            Ok(()) => self.end(Outcome::Old, Some(reason)),
            Err(fault) => Err(self.old_serves(fault)),
        }
    }

    /// Whether the group that was to serve may be another than before: else what is kept in it is still
    /// there to go back to.
    fn has_changed_group(&self) -> bool {
        let changes = |step: &Step| {
            matches!(
                step,
                Step::Retire { .. } | Step::Start { .. } | Step::Register
            )
        };
        let first = self.plan.steps.iter().position(changes);
        first.is_some_and(|first| self.begun.is_some_and(|begun| begun >= first))
    }

    async fn take_back(&mut self) -> Result<(), Fault> {
        if !self.has_changed_group() {
            return Ok(());
        }
        let to = self.plan.to.clone();
        if let Some(from) = self.plan.from.clone() {
            self.note(Entry::Undoing {
                text: format!("all new requests to {from}"),
            })?;
            let weights = json!({ from.as_str(): 100, to.as_str(): 0 });
            self.insist("shift traffic back", "PUT", "weights", &weights)
                .await?;
        }
        if self
            .plan
            .steps
            .iter()
            .any(|step| matches!(step, Step::Shadow { .. }))
        {
            // It ends with the group's targets at the latest.
            let _ = self.end_shadow();
        }
        self.note(Entry::Undoing {
            text: format!("{to} is emptied and its processes are ended"),
        })?;
        let what = format!("groups/{to}/drain");
        let span = json!({ "ms": UNDO_DRAIN.as_millis() as u64 });
        let _ = self.order("POST", &what, &span);
        let what = format!("groups/{to}/empty");
        self.insist("empty the group", "POST", &what, &json!({}))
            .await?;
        let patience = Duration::from_millis(self.plan.file.start.stop_ms);
        let failed = |what: &str, why| io_fault(what, Err::<(), _>(io::Error::other(why)));
        if let Err(why) = self.end_all(&self.plan.id, patience).await {
            failed("end the new version's instances", why)?;
        }
        // What was kept there may not have been ended whole.
        let state = io_fault("read the service's state", self.folder.state())?;
        if let Some(kept) = state.groups.get(&to) {
            let patience = Duration::from_millis(kept.stop_ms);
            if let Err(why) = self.end_all(&kept.rollout, patience).await {
                failed("end what was kept", why)?;
            }
        }
        Ok(())
    }

    /// An order that must be carried out: an edge that is started again just now is waited for.
    async fn insist(&self, why: &str, method: &str, what: &str, body: &Value) -> Result<(), Fault> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.order(method, what, body) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return io_fault(why, Err(error)),
                Err(error) => tracing::warn!(%error, "the edge can't be told; it is tried again"),
            }
            tokio::time::sleep(READY_LOOK).await;
        }
    }
}
