//! Clients of a pooler that do the same again and again, and note what they meet.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use crate::place::Place;

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

async fn connect(port: u16, name: &str) -> Result<Client, tokio_postgres::Error> {
    let at = format!("host=127.0.0.1 port={port} user=postgres dbname={name} connect_timeout=2");
    let (client, connection) = tokio_postgres::connect(&at, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// One that stays connected.
pub struct Busy {
    stop: Arc<AtomicBool>,
    /// Done, refused with 25006, failed otherwise, and the longest in milliseconds.
    counts: Arc<[AtomicU64; 4]>,
    thread: JoinHandle<String>,
}

impl Busy {
    pub fn start(place: &Place, name: &str, sql: &'static str) -> Self {
        Self::start_at(place.pooler, name, sql)
    }

    pub fn start_at(port: u16, name: &str, sql: &'static str) -> Self {
        let (stop, counts): (Arc<AtomicBool>, Arc<[AtomicU64; 4]>) = Default::default();
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let name = name.to_string();
        let thread = std::thread::spawn(move || {
            run(async {
                let client = connect(port, &name).await.expect("a connection");
                let mut last = String::new();
                while !stopped.load(SeqCst) {
                    let began = Instant::now();
                    let place = match client.simple_query(sql).await {
                        Ok(_) => 0,
                        Err(error) if error.code().is_some_and(|code| code.code() == "25006") => 1,
                        Err(error) => {
                            last = format!("{error:?}");
                            2
                        }
                    };
                    counted[place].fetch_add(1, SeqCst);
                    counted[3].fetch_max(began.elapsed().as_millis() as u64, SeqCst);
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

    pub fn refused(&self) -> u64 {
        self.counts[1].load(SeqCst)
    }

    /// The longest that it waited for an answer since it was last asked.
    pub fn longest_ms(&self) -> u64 {
        self.counts[3].swap(0, SeqCst)
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

/// One that writes, and connects again whenever it is cut off. Each write is another one, so that it can be told
/// which of those that were acknowledged are there.
pub struct Stubborn {
    stop: Arc<AtomicBool>,
    written: Arc<Mutex<Vec<u64>>>,
    thread: Option<JoinHandle<()>>,
}

impl Stubborn {
    pub fn start(port: u16) -> Self {
        let (stop, written): (Arc<AtomicBool>, Arc<Mutex<Vec<u64>>>) = Default::default();
        let (stopped, noted) = (Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            run(async {
                let mut next = 0;
                while !stopped.load(SeqCst) {
                    let Ok(client) = connect(port, "shop").await else {
                        std::thread::park_timeout(Duration::from_millis(5));
                        continue;
                    };
                    while !stopped.load(SeqCst) {
                        next += 1;
                        let sql = format!(
                            "INSERT INTO orders (account, note) VALUES ({next}, 'stubborn')"
                        );
                        match client.simple_query(&sql).await {
                            Ok(_) => noted.lock().expect("whole").push(next),
                            Err(error) if error.code().is_none() => break,
                            // Refused, as by the side that does not serve.
                            Err(_) => {}
                        }
                        std::thread::park_timeout(Duration::from_millis(5));
                    }
                }
            });
        });
        Self {
            stop,
            written,
            thread: Some(thread),
        }
    }

    pub fn done(&self) -> usize {
        self.written.lock().expect("whole").len()
    }

    /// The condition by which what was acknowledged is found.
    pub fn end(mut self) -> (usize, String) {
        self.join();
        let written = self.written.lock().expect("whole");
        let list: Vec<String> = written.iter().map(u64::to_string).collect();
        let list = list.join(",");
        (
            written.len(),
            format!("note = 'stubborn' AND account = ANY ('{{{list}}}')"),
        )
    }

    fn join(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Stubborn {
    fn drop(&mut self) {
        self.join();
    }
}
