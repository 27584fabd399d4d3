//! From measurements to advice in plain words: a pure function.

use serde::Serialize;

use super::measure::{Measured, Node, Times, median, us};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Should be changed.
    Change,
}

/// One piece of advice.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub grade: Grade,
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}

impl Finding {
    fn new(grade: Grade, text: String) -> Self {
        Self {
            grade,
            text,
            todo: None,
        }
    }

    fn todo(mut self, todo: impl Into<String>) -> Self {
        self.todo = Some(todo.into());
        self
    }
}

/// Round trips on the networks of clouds, as published: in one placement group, in one zone,
/// between zones (µs).
const GROUP_RTT: f64 = 35.0;
const ZONE_RTT: f64 = 100.0;
const ZONES_RTT: f64 = 300.0;
/// Nearer than this, replicas most likely share a building, perhaps a rack.
const NEAR_RTT: f64 = 150.0;
/// Another leader is only worth the change if it gains at least this share, and these µs.
const GAIN: f64 = 0.1;
const GAIN_US: f64 = 20.0;
/// A clock that is so far off makes orders expire at another time than members think (µs).
const CLOCK_US: f64 = 10_000.0;
/// A disk that is so many times slower than the middle one is named.
const SLOW: f64 = 3.0;
/// Cores that a replica's own threads can keep busy: the loop, the journal, the network.
const CORES: u64 = 4;

/// How long a command takes to commit if `id` leads, in µs: until a majority has it, the leader's
/// own disk running beside the network. None if too little was measured.
pub fn commit(measured: &Measured, id: u64) -> Option<Times> {
    let leader = measured.node(id).filter(|node| node.silent.is_none())?;
    let disk = |node: &Node| -> Option<Times> {
        if measured.is_fsync {
            node.sync
        } else {
            Some(Times { p50: 0.0, p99: 0.0 })
        }
    };
    let own = disk(leader)?;
    let needed = measured.voters.len() / 2;
    let followers: Vec<Times> = measured
        .voters
        .iter()
        .filter(|voter| **voter != id)
        .filter_map(|voter| {
            let (rtt, disk) = (leader.rtt.get(voter)?, disk(measured.node(*voter)?)?);
            Some(Times {
                p50: rtt.p50 + disk.p50,
                p99: rtt.p99 + disk.p99,
            })
        })
        .collect();
    // The slowest of the quickest that make a majority with the leader.
    let at = |f: fn(&Times) -> f64| -> Option<f64> {
        let mut times: Vec<f64> = followers.iter().map(f).collect();
        times.sort_by(f64::total_cmp);
        match needed {
            0 => Some(0.0),
            n => times.get(n - 1).copied(),
        }
    };
    Some(Times {
        p50: own.p50.max(at(|t| t.p50)?),
        p99: own.p99.max(at(|t| t.p99)?),
    })
}

/// Everything worth saying. `goal_us` is the latency wanted at the 99th percentile.
pub fn findings(measured: &Measured, goal_us: f64) -> Vec<Finding> {
    let mut findings = Vec::new();
    reachable(measured, &mut findings);
    let best = lead(measured, &mut findings);
    if let Some((id, times)) = best {
        goal(measured, id, times, goal_us, &mut findings);
    }
    spread(measured, &mut findings);
    disks(measured, &mut findings);
    clocks(measured, &mut findings);
    processors(measured, &mut findings);
    findings
}

fn reachable(measured: &Measured, findings: &mut Vec<Finding>) {
    let silent: Vec<&Node> = measured
        .nodes
        .iter()
        .filter(|node| node.silent.is_some())
        .collect();
    for node in &silent {
        let why = node.silent.as_deref().unwrap_or_default();
        let text = format!("replica {} does not answer: {why}", node.id);
        findings.push(
            Finding::new(Grade::Change, text)
                .todo("Start it, or look at its log; until then one failure less is survived."),
        );
    }
    let voters = measured.voters.len();
    let survives = (voters.max(1) - 1) / 2;
    let down = silent
        .iter()
        .filter(|node| measured.voters.contains(&node.id))
        .count();
    let text = format!("{voters} voters: the loss of {survives} is survived, {down} missing now");
    findings.push(match (survives, down) {
        (0, _) => Finding::new(Grade::Note, text)
            .todo("Three replicas survive the loss of one: `everopen cluster add` twice."),
        (survives, down) if down >= survives => {
            Finding::new(Grade::Change, text).todo("The next failure stops the market.")
        }
        _ if voters.is_multiple_of(2) => Finding::new(Grade::Note, text)
            .todo("An even number of voters needs one more for a majority and survives no more."),
        _ => Finding::new(Grade::Good, text),
    });
}

