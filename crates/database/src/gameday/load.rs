//! Clients of a game day: each writes a numbered row of its own in every transaction, so that it can be said of
//! each row that was acknowledged whether it is there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::dsn::Dsn;
use crate::server::{connect, query};

/// What is known of all of them.
#[derive(Default)]
struct Counts {
    done: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    longest_us: AtomicU64,
    last_failure: Mutex<Option<String>>,
}

/// Clients that go on until they are ended.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    clients: Vec<JoinHandle<(i32, Vec<i64>)>>,
}

/// What came of it.
pub(super) struct Outcome {
    /// Numbers of rows that were acknowledged, of each client.
    pub acknowledged: Vec<(i32, Vec<i64>)>,
    pub done: u64,
    /// By the fence, with SQLSTATE 25006.
    pub refused: u64,
    pub failed: u64,
    pub last_failure: Option<String>,
    /// From when a transaction was to begin.
    pub longest: Duration,
}

impl Load {
    /// So many clients by each pooler; together so many transactions a second. `first` is the number of the first
    /// client, which nobody had before.
    pub fn start(poolers: &[String], clients: u32, rate: u32, sql: &str, first: i32) -> Self {
        let (stop, counts): (Arc<AtomicBool>, Arc<Counts>) = Default::default();
        let every = Duration::from_secs(1) * clients / rate.max(1);
        let start = |at: u32| {
            let dsn = poolers[at as usize % poolers.len()].clone();
            let (stop, counts, sql) = (Arc::clone(&stop), Arc::clone(&counts), sql.to_string());
            let client = first + at as i32;
            tokio::spawn(async move {
                (
                    client,
                    go_on(client, &dsn, &sql, every, &stop, &counts).await,
                )
            })
        };
        Self {
            clients: (0..clients).map(start).collect(),
            stop,
            counts,
        }
    }

    pub fn done(&self) -> u64 {
        self.counts.done.load(SeqCst)
    }

    pub async fn end(self) -> Outcome {
        self.stop.store(true, SeqCst);
        let mut acknowledged = Vec::new();
        for client in self.clients {
            if let Ok(rows) = client.await {
                acknowledged.push(rows);
            }
        }
        let count = |of: &AtomicU64| of.load(SeqCst);
        Outcome {
            acknowledged,
            done: count(&self.counts.done),
            refused: count(&self.counts.refused),
            failed: count(&self.counts.failed),
            last_failure: self
                .counts
                .last_failure
                .lock()
                .ok()
                .and_then(|mut last| last.take()),
            longest: Duration::from_micros(count(&self.counts.longest_us)),
        }
    }
}

async fn go_on(
    client: i32,
    dsn: &str,
    sql: &str,
    every: Duration,
    stop: &AtomicBool,
    counts: &Counts,
) -> Vec<i64> {
    let mut acknowledged = Vec::new();
    let mut connection = Err("it has not been tried".to_string());
    let mut intended = Instant::now();
    for number in 0.. {
        tokio::time::sleep_until(intended.into()).await;
        if stop.load(SeqCst) {
            break;
        }
        if connection.is_err() {
            connection = match Dsn::parse(dsn) {
                Ok(dsn) => connect(&dsn, "a pooler").await,
                Err(error) => Err(error),
            };
        }
        let done = match &connection {
            Ok(session) => {
                let text = format!(
                    "BEGIN; {sql}; INSERT INTO public.everopen_game_day VALUES ({client}, {number}); COMMIT"
                );
                query(session, &text).await
            }
            Err(error) => Err(error.clone()),
        };
        let took = intended.elapsed();
        match done {
            Ok(_) => {
                acknowledged.push(number);
                counts.done.fetch_add(1, SeqCst);
                let us = took.as_micros() as u64;
                counts.longest_us.fetch_max(us, SeqCst);
            }
            Err(error) if error.contains("(25006)") => {
                counts.refused.fetch_add(1, SeqCst);
                if let Ok(session) = &connection
                    && let Err(error) = query(session, "ROLLBACK").await
                {
                    connection = Err(error);
                }
            }
            Err(error) => {
                counts.failed.fetch_add(1, SeqCst);
                if let Ok(mut last) = counts.last_failure.lock() {
                    *last = Some(error.clone());
                }
                connection = Err(error);
            }
        }
        // One that waited is late for its next ones; they are not made up for.
        intended = (intended + every).max(Instant::now());
    }
    acknowledged
}
