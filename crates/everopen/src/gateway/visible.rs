//! How far this gateway's views are, and who waits for them to get further.
//!
//! An outcome may come from the leader before the entry that holds it has come to this gateway. A
//! member is answered only when the views show what was answered, so that it finds its own write.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use everopen_domain::LogIndex;

/// Done once the views show an entry; it must be quick and must not wait.
pub type Then = Box<dyn FnOnce() + Send>;

/// Outcomes that may wait for the views; past it commands are refused as busy.
const WAITING_MAX: usize = 65_536;

#[derive(Default)]
struct State {
    /// None until a checkpoint was taken back.
    index: Option<LogIndex>,
    waiting: BTreeMap<LogIndex, Vec<Then>>,
    count: usize,
    /// Why the log is not followed any more.
    ended: Option<String>,
}

/// The views' index, to be waited for.
#[derive(Default)]
pub struct Visible {
    state: Mutex<State>,
    changed: Condvar,
}

impl Visible {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("invariant: nothing panics while the views' index is held")
    }

    /// The entry that the views are as of, once they are of any.
    pub fn index(&self) -> Option<LogIndex> {
        self.lock().index
    }

    /// The views show everything up to this entry now.
    pub fn advance(&self, index: LogIndex) {
        let mut state = self.lock();
        state.index = Some(index);
        let mut due = Vec::new();
        while let Some(first) = state.waiting.first_entry()
            && *first.key() <= index
        {
            due.extend(first.remove());
        }
        state.count -= due.len();
        drop(state);
        self.changed.notify_all();
        due.into_iter().for_each(|then| then());
    }

    /// Calls `then` when the views show entry `index`, at once if they do.
    pub fn once(&self, index: LogIndex, then: Then) {
        let mut state = self.lock();
        if state.index.is_some_and(|now| index <= now) {
            drop(state);
            return then();
        }
        state.count += 1;
        state.waiting.entry(index).or_default().push(then);
    }

    /// Whether too much waits for the views already.
    pub fn is_full(&self) -> bool {
        self.lock().count >= WAITING_MAX
    }

    /// Waits until the views show entry `index`; false if they don't in time.
    pub fn wait(&self, index: LogIndex, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if state.index.is_some_and(|now| index <= now) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.ended.is_some() {
                return false;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .expect("invariant: nothing panics while the views' index is held")
                .0;
        }
    }

    /// The log is not followed any more.
    pub fn end(&self, why: String) {
        self.lock().ended.get_or_insert(why);
        self.changed.notify_all();
    }

    /// Why the log is not followed any more, if it is not.
    pub fn ended(&self) -> Option<String> {
        self.lock().ended.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    #[test]
    fn who_waits_is_called_when_its_entry_is_shown_and_not_before() {
        let visible = Visible::default();
        let (tell, told) = channel();
        for index in [3, 1, 2] {
            let tell = tell.clone();
            visible.once(LogIndex(index), Box::new(move || tell.send(index).unwrap()));
        }
        assert!(told.try_recv().is_err());
        visible.advance(LogIndex(2));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 2]);
        visible.once(LogIndex(2), Box::new(move || tell.send(20).unwrap()));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [20]);
        visible.advance(LogIndex(5));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn waiting_ends_with_the_entry_with_time_or_with_the_end() {
        let visible = Arc::new(Visible::default());
        assert!(!visible.wait(LogIndex(1), Duration::ZERO));
        let other = Arc::clone(&visible);
        let waits = std::thread::spawn(move || other.wait(LogIndex(7), Duration::from_secs(60)));
        visible.advance(LogIndex(7));
        assert!(waits.join().unwrap());
        visible.end("gone".into());
        assert!(!visible.wait(LogIndex(8), Duration::from_secs(60)));
        assert_eq!(visible.ended().as_deref(), Some("gone"));
    }

    #[test]
    fn what_waits_is_bounded() {
        let visible = Visible::default();
        for _ in 0..WAITING_MAX {
            assert!(!visible.is_full());
            visible.once(LogIndex(1), Box::new(|| {}));
        }
        assert!(visible.is_full());
        visible.advance(LogIndex(1));
        assert!(!visible.is_full());
    }
}
