//! A client that does the same all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use crate::place::Place;

pub const WRITE: &str = "INSERT INTO orders (account, note) VALUES (1, 'writer')";
pub const READ: &str = "BEGIN; SELECT sum(abalance) FROM pgbench_accounts WHERE aid < 1000; SELECT count(*) FROM orders WHERE account = 1; END";

/// A client that does the same again and again, and notes what it meets.
pub struct Busy {
    stop: Arc<AtomicBool>,
    /// Done, refused with 25006, and failed otherwise.
    counts: Arc<[AtomicU64; 3]>,
    thread: std::thread::JoinHandle<String>,
}

impl Busy {
    pub fn start(place: &Place, name: &str, sql: &'static str) -> Self {
        let (stop, counts): (Arc<AtomicBool>, Arc<[AtomicU64; 3]>) = Default::default();
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let at = format!(
            "host=127.0.0.1 port={} user=postgres dbname={name}",
            place.pooler
        );
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&at, tokio_postgres::NoTls)
                    .await
                    .expect("a connection");
                tokio::spawn(connection);
                let mut last = String::new();
                while !stopped.load(SeqCst) {
                    let place = match client.simple_query(sql).await {
                        Ok(_) => 0,
                        Err(error) if error.code().is_some_and(|code| code.code() == "25006") => 1,
                        Err(error) => {
                            last = format!("{error:?}");
                            2
                        }
                    };
                    counted[place].fetch_add(1, SeqCst);
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                last
            })
        });
        Self {
            stop,
            counts,
            thread,
        }
    }

    pub fn done(&self) -> u64 {
        self.counts[0].load(SeqCst)
    }

    /// How often it was done and refused; nothing else may have happened.
    #[track_caller]
    pub fn end(self) -> (u64, u64) {
        self.stop.store(true, SeqCst);
        let last = self.thread.join().expect("a client");
        let count = |at: usize| self.counts[at].load(SeqCst);
        assert_eq!(count(2), 0, "{last}");
        (count(0), count(1))
    }
}
