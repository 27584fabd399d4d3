//! Keeping what rollouts brought into service running: for whoever has no service manager that does it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use everopen_edge::admin::Client;
use serde_json::json;

use crate::controller::EDGE;
use crate::plan::Plan;
use crate::process;
use crate::state::{Folder, State};

/// Before an instance is started again; doubled each time, up to the longest.
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// One that has run for so long begins with the shortest wait again.
const SETTLED: Duration = Duration::from_secs(10);

/// So often a port is found taken before an instance gets another: some seconds.
const TRIES: u32 = 6;

/// An instance that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The group at the edge.
    pub group: String,
    /// Whether that is the one in service, and not the one kept to go back to.
    pub serves: bool,
    /// The version.
    pub version: String,
    /// Its number in its version, from 0.
    pub instance: u16,
    /// Its port on the loopback.
    pub port: u16,
    /// Its process.
    pub pid: u32,
}

/// What is known of an instance that ended.
#[derive(Debug)]
struct Fall {
    started: Option<Instant>,
    times: u32,
}

/// Starts again what ended: each instance at the port at which the edge looks for it.
#[derive(Debug)]
pub struct Keeper {
    root: PathBuf,
    service: String,
    falls: BTreeMap<(String, u16), Fall>,
}

impl Keeper {
    /// One for a service, whose rollouts are kept in `root`.
    pub fn new(root: &Path, service: &str) -> Self {
        Self {
            root: root.to_path_buf(),
            service: service.to_string(),
            falls: BTreeMap::new(),
        }
    }

    /// What runs in the service's groups, the group in service first.
    ///
    /// # Errors
    /// The state or the system's processes can't be read.
    pub fn running(&self) -> io::Result<Vec<Instance>> {
        let state = Folder::peek(&self.root, &self.service)?;
        let mut all = Vec::new();
        for (group, running) in &state.groups {
            for process in process::find(&running.rollout)? {
                all.push(Instance {
                    group: group.clone(),
                    serves: serves(&state, group),
                    version: running.version.clone(),
                    instance: process.instance,
                    port: process.port,
                    pid: process.pid(),
                });
            }
        }
        all.sort_by_key(|instance| (!instance.serves, instance.instance));
        Ok(all)
    }

    /// Looks once, and starts again what has ended and is due. How many it started. What a rollout that
    /// is under way starts, or ends, is its own affair.
    ///
    /// # Errors
    /// The state, a plan or the system's processes can't be read, or a process can't be started.
    pub fn look(&mut self) -> io::Result<usize> {
        let state = Folder::peek(&self.root, &self.service)?;
        let busy = self.busy(&state)?;
        let mut started = 0;
        for (group, running) in &state.groups {
            if Some(group) == busy.as_ref() {
                continue;
            }
            let folder = self.root.join(&self.service).join(&running.rollout);
            let mut ports = process::ports(&folder)?;
            let wanted: Vec<u16> = ports.keys().copied().collect();
            let found = process::find_all(&running.rollout, &wanted)?;
            let gone: Vec<u16> = ports
                .keys()
                .copied()
                .filter(|instance| found.iter().all(|process| process.instance != *instance))
                .collect();
            for instance in &gone {
                if !self.is_due(&running.rollout, *instance) {
                    continue;
                }
                let plan = self.plan(&running.rollout)?;
                if !process::is_free(ports[instance]) {
                    // It may be its own, which has not quite ended yet.
                    if self.tries(&running.rollout, *instance) < TRIES {
                        continue;
                    }
                    self.move_to_another_port(&plan, group, *instance, &mut ports, &folder)?;
                }
                let port = &ports[instance];
                process::start_at(
                    &plan.file.start,
                    &plan.file.version,
                    &running.rollout,
                    (*instance, *port),
                    &folder,
                )?;
                started += 1;
                tracing::warn!(
                    group,
                    version = running.version,
                    instance,
                    "had ended and is started again"
                );
            }
        }
        // A rollout may have begun meanwhile that ends what was just started.
        let now = Folder::peek(&self.root, &self.service)?;
        let busy_now = self.busy(&now)?;
        for (group, running) in &state.groups {
            let is_kept =
                now.groups.get(group) == Some(running) && busy_now.as_ref() != Some(group);
            if started > 0 && busy.as_ref() != Some(group) && !is_kept {
                process::end(&running.rollout, Duration::from_millis(running.stop_ms))?;
            }
        }
        Ok(started)
    }

    /// The group that a rollout under way fills.
    fn busy(&self, state: &State) -> io::Result<Option<String>> {
        let under_way = state.under_way.as_ref();
        under_way.map(|id| Ok(self.plan(id)?.to)).transpose()
    }

    /// How often in a row it was due.
    fn tries(&self, rollout: &str, instance: u16) -> u32 {
        let fall = self.falls.get(&(rollout.to_string(), instance));
        fall.map_or(0, |fall| fall.times)
    }

    /// Somebody else has the port of an instance that ended: it gets another, and the edge is told before.
    fn move_to_another_port(
        &self,
        plan: &Plan,
        group: &str,
        instance: u16,
        ports: &mut BTreeMap<u16, u16>,
        folder: &Path,
    ) -> io::Result<()> {
        let taken = ports[&instance];
        let port = process::another_port(ports)?;
        ports.insert(instance, port);
        let targets: Vec<String> = ports
            .values()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let path = format!("/services/{}/groups/{group}/targets", self.service);
        Client::new(&plan.file.edge).call("PUT", &path, &json!(targets), EDGE)?;
        process::note_ports(folder, ports)?;
        tracing::warn!(
            group,
            instance,
            taken,
            port,
            "its port is taken: it gets another"
        );
        Ok(())
    }

    fn is_due(&mut self, rollout: &str, instance: u16) -> bool {
        let now = Instant::now();
        let fall = self.falls.entry((rollout.to_string(), instance));
        let fall = fall.or_insert_with(|| Fall {
            started: None,
            times: 0,
        });
        let lived = fall.started.map_or(SETTLED, |at| now.duration_since(at));
        let doubled = 1 << fall.times.saturating_sub(1).min(16);
        let wait = BACK_OFF_FIRST.saturating_mul(doubled);
        // The wait is from the last start on: one that lived longer than it is due at once.
        if lived < wait.min(BACK_OFF_MAX) {
            return false;
        }
        fall.times = if lived >= SETTLED { 1 } else { fall.times + 1 };
        fall.started = Some(now);
        true
    }

    fn plan(&self, id: &str) -> io::Result<Plan> {
        Plan::read(&Folder::plan_of(&self.root, &self.service, id))
    }
}

fn serves(state: &State, group: &str) -> bool {
    state.back.as_ref().is_none_or(|(back, _)| back != group)
}

/// Ends all processes of a service, those of a rollout that was cut off included. Its groups stay what they
/// are: a [`Keeper`] starts them again. How many there were.
///
/// # Errors
/// The state or the system's processes can't be read.
pub fn end(root: &Path, service: &str) -> io::Result<usize> {
    let state = Folder::peek(root, service)?;
    let mut count = 0;
    let mut longest = Duration::from_secs(10);
    for running in state.groups.values() {
        let patience = Duration::from_millis(running.stop_ms);
        longest = longest.max(patience);
        count += process::end(&running.rollout, patience)?;
    }
    if let Some(id) = &state.under_way {
        count += process::end(id, longest)?;
    }
    Ok(count)
}
