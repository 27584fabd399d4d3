//! The search: operations are taken in all orders that time allows, the earliest first, and what
//! was tried once is not tried again.

use std::collections::HashSet;

use super::{Model, Operation, Verdict};

/// The end of the list, and its beginning.
const HEAD: usize = 0;

/// An invocation or a return, in the order of time, in a list from which it can be taken and put
/// back.
struct Node {
    before: usize,
    after: usize,
    /// The operation, counted by invocation.
    operation: usize,
    /// For an invocation: where the return is, if there is one.
    returns: Option<usize>,
    is_call: bool,
}

struct Timeline {
    nodes: Vec<Node>,
}

impl Timeline {
    /// Of operations in the order of their invocations.
    fn new<C, A>(operations: &[&Operation<C, A>]) -> Self {
        // At the same moment invocations stand before returns: such operations overlap.
        let mut moments: Vec<(u64, bool, usize)> = Vec::with_capacity(operations.len() * 2);
        for (number, operation) in operations.iter().enumerate() {
            moments.push((operation.invoked, false, number));
            if let Some((at, _)) = &operation.returned {
                moments.push((*at, true, number));
            }
        }
        moments.sort_unstable();
        let mut nodes = vec![Node {
            before: HEAD,
            after: HEAD,
            operation: usize::MAX,
            returns: None,
            is_call: false,
        }];
        let mut calls = vec![HEAD; operations.len()];
        for (_, is_return, operation) in moments {
            let at = nodes.len();
            if is_return {
                nodes[calls[operation]].returns = Some(at);
            } else {
                calls[operation] = at;
            }
            nodes.push(Node {
                before: at - 1,
                after: HEAD,
                operation,
                returns: None,
                is_call: !is_return,
            });
            nodes[at - 1].after = at;
        }
        let last = nodes.len() - 1;
        nodes[HEAD].before = last;
        Self { nodes }
    }

    fn first(&self) -> usize {
        self.nodes[HEAD].after
    }

    fn unlink(&mut self, at: usize) {
        let (before, after) = (self.nodes[at].before, self.nodes[at].after);
        self.nodes[before].after = after;
        self.nodes[after].before = before;
    }

    fn relink(&mut self, at: usize) {
        let (before, after) = (self.nodes[at].before, self.nodes[at].after);
        self.nodes[before].after = at;
        self.nodes[after].before = at;
    }

    /// Takes an operation out.
    fn lift(&mut self, call: usize) {
        self.unlink(call);
        if let Some(returns) = self.nodes[call].returns {
            self.unlink(returns);
        }
    }

    /// Puts the operation back that was taken out last.
    fn put_back(&mut self, call: usize) {
        if let Some(returns) = self.nodes[call].returns {
            self.relink(returns);
        }
        self.relink(call);
    }

    /// The operations up to `highest` that are not taken out.
    fn left_below(&self, highest: usize) -> Box<[u32]> {
        let mut left = Vec::new();
        let mut at = self.first();
        while at != HEAD {
            let node = &self.nodes[at];
            if node.is_call {
                if node.operation > highest {
                    break;
                }
                left.push(node.operation as u32);
            }
            at = node.after;
        }
        left.into()
    }
}

/// An operation that was put into the order.
struct Taken<S> {
    call: usize,
    /// As they were before it.
    state: S,
    highest: Option<usize>,
    /// There was no need to try anything else in its place.
    is_free: bool,
}

/// A search under way.
struct Search<'a, M: Model> {
    model: &'a M,
    /// In the order of their invocations, and their places in the history.
    operations: Vec<&'a Operation<M::Call, M::Answer>>,
    places: Vec<usize>,
    timeline: Timeline,
    state: M::State,
    /// The highest operation in the order.
    highest: Option<usize>,
    /// Operations that must be in the order and are not; those without a return may be left out.
    needed: usize,
    taken: Vec<Taken<M::State>>,
    longest: Vec<usize>,
    stuck: usize,
}

