//! Clients that write all the time.

use std::fs;
use std::process::{Child, Command, Stdio};

use super::OLD;
use crate::place::Place;

/// What a transaction of the load does.
const WRITES: &str = "\\set aid random(1, 200000)
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, :delta, CURRENT_TIMESTAMP);
INSERT INTO orders (account, price, note) VALUES (:aid, :delta / 100.0, 'of ' || :aid);
END;
";

/// pgbench through a pooler: eight clients, two hundred transactions a second.
pub struct Load(Child);

impl Load {
    /// Each transaction makes an order.
    pub fn start(place: &Place, seconds: u32) -> Self {
        Self::start_at(place, place.pooler, seconds)
    }

    pub fn start_at(place: &Place, port: u16, seconds: u32) -> Self {
        let script = place.path("load.sql");
        fs::write(&script, WRITES).expect("written");
        let (port, seconds) = (port.to_string(), seconds.to_string());
        let child = Command::new(format!("{OLD}/pgbench"))
            .args(["--host", "127.0.0.1", "--port", &port])
            .args(["--username", "postgres", "--no-vacuum"])
            .args(["--client", "8", "--jobs", "2", "--rate", "200"])
            .args(["--time", &seconds, "--protocol", "simple", "--file"])
            .arg(&script)
            .arg("shop")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.expect("pgbench starts"))
    }

    /// Transactions that were committed; none may have failed.
    #[track_caller]
    pub fn end_without_failure(self) -> u64 {
        let output = self.0.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !errors.contains("abort"),
            "{text}{errors}"
        );
        assert!(
            text.contains("number of failed transactions: 0 "),
            "{text}{errors}"
        );
        let line = text
            .lines()
            .find(|line| line.starts_with("number of transactions actually processed"));
        let count = line.and_then(|line| line.rsplit(' ').next()?.split('/').next()?.parse().ok());
        count.expect("a count")
    }

    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("it can be asked").is_none()
    }
}
