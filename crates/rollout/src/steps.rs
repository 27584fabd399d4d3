//! The steps of a plan, one by one. Each may be done again after it was begun, or had ended.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use everopen_edge::Reading;
use everopen_edge::admin::Status;
use serde_json::json;
use tokio::task::block_in_place;

use crate::controller::{Controller, EDGE, READY_LOOK};
use crate::host::Instance;
use crate::journey::fill;
use crate::meter::Meter;
use crate::plan::Step;
use crate::process;
use crate::state::State;
use crate::{alarm, health, http, journey};

/// Between two looks at alarms.
const LOOK: Duration = Duration::from_millis(500);
/// How long one readiness request may take.
const READY: Duration = Duration::from_secs(2);

impl Controller<'_> {
    pub(crate) async fn perform(&mut self, step: &Step) -> Result<String, String> {
        match step {
            Step::Retire { .. } => self.retire().await,
            Step::Health => {
                let health = self.plan.file.health.as_ref();
                health::look(health.ok_or("the plan has no health check")?).await
            }
            Step::Start { instances } => self.start(*instances).await,
            Step::Ready => self.ready().await,
            Step::Register => self.register().await,
            Step::Check { name } => self.check(name).await,
            Step::Journey => {
                let journey = self.plan.file.journey.as_ref();
                let steps = journey::run(journey.ok_or("the plan has no journey")?).await?;
                Ok(format!("{steps} steps"))
            }
            Step::Shadow { .. } => self.shadow().await,
            Step::Shift { percent } => self.shift(*percent).await,
            Step::Bake { ms } => self.bake(Duration::from_millis(*ms)).await,
            Step::Hook { name, percent } => self.hook(name, *percent).await,
            Step::Gate { name, percent } => self.gate(name, *percent).await,
            Step::Drain => self.drain(),
        }
    }

    /// Ends what an earlier rollout kept in the group of this one.
    pub(crate) async fn retire(&mut self) -> Result<String, String> {
        let to = self.plan.to.clone();
        let text = |error: io::Error| error.to_string();
        self.order("PUT", "weights", &json!({ to.as_str(): 0 }))
            .map_err(text)?;
        self.order("PUT", &format!("groups/{to}/targets"), &json!([]))
            .map_err(text)?;
        let mut state: State = self.folder.state().map_err(text)?;
        let mut count = 0;
        if let Some(running) = state.groups.get(&to) {
            let patience = Duration::from_millis(running.stop_ms);
            count = self.end_all(&running.rollout, patience).await?;
        }
        state.groups.remove(&to);
        state.back = None;
        self.folder.set_state(&state).map_err(text)?;
        Ok(format!("{count} processes ended"))
    }

    async fn start(&mut self, instances: u16) -> Result<String, String> {
        if let Some(set) = self.set() {
            self.cluster()?.start(&set).await?;
            return Ok(format!(
                "deployment {} of {} is to run {} of {}",
                set.deployment, set.namespace, set.replicas, set.image
            ));
        }
        // One that another controller has started a moment ago must not be started twice.
        let noted = process::ports(&self.path).map_err(|error| error.to_string())?;
        let noted: Vec<u16> = noted.into_keys().collect();
        let running = self.processes(&noted)?;
        let mut given: Vec<u16> = running.iter().map(|process| process.port).collect();
        for instance in (0..instances).filter(|at| !running.iter().any(|p| p.instance == *at)) {
            let (start, version) = (&self.plan.file.start, &self.plan.file.version);
            let started =
                process::start(start, version, &self.plan.id, instance, &given, &self.path);
            given.push(started.map_err(|error| error.to_string())?);
        }
        Ok(format!(
            "{instances} started, logs in {}",
            self.path.display()
        ))
    }

    async fn ready(&self) -> Result<String, String> {
        let began = Instant::now();
        let start = &self.plan.file.start;
        let deadline = began + Duration::from_millis(start.ready_ms);
        if let Some(set) = self.set() {
            while !self.look(&set).await?.is_settled {
                if Instant::now() > deadline {
                    let trouble = self.look(&set).await?.trouble;
                    return Err(format!("not ready within {} ms: {trouble}", start.ready_ms));
                }
                tokio::time::sleep(READY_LOOK).await;
            }
        }
        // A process is not there in the same moment in which it was started.
        let grace = began + Duration::from_millis(500);
        loop {
            let (processes, missing) = match self.all_run().await {
                Ok(processes) => (processes, None),
                Err(missing) => (Vec::new(), Some(missing)),
            };
            if let Some(missing) = &missing
                && Instant::now() > grace
            {
                return Err(missing.clone());
            }
            let mut last = missing.unwrap_or_default();
            let mut count = 0;
            for process in &processes {
                match http::get(&process.address, &start.ready, READY).await {
                    Ok(answer) if answer.status == 200 => count += 1,
                    Ok(answer) => last = format!("{} answers {}", start.ready, answer.status),
                    Err(error) => last = format!("{}: {error}", start.ready),
                }
            }
            if !processes.is_empty() && count == processes.len() {
                return Ok(format!("after {} ms", began.elapsed().as_millis()));
            }
            if Instant::now() > deadline {
                return Err(format!("not ready within {} ms: {last}", start.ready_ms));
            }
            tokio::time::sleep(READY_LOOK).await;
        }
    }

    async fn register(&mut self) -> Result<String, String> {
        let text = |error: io::Error| error.to_string();
        let to = self.plan.to.clone();
        let targets = self.targets().await?;
        // First no weight, then targets: nobody is sent there yet.
        self.order("PUT", "weights", &json!({ to.as_str(): 0 }))
            .map_err(text)?;
        self.order("PUT", &format!("groups/{to}/targets"), &json!(targets))
            .map_err(text)?;
        Ok(format!("{to}: {}", targets.join(", ")))
    }

    async fn check(&self, name: &str) -> Result<String, String> {
        let file = &self.plan.file;
        let check = file.checks.iter().find(|check| check.name == name);
        let check = check.ok_or("the plan has no such check")?;
        let processes = self.all_run().await?;
        for process in &processes {
            let values = BTreeMap::from([
                ("address".to_string(), process.address.clone()),
                ("port".to_string(), process.port().to_string()),
            ]);
            let command: Vec<String> = check
                .command
                .iter()
                .map(|part| fill(part, &values))
                .collect();
            let patience = Duration::from_millis(check.within_ms);
            if let Some(said) = alarm::run(&command, &file.start.dir, patience).await {
                return Err(format!("check {name} of {}: {said}", process.name));
            }
        }
        Ok(format!("{} instances", processes.len()))
    }

    async fn shift(&mut self, percent: u32) -> Result<String, String> {
        // Never onto one that is not there any more.
        for process in self.all_run().await? {
            let ready = &self.plan.file.start.ready;
            let answer = http::get(&process.address, ready, READY).await;
            if !answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                let name = process.name;
                return Err(format!("{name} is not ready any more: {answer:?}"));
            }
        }
        if self.before.is_none() {
            self.before = block_in_place(|| self.edge.status()).ok();
        }
        if let Some(meter) = &self.meter {
            meter.traffic_moves();
        }
        let to = self.plan.to.as_str();
        let weights = match &self.plan.from {
            Some(from) => json!({ from.as_str(): 100 - percent, to: percent }),
            None => json!({ to: percent }),
        };
        self.order("PUT", "weights", &weights)
            .map_err(|error| error.to_string())?;
        Ok(weights.to_string())
    }

    fn readings(&self) -> Result<(Reading, Reading), String> {
        let status = block_in_place(|| self.edge.status())
            .map_err(|error| format!("ask the edge: {error}"))?;
        let of = |status: &Status, group: &str| {
            let service = status.services.get(&self.plan.file.service);
            let group = service.and_then(|service| service.groups.get(group));
            group.map(|group| group.reading.clone()).unwrap_or_default()
        };
        let from = self.plan.from.as_deref().unwrap_or_default();
        let mut old = of(&status, from);
        if let Some(before) = &self.before {
            old = old.since(&of(before, from));
        }
        Ok((old, of(&status, &self.plan.to)))
    }

    async fn bake(&mut self, time: Duration) -> Result<String, String> {
        let begun = self.begin_watch()?;
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(LOOK)).await;
            self.wait_while_paused()
                .await
                .map_err(|fault| fault.to_string())?;
            let (old, new) = self.watch(&begun).await?;
            if Instant::now() >= deadline {
                let p99 = new.latency.percentile(99.0).unwrap_or(0);
                return Ok(format!(
                    "{} requests, {} failed, p99 {p99} us; the old version {} requests, {} failed, p99 {} us",
                    new.requests,
                    new.failed(),
                    old.requests,
                    old.failed(),
                    old.latency.percentile(99.0).unwrap_or(0),
                ));
            }
        }
    }

    /// From here on both versions are watched: what the new one has counted so far.
    pub(crate) fn begin_watch(&mut self) -> Result<Reading, String> {
        if self.before.is_none() {
            self.before = block_in_place(|| self.edge.status()).ok();
        }
        Ok(self.readings()?.1)
    }

    /// Looks once at everything that may take the new version back: what both versions did since then.
    pub(crate) async fn watch(&mut self, begun: &Reading) -> Result<(Reading, Reading), String> {
        let processes = self.all_run().await?;
        if let Some(breach) = self.meter.as_ref().and_then(Meter::breach) {
            return Err(breach);
        }
        let (old, new) = self.readings()?;
        let new = new.since(begun);
        let file = &self.plan.file;
        if let Some(reason) = alarm::look(&file.alarms, &file.start.dir, &old, &new).await {
            return Err(reason);
        }
        if !file.alarms.metrics.is_empty() {
            let places = |found: &[Instance]| -> Vec<String> {
                found
                    .iter()
                    .map(|instance| instance.address.clone())
                    .collect()
            };
            let before = places(&self.old_instances().await?);
            let alarms = &self.plan.file.alarms.metrics;
            let looked = self
                .metrics
                .look(alarms, &places(&processes), &before)
                .await;
            if let Some(reason) = looked {
                return Err(reason);
            }
        }
        Ok((old, new))
    }

    /// Those of the version that serves, or served, in the other group.
    async fn old_instances(&self) -> Result<Vec<Instance>, String> {
        let state = self.folder.state().map_err(|error| error.to_string())?;
        let from = self.plan.from.as_deref().unwrap_or_default();
        match state.groups.get(from) {
            Some(running) => self.instances_of(&running.rollout).await,
            None => Ok(Vec::new()),
        }
    }

    /// Tells a rollout's processes that others serve in their place, if its file wants that.
    pub(crate) fn tell_to_drain(&self, rollout: &str) -> Result<(), String> {
        let Some(signal) = self.plan.file.after.drain_signal else {
            return Ok(());
        };
        let found =
            process::find(rollout).map_err(|error| format!("look for processes: {error}"))?;
        found.iter().for_each(|process| process.tell(signal));
        Ok(())
    }

    fn drain(&self) -> Result<String, String> {
        let from = self.plan.from.as_deref().unwrap_or_default();
        let state = self.folder.state().map_err(|error| error.to_string())?;
        if let Some(running) = state.groups.get(from) {
            self.tell_to_drain(&running.rollout)?;
        }
        let ms = self.plan.file.after.drain_ms;
        let path = format!("/services/{}/groups/{from}/drain", self.plan.file.service);
        let patience = Duration::from_millis(ms) + EDGE;
        let drained = block_in_place(|| {
            self.edge
                .call("POST", &path, &json!({ "ms": ms }), patience)
        });
        let drained = drained.map_err(|error| error.to_string())?;
        Ok(format!("{} were cut", drained["left"]))
    }
}