impl<M: Model> Search<'_, M> {
    /// What the object remembers after the operation invoked there, if that could come now.
    fn after(&self, call: usize) -> Option<M::State> {
        let operation = self.operations[self.timeline.nodes[call].operation];
        let answer = operation.returned.as_ref().map(|(_, answer)| answer);
        self.model.step(&self.state, &operation.call, answer)
    }

    fn take(&mut self, call: usize, next: M::State, is_free: bool) {
        let node = &self.timeline.nodes[call];
        let number = node.operation;
        self.needed -= usize::from(node.returns.is_some());
        self.timeline.lift(call);
        self.taken.push(Taken {
            call,
            state: std::mem::replace(&mut self.state, next),
            highest: self.highest,
            is_free,
        });
        self.highest = self.highest.max(Some(number));
    }

    /// Gives up the last choice. The invocation that it was, if there was any.
    fn give_back(&mut self) -> Option<usize> {
        loop {
            let last = self.taken.pop()?;
            (self.state, self.highest) = (last.state, last.highest);
            self.timeline.put_back(last.call);
            self.needed += usize::from(self.timeline.nodes[last.call].returns.is_some());
            if !last.is_free {
                return Some(last.call);
            }
        }
    }

    /// Takes what can come now and changes nothing: if there is an order with it later, there is
    /// one with it here.
    fn take_free(&mut self, steps: &mut u64) {
        let mut at = self.timeline.first();
        while self.timeline.nodes[at].is_call {
            *steps += 1;
            let node = &self.timeline.nodes[at];
            let (call, returns) = (at, node.returns);
            at = node.after;
            if let Some(returns) = returns
                && let Some(next) = self.after(call)
                && next == self.state
            {
                self.take(call, next, true);
                if at == returns {
                    at = self.timeline.nodes[returns].after;
                }
            }
        }
    }

    /// Remembers the longest order, for people.
    fn is_stuck(&mut self, at: usize) {
        if self.taken.len() > self.longest.len() || self.longest.is_empty() {
            let operation = |taken: &Taken<_>| self.timeline.nodes[taken.call].operation;
            let order = self.taken.iter().map(|t| self.places[operation(t)]);
            self.longest = order.collect();
            self.stuck = self.places[self.timeline.nodes[at].operation];
        }
    }
}

pub(super) fn search<M: Model>(
    model: &M,
    history: &[Operation<M::Call, M::Answer>],
    steps_max: u64,
) -> Verdict {
    let mut places: Vec<usize> = (0..history.len()).collect();
    places.sort_by_key(|place| history[*place].invoked);
    let operations: Vec<_> = places.iter().map(|place| &history[*place]).collect();
    let mut search = Search {
        model,
        timeline: Timeline::new(&operations),
        needed: operations.iter().filter(|o| o.returned.is_some()).count(),
        operations,
        places,
        state: model.first(),
        highest: None,
        taken: Vec::new(),
        longest: Vec::new(),
        stuck: 0,
    };
    // Which operations are in the order is told by the highest one and those below that are not:
    // few, however long the history is.
    let mut tried: HashSet<(usize, Box<[u32]>, M::State)> = HashSet::new();
    let mut steps = 0;
    search.take_free(&mut steps);
    let mut at = search.timeline.first();
    // Operations of unknown outcome are tried when no other helps: most of them have happened long
    // ago or never will.
    let mut among_unknown = false;
    while search.needed > 0 {
        steps += 1;
        if steps > steps_max {
            return Verdict::Undecided { steps: steps_max };
        }
        // While a return is missing from the order, it is in the list: the end is never reached.
        if search.timeline.nodes[at].is_call {
            let node = &search.timeline.nodes[at];
            let (following, is_unknown) = (node.after, node.returns.is_none());
            if is_unknown == among_unknown
                && let Some(next) = search.after(at)
            {
                search.take(at, next, false);
                let top = search.highest.unwrap_or_default();
                let left = search.timeline.left_below(top);
                if tried.insert((top, left, search.state.clone())) {
                    search.take_free(&mut steps);
                    at = search.timeline.first();
                    among_unknown = false;
                    continue;
                }
                search.give_back();
            }
            at = following;
        } else if !among_unknown {
            among_unknown = true;
            at = search.timeline.first();
        } else {
            // Whatever has returned must be in the order by now, so the last choice was wrong.
            search.is_stuck(at);
            let Some(call) = search.give_back() else {
                return Verdict::NotLinearizable {
                    longest: search.longest,
                    stuck: search.stuck,
                };
            };
            let node = &search.timeline.nodes[call];
            (at, among_unknown) = (node.after, node.returns.is_none());
        }
    }
    Verdict::Linearizable { steps }
}