fn lead(measured: &Measured, findings: &mut Vec<Finding>) -> Option<(u64, Times)> {
    let mut times: Vec<(u64, Times)> = measured
        .voters
        .iter()
        .filter_map(|id| Some((*id, commit(measured, *id)?)))
        .collect();
    times.sort_by(|(_, a), (_, b)| a.p50.total_cmp(&b.p50));
    let (best, quickest) = times.first().copied()?;
    let Some(leader) = measured.leader else {
        let text = format!(
            "nobody leads; with replica {best} a command would commit in about {} µs (p99 {} µs)",
            us(quickest.p50),
            us(quickest.p99)
        );
        findings.push(Finding::new(Grade::Change, text));
        return Some((best, quickest));
    };
    let now = times.iter().find(|(id, _)| *id == leader).map(|(_, t)| *t);
    let Some(now) = now else {
        return Some((best, quickest));
    };
    let gain = now.p50 - quickest.p50;
    if best != leader && gain > GAIN_US && gain > now.p50 * GAIN {
        let text = format!(
            "replica {best} should lead: a command commits there in about {} µs (p99 {} µs), with replica {leader}, which leads now, in {} µs (p99 {} µs)",
            us(quickest.p50),
            us(quickest.p99),
            us(now.p50),
            us(now.p99)
        );
        let todo = format!("everopen cluster transfer-leader {best}");
        findings.push(Finding::new(Grade::Change, text).todo(todo));
        return Some((best, quickest));
    }
    let text = format!(
        "replica {leader} leads and should: a command commits in about {} µs (p99 {} µs), the time of a majority's round trip and disks",
        us(now.p50),
        us(now.p99)
    );
    findings.push(Finding::new(Grade::Good, text));
    Some((leader, now))
}

/// The round trip to the slowest replica that a majority needs.
fn quorum_rtt(measured: &Measured, id: u64) -> Option<f64> {
    let leader = measured.node(id)?;
    let others = measured.voters.iter().filter(|voter| **voter != id);
    let mut rtts: Vec<f64> = others
        .filter_map(|voter| Some(leader.rtt.get(voter)?.p50))
        .collect();
    rtts.sort_by(f64::total_cmp);
    match measured.voters.len() / 2 {
        0 => Some(0.0),
        n => rtts.get(n - 1).copied(),
    }
}

fn goal(measured: &Measured, id: u64, times: Times, goal_us: f64, findings: &mut Vec<Finding>) {
    let wanted = goal_us / 1e3;
    if times.p99 <= goal_us {
        let text = format!(
            "the placement fits a goal of {wanted} ms at the 99th percentile: the network and the disks take {} µs of it; the gateway and queueing come on top",
            us(times.p99)
        );
        findings.push(Finding::new(Grade::Good, text));
        return;
    }
    let text = format!(
        "the placement does not fit a goal of {wanted} ms at the 99th percentile: the network and the disks alone take {} µs",
        us(times.p99)
    );
    let rtt = quorum_rtt(measured, id).unwrap_or(0.0);
    let sync = measured
        .node(id)
        .and_then(|node| node.sync)
        .filter(|_| measured.is_fsync)
        .map_or(0.0, |sync| sync.p99);
    let todo = if rtt > sync.max(ZONES_RTT * 0.7) {
        format!(
            "The network is most of it ({} µs to the majority). On AWS, put the replicas of a majority into one zone and there into a cluster placement group: about {} µs there and {} µs within a zone, against {} µs between zones.",
            us(rtt),
            us(GROUP_RTT),
            us(ZONE_RTT),
            us(ZONES_RTT)
        )
    } else if sync > goal_us / 2.0 {
        format!(
            "The disk is most of it (fdatasync {} µs at p99). Use a disk of its own for each log, local NVMe on AWS instead of a network volume, or `durability = \"memory\"` if losing power everywhere at once may lose the last moments.",
            us(sync)
        )
    } else {
        "The slow moments of several parts add up: look at the processors below, and give the replicas cores of their own.".into()
    };
    findings.push(Finding::new(Grade::Change, text).todo(todo));
}

