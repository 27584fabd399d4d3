//! Why a replica gives no other answer: a closed list with stable numbers.

use core::fmt;

use crate::DecodeError;
use crate::codec::{Input, Sink, Wire};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why a replica gives no other answer. Codes are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum RefusalCode {
            $($(#[$doc])* $name = $code,)*
        }

        impl RefusalCode {
            /// Every code, in the order of numbers.
            pub const ALL: &'static [RefusalCode] = &[$(RefusalCode::$name),*];

            /// The stable number.
            pub const fn code(self) -> u16 {
                self as u16
            }

            /// The code with this number, if there is one.
            pub const fn from_code(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// A sentence for people, without data.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// The replica does not lead; nothing was taken. The refusal names who does, if it is known.
    NotLeader = 1, "this replica does not lead";
    /// Too much is under way at the leader, or a replica that joins has no state to show yet; this
    /// attempt was not taken.
    Busy = 2, "the leader is busy";
    /// The leader's disk has no room for the log; this attempt was not taken.
    JournalFull = 3, "the log has no room on its disk";
    /// The group is larger than one entry can be; nothing was taken.
    TooLarge = 4, "too many commands in one group";
    /// The session has expired or was never opened. Whether earlier submissions of it were applied
    /// can no longer be asked.
    SessionUnknown = 5, "the session has expired or was never opened";
    /// The replica is about to stop; nothing was taken.
    Stopping = 6, "the replica is about to stop";
    /// The bytes of the request are not what they should be; nothing was taken.
    Malformed = 7, "the request can't be read";
    /// The client itself has said that it had this answer.
    SequenceForgotten = 8, "the answer was given and is forgotten";
    /// The session has too many submissions whose answers the client does not have; nothing was
    /// taken.
    WindowFull = 9, "too many submissions of the session are unanswered";
    /// The replica no longer leads: the submission may or may not be in the log. The next leader
    /// knows; ask it with the same sequence.
    OutcomeUnknown = 10, "the replica lost the lead before the outcome was known";
    /// The peer may not ask this.
    NotAllowed = 11, "the peer may not ask this";
    /// The entries wanted are no longer in the replica's log; ask for a checkpoint.
    TooFarBehind = 12, "the entries are no longer in the log";
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Wire for RefusalCode {
    fn put<S: Sink>(&self, out: &mut S) {
        self.code().put(out);
    }
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let error = input.error("unknown code of a refusal");
        Self::from_code(u16::get(input)?).ok_or(error)
    }
}
