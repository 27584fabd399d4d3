//! One plan of several parts, as a service and its database: at its end all of them are new, or all are as
//! they were.
//!
//! Each part is carried out and taken back by its own rollouts, which have journals of their own. What is
//! noted here is only which part is under way and in which direction; where a part is, it is asked itself. So
//! a controller that was killed anywhere finds the truth, not what it had last written.

mod carrier;
mod service;
mod whole;

use std::io;
use std::path::Path;
use std::pin::Pin;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::id;

pub use carrier::{Carrier, busy, last};
pub use service::Service;

/// An end of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// As before the plan.
    Old,
    /// As the plan wants it.
    New,
}

impl End {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Old, Self::New]
            .into_iter()
            .find(|end| end.name() == name)
    }
}

/// Where a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At an end.
    At(End),
    /// Its rollout was cut off.
    Between,
    /// Somewhere that this plan did not bring it: why that is known.
    Elsewhere(String),
}

/// What a part does takes a while: what was seen, or why it failed.
pub type Goes<'a> = Pin<Box<dyn Future<Output = Result<String, String>> + 'a>>;

/// A part of a plan.
pub trait Part {
    /// What it is, for people.
    fn name(&self) -> String;

    /// Where it is.
    ///
    /// # Errors
    /// It can't be asked.
    fn place(&self) -> Result<Place, String>;

    /// Until when the way to its other end is promised, in milliseconds since 1970; none if there is none.
    ///
    /// # Errors
    /// It can't be asked.
    fn way(&self) -> Result<Option<u64>, String>;

    /// Goes to an end from the other one. If that fails it is where it was, or says that it is not.
    fn go(&mut self, to: End) -> Goes<'_>;

    /// Brings what was cut off to an end: to this one, if it may still choose.
    fn settle(&mut self, to: End) -> Goes<'_>;

    /// The command that goes on with it alone, for people.
    fn alone(&self) -> String;
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan<P> {
    /// Its name: time and direction, or version.
    pub id: String,
    /// The end to which all parts go: the new one in their order, the old one in reverse.
    pub to: End,
    /// Of what the parts are made.
    pub parts: P,
}

impl<P: DeserializeOwned> Plan<P> {
    /// Reads one that was written down.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }
}

impl<P> Plan<P> {
    /// The same parts, another way.
    #[must_use]
    pub fn turned(self, to: End) -> Self {
        let way = match to {
            End::Old => "back",
            End::New => "forth",
        };
        Self {
            id: id::fresh(way),
            to,
            parts: self.parts,
        }
    }
}

#[cfg(test)]
mod tests;
