//! Rollouts of databases on the terminal.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use everopen_database::file::{File, Strategy, Writes};
use everopen_database::gameday::{self, Day};
use everopen_database::preflight;
use everopen_database::run::{self, Ended, Plan, Side, Site, State};
use everopen_rollout::execute::By;
use everopen_rollout::journal::Outcome;
use tokio::runtime::Runtime;

use super::rehearse::Wanted;

/// Whether a file is that of a database.
pub fn is_one(file: &Path) -> bool {
    File::is_one(file)
}

/// Whether a name is that of a database.
pub fn knows(root: &Path, name: &str) -> Result<bool> {
    Ok(state(root, name)?.is_some())
}

fn state(root: &Path, name: &str) -> Result<Option<State>> {
    run::state(root, name).with_context(|| format!("read what is known of {name}"))
}

/// The command that waits beside a controller while it holds clients.
pub fn guard(root: &Path) -> Result<Vec<String>> {
    let program = std::env::current_exe().context("find this program")?;
    let text = |path: PathBuf| path.display().to_string();
    let root = std::path::absolute(root).context("find the folder of rollouts")?;
    let words = [
        text(program),
        "rollout".into(),
        "guard".into(),
        "--root".into(),
        text(root),
    ];
    Ok(words.to_vec())
}

/// For how long clients wait at most.
pub fn show_bounds(file: &File) {
    say!(
        "held      at most {} ms, {} tries",
        file.database.pause_ms,
        file.database.attempts
    );
    let clone = file.database.clone.as_ref();
    if let Some(clone) = clone.filter(|_| file.database.strategy == Strategy::Clone) {
        let what = match clone.writes() {
            Writes::Held => "wait",
            Writes::Refused => "are refused",
        };
        say!("writes    {what} at most {} ms", clone.hold().as_millis());
    }
}

/// What is done, and what clients notice of it.
pub fn show_steps(plan: &Plan) {
    say!("{:>4}  {:<52}  what clients notice", "step", "what");
    for (at, step) in plan.steps.iter().enumerate() {
        say!(
            "{:>4}  {:<52}  {}",
            at + 1,
            step.to_string(),
            plan.effect(*step)
        );
    }
}

pub fn plan(runtime: &Runtime, file: &Path) -> Result<()> {
    let file = File::read(file)?;
    let plan = Plan::forth(&file);
    say!("database  {}", file.database.name);
    show_bounds(&file);
    say!();
    show_steps(&plan);
    say!();
    let found = runtime.block_on(preflight::look(&file.database));
    let found = found.map_err(anyhow::Error::msg)?;
    found.iter().for_each(|finding| say!("{finding}"));
    let blocking = found.iter().filter(|finding| finding.blocks).count();
    if blocking > 0 {
        bail!("{blocking} of these stand in the way");
    }
    say!("Nothing has changed. `everopen rollout apply` does this.");
    Ok(())
}

pub fn apply(
    runtime: &Runtime,
    root: &Path,
    file: &Path,
    by: &By,
    is_free: impl FnOnce(&str) -> Result<()>,
) -> Result<()> {
    let file = File::read(file)?;
    is_free(&file.database.name)?;
    let guard = guard(root)?;
    let site = Site {
        root,
        by,
        guard: &guard,
    };
    let count = Plan::forth(&file).steps.len();
    let mut tell = move |line: &_| super::tell(line, count);
    end(&runtime.block_on(run::apply(&site, &file, &mut tell))?)
}

pub fn read(file: &Path) -> Result<File> {
    Ok(File::read(file)?)
}

