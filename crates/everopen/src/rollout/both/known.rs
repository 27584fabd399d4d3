//! Plans of both that were begun once.

use std::path::Path;

use anyhow::{Context, Result, bail};
use everopen_database::with_service::{Parts, folder, of_folder};
use everopen_rollout::parts::{self, Plan};
use everopen_rollout::state::Folder;

/// A plan of both that was begun once.
pub struct Known {
    pub service: String,
    pub database: String,
    pub plan: Plan<Parts>,
    /// Under way or cut off.
    pub under_way: bool,
    pub is_at_work: bool,
    /// The end to which it can be taken.
    pub back: Option<String>,
}

impl Known {
    pub fn folder(&self) -> String {
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
