//! A new release without a pause: processes of an earlier one are replaced one after another, each
//! only when the one before it counts again.

use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::{News, Role, Supervisor, Ward};
use crate::cluster::access::{Access, leader};
use crate::cluster::table;

/// How long a replica may take to come back and to catch up.
const BACK: Duration = Duration::from_secs(300);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(50);
/// It has caught up when it lacks at most so many entries.
const NEAR: u64 = 100;

impl Supervisor {
    /// Begins to replace what was taken over and is of another release or has other settings.
    pub(super) fn replace_outdated(&mut self) {
        let outdated = std::mem::take(&mut self.outdated);
        if outdated.is_empty() {
            return;
        }
        let (dir, tell) = (self.layout.dir().to_path_buf(), self.tell.clone());
        let work = move || match replace_all(&dir, &outdated, &tell) {
            Ok(()) => tracing::info!("{} processes were replaced", outdated.len()),
            Err(error) => tracing::error!("the replacement has stopped: {error:#}"),
        };
        let started = std::thread::Builder::new()
            .name("everopen-replace".into())
            .spawn(work);
        if let Err(error) = started {
            tracing::error!(%error, "nothing is replaced");
        }
    }

    /// Ends a process; the next takes its place.
    pub(super) fn replace(&mut self, role: Role) {
        if role == Role::Edge {
            return self.hand_over();
        }
        for ward in self.wards.iter_mut().filter(|ward| ward.role == role) {
            if !ward.is_leaving
                && let Some(process) = ward.process()
            {
                process.signal(Signal::TERM);
                ward.is_replaced = true;
            }
        }
    }
}

impl Supervisor {
    /// Starts an edge that takes the sockets over from the one that runs, which ends by itself.
    fn hand_over(&mut self) {
        let is_edge = |ward: &Ward| ward.role == Role::Edge && !ward.is_leaving;
        let Some(at) = self.wards.iter().position(is_edge) else {
            return;
        };
        match self.start(at, true) {
            Ok(process) => self.watch(at, process),
            Err(error) => tracing::error!("the edge is not replaced: {error:#}"),
        }
        self.write_endpoints();
    }
}

/// Followers first, then the leader, which hands over, then the gateway.
fn replace_all(dir: &Path, outdated: &[(Role, u32)], tell: &Sender<News>) -> Result<()> {
    let mut access = Access::of_dir(dir)?;
    let mut left: Vec<(u64, u32)> = outdated
        .iter()
        .filter_map(|(role, pid)| match role {
            Role::Replica(id) => Some((*id, *pid)),
            Role::Gateway | Role::Edge => None,
        })
        .collect();
    while !left.is_empty() {
        wait_until_whole(&mut access, &[])?;
        let leads = leader(&access.statuses()).map(|node| node.id);
        let next = left.iter().position(|(id, _)| Some(*id) != leads);
        let (id, pid) = left.remove(next.unwrap_or(0));
        tell.send(News::Replace(Role::Replica(id)))
            .context("tell the supervisor")?;
        wait_until_whole(&mut access, &[pid])?;
    }
    for role in [Role::Gateway, Role::Edge] {
        if outdated.iter().any(|(outdated, _)| *outdated == role) {
            tell.send(News::Replace(role))
                .context("tell the supervisor")?;
        }
    }
    Ok(())
}

/// Waits until every replica answers, none from one of the processes `gone`, all have nearly
/// everything, and one leads.
fn wait_until_whole(access: &mut Access, gone: &[u32]) -> Result<()> {
    let deadline = Instant::now() + BACK;
    loop {
        let statuses = access.statuses();
        let newest = table::newest(&statuses);
        let is_whole = statuses.iter().all(|answered| {
            answered.answer.as_ref().is_ok_and(|status| {
                let is_gone = gone.iter().any(|pid| status["pid"] == *pid);
                let applied = status["applied"].as_u64().unwrap_or(0);
                !is_gone && applied + NEAR >= newest
            })
        });
        if is_whole && leader(&statuses).is_some() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "not all replicas came back in time:\n{}",
                table::lines(&statuses).join("\n")
            );
        }
        std::thread::sleep(LOOK);
    }
}
