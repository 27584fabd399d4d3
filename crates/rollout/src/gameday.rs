//! A game day: the same plan with faults thrown in on purpose, to see that the old version serves afterwards
//! and that clients notice no more than the budget.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::Notify;
use tokio::task::block_in_place;

use crate::cluster::Cluster;
use crate::execute::{self, By, Ended, Fault as Broken, Site};
use crate::file::File;
use crate::id;
use crate::journal::{Entry, Line, Outcome};
use crate::plan::{Step, plan};
use crate::process;

/// What is thrown in while the new version has its first share of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One of its processes is killed.
    Kill,
    /// One of its processes stands still: it has connections and answers nothing.
    Hang,
    /// The controller is gone, as `kill -9` leaves it; somebody takes the rollout back.
    Controller,
}

impl Fault {
    /// Those that can be thrown into a version: one in a cluster can't be made to stand still.
    pub fn of(file: &File) -> &'static [Self] {
        match file.start.kubernetes {
            Some(_) => &[Self::Kill, Self::Controller],
            None => &[Self::Kill, Self::Hang, Self::Controller],
        }
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "a process of the new version is killed",
            Self::Hang => "a process of the new version stands still",
            Self::Controller => "the controller is killed",
        }
    }
}

/// What came of one fault.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which.
    pub fault: Fault,
    /// Whether the new version had traffic when it was thrown in.
    pub thrown: bool,
    /// How the rollout ended.
    pub ended: Ended,
    /// The old version serves: what a fault must end in.
    pub is_caught: bool,
}

/// Rolls the file's version out once with this fault. Whatever comes of it, the version that serves now
/// serves afterwards.
///
/// # Errors
/// The file leaves no time in which something could happen, nothing serves yet, or a rollout could not be
/// begun or brought to an end.
pub async fn play(
    root: &Path,
    cluster: Option<&dyn Cluster>,
    file: &File,
    fault: Fault,
    tell: &mut dyn FnMut(&Line),
) -> Result<Seen, Broken> {
    let inventory = execute::inventory(root, file)?;
    if inventory.serving.is_none() {
        return Err(Broken::Refused(
            "nothing serves yet: a game day needs a version to come back to".into(),
        ));
    }
    if file.strategy.percent.is_empty() || file.strategy.bake_ms == 0 {
        return Err(Broken::Refused(
            "strategy.percent and strategy.bake_ms: a game day needs a share, and a time in which something can happen".into(),
        ));
    }
    let id = id::fresh(&file.version);
    let made = plan(file, &inventory, &id);
    let set = file.set(&made.to, &id);
    let by = By {
        who: "game day".into(),
        why: fault.name().into(),
    };
    let site = Site {
        root,
        by: &by,
        cluster,
    };
    let thrown = Arc::new(AtomicBool::new(false));
    let gone = Arc::new(Notify::new());
    let ended = {
        let first = made
            .steps
            .iter()
            .position(|step| matches!(step, Step::Bake { .. }));
        let (thrown, gone_now, id) = (Arc::clone(&thrown), Arc::clone(&gone), id.clone());
        let mut watch = |line: &Line| {
            tell(line);
            if let Entry::Begun { step, .. } = &line.entry
                && Some(*step) == first
            {
                let is_thrown = match (fault, &set, cluster) {
                    (Fault::Kill, Some(set), Some(cluster)) => {
                        let runtime = tokio::runtime::Handle::current();
                        let killed = block_in_place(|| runtime.block_on(cluster.kill_one(set)));
                        killed.is_ok()
                    }
                    _ => throw(fault, &id, &gone_now),
                };
                thrown.store(is_thrown, Relaxed);
            }
        };
        let applied = execute::apply(&site, made, &mut watch);
        tokio::select! {
            applied = applied => Some(applied?),
            // Dropped where it stands, with its lock: nothing of it goes on.
            () = gone.notified() => None,
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => execute::resume(&site, &file.service, true, tell).await?,
    };
    let is_caught = ended.outcome == Outcome::Old;
    if !is_caught {
        // Nothing noticed it. The version before is there to go back to.
        execute::rollback(&site, &file.service, tell).await?;
    }
    Ok(Seen {
        fault,
        thrown: thrown.load(Relaxed),
        ended,
        is_caught,
    })
}

/// Whether it is thrown.
fn throw(fault: Fault, id: &str, gone: &Notify) -> bool {
    let first = || {
        process::find(id)
            .ok()
            .and_then(|found| found.into_iter().next())
    };
    match (fault, first()) {
        (Fault::Kill, Some(process)) => process.kill(),
        (Fault::Hang, Some(process)) => process.stand_still(),
        (Fault::Controller, _) => gone.notify_one(),
        (_, None) => return false,
    }
    true
}
