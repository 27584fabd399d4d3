//! What is to be done, step by step.

use std::fmt;

use everopen_rollout::id;
use serde::{Deserialize, Serialize};

use crate::file::{File, Strategy};
use crate::server::Side;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Everything is looked at that could stand in the way.
    Preflight,
    /// What is needed on blue to find one's place again is made there.
    Mark,
    /// Writes are held or refused; reads go on.
    HoldWrites,
    /// Blue keeps its log from now on, for what will be made of it.
    Keep,
    /// Green is made of blue.
    Clone,
    /// Green gets blue's schema.
    Schema,
    /// The change is made on green.
    Change,
    /// Green gets blue's rows, and those that are written meanwhile.
    Copy,
    /// Green gets what was written since it was made, and goes on so.
    Follow,
    /// A slot is made from which a stream can lead back.
    WayBack,
    /// Clients are held, the last rows come over, the old side takes no writes any more.
    Hold,
    /// Clients go on, on the other side.
    Switch,
    /// The stream leads the other way.
    Turn,
    /// Both sides are compared as they were while clients were held.
    Proof,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preflight => "look at what could stand in the way",
            Self::Mark => "mark blue",
            Self::HoldWrites => "hold or refuse writes, and let reads go on",
            Self::Keep => "let blue keep its log from here on",
            Self::Clone => "make green of blue",
            Self::Schema => "give it the schema",
            Self::Change => "make the change there",
            Self::Copy => "copy all rows and follow those that are written",
            Self::Follow => "follow what was written since",
            Self::WayBack => "make the slot of the way back",
            Self::Hold => "hold clients until all rows are there",
            Self::Switch => "send clients there",
            Self::Turn => "let the stream lead the other way",
            Self::Proof => "compare both sides",
        })
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name.
    pub id: String,
    /// The file that it was made of.
    pub file: File,
    /// The side that serves now.
    pub from: Side,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// What clients notice of a step if all goes well.
    pub fn effect(&self, step: Step) -> &'static str {
        match step {
            Step::HoldWrites => "writes wait or are refused",
            Step::Clone if self.steps.contains(&Step::HoldWrites) => {
                "writes still are, reads go on"
            }
            Step::Hold => "all wait some milliseconds",
            Step::Switch => "all go on, on the other side",
            _ => "none",
        }
    }

    /// From blue to green.
    pub fn forth(file: &File) -> Self {
        let change = (!file.database.change.is_empty()).then_some(Step::Change);
        let (before, after): (&[Step], &[Step]) = match file.database.strategy {
            Strategy::Replicate if file.database.clone.is_some() => (
                &[Step::Preflight, Step::Mark, Step::Keep, Step::Clone],
                &[Step::Follow, Step::WayBack, Step::Hold],
            ),
            Strategy::Replicate => (
                &[Step::Preflight, Step::Schema],
                &[Step::Copy, Step::WayBack, Step::Hold],
            ),
            // What the change does to rows goes the way back as well: both sides are to be the same.
            Strategy::Clone => (
                &[
                    Step::Preflight,
                    Step::Mark,
                    Step::HoldWrites,
                    Step::Clone,
                    Step::WayBack,
                ],
                &[],
            ),
        };
        let mut steps = before.to_vec();
        steps.extend(change);
        steps.extend(after);
        steps.extend([Step::Switch, Step::Turn, Step::Proof]);
        Self {
            id: id::fresh("forth"),
            file: file.clone(),
            from: Side::Blue,
            steps,
        }
    }

    /// From the side that serves to the one from which it came.
    pub fn turned(file: &File, from: Side) -> Self {
        Self {
            id: id::fresh(if from == Side::Green { "back" } else { "forth" }),
            file: file.clone(),
            from,
            steps: vec![
                Step::WayBack,
                Step::Hold,
                Step::Switch,
                Step::Turn,
                Step::Proof,
            ],
        }
    }
}
