//! Which version of its own rules a venue goes by.
//!
//! A release brings new rules inactive; [`Command::ActivateLogic`] in the log switches them on, at
//! the same entry on every replica. The rules of older versions stay here, since logs that were
//! written under them are replayed.
//!
//! | Version | What it brought |
//! |---|---|
//! | 1 | the rules of the first release |
//! | 2 | an engaged kill switch also refuses withdrawal requests and outgoing transfers |

use everopen_domain::{Command, Event, EventSink, RejectReason};

use crate::venue::Venue;

/// A version of the rules that this release knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Logic(u16);

impl Default for Logic {
    fn default() -> Self {
        Self(1)
    }
}

impl Logic {
    /// The version with that number, if this release knows it.
    pub const fn new(version: u16) -> Option<Self> {
        if version >= 1 && version <= Venue::LOGIC_MAX {
            Some(Self(version))
        } else {
            None
        }
    }

    /// Its number.
    pub const fn version(self) -> u16 {
        self.0
    }

    /// Whether a kill switch stops money on its way out, too.
    pub const fn kill_switch_stops_payouts(self) -> bool {
        self.0 >= 2
    }
}

impl Venue {
    /// The newest version of the rules that this release knows.
    pub const LOGIC_MAX: u16 = 2;

    /// The version of the rules that is active.
    pub const fn logic(&self) -> u16 {
        self.logic.version()
    }

    /// False for a command that a newer release would carry out and this one does not know: the
    /// activation of the version after [`Venue::LOGIC_MAX`] when its turn has come. A replica that
    /// meets one stops before it applies it; [`Venue::apply`] would refuse it, and the replicas
    /// would differ from then on.
    pub const fn knows(&self, command: &Command) -> bool {
        match command {
            Command::ActivateLogic { version } => {
                *version <= Self::LOGIC_MAX || *version - 1 != self.logic()
            }
            _ => true,
        }
    }

    pub(crate) fn activate_logic(
        &mut self,
        version: u16,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        match Logic::new(version) {
            Some(next) if version - 1 == self.logic() => {
                self.logic = next;
                out.emit(Event::LogicActivated { version });
                Ok(())
            }
            _ => Err(RejectReason::LogicVersionInvalid),
        }
    }
}
