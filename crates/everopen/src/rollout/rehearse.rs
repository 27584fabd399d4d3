//! Game days and journeys by the clock: what is done to see that a service is well.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use everopen_rollout::execute::Site;
use everopen_rollout::file::File;
use everopen_rollout::gameday::{self, Fault};
use everopen_rollout::journal::Line;
use everopen_rollout::watch;

/// The beginnings of the names of those faults of a game day that are to be played; none for all.
pub struct Wanted<'a>(pub &'a [String]);

impl Wanted<'_> {
    /// That each of them is the beginning of a fault's name.
    ///
    /// # Errors
    /// Names one that is not, and all faults that there are.
    pub fn check<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<()> {
        let names: Vec<_> = names.collect();
        for begin in self.0 {
            if !names.iter().any(|name| name.starts_with(begin)) {
                bail!(
                    "no fault begins with {begin:?}; there are:\n{}",
                    names.join("\n")
                );
            }
        }
        Ok(())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|begin| name.starts_with(begin))
    }
}

/// The names of the faults of a version.
pub fn names(file: &File) -> Vec<String> {
    Fault::of(file)
        .iter()
        .map(|fault| fault.name().into())
        .collect()
}

pub async fn game_day(site: &Site<'_>, file: &File, wanted: &Wanted<'_>) -> Result<()> {
    let faults = Fault::of(file).iter().copied();
    let faults = faults.filter(|fault| wanted.has(fault.name()));
    let mut all = Vec::new();
    for fault in faults {
        say!("==> {}", fault.name());
        let mut tell = |line: &Line| super::tell(line, 0);
        all.push(gameday::play(site.root, site.cluster, file, fault, &mut tell).await?);
        say!();
    }
    say!("{:<44}{:<26}noticed from outside", "fault", "outcome");
    let mut failures = 0;
    for seen in &all {
        let outcome = match (seen.thrown, seen.is_caught) {
            (false, _) => "was never thrown in",
            (true, true) => "the old version serves",
            (true, false) => "NOT NOTICED, taken back",
        };
        failures += usize::from(!(seen.thrown && seen.is_caught));
        say!(
            "{:<44}{outcome:<26}{}",
            seen.fault.name(),
            seen.ended.noticed
        );
        if let Some(reason) = &seen.ended.reason {
            say!("    {reason}");
        }
    }
    match failures {
        0 => Ok(()),
        failures => bail!(
            "{failures} of {} faults did not end as they must",
            all.len()
        ),
    }
}

/// When journeys are made, and what is done when one fails.
pub struct Schedule<'a> {
    pub every: Option<Duration>,
    pub times: Option<u64>,
    pub on_failure: Option<&'a Path>,
}

pub async fn journeys(root: &Path, service: &str, at: &str, schedule: &Schedule<'_>) -> Result<()> {
    let (mut count, mut failures) = (0, 0);
    let mut next = tokio::time::Instant::now();
    loop {
        let walk = watch::walk(root, service, at).await?;
        count += 1;
        match &walk.failed {
            None => say!("version {}  well, in {} ms", walk.version, walk.took_ms),
            Some(what) => {
                failures += 1;
                say!(
                    "version {}  FAILED after {} ms: {what}",
                    walk.version,
                    walk.took_ms
                );
                if let Some(program) = schedule.on_failure {
                    let ran = tokio::process::Command::new(program)
                        .arg(what)
                        .status()
                        .await;
                    if let Err(error) = ran {
                        tracing::error!(program = %program.display(), %error, "nobody is told");
                    }
                }
            }
        }
        let (Some(every), false) = (schedule.every, schedule.times == Some(count)) else {
            break;
        };
        // At fixed times: a slow one does not move those after it, and none is made twice.
        next = (next + every).max(tokio::time::Instant::now());
        tokio::time::sleep_until(next).await;
    }
    match failures {
        0 => Ok(()),
        failures => bail!("{failures} of {count} journeys failed"),
    }
}
