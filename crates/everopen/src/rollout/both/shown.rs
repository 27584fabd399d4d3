//! Plans of both for people: before they are begun, while they are under way, and afterwards.

use std::path::Path;

use anyhow::{Result, bail};
use everopen_database::run::{self, Plan as Steps};
use everopen_database::with_service::Parts;
use everopen_rollout::execute::Site;
use everopen_rollout::journal;
use everopen_rollout::parts::{self, Carrier, Place};
use everopen_rollout::state::now_ms;
use tokio::runtime::Runtime;

use super::known::Known;
use super::{carry, whole};
use crate::rollout::past::{self, span};
use crate::rollout::{database, show as show_service};

/// Whether green follows already, so that the database only turns.
pub fn follows(site: &Site<'_>, plan: &Parts) -> Result<bool> {
    let known = run::state(site.root, &plan.database.database.name)?;
    Ok(known.is_some_and(|known| known.back_until.is_some()))
}

pub fn show(site: &Site<'_>, plan: &Parts) -> Result<()> {
    let order = match plan.is_database_first() {
        true => "the database, then the service",
        false => "the service, then the database",
    };
    say!("order    {order}; if one fails, both are as before");
    say!();
    if plan.is_database_first() {
        show_database(site, plan)?;
        say!();
        show_service(&plan.service);
    } else {
        show_service(&plan.service);
        say!();
        show_database(site, plan)?;
    }
    let (service, database) = (
        plan.service.file.after.warm_ms,
        plan.database.database.warm_ms,
    );
    say!();
    say!(
        "back     both, for {} (service {}, database {})",
        span(service.min(database)),
        span(service),
        span(database)
    );
    Ok(())
}

fn show_database(site: &Site<'_>, plan: &Parts) -> Result<()> {
    let file = &plan.database;
    let steps = match follows(site, plan)? {
        true => Steps::turned(file, run::Side::Blue),
        false => Steps::forth(file),
    };
    say!("database {}", file.database.name);
    database::show_bounds(file);
    say!();
    database::show_steps(&steps);
    Ok(())
}

/// What is known of the plan: for the service and the database there are words of their own.
pub fn status(runtime: &Runtime, site: &Site<'_>, known: &Known) -> Result<()> {
    let told = carry(
        runtime,
        site,
        &known.plan.parts,
        async |carrier: Carrier<'_>| {
            let told = carrier.parts.iter().map(|part| {
                let place = match part.place() {
                    Ok(Place::At(end)) => end.name().into(),
                    Ok(Place::Between) => "under way".into(),
                    Ok(Place::Elsewhere(why)) => format!("ELSEWHERE: {why}"),
                    Err(error) => format!("NOT KNOWN: {error}"),
                };
                (part.name(), place, part.way().ok().flatten())
            });
            Ok(told.collect::<Vec<_>>())
        },
    )?;
    say!("plan     {}", known.plan.id);
    for (name, place, _) in &told {
        say!("         {name}: {place}");
    }
    let until: Option<Vec<u64>> = told.iter().map(|(_, _, until)| *until).collect();
    let until = until.and_then(|all| all.into_iter().min());
    match (
        &known.back,
        until.map(|until| until.saturating_sub(now_ms())),
    ) {
        (Some(end), Some(0)) => {
            say!("back     both to {end}, as long as they are kept (the window is over)")
        }
        (Some(end), Some(left)) => say!("back     both to {end}, for {} more", span(left)),
        (Some(_), None) => say!("back     NOT BOTH: one of them has no way back"),
        (None, _) => say!("back     there is no way back for both"),
    }
    match (known.under_way, known.is_at_work) {
        (true, true) => say!("now      the plan is under way"),
        (true, false) => say!("now      the plan was CUT OFF: resume it, or roll it back"),
        (false, _) => say!("now      nothing of the plan is under way"),
    }
    Ok(())
}

/// The database's own words follow those of the service, as long as it has a way back.
pub fn status_of_database(runtime: &Runtime, root: &Path, known: &Known) -> Result<()> {
    let state = run::state(root, &known.database)?;
    if state.is_none_or(|state| state.under_way.is_none() && state.back_until.is_none()) {
        return Ok(());
    }
    say!();
    say!("database {}", known.database);
    database::status(runtime, root, &known.database)
}

/// Both plans' lines, and then each part's own.
pub fn history(root: &Path, known: &Known, steps: bool) -> Result<()> {
    past::history(root, &known.folder(), true)?;
    for (what, name) in [("service", &known.service), ("database", &known.database)] {
        if root.join(name).exists() {
            say!();
            say!("{what} {name}");
            past::history(root, name, steps)?;
        }
    }
    Ok(())
}

/// Shows the plan's own lines until it is not under way any more.
pub fn follow(root: &Path, known: &Known) -> Result<()> {
    let path = root
        .join(known.folder())
        .join(&known.plan.id)
        .join("journal.jsonl");
    let mut shown = 0;
    loop {
        // First whether it is over, then what it said: nothing is missed.
        let busy = parts::busy(root, &known.folder())?;
        let lines = journal::read(&path).unwrap_or_default();
        lines.iter().skip(shown).for_each(whole);
        shown = lines.len();
        match busy {
            Some((_, true)) => std::thread::sleep(past::LOOK),
            Some((id, false)) => bail!("plan {id} was CUT OFF: resume it, or roll it back"),
            None => return Ok(()),
        }
    }
}
