//! From a file and what is in service to steps: a pure function, so that a dry run shows exactly what
//! will be done.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::file::{File, Gate, Phase};

/// What is known of a service before a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The group that has the weight, and the version that it runs as far as is known; none if nobody
    /// serves.
    pub serving: Option<(String, Option<String>)>,
    /// The other group's name, and the version that is still kept in it.
    pub other: (String, Option<String>),
}

/// What is to be done. It does not change once it is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name: time and version.
    pub id: String,
    /// The file that it was made of.
    pub file: File,
    /// The group that serves now; none at the first rollout.
    pub from: Option<String>,
    /// The version in it.
    pub from_version: Option<String>,
    /// The group that is to serve.
    pub to: String,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Reads one that was written down.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }
}

/// One step. Each may be done again after it was begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// What an earlier rollout kept in the group is ended: to go back to it is no longer possible.
    Retire {
        /// Its version.
        version: Option<String>,
    },
    /// What the new version needs is there.
    Health,
    /// The new version's processes are started.
    Start {
        /// How many.
        instances: u16,
    },
    /// Each of them answers its readiness path.
    Ready,
    /// The edge learns of them; only its test listener leads there.
    Register,
    /// A deep health check of each.
    Check {
        /// Which.
        name: String,
    },
    /// A scripted client on the test listener.
    Journey,
    /// Requests that the old version answers are put to the new one as well, and the answers are compared.
    Shadow {
        /// Milliseconds.
        ms: u64,
    },
    /// So many percent of new requests go to the new version.
    Shift {
        /// Percent.
        percent: u32,
    },
    /// Alarms are looked at for a while.
    Bake {
        /// Milliseconds.
        ms: u64,
    },
    /// A program is run.
    Hook {
        /// Which.
        name: String,
        /// Percent of new requests that the new version has by then.
        percent: u32,
    },
    /// Somebody must say that it may go on.
    Gate {
        /// Which.
        name: String,
        /// Percent of new requests that the new version has by then.
        percent: u32,
    },
    /// What the old version still does comes to its end; its tunnels are cut.
    Drain,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retire {
                version: Some(version),
            } => write!(f, "end version {version}, which was kept to go back to"),
            Self::Retire { version: None } => write!(f, "empty the group"),
            Self::Health => write!(f, "look at what it needs"),
            Self::Start { instances: 1 } => write!(f, "start one process"),
            Self::Start { instances } => write!(f, "start {instances} processes"),
            Self::Ready => write!(f, "wait until it is ready"),
            Self::Register => write!(f, "make it known to the edge, without traffic"),
            Self::Check { name } => write!(f, "check {name}"),
            Self::Journey => write!(f, "journey on the test listener"),
            Self::Shadow { ms } => write!(
                f,
                "compare its answers for {:.1} s, as a shadow",
                *ms as f64 / 1_000.0
            ),
            Self::Shift { percent } => write!(f, "{percent} % of new requests"),
            Self::Bake { ms } => write!(f, "watch alarms for {:.1} s", *ms as f64 / 1_000.0),
            Self::Hook { name, .. } => write!(f, "run {name}"),
            Self::Gate { name, .. } => write!(f, "wait until somebody approves {name}"),
            Self::Drain => write!(f, "let the old version end what it does"),
        }
    }
}

impl Step {
    /// What clients notice of it if all goes well.
    pub fn effect(&self) -> &'static str {
        match self {
            Self::Shift { .. } => "new requests move, open ones stay",
            Self::Drain => "long connections are closed at its end",
            Self::Shadow { .. } => "none; the new version works as well",
            Self::Journey | Self::Check { .. } => "none; the new version works",
            _ => "none",
        }
    }
}

/// What stands at a moment: first programs, since they may bring what somebody is to look at.
fn pause(steps: &mut Vec<Step>, file: &File, phase: Phase, percent: u32) {
    let hooks = file.hooks.iter().filter(|hook| hook.phase == phase);
    steps.extend(hooks.map(|hook| Step::Hook {
        name: hook.name.clone(),
        percent,
    }));
    let is_here =
        |gate: &&Gate| gate.phase == phase && gate.percent.is_none_or(|wanted| wanted == percent);
    steps.extend(file.gates.iter().filter(is_here).map(|gate| Step::Gate {
        name: gate.name.clone(),
        percent,
    }));
}

/// Makes the plan. `id` names it.
pub fn plan(file: &File, inventory: &Inventory, id: &str) -> Plan {
    let mut steps = Vec::new();
    let (to, kept) = &inventory.other;
    pause(&mut steps, file, Phase::BeforeStart, 0);
    // Before anything is taken away or started.
    if file.health.is_some() {
        steps.push(Step::Health);
    }
    if kept.is_some() {
        steps.push(Step::Retire {
            version: kept.clone(),
        });
    }
    steps.push(Step::Start {
        instances: file.start.instances,
    });
    steps.push(Step::Ready);
    steps.push(Step::Register);
    let checks = file.checks.iter();
    steps.extend(checks.map(|check| Step::Check {
        name: check.name.clone(),
    }));
    if file.journey.is_some() {
        steps.push(Step::Journey);
    }
    let is_first = inventory.serving.is_none();
    // Before people are asked: they can look at what came of it.
    if let Some(shadow) = file.strategy.shadow.as_ref().filter(|_| !is_first) {
        steps.push(Step::Shadow { ms: shadow.for_ms });
    }
    pause(&mut steps, file, Phase::BeforeTraffic, 0);
    let bake = |steps: &mut Vec<Step>| {
        if file.strategy.bake_ms > 0 {
            steps.push(Step::Bake {
                ms: file.strategy.bake_ms,
            });
        }
    };
    // Where nobody serves there is nobody to share with.
    let percents = file.strategy.percent.iter().filter(|_| !is_first);
    for percent in percents.filter(|percent| **percent < 100) {
        steps.push(Step::Shift { percent: *percent });
        bake(&mut steps);
        pause(&mut steps, file, Phase::AfterShare, *percent);
    }
    steps.push(Step::Shift { percent: 100 });
    if !is_first {
        bake(&mut steps);
        pause(&mut steps, file, Phase::BeforeDrain, 100);
        steps.push(Step::Drain);
    }
    pause(&mut steps, file, Phase::AtEnd, 100);
    Plan {
        id: id.to_string(),
        file: file.clone(),
        from: inventory.serving.as_ref().map(|(group, _)| group.clone()),
        from_version: inventory
            .serving
            .as_ref()
            .and_then(|(_, version)| version.clone()),
        to: to.clone(),
        steps,
    }
}
