//! A server that is to be made as a clone of blue.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use everopen_database::file::File;
use everopen_database::run::{Ended, Side};
use everopen_rollout::journal::Outcome;
use everopen_testkit::free_address;

use crate::place::Place;
use crate::servers::{OLD, good, is_root, program, run_by, sql_at};

pub const WRITE: &str = "INSERT INTO orders (account, note) VALUES (1, 'writer')";
pub const READ: &str = "BEGIN; SELECT sum(abalance) FROM pgbench_accounts WHERE aid < 1000; SELECT count(*) FROM orders WHERE account = 1; END";

/// Where a clone is to be, and which it is. It is stopped with the value.
pub struct Clone {
    pub place: Place,
    pub data: PathBuf,
    pub port: u16,
}

impl Clone {
    pub fn new() -> Self {
        Self::of(Place::new())
    }

    pub fn of(place: Place) -> Self {
        let data = place.path("made");
        Self {
            place,
            data,
            port: free_address().port(),
        }
    }

    /// A file by which blue is cloned as a whole.
    pub fn file(&self, clone: &str, more: &str) -> File {
        let as_whom = run_by();
        let clone = format!(
            "[database.clone]\n{clone}\nbin = \"{OLD}\"\n{as_whom}\ndata = \"made\"\nsettings = [\"port = {}\", \"shared_buffers = 16MB\"]\n",
            self.port
        );
        self.write(&clone, more, self.port)
    }

    pub fn write(&self, clone: &str, more: &str, green: u16) -> File {
        let text = self.place.text(&format!("strategy = \"clone\"\n{more}"));
        let text = text
            .replace(
                &format!("port={}", self.place.green.port),
                &format!("port={green}"),
            )
            .replace(
                "[[database.pgbouncer]]",
                &format!("{clone}\n[[database.pgbouncer]]\nreads = \"shop_reads\""),
            );
        self.place.write(&text)
    }

    /// One by which a script makes and removes it.
    pub fn file_of_ones_own(&self) -> File {
        let script = self.place.path("make.sh");
        let own = if is_root() {
            "setpriv --reuid=postgres --regid=postgres --clear-groups"
        } else {
            ""
        };
        fs::write(
            &script,
            format!(
                "#!/bin/sh\nset -eu\ncase $1 in\nmake) {own} {OLD}/pg_basebackup --checkpoint fast --dbname \"$EVEROPEN_BLUE\" --pgdata {data}; {own} {OLD}/pg_ctl --pgdata {data} --log {data}/everopen.log --options '-p {port}' --wait start ;;\nremove) {own} {OLD}/pg_ctl --pgdata {data} --mode immediate stop || true; rm -rf {data} ;;\nesac\n",
                data = self.data.display(),
                port = self.port
            ),
        )
        .expect("written");
        good(Command::new("chmod").arg("755").arg(&script));
        let clone = "[database.clone]\nhow = \"command\"\nmake = [\"./make.sh\", \"make\"]\nremove = [\"./make.sh\", \"remove\"]\n";
        self.write(clone, "change = [\"change.sql\"]", self.port)
    }

    pub fn sql(&self, sql: &str) -> String {
        sql_at(self.port, "shop", sql)
    }

    /// Nothing of the rollout is left on blue, and no clone.
    #[track_caller]
    pub fn nothing_is_left(&self) {
        assert_eq!(self.place.left(), "");
        assert!(!self.data.exists(), "{} is there", self.data.display());
        assert!(std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err());
        assert!(!self.place.path("rollouts/shop").join("dump").exists());
        assert_eq!(self.place.version(), "15");
        // Whoever connected meanwhile writes as well.
        for _ in 0..30 {
            self.place.sql("INSERT INTO orders (account) VALUES (1)");
        }
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.data.join("everopen.log")).unwrap_or_default();
            println!("the clone's log:\n{log}");
        }
        stop(&self.data);
    }
}

pub fn stop(data: &Path) {
    if data.exists() {
        let _ = program(format!("{OLD}/pg_ctl"))
            .args(["--mode", "immediate", "stop", "--pgdata"])
            .arg(data)
            .output();
    }
}

#[track_caller]
pub fn is_new(ended: &Ended, serving: Side) {
    assert_eq!(
        (ended.outcome, ended.serving, &ended.reason),
        (Outcome::New, serving, &None),
        "{ended:?}"
    );
}