/// The names of the faults of a plan.
pub fn faults(file: &File) -> Vec<String> {
    gameday::faults(file)
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The plan on a clone of production, with faults.
pub fn game_day(runtime: &Runtime, file: &File, wanted: &Wanted<'_>) -> Result<()> {
    let mut faults = gameday::faults(file);
    faults.retain(|fault| wanted.has(&fault.to_string()));
    let guard = |root: &Path| guard(root).unwrap_or_default();
    say!("==> a clone of production is made");
    let day = runtime.block_on(Day::begin(file, &guard));
    let mut day = day.map_err(anyhow::Error::msg)?;
    let played = runtime.block_on(async {
        let mut all = Vec::new();
        for fault in faults {
            say!("==> {fault}");
            let mut tell = |line: &_| super::tell(line, 0);
            all.push(day.play(fault, &mut tell).await?);
        }
        Ok(all)
    });
    // Also when it was broken off: nothing of it stays.
    let ended = day.end();
    let all = played.map_err(|error: String| anyhow::Error::msg(error))?;
    ended.map_err(anyhow::Error::msg)?;
    say!();
    say!(
        "{:<80}{:<8}{:>9}{:>8}{:>9}{:>8}{:>12}  as it must",
        "fault",
        "serves",
        "held",
        "done",
        "refused",
        "failed",
        "longest"
    );
    for seen in &all {
        let [done, refused, failed] = seen.transactions;
        say!(
            "{:<80}{:<8}{:>9}{done:>8}{refused:>9}{failed:>8}{:>9} ms  {}",
            seen.fault.to_string(),
            seen.ended.serving.name(),
            seen.held.as_deref().unwrap_or("-"),
            seen.longest.as_millis(),
            match seen.wrong.is_empty() {
                true => "yes".to_string(),
                false => format!("NO: {}", seen.wrong.join("; ")),
            }
        );
        if let Some(failure) = &seen.last_failure {
            say!("    the last that failed: {failure}");
        }
    }
    let failures = all.iter().filter(|seen| !seen.wrong.is_empty()).count();
    match failures {
        0 => Ok(()),
        failures => bail!("{failures} of {} did not end as they must", all.len()),
    }
}

pub fn turn_back(runtime: &Runtime, root: &Path, name: &str, by: &By) -> Result<()> {
    let guard = guard(root)?;
    let site = Site {
        root,
        by,
        guard: &guard,
    };
    let mut tell = |line: &_| super::tell(line, 0);
    end(&runtime.block_on(run::turn_back(&site, name, &mut tell))?)
}

pub fn resume(runtime: &Runtime, root: &Path, name: &str, by: &By) -> Result<()> {
    let site = Site {
        root,
        by,
        guard: &[],
    };
    let mut tell = |line: &_| super::tell(line, 0);
    end(&runtime.block_on(run::resume(&site, name, &mut tell))?)
}

pub fn finish(runtime: &Runtime, root: &Path, name: &str, by: &By) -> Result<()> {
    let site = Site {
        root,
        by,
        guard: &[],
    };
    say!("{}", runtime.block_on(run::finish(&site, name))?);
    Ok(())
}

pub fn watch_over(runtime: &Runtime, root: &Path, name: &str, by: &By) -> Result<()> {
    let site = Site {
        root,
        by,
        guard: &[],
    };
    Ok(runtime.block_on(run::watch_over(&site, name))?)
}

pub fn status(runtime: &Runtime, root: &Path, name: &str) -> Result<()> {
    let known = state(root, name)?.context("nothing is known of it")?;
    say!("serves    {}", known.serving.name());
    match runtime.block_on(run::way_back(&known)) {
        Ok(told) => say!("back      {told}"),
        Err(error) => say!("back      NOT KNOWN: {error}"),
    }
    match (&known.under_way, run::is_at_work(root, name)) {
        (Some(id), true) => say!("now       rollout {id} is under way"),
        (Some(id), false) => {
            say!(
                "now       rollout {id} was CUT OFF: `everopen rollout resume {name}` brings it to an end"
            );
        }
        (None, _) => say!("now       nothing is under way"),
    }
    Ok(())
}

fn end(ended: &Ended) -> Result<()> {
    say!();
    let serves = match ended.serving {
        Side::Blue => "blue serves",
        Side::Green => "green serves",
    };
    match (ended.outcome, &ended.reason) {
        (Outcome::New, None) => {
            say!("{serves}");
            Ok(())
        }
        (Outcome::New, Some(reason)) => bail!("{serves}, BUT BOTH SIDES DIFFER: {reason}"),
        (_, reason) => bail!(
            "{serves}, as before: {}",
            reason.as_deref().unwrap_or("it was taken back")
        ),
    }
}
