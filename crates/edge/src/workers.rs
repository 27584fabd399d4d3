//! Threads that serve connections. Each has an event loop of its own, and a connection stays with one of
//! them, as do the connections to targets that it uses: nothing of a request goes from one processor's
//! cache to another's, and nobody is woken to take work from somebody else. That is what servers like nginx
//! do, and it is most of what they need less of a processor for; the price is that a connection can't use
//! more than one core, and waits for others of its thread.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The variable by which one says how many threads an event loop of this kind has; `tokio`'s own.
const COUNT: &str = "TOKIO_WORKER_THREADS";

thread_local! {
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// How many there are of one edge.
pub(crate) fn count() -> usize {
    static COUNTED: OnceLock<usize> = OnceLock::new();
    *COUNTED.get_or_init(|| {
        let said = std::env::var(COUNT).ok().and_then(|said| said.parse().ok());
        let said = said.filter(|count| *count > 0);
        said.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    })
}

/// The number of this thread, below [`count`]. Threads that are none of them share the first one's.
pub(crate) fn here() -> usize {
    HERE.get()
}

/// One of each worker, in cache lines of its own: what each request changes would else go from one
/// processor's cache to another's.
#[derive(Debug)]
pub(crate) struct PerWorker<T>(Box<[Apart<T>]>);

/// Two lines: processors fetch the neighbour as well.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T> PerWorker<T> {
    pub fn new(mut make: impl FnMut() -> T) -> Self {
        Self((0..count()).map(|_| Apart(make())).collect())
    }

    /// That of a worker.
    pub fn of(&self, worker: usize) -> &T {
        &self.0[worker].0
    }

    /// This thread's.
    pub fn here(&self) -> &T {
        self.of(here())
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|apart| &apart.0)
    }
}

impl<T: Default> Default for PerWorker<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

/// The threads of one edge. They end with it, and with them what they are at.
#[derive(Debug)]
pub(crate) struct Workers {
    all: Vec<Worker>,
    /// From which the one with the fewest connections is looked for.
    next: AtomicUsize,
    /// Dropped, it ends them.
    _ends: watch::Sender<()>,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    connections: Arc<AtomicUsize>,
}

/// A connection that a worker has.
struct Has(Arc<AtomicUsize>);

impl Drop for Has {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Workers {
    /// # Errors
    /// Where the system has no more threads or files.
    pub fn start() -> io::Result<Self> {
        let (ends, ended) = watch::channel(());
        let mut all = Vec::new();
        for number in 0..count() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let worker = Worker {
                handle: runtime.handle().clone(),
                connections: Arc::default(),
            };
            let mut ended = ended.clone();
            std::thread::Builder::new()
                .name(format!("edge-{number}"))
                .spawn(move || {
                    HERE.set(number);
                    // Nothing is ever sent: it comes back when the sender is gone.
                    runtime.block_on(async { while ended.changed().await.is_ok() {} });
                    runtime.shutdown_background();
                })?;
            all.push(worker);
        }
        Ok(Self {
            all,
            next: AtomicUsize::new(0),
            _ends: ends,
        })
    }

    /// Gives a connection to the one that has the fewest. They take turns where these are more than one:
    /// a connection that became a tunnel counts no more, and many that end soon would all be the first's.
    pub fn spawn<F>(&self, connections: &mut JoinSet<()>, serve: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let first = self.next.fetch_add(1, Relaxed) % self.all.len();
        let (before, from) = self.all.split_at(first);
        let fewest = |worker: &&Worker| worker.connections.load(Relaxed);
        let worker = from.iter().chain(before).min_by_key(fewest);
        let worker = worker.expect("invariant: there is at least one");
        worker.connections.fetch_add(1, Relaxed);
        let has = Has(Arc::clone(&worker.connections));
        let task = async move {
            let _has = has;
            serve.await;
        };
        connections.spawn_on(task, &worker.handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_that_end_at_once_are_spread_as_well() {
        let workers = Workers::start().expect("threads");
        let mut seen = vec![0; count()];
        for _ in 0..3 * count() {
            let mut connections = JoinSet::new();
            let (tell, told) = tokio::sync::oneshot::channel();
            workers.spawn(&mut connections, async move {
                tell.send(here()).expect("heard");
            });
            seen[told.await.expect("said")] += 1;
            connections.join_next().await;
        }
        assert_eq!(seen, vec![3; count()]);
    }

    #[tokio::test]
    async fn connections_are_spread_and_end_with_their_threads() {
        let workers = Workers::start().expect("threads");
        let mut connections = JoinSet::new();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..2 * count() {
            let tell = tell.clone();
            workers.spawn(&mut connections, async move {
                tell.send(here()).expect("heard");
                std::future::pending::<()>().await;
            });
        }
        let mut seen = vec![0; count()];
        for _ in 0..2 * count() {
            seen[told.recv().await.expect("said")] += 1;
        }
        assert_eq!(seen, vec![2; count()]);
        drop(workers);
        while let Some(ended) = connections.join_next().await {
            assert!(ended.expect_err("it was ended").is_cancelled());
        }
    }
}
