//! A database as a part of a plan, with the service that uses it.

use std::time::Duration;

use everopen_rollout::journal::{Line, Outcome};
use everopen_rollout::parts::{End, Goes, Part, Place};

use crate::file::File;
use crate::run::{self, Ended, Fault, Side, Site, State};

/// Between two looks whether a guard has ended.
const LOOK: Duration = Duration::from_millis(50);

/// The rollout of a database that comes and goes with other parts.
pub struct Database<'a> {
    site: Site<'a>,
    file: &'a File,
    tell: &'a mut (dyn FnMut(&Line) + Send),
}

impl<'a> Database<'a> {
    /// Of a file.
    pub fn new(site: Site<'a>, file: &'a File, tell: &'a mut (dyn FnMut(&Line) + Send)) -> Self {
        Self { site, file, tell }
    }

    /// What is known of it.
    ///
    /// # Errors
    /// It can't be read.
    pub fn state(&self) -> Result<Option<State>, String> {
        let name = &self.file.database.name;
        run::state(self.site.root, name).map_err(|error| error.to_string())
    }

    /// Whether green follows already, so that nothing is copied when it is to serve.
    ///
    /// # Errors
    /// As [`Self::state`].
    pub fn follows(&self) -> Result<bool, String> {
        Ok(self
            .state()?
            .is_some_and(|known| known.back_until.is_some()))
    }

    /// A controller that died may have left a guard, which is let finish.
    async fn resume(&mut self) -> Result<String, String> {
        let name = &self.file.database.name;
        loop {
            let known = self.state()?;
            let Some(known) = known.filter(|known| known.under_way.is_some()) else {
                return Ok("its guard has brought it to an end".into());
            };
            if !run::is_at_work(self.site.root, name) {
                let done = run::resume(&self.site, name, self.tell).await;
                if done.is_ok() || !run::is_at_work(self.site.root, name) {
                    return told(done, known.serving);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn told(done: Result<Ended, Fault>, before: Side) -> Result<String, String> {
    match done {
        Ok(Ended {
            outcome: Outcome::New,
            reason: None,
            serving,
        }) => Ok(format!("{} serves", serving.name())),
        Ok(Ended {
            outcome: Outcome::New,
            reason: Some(reason),
            serving,
        }) => Err(format!(
            "{} serves, BUT BOTH SIDES DIFFER: {reason}",
            serving.name()
        )),
        Ok(ended) => {
            let why = ended.reason.unwrap_or_else(|| "it was taken back".into());
            Err(format!("{} serves, as before: {why}", before.name()))
        }
        Err(Fault::Io { what, source }) => Err(format!("{what}: {source}")),
        Err(fault) => Err(fault.to_string()),
    }
}

impl Part for Database<'_> {
    fn name(&self) -> String {
        format!("database {}", self.file.database.name)
    }

    fn place(&self) -> Result<Place, String> {
        let Some(known) = self.state()? else {
            return Ok(Place::At(End::Old));
        };
        let is_same = known.file == *self.file;
        Ok(match (known.under_way, known.serving, known.back_until) {
            (Some(_), ..) if is_same => Place::Between,
            (Some(id), ..) => Place::Elsewhere(format!("its rollout {id} is under way")),
            (None, Side::Green, _) if is_same => Place::At(End::New),
            (None, Side::Green, _) => {
                Place::Elsewhere("green serves, by a rollout of another file".into())
            }
            (None, Side::Blue, Some(_)) if !is_same => {
                Place::Elsewhere("green follows since a rollout of another file".into())
            }
            (None, Side::Blue, _) => Place::At(End::Old),
        })
    }

    fn way(&self) -> Result<Option<u64>, String> {
        Ok(self.state()?.and_then(|known| known.back_until))
    }

    fn go(&mut self, to: End) -> Goes<'_> {
        Box::pin(async move {
            let before = match to {
                End::New => Side::Blue,
                End::Old => Side::Green,
            };
            let name = &self.file.database.name;
            let done = match (to, self.follows()?) {
                (End::New, false) => run::apply(&self.site, self.file, self.tell).await,
                _ => run::turn_back(&self.site, name, self.tell).await,
            };
            told(done, before)
        })
    }

    fn settle(&mut self, _: End) -> Goes<'_> {
        Box::pin(self.resume())
    }

    fn alone(&self) -> String {
        format!("`everopen rollout rollback {}`", self.file.database.name)
    }
}