/// Whether one fault may take them all.
fn spread(measured: &Measured, findings: &mut Vec<Finding>) {
    let voters: Vec<&Node> = measured
        .voters
        .iter()
        .filter_map(|id| measured.node(*id))
        .collect();
    if voters.len() < 2 {
        return;
    }
    if voters.iter().all(|node| node.is_loopback) {
        let text =
            "all replicas are on this machine: processes may die, the machine must not".into();
        findings.push(Finding::new(Grade::Note, text).todo(
            "For a market that matters, run `everopen node` on a machine each; see docs/operating/cluster.md.",
        ));
        return;
    }
    let near = |node: &Node| {
        let known: Vec<f64> = node
            .rtt
            .iter()
            .filter(|(id, _)| measured.voters.contains(id))
            .map(|(_, rtt)| rtt.p50)
            .collect();
        !known.is_empty() && known.iter().all(|rtt| *rtt < NEAR_RTT)
    };
    if voters
        .iter()
        .all(|node| node.silent.is_some() || near(node))
    {
        let text = format!(
            "all voters are within {} µs of each other: most likely one zone, perhaps one placement group, so one fault can take a majority",
            us(NEAR_RTT)
        );
        findings.push(Finding::new(Grade::Change, text).todo(
            "Nearness is quick and fails together: a large exchange lost three of five voters in one placement group in May 2026 and stood still for hours. Keep a majority's quick path in one zone, but never all voters in one zone or placement group; at least have a learner elsewhere (`everopen cluster add --learner`) and drill `everopen cluster recover`.",
        ));
    }
}

fn disks(measured: &Measured, findings: &mut Vec<Finding>) {
    if !measured.is_fsync {
        let text = "memory mode: an acknowledgment does not wait for disks; losing power everywhere at once loses the last moments".into();
        findings.push(Finding::new(Grade::Note, text));
        return;
    }
    let syncs: Vec<f64> = measured
        .nodes
        .iter()
        .filter_map(|node| Some(node.sync?.p50))
        .collect();
    let Some(middle) = median(syncs) else { return };
    for node in &measured.nodes {
        let Some(sync) = node.sync else { continue };
        if sync.p50 > middle * SLOW {
            let text = format!(
                "the disk of replica {} is slow: fdatasync takes {} µs there, {} µs on the middle one",
                node.id,
                us(sync.p50),
                us(middle)
            );
            findings.push(Finding::new(Grade::Change, text).todo(
                "A slow follower does not slow the market as long as the others are a majority; it must not lead.",
            ));
        }
    }
}

fn clocks(measured: &Measured, findings: &mut Vec<Finding>) {
    for node in &measured.nodes {
        let Some(offset) = measured.clock_error(node.id) else {
            continue;
        };
        if offset.abs() > CLOCK_US {
            let text = format!(
                "the clock of replica {} is {:.1} ms {} the others; when it leads, the time in the log {}",
                node.id,
                offset.abs() / 1e3,
                if offset > 0.0 { "ahead of" } else { "behind" },
                if offset > 0.0 {
                    "jumps ahead"
                } else {
                    "stands still until its clock has caught up"
                }
            );
            findings.push(Finding::new(Grade::Change, text).todo(
                "Run chrony against one source on all machines (on AWS the Amazon Time Sync Service, 169.254.169.123).",
            ));
        }
    }
}

fn processors(measured: &Measured, findings: &mut Vec<Finding>) {
    for node in measured.nodes.iter().filter(|node| node.silent.is_none()) {
        let id = node.id;
        if let Some(cores) = node.cores.filter(|cores| *cores < CORES) {
            let text = format!(
                "replica {id} has {cores} cores: its loop, its journal and its connections take turns, which is felt at the 99th percentile"
            );
            findings.push(Finding::new(Grade::Note, text).todo(format!(
                "{CORES} cores or more, of which two are its own (taskset, or isolcpus)."
            )));
        }
        if let (Some(load), Some(cores)) = (node.load, node.cores)
            && load > cores as f64
        {
            let text = format!(
                "the machine of replica {id} is overloaded: {load:.1} threads want its {cores} cores"
            );
            findings.push(Finding::new(Grade::Change, text).todo("Take other work away from it."));
        }
        if let Some(governor) = &node.governor
            && governor != "performance"
        {
            let text = format!(
                "replica {id} runs under the governor {governor}: its cores have to wake up first, tens of µs each time"
            );
            findings.push(
                Finding::new(Grade::Change, text).todo("cpupower frequency-set -g performance"),
            );
        }
        if let Some(why) = &node.drowsy {
            let text = format!(
                "replica {id} can't keep its processors from sleeping between commands ({why}): being woken takes them tens of µs each time, more on a virtual machine"
            );
            findings.push(Finding::new(Grade::Note, text).todo(
                "Let the user that it runs as write to /dev/cpu_dma_latency (docs/operating/cluster.md has the rule for udev), or say `keep_awake = \"never\"` in its node.toml.",
            ));
        }
        if let Some(numa) = node.numa_nodes.filter(|nodes| *nodes > 1) {
            let text = format!("the machine of replica {id} has {numa} NUMA nodes");
            findings.push(Finding::new(Grade::Note, text).todo(
                "Keep the process and its memory on the one that has the network card: numactl --cpunodebind=0 --membind=0.",
            ));
        }
    }
}

#[cfg(test)]
#[path = "advice_tests.rs"]
mod tests;
