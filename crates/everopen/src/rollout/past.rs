//! What is in service, what is under way, and what was done.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use everopen_edge::admin::Client;
use everopen_rollout::journal::{self, Entry, Outcome};
use everopen_rollout::state::{Folder, State, now_ms};

use super::tell;

/// Between two looks at what somebody else does.
pub const LOOK: Duration = Duration::from_millis(200);

/// The rollout whose controller is at work.
pub fn running(root: &Path, service: &str) -> Result<Option<String>> {
    let state = Folder::peek(root, service)?;
    Ok(state.under_way.filter(|_| Folder::is_held(root, service)))
}

/// Milliseconds as people read them.
pub fn span(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

pub fn status(root: &Path, service: &str, edge: Option<&Path>) -> Result<()> {
    let state: State = Folder::peek(root, service)?;
    if state == State::default() && !root.join(service).exists() {
        bail!(
            "nothing is known of a service {service:?} in {}",
            root.display()
        );
    }
    for (group, running) in &state.groups {
        say!(
            "{group:<8} version {} (rollout {})",
            running.version,
            running.rollout
        );
    }
    match &state.back {
        Some((group, until)) if *until > now_ms() => {
            say!("back     to {group}, for {} more", span(until - now_ms()));
        }
        Some((group, _)) => say!("back     to {group}, as long as it is kept (the window is over)"),
        None => say!("back     there is nothing to go back to"),
    }
    match (&state.under_way, running(root, service)?) {
        (Some(id), Some(_)) => say!("now      rollout {id} is under way"),
        (Some(id), None) => say!("now      rollout {id} was CUT OFF: resume it, or roll it back"),
        (None, _) => say!("now      nothing is under way"),
    }
    if let Some(id) = &state.under_way {
        let lines = journal::read(&root.join(service).join(id).join("journal.jsonl"))?;
        for line in lines.iter().rev().take(4).rev() {
            tell(line, 0);
        }
    }
    let Some(edge) = edge else { return Ok(()) };
    let status = Client::new(edge).status().context("ask the edge")?;
    let found = status.services.get(service);
    let found = found.with_context(|| format!("the edge has no service {service:?}"))?;
    say!();
    say!(
        "{:<8} {:>6} {:>7} {:>9} {:>6} {:>7} {:>10}  targets",
        "group",
        "weight",
        "open",
        "requests",
        "failed",
        "retries",
        "p99 us"
    );
    for (name, group) in &found.groups {
        let reading = &group.reading;
        let targets: Vec<String> = group.targets.iter().map(ToString::to_string).collect();
        say!(
            "{name:<8} {:>6} {:>7} {:>9} {:>6} {:>7} {:>10}  {}",
            group.weight,
            group.open,
            reading.requests,
            reading.failed(),
            reading.retries,
            reading.latency.percentile(99.0).unwrap_or(0),
            targets.join(" ")
        );
    }
    Ok(())
}

/// Shows a rollout's lines as they come, until its controller has ended.
pub fn follow(root: &Path, service: &str) -> Result<()> {
    let Some(id) = Folder::peek(root, service)?.under_way else {
        return Ok(());
    };
    let path = root.join(service).join(&id).join("journal.jsonl");
    // The last four stand above.
    let mut shown = journal::read::<Entry>(&path)?.len();
    loop {
        // First whether it is over, then what it said: nothing is missed.
        let is_over = running(root, service)?.as_ref() != Some(&id);
        let lines = journal::read(&path)?;
        lines.iter().skip(shown).for_each(|line| tell(line, 0));
        shown = lines.len();
        let ended = lines.iter().rev().find_map(|line| match &line.entry {
            Entry::Ended { outcome, noticed } => Some((*outcome, noticed.clone())),
            _ => None,
        });
        match (ended, is_over) {
            (Some((outcome, noticed)), _) => {
                say!("noticed from outside: {noticed}");
                say!("{}", told(outcome));
                return Ok(());
            }
            (None, true) => bail!("rollout {id} was CUT OFF: resume it, or roll it back"),
            (None, false) => std::thread::sleep(LOOK),
        }
    }
}

fn told(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::New => "the new version serves",
        Outcome::Old => "came back to the old version",
        Outcome::Back => "was rolled back",
    }
}

pub fn history(root: &Path, service: &str, steps: bool) -> Result<()> {
    let rollouts = Folder::rollouts(root, service)
        .with_context(|| format!("read the rollouts of {service}"))?;
    for path in rollouts {
        let id = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let lines = journal::read(&path.join("journal.jsonl")).unwrap_or_default();
        let first = lines.first().map_or(0, |line| line.at_ms);
        let took = lines.last().map_or(0, |line| line.at_ms - first);
        let outcome = lines.iter().rev().find_map(|line| match &line.entry {
            Entry::Ended { outcome, .. } => Some(told(*outcome)),
            _ => None,
        });
        say!(
            "{id}  {}  {}",
            outcome.unwrap_or("was not ended"),
            span(Duration::from_millis(took).as_millis() as u64)
        );
        for line in &lines {
            let at = line.at_ms - first;
            match &line.entry {
                Entry::Opened { who, why } => say!("    {at:>8} ms  {who}: {why:?}"),
                Entry::Paused { who, why } => say!("    {at:>8} ms  paused by {who}: {why:?}"),
                Entry::Resumed { who, why } => say!("    {at:>8} ms  resumed by {who}: {why:?}"),
                Entry::Failed { reason, .. } => say!("    {at:>8} ms  failed: {reason}"),
                Entry::Begun { text, .. } if steps => say!("    {at:>8} ms  {text}"),
                Entry::Done { evidence, .. } if steps => say!("    {at:>8} ms    {evidence}"),
                Entry::Undoing { text } if steps => say!("    {at:>8} ms  back: {text}"),
                Entry::Ended { noticed, .. } if steps => say!("    {at:>8} ms  noticed: {noticed}"),
                _ => {}
            }
        }
    }
    Ok(())
}
