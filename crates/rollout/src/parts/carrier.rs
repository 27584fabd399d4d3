//! Plans of several parts as people begin, resume, turn and close them.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::whole::Whole;
use super::{End, Part, Place, Plan};
use crate::execute::{By, Ended, Fault, io_fault};
use crate::journal::{Entry, Line, Outcome};
use crate::state::{Folder, write};

/// The last plan of a folder; none if there was none.
///
/// # Errors
/// It can't be read.
pub fn last<P: DeserializeOwned>(root: &Path, folder: &str) -> io::Result<Option<Plan<P>>> {
    let rollouts = match Folder::rollouts(root, folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        rollouts => rollouts?,
    };
    let last = rollouts.last().map(|path| path.join("plan.json"));
    last.map(|path| Plan::read(&path)).transpose()
}

/// The plan that is under way or was cut off, and whether its controller is at work.
///
/// # Errors
/// The state can't be read.
pub fn busy(root: &Path, folder: &str) -> io::Result<Option<(String, bool)>> {
    if !root.join(folder).exists() {
        return Ok(None);
    }
    let is_at_work = Folder::is_held(root, folder);
    let under_way = Folder::peek(root, folder)?.under_way;
    Ok(under_way.map(|id| (id, is_at_work)))
}

/// Carries plans of several parts out.
pub struct Carrier<'a> {
    /// The folder of all rollouts.
    pub root: &'a Path,
    /// The plan's own folder in it.
    pub folder: &'a str,
    /// The name by which people call the plan.
    pub name: &'a str,
    /// Who does it, and why.
    pub by: &'a By,
    /// The parts, in the order in which they become new.
    pub parts: Vec<&'a mut dyn Part>,
    /// What is told of each line of the plan's own journal.
    pub tell: &'a mut dyn FnMut(&Line),
}

impl Carrier<'_> {
    /// Begins a plan: all parts are at the other end.
    ///
    /// # Errors
    /// It is not to be begun, or could be brought to neither end; then [`Self::resume`] tries again.
    pub async fn begin<P: Serialize>(self, plan: &Plan<P>) -> Result<Ended, Fault> {
        let folder = io_fault(
            "open the plan's folder",
            Folder::open(self.root, self.folder),
        )?;
        let mut state = io_fault("read the plan's state", folder.state())?;
        if let Some(id) = &state.under_way {
            return Err(Fault::Refused(format!(
                "plan {id} was cut off: `everopen rollout resume {0}` goes on with it, `everopen rollout rollback {0}` takes it back",
                self.name
            )));
        }
        for part in &self.parts {
            match part.place().map_err(Fault::Refused)? {
                Place::At(end) if end != plan.to => {}
                place => return Err(Fault::Refused(unexpected(*part, &place, plan.to.other()))),
            }
        }
        let path = folder.rollout(&plan.id);
        io_fault("make the plan's folder", fs::create_dir_all(&path))?;
        let text = serde_json::to_vec_pretty(plan).map_err(Into::into);
        let text = io_fault("write the plan", text)?;
        io_fault("write the plan", write(&path.join("plan.json"), &text))?;
        state.under_way = Some(plan.id.clone());
        io_fault("write the plan's state", folder.set_state(&state))?;
        Whole::open(self, folder, &plan.id, plan.to)?
            .go_on(false)
            .await
    }

    /// Goes on with the plan that was cut off; with `back`, takes it back.
    ///
    /// # Errors
    /// There is none, or it could be brought to neither end.
    pub async fn resume<P>(self, plan: &Plan<P>, back: bool) -> Result<Ended, Fault> {
        let folder = io_fault(
            "open the plan's folder",
            Folder::open(self.root, self.folder),
        )?;
        let state = io_fault("read the plan's state", folder.state())?;
        if state.under_way.as_deref() != Some(&plan.id) {
            return Err(Fault::Refused(format!(
                "no plan of {} is under way",
                self.name
            )));
        }
        Whole::open(self, folder, &plan.id, plan.to)?
            .go_on(back)
            .await
    }

    /// The end to which the plan that has ended can be taken: all parts are where it left them, and each has
    /// a way.
    ///
    /// # Errors
    /// Why it can't be.
    pub fn turned(&self) -> Result<End, Fault> {
        let state = io_fault(
            "read the plan's state",
            Folder::peek(self.root, self.folder),
        )?;
        let to = state.back.and_then(|(end, _)| End::of(&end));
        let to = to.ok_or_else(|| {
            Fault::Refused(format!("there is no way back for all of {}", self.name))
        })?;
        for part in &self.parts {
            match part.place().map_err(Fault::Refused)? {
                Place::At(end) if end != to => {}
                place => return Err(Fault::Refused(unexpected(*part, &place, to.other()))),
            }
            if part.way().map_err(Fault::Refused)?.is_none() {
                return Err(Fault::Refused(format!(
                    "{} has no way back, so nothing is taken back ({} acts on it alone)",
                    part.name(),
                    part.alone()
                )));
            }
        }
        Ok(to)
    }

    /// Closes the plan: there is no way back for all parts from here. One that was cut off is closed only if
    /// it can't be brought to an end, and when each part is at one.
    ///
    /// # Errors
    /// It is under way, or the state can't be written.
    pub fn close(self) -> Result<(), Fault> {
        let folder = io_fault(
            "open the plan's folder",
            Folder::open(self.root, self.folder),
        )?;
        let mut state = io_fault("read the plan's state", folder.state())?;
        let Some(id) = state.under_way.clone() else {
            state.back = None;
            return io_fault("write the plan's state", folder.set_state(&state));
        };
        for part in &self.parts {
            if part.place().map_err(Fault::Refused)? == Place::Between {
                return Err(Fault::Refused(format!("{} is under way", part.name())));
            }
        }
        let name = self.name.to_string();
        let mut whole = Whole::open(self, folder, &id, End::New)?;
        if !whole.is_stuck() {
            return Err(Fault::Refused(format!(
                "plan {id} was cut off: `everopen rollout resume {name}` goes on with it, `everopen rollout rollback {name}` takes it back"
            )));
        }
        whole.note(Entry::Ended {
            outcome: Outcome::Old,
            noticed: format!("closed as it was: {}", whole.places()),
        })?;
        (state.under_way, state.back) = (None, None);
        io_fault("write the plan's state", whole.folder.set_state(&state))
    }
}

/// Why a plan is not begun with a part where it is.
fn unexpected(part: &dyn Part, place: &Place, wanted: End) -> String {
    let is = match place {
        Place::At(end) => format!("it is {} already", end.name()),
        Place::Between => "a rollout of it was cut off".into(),
        Place::Elsewhere(why) => why.clone(),
    };
    format!(
        "{} is not where it should be ({}): {is}; nothing was changed ({} acts on it alone)",
        part.name(),
        wanted.name(),
        part.alone()
    )
}
