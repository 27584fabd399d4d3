//! Is a history of concurrent operations linearizable? The answer of Wing and Gong with Lowe's
//! memory of what was tried already, for any sequential [`Model`].
//!
//! A history is linearizable when its operations can be put in one order that the model allows and
//! in which no operation stands before one that had returned before it was invoked. An operation
//! whose outcome nobody knows may stand anywhere after its invocation, or nowhere.
//!
//! The question is hard in general and easy for what real clients do: few operations overlap, and
//! reads tell soon which of the unknown ones took effect. Histories are checked key by key, and the
//! number of steps is bounded; a history that needs more is [`Verdict::Undecided`], which no test
//! should take for a yes.

mod account;
mod list;
mod search;
#[cfg(test)]
mod tests;

pub use account::{Account, Ask, Told};
pub use list::{Entry, List, Seen};

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;

/// What one object does when operations come one at a time.
pub trait Model {
    /// All that it remembers.
    type State: Clone + Eq + Hash;
    /// What is asked of it.
    type Call;
    /// What it says.
    type Answer;

    /// What it remembers at first.
    fn first(&self) -> Self::State;

    /// What it remembers after `call`, if it could have answered that; with no answer, if it could
    /// have answered anything.
    fn step(
        &self,
        state: &Self::State,
        call: &Self::Call,
        answer: Option<&Self::Answer>,
    ) -> Option<Self::State>;
}

/// One operation, as its client saw it. Times are of one clock and of any unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<C, A> {
    /// Who did it, for people.
    pub client: u32,
    /// When it was invoked.
    pub invoked: u64,
    /// What was asked.
    pub call: C,
    /// When it returned, and what it said; none when the client never learned what became of it.
    pub returned: Option<(u64, A)>,
}

/// What is to be said of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable {
        /// What the search took.
        steps: u64,
    },
    /// There is none.
    NotLinearizable {
        /// The longest order that was found, as places in the history.
        longest: Vec<usize>,
        /// The operation whose return could not be passed in any order as long as that.
        stuck: usize,
    },
    /// It was not found within the steps allowed.
    Undecided {
        /// The steps made.
        steps: u64,
    },
}

/// A history of many objects, by key.
#[derive(Clone, Debug)]
pub struct History<K, C, A> {
    operations: BTreeMap<K, Vec<Operation<C, A>>>,
}

impl<K, C, A> Default for History<K, C, A> {
    fn default() -> Self {
        Self {
            operations: BTreeMap::new(),
        }
    }
}

impl<K: Ord + fmt::Debug, C: fmt::Debug, A: fmt::Debug> History<K, C, A> {
    /// Adds an operation on one object, in any order.
    pub fn add(&mut self, key: K, operation: Operation<C, A>) {
        self.operations.entry(key).or_default().push(operation);
    }

    /// How many operations there are, and how many of them have an unknown outcome.
    pub fn counts(&self) -> (usize, usize) {
        let all = || self.operations.values().flatten();
        let unknown = all().filter(|operation| operation.returned.is_none());
        (all().count(), unknown.count())
    }

    /// Checks every object's part with at most `steps` steps each.
    ///
    /// # Errors
    /// What is wrong, with the operations around the place where it shows.
    pub fn check<M>(&self, model: &M, steps: u64) -> Result<(), String>
    where
        M: Model<Call = C, Answer = A>,
    {
        for (key, operations) in &self.operations {
            match check(model, operations, steps) {
                Verdict::Linearizable { .. } => {}
                Verdict::NotLinearizable { longest, stuck } => {
                    return Err(format!(
                        "{key:?} is not linearizable:\n{}",
                        explain(operations, &longest, stuck)
                    ));
                }
                Verdict::Undecided { steps } => {
                    return Err(format!("{key:?} is undecided after {steps} steps"));
                }
            }
        }
        Ok(())
    }
}

/// Looks for an order with at most `steps` steps.
pub fn check<M: Model>(
    model: &M,
    operations: &[Operation<M::Call, M::Answer>],
    steps: u64,
) -> Verdict {
    search::search(model, operations, steps)
}

/// The end of the longest order, and what could not follow it.
fn explain<C: fmt::Debug, A: fmt::Debug>(
    operations: &[Operation<C, A>],
    longest: &[usize],
    stuck: usize,
) -> String {
    const SHOWN: usize = 12;
    let line = |at: &usize| {
        let operation = &operations[*at];
        let returned = match &operation.returned {
            Some((at, answer)) => format!("{answer:?} at {at}"),
            None => "unknown".to_string(),
        };
        format!(
            "  client {} at {}: {:?} -> {returned}",
            operation.client, operation.invoked, operation.call
        )
    };
    let end = longest.len().saturating_sub(SHOWN);
    let ordered: Vec<String> = longest[end..].iter().map(line).collect();
    let limit = operations[stuck]
        .returned
        .as_ref()
        .map_or(u64::MAX, |r| r.0);
    let mut open: Vec<usize> = (0..operations.len())
        .filter(|at| operations[*at].invoked <= limit && !longest.contains(at))
        .collect();
    open.sort_by_key(|at| operations[*at].invoked);
    let open: Vec<String> = open.iter().take(SHOWN * 2).map(line).collect();
    format!(
        "an order of {} operations ends with\n{}\nand none of these could follow before the first of them returned:\n{}",
        longest.len(),
        ordered.join("\n"),
        open.join("\n")
    )
}
