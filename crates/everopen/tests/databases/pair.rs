//! A service and its database, and clients of both.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::greeter::{Example, Load};
use crate::place::Place;

/// Clients who write orders through the pooler, one after the other, for as long as the test takes.
pub struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

/// A client of its own: how many orders it was told are there.
fn write(port: u16, stop: &AtomicBool) -> u64 {
    let mut client = Command::new("psql")
        .args(["--no-psqlrc", "--set", "ON_ERROR_STOP=1"])
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .args(["--username", "postgres", "--dbname", "shop"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("psql starts");
    let mut asks = client.stdin.take().expect("piped");
    let mut told = BufReader::new(client.stdout.take().expect("piped")).lines();
    let mut count = 0;
    while !stop.load(SeqCst) {
        let order = "INSERT INTO orders (account, price, note) VALUES (1, 2.5, 'of a client');\n";
        asks.write_all(order.as_bytes()).expect("it listens");
        let told = told.next().expect("an answer").expect("text");
        assert_eq!(told, "INSERT 0 1");
        count += 1;
        // Clients think; and the machine has more to do.
        std::thread::park_timeout(Duration::from_millis(20));
    }
    drop(asks);
    assert!(client.wait().expect("it ends").success());
    count
}

impl Writers {
    pub fn start(place: &Place) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let threads = (0..3).map(|_| {
            let (port, stop) = (place.pooler, Arc::clone(&stop));
            std::thread::spawn(move || write(port, &stop))
        });
        Self {
            threads: threads.collect(),
            stop,
        }
    }

    /// Orders that are there; none may have failed.
    #[track_caller]
    pub fn end_without_failure(self) -> u64 {
        self.stop.store(true, SeqCst);
        let counts = self.threads.into_iter().map(JoinHandle::join);
        counts.map(|count| count.expect("no order failed")).sum()
    }
}

/// A greeter whose version 1 serves, and a database on blue.
pub struct Both {
    pub place: Place,
    pub example: Arc<Example>,
    pub edge: Child,
}

impl Both {
    pub fn new() -> Self {
        let place = Place::new();
        let example = Arc::new(Example::new());
        let edge = example.edge(&[]);
        example.done(&["apply", "v1.toml"]);
        Self {
            place,
            example,
            edge,
        }
    }

    /// A file of a version, with the database in it.
    pub fn write(&self, name: &str, version: &str, more: &str) {
        let version = std::fs::read_to_string(self.example.path(version)).expect("read");
        let included = self.place.path("shop.ini").display().to_string();
        let database = self.place.text(more).replace("shop.ini", &included);
        let text = version.replace("bake_ms = 2000", "bake_ms = 500") + &database;
        std::fs::write(self.example.path(name), text).expect("written");
    }

    /// A program that is run between both, in a file.
    pub fn hook(&self, name: &str, command: &[&str]) {
        let path = self.example.path(name);
        let text = std::fs::read_to_string(&path).expect("read");
        let hook = format!(
            "[[hook]]\nname = \"between\"\nphase = \"before_start\"\ncommand = {command:?}\n"
        );
        std::fs::write(path, text + &hook).expect("written");
    }

    /// The version that serves, and that of the server: never one of each.
    pub fn ends(&self) -> (String, String) {
        let versions = self.example.versions();
        assert_eq!(versions.len(), 1, "{versions:?}");
        let version = versions.into_iter().next().expect("one");
        (version, self.place.version())
    }

    #[track_caller]
    pub fn are(&self, version: &str, server: &str) {
        assert_eq!(self.ends(), (version.into(), server.into()));
    }

    /// Those of the writers.
    pub fn orders(&self) -> u64 {
        let count = self
            .place
            .sql("SELECT count(*) FROM orders WHERE note LIKE 'of %'");
        count.parse().expect("a number")
    }

    /// Kills the controller of a command as it says something.
    pub fn kill_at(&self, arguments: &[&str], said: &str) {
        let mut controller = self
            .example
            .command(&[&["rollout"], arguments].concat())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start");
        let lines = BufReader::new(controller.stdout.take().expect("piped")).lines();
        let mut lines = lines.map(|line| line.expect("text"));
        let is_said = lines.any(|line| line.contains(said));
        controller.kill().expect("kill");
        controller.wait().expect("it is gone");
        assert!(is_said, "it ended before it said {said:?}");
    }

    /// No request and no order failed, and every order is where clients are.
    pub fn end(self, load: Load, writers: Writers) {
        let written = writers.end_without_failure();
        load.end_without_failure();
        assert_eq!(self.orders(), written);
        println!("{written} orders, each is there");
        self.stop();
    }

    pub fn stop(mut self) {
        self.edge.kill().expect("kill");
        self.edge.wait().expect("it is gone");
    }
}
