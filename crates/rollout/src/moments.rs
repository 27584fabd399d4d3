//! Hooks and gates: what is done, or waited for, between the steps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::alarm;
use crate::controller::Controller;
use crate::file::{Decision, Phase};
use crate::journey::fill;

/// Between two looks whether somebody has decided, and whether the new version is still well.
const LOOK: Duration = Duration::from_millis(200);

/// Where a decision about the gate at a step of a rollout is written.
pub(crate) fn decision_file(rollout: &Path, step: usize) -> PathBuf {
    rollout.join(format!("decision-{step}.json"))
}

impl Controller<'_> {
    pub(crate) async fn hook(&self, name: &str, percent: u32) -> Result<String, String> {
        let file = &self.plan.file;
        let hook = file.hooks.iter().find(|hook| hook.name == name);
        let hook = hook.ok_or("the plan has no such hook")?;
        let values = BTreeMap::from([
            ("version".to_string(), file.version.clone()),
            ("group".to_string(), self.plan.to.clone()),
            ("percent".to_string(), percent.to_string()),
        ]);
        let command: Vec<String> = hook
            .command
            .iter()
            .map(|part| fill(part, &values))
            .collect();
        let began = Instant::now();
        let patience = Duration::from_millis(hook.within_ms);
        match alarm::run(&command, &file.start.dir, patience).await {
            None => Ok(format!("after {} ms", began.elapsed().as_millis())),
            Some(said) => Err(format!("hook {name}: {said}")),
        }
    }

    pub(crate) async fn gate(&mut self, name: &str, percent: u32) -> Result<String, String> {
        let gates = &self.plan.file.gates;
        let gate = gates.iter().find(|gate| gate.name == name);
        let gate = gate.ok_or("the plan has no such gate")?.clone();
        let is_here = |step: &crate::plan::Step| match step {
            crate::plan::Step::Gate {
                name: at,
                percent: of,
            } => at == name && *of == percent,
            _ => false,
        };
        let step = self.plan.steps.iter().position(is_here);
        let path = decision_file(&self.path, step.ok_or("the plan has no such gate")?);
        let begun = match percent {
            0 => None,
            _ => Some(self.begin_watch()?),
        };
        let deadline = Instant::now() + Duration::from_millis(gate.within_ms);
        loop {
            if let Ok(bytes) = std::fs::read(&path) {
                let decision: Decision = serde_json::from_slice(&bytes)
                    .map_err(|error| format!("read {}: {error}", path.display()))?;
                let Decision { approved, who, why } = decision;
                return match approved {
                    true => Ok(format!("approved by {who}: {why:?}")),
                    false => Err(format!("gate {name}: {who} said no: {why:?}")),
                };
            }
            if Instant::now() >= deadline {
                let ms = gate.within_ms;
                return Err(format!("gate {name}: nobody decided within {ms} ms"));
            }
            match &begun {
                Some(begun) => drop(self.watch(begun).await?),
                None if gate.phase == Phase::BeforeStart => {}
                None => drop(self.all_run().await?),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
