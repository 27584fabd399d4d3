//! One plan for a service and its database, on the terminal.

mod known;
mod shown;

use std::path::Path;

use anyhow::{Result, bail};
use everopen_database::part::Database;
use everopen_database::with_service::{Both, Parts, folder};
use everopen_database::{preflight, run};
use everopen_rollout::execute::{self, Ended, Fault, Site};
use everopen_rollout::journal::{Entry, Line, Outcome};
use everopen_rollout::parts::{Carrier, End, Part, Place, Service};
use tokio::runtime::Runtime;

pub use known::{Known, is_free, known, note, open};
pub use shown::{follow, history, status, status_of_database};
use shown::{follows, show};

use super::rehearse::{self, Wanted};
use super::{By, database, past};

/// Whether a file has both in it, or what can't be in one.
pub fn is_one(file: &Path) -> bool {
    Both::is_one(file)
}

/// Makes the parts of a plan, and does something with them.
fn carry<T>(
    runtime: &Runtime,
    site: &Site<'_>,
    plan: &Parts,
    work: impl AsyncFnOnce(Carrier<'_>) -> Result<T, Fault>,
) -> Result<T> {
    let guard = database::guard(site.root)?;
    let own = run::Site {
        root: site.root,
        by: site.by,
        guard: &guard,
    };
    let mut of_service = |line: &Line| within(line, plan.service.steps.len());
    let mut of_database = |line: &Line| within(line, 0);
    let mut tell = |line: &Line| whole(line);
    let mut service = Service::new(*site, &plan.service, plan.before.clone(), &mut of_service);
    let mut database = Database::new(own, &plan.database, &mut of_database);
    let (name, folder) = (
        &plan.service.file.service,
        folder(&plan.service.file.service, &plan.database.database.name),
    );
    let mut parts: Vec<&mut dyn Part> = vec![&mut database, &mut service];
    if !plan.is_database_first() {
        parts.reverse();
    }
    let carrier = Carrier {
        root: site.root,
        folder: &folder,
        name,
        by: site.by,
        parts,
        tell: &mut tell,
    };
    Ok(runtime.block_on(work(carrier))?)
}

/// A line of a part.
fn within(line: &Line, count: usize) {
    if let Some(text) = super::text(line, count) {
        say!("      {text}");
    }
}

/// A line of the plan itself.
fn whole(line: &Line) {
    match &line.entry {
        Entry::Begun { text, .. } => say!("==>   {text}"),
        Entry::Done { evidence, .. } => say!("==>   done: {evidence}"),
        Entry::Failed { reason, .. } => say!("==>   FAILED: {reason}"),
        Entry::Undoing { text } => say!("==>   back, {text}"),
        _ => {}
    }
}

/// Looks at all that could stand in the way of either part.
fn look(runtime: &Runtime, site: &Site<'_>, plan: &Parts) -> Result<()> {
    let places = carry(runtime, site, plan, async |carrier: Carrier<'_>| {
        let places = carrier
            .parts
            .iter()
            .map(|part| Ok((part.name(), part.place()?)));
        let places: Result<Vec<_>, String> = places.collect();
        places.map_err(Fault::Refused)
    })?;
    for (name, place) in places {
        match place {
            Place::At(End::Old) => {}
            Place::At(End::New) => bail!("{name} is new already"),
            Place::Between => bail!("a rollout of {name} was cut off"),
            Place::Elsewhere(why) => bail!("{name}: {why}"),
        }
    }
    let told = runtime.block_on(execute::preflight(site, &plan.service))?;
    say!("service {}: {told}", plan.service.file.service);
    let name = &plan.database.database.name;
    if follows(site, plan)? {
        say!("database {name}: green follows already, so nothing is copied");
        return Ok(());
    }
    let found = runtime.block_on(preflight::look(&plan.database.database));
    let found = found.map_err(anyhow::Error::msg)?;
    found
        .iter()
        .for_each(|finding| say!("database {name}: {finding}"));
    match found.iter().filter(|finding| finding.blocks).count() {
        0 => Ok(()),
        blocking => bail!("{blocking} of these stand in the way"),
    }
}

