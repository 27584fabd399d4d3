//! One plan for a service and its database, on the terminal.

use std::path::Path;

use anyhow::{Context, Result, bail};
use everopen_database::part::Database;
use everopen_database::run;
use everopen_database::with_service::{Both, Parts, folder, of_folder};
use everopen_database::{preflight, run::Plan as Steps};
use everopen_rollout::execute::{self, Ended, Fault, Site};
use everopen_rollout::journal::{self, Entry, Line, Outcome};
use everopen_rollout::parts::{self, Carrier, End, Part, Place, Plan, Service};
use everopen_rollout::state::{Folder, now_ms};
use tokio::runtime::Runtime;

use super::{By, database, span};

/// Whether a file has both in it, or what can't be in one.
pub fn is_one(file: &Path) -> bool {
    Both::is_one(file)
}

/// A plan of both that was begun once.
pub struct Known {
    service: String,
    database: String,
    plan: Plan<Parts>,
    /// Under way or cut off.
    under_way: bool,
    is_at_work: bool,
    /// The end to which it can be taken.
    back: Option<String>,
}

impl Known {
    fn folder(&self) -> String {
        folder(&self.service, &self.database)
    }

    /// Whether it is under way, or was cut off.
    pub fn is_under_way(&self) -> bool {
        self.under_way
    }

    fn is_over(&self) -> bool {
        !self.under_way && self.back.is_none()
    }
}

/// The last plan of which a service or a database is a part.
fn find(root: &Path, is_it: impl Fn(&str, &str) -> bool) -> Result<Option<Known>> {
    let mut found: Option<Known> = None;
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let Some((service, database)) = of_folder(name).filter(|(one, two)| is_it(one, two)) else {
            continue;
        };
        let read = || format!("read the plans of {service} and {database}");
        let Some(plan) = parts::last::<Parts>(root, name).with_context(read)? else {
            continue;
        };
        let busy = parts::busy(root, name).with_context(read)?;
        let known = Known {
            service: service.into(),
            database: database.into(),
            under_way: busy.is_some(),
            is_at_work: busy.is_some_and(|(_, is_at_work)| is_at_work),
            back: Folder::peek(root, name)
                .with_context(read)?
                .back
                .map(|(end, _)| end),
            plan,
        };
        // Names sort by time.
        if found
            .as_ref()
            .is_none_or(|found| found.plan.id < known.plan.id)
        {
            found = Some(known);
        }
    }
    Ok(found)
}

/// The last plan of a service, and whether anything of it is left to go on with.
pub fn known(root: &Path, service: &str) -> Result<Option<Known>> {
    find(root, |one, _| one == service)
}

/// The plan that is under way, or can be taken back.
pub fn open(root: &Path, service: &str) -> Result<Option<Known>> {
    Ok(known(root, service)?.filter(|known| !known.is_over()))
}

/// A part is not moved while its plan is under way.
pub fn is_free(root: &Path, name: &str, alone: bool) -> Result<()> {
    let known = find(root, |one, two| one == name || two == name)?;
    let Some(known) = known.filter(|known| known.under_way) else {
        return Ok(());
    };
    let (id, service) = (&known.plan.id, &known.service);
    if known.is_at_work {
        bail!("plan {id} of {service} and {} is under way", known.database);
    }
    if !alone {
        bail!(
            "plan {id} of {service} and {} was cut off: `everopen rollout resume {service}` brings it to an end (`--alone` leaves it as it is)",
            known.database
        );
    }
    Ok(())
}

/// A service that is rolled out alone leaves its plan behind.
pub fn note(root: &Path, service: &str) -> Result<()> {
    if let Some(known) = open(root, service)? {
        say!(
            "note: with this, {service} and {} can't be taken back as one any more; `everopen rollout finish {service}` closes their plan",
            known.database
        );
        say!();
    }
    Ok(())
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

/// Whether green follows already, so that the database only turns.
fn follows(site: &Site<'_>, plan: &Parts) -> Result<bool> {
    let known = run::state(site.root, &plan.database.database.name)?;
    Ok(known.is_some_and(|known| known.back_until.is_some()))
}

fn show(site: &Site<'_>, plan: &Parts) -> Result<()> {
    let order = match plan.is_database_first() {
        true => "the database, then the service",
        false => "the service, then the database",
    };
    say!("order    {order}; if one fails, both are as before");
    say!();
    if plan.is_database_first() {
        show_database(site, plan)?;
        say!();
        super::show(&plan.service);
    } else {
        super::show(&plan.service);
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
    say!("{:>4}  {:<52}  what clients notice", "step", "what");
    for (at, step) in steps.steps.iter().enumerate() {
        say!("{:>4}  {:<52}  {}", at + 1, step.to_string(), step.effect());
    }
    Ok(())
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

pub fn resume(runtime: &Runtime, site: &Site<'_>, known: &Known, back: bool) -> Result<()> {
    let service = &known.service;
    if known.is_at_work && !back {
        if let Some(id) = super::running(site.root, service)? {
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
    super::history(root, &known.folder(), true)?;
    for (what, name) in [("service", &known.service), ("database", &known.database)] {
        if root.join(name).exists() {
            say!();
            say!("{what} {name}");
            super::history(root, name, steps)?;
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
            Some((_, true)) => std::thread::sleep(super::LOOK),
            Some((id, false)) => bail!("plan {id} was CUT OFF: resume it, or roll it back"),
            None => return Ok(()),
        }
    }
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
