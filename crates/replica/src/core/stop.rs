//! Why a core does not go on.

use super::Disagreement;
use crate::state::ApplyError;

/// Why a core stops. Going on would risk a wrong balance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// An entry that this program can't apply.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The others are not where this replica is.
    #[error(transparent)]
    Disagreement(#[from] Disagreement),
    /// The consensus library refused to go on.
    #[error("consensus: {0}")]
    Consensus(String),
    /// A leader knows that this replica had more on its disk than is there now: the log was lost, or
    /// put back from an older copy. It may have voted for what it no longer knows.
    #[error(
        "this replica had acknowledged entry {acknowledged}, and its log ends at {last}: the log was lost or \
         put back from an older copy. Take the replica away with `everopen cluster remove`, then \
         `everopen cluster add` a new one"
    )]
    LostLog {
        /// An entry that it had acknowledged.
        acknowledged: u64,
        /// The last entry of its log.
        last: u64,
    },
}