pub fn plan(runtime: &Runtime, site: &Site<'_>, file: &Path) -> Result<()> {
    let plan = Both::read(file)?.plan(site)?.parts;
    show(site, &plan)?;
    say!();
    look(runtime, site, &plan)?;
    say!("Nothing has changed. `everopen rollout apply` does this.");
    Ok(())
}

pub fn apply(runtime: &Runtime, site: &Site<'_>, file: &Path) -> Result<()> {
    let both = Both::read(file)?;
    is_free(site.root, &both.version.service, false)?;
    is_free(site.root, &both.database.database.name, false)?;
    let plan = both.plan(site)?;
    show(site, &plan.parts)?;
    say!();
    look(runtime, site, &plan.parts)?;
    say!();
    end(&carry(
        runtime,
        site,
        &plan.parts,
        async |carrier: Carrier<'_>| carrier.begin(&plan).await,
    )?)
}

/// The game day of each part: the database's on a clone of production, the service's in front of the database
/// as it is.
pub fn game_day(
    runtime: &Runtime,
    site: &Site<'_>,
    file: &Path,
    wanted: &Wanted<'_>,
) -> Result<()> {
    let both = Both::read(file)?;
    let (service, name) = (&both.version.service, &both.database.database.name);
    is_free(site.root, service, false)?;
    is_free(site.root, name, false)?;
    let of_database = database::faults(&both.database);
    let of_service = rehearse::names(&both.version);
    wanted.check(of_database.iter().chain(&of_service).map(String::as_str))?;
    if of_database.iter().any(|fault| wanted.has(fault)) {
        say!("==> the database {name}, on a clone of it");
        database::game_day(runtime, &both.database, wanted)?;
        say!();
    }
    if of_service.iter().any(|fault| wanted.has(fault)) {
        say!("==> the service {service}, with the database as it is");
        runtime.block_on(rehearse::game_day(site, &both.version, wanted))?;
    }
    Ok(())
}

pub fn resume(runtime: &Runtime, site: &Site<'_>, known: &Known, back: bool) -> Result<()> {
    let service = &known.service;
    if known.is_at_work && !back {
        if let Some(id) = past::running(site.root, service)? {
            execute::unpause(site.root, service, &id, site.by)?;
        }
        say!("plan {} goes on", known.plan.id);
        return Ok(());
    }
    end(&carry(
        runtime,
        site,
        &known.plan.parts,
        async |carrier: Carrier<'_>| carrier.resume(&known.plan, back).await,
    )?)
}

pub fn roll_back(runtime: &Runtime, site: &Site<'_>, known: Known) -> Result<()> {
    if known.under_way {
        return resume(runtime, site, &known, true);
    }
    let parts = known.plan.parts.clone();
    end(&carry(
        runtime,
        site,
        &parts,
        async |carrier: Carrier<'_>| {
            let plan = known.plan.turned(carrier.turned()?);
            carrier.begin(&plan).await
        },
    )?)
}

pub fn finish(runtime: &Runtime, site: &Site<'_>, known: &Known, by: &By) -> Result<()> {
    carry(
        runtime,
        site,
        &known.plan.parts,
        async |carrier: Carrier<'_>| carrier.close(),
    )?;
    database::finish(runtime, site.root, &known.database, by)?;
    let (service, database) = (&known.service, &known.database);
    say!("the plan of {service} and {database} is closed: from here each goes alone");
    Ok(())
}

fn end(ended: &Ended) -> Result<()> {
    say!();
    match (ended.outcome, &ended.reason) {
        (Outcome::New | Outcome::Back, _) => {
            say!("{}", ended.noticed);
            Ok(())
        }
        (Outcome::Old, reason) => bail!(
            "{}, as before: {}",
            ended.noticed,
            reason.as_deref().unwrap_or("it was taken back")
        ),
    }
}
