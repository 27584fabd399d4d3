//! A service as a part of a plan.

use super::{End, Goes, Part, Place};
use crate::execute::{self, Ended, Fault, Site};
use crate::journal::{Line, Outcome};
use crate::plan::Plan;
use crate::state::{Folder, State};

/// A version of a service that comes and goes with other parts.
pub struct Service<'a> {
    site: Site<'a>,
    plan: &'a Plan,
    /// The rollout that had brought what served before.
    before: Option<String>,
    tell: &'a mut dyn FnMut(&Line),
}

impl<'a> Service<'a> {
    /// Of a plan, and the rollout that had brought the version of before, see [`Self::before`].
    pub fn new(
        site: Site<'a>,
        plan: &'a Plan,
        before: Option<String>,
        tell: &'a mut dyn FnMut(&Line),
    ) -> Self {
        Self {
            site,
            plan,
            before,
            tell,
        }
    }

    /// The rollout that has brought what serves before the plan; none if that is not known.
    ///
    /// # Errors
    /// The service's state can't be read.
    pub fn before(site: &Site<'_>, plan: &Plan) -> std::io::Result<Option<String>> {
        let state = Folder::peek(site.root, &plan.file.service)?;
        Ok(rollout_in(&state, plan.from.as_ref()))
    }

    fn state(&self) -> Result<State, String> {
        Folder::peek(self.site.root, &self.plan.file.service).map_err(|error| error.to_string())
    }

    fn is_there(&self, state: &State) -> bool {
        rollout_in(state, Some(&self.plan.to)).as_ref() == Some(&self.plan.id)
    }

    async fn carry(&mut self, what: What) -> Result<String, String> {
        let service = &self.plan.file.service;
        let done = match what {
            What::Apply => execute::apply(&self.site, self.plan.clone(), self.tell).await,
            What::Turn => execute::rollback(&self.site, service, self.tell).await,
            What::Resume { back } => execute::resume(&self.site, service, back, self.tell).await,
        };
        told(done)
    }
}

enum What {
    Apply,
    /// Two weights are changed.
    Turn,
    Resume {
        back: bool,
    },
}

fn rollout_in(state: &State, group: Option<&String>) -> Option<String> {
    let running = state.groups.get(group?)?;
    Some(running.rollout.clone())
}

fn told(done: Result<Ended, Fault>) -> Result<String, String> {
    match done {
        Ok(Ended {
            outcome: Outcome::Old,
            reason,
            ..
        }) => Err(reason.unwrap_or_else(|| "it was taken back".into())),
        Ok(ended) => Ok(format!("noticed from outside: {}", ended.noticed)),
        Err(Fault::Io { what, source }) => Err(format!("{what}: {source}")),
        Err(fault) => Err(fault.to_string()),
    }
}

impl Part for Service<'_> {
    fn name(&self) -> String {
        format!("service {}", self.plan.file.service)
    }

    fn place(&self) -> Result<Place, String> {
        let state = self.state()?;
        match &state.under_way {
            Some(id) if *id == self.plan.id => return Ok(Place::Between),
            Some(id) => return Ok(Place::Elsewhere(format!("its rollout {id} is under way"))),
            None => {}
        }
        let (from, to) = (self.plan.from.as_ref(), &self.plan.to);
        if rollout_in(&state, from) != self.before {
            let why = "another version was rolled out alone since";
            return Ok(Place::Elsewhere(why.into()));
        }
        let found = execute::inventory(self.site.root, &self.plan.file);
        let serving = found
            .map_err(|error| told(Err(error)).unwrap_err())?
            .serving;
        let serving = serving.map(|(group, _)| group);
        if !self.is_there(&state) {
            return Ok(match serving.as_ref() == from {
                true => Place::At(End::Old),
                false => Place::Elsewhere("another version serves".into()),
            });
        }
        // The edge was told, and the word of it is missing: the controller was killed in between.
        let kept = state.back.as_ref().map(|(group, _)| group);
        if kept.is_some() && kept == serving.as_ref() {
            return Ok(Place::Between);
        }
        Ok(match serving.as_ref() == Some(to) {
            true => Place::At(End::New),
            false => Place::At(End::Old),
        })
    }

    fn way(&self) -> Result<Option<u64>, String> {
        Ok(self.state()?.back.map(|(_, until)| until))
    }

    fn go(&mut self, to: End) -> Goes<'_> {
        Box::pin(async move {
            let is_warm = self.is_there(&self.state()?);
            match (to, is_warm) {
                (End::New, false) => self.carry(What::Apply).await,
                _ => self.carry(What::Turn).await,
            }
        })
    }

    fn settle(&mut self, to: End) -> Goes<'_> {
        Box::pin(async move {
            match self.state()?.under_way {
                Some(_) => {
                    let back = to == End::Old;
                    self.carry(What::Resume { back }).await
                }
                // Nothing is told to the edge but what it was told.
                None => self.carry(What::Turn).await,
            }
        })
    }

    fn alone(&self) -> String {
        let service = &self.plan.file.service;
        format!("`everopen rollout rollback {service} --alone`")
    }
}
