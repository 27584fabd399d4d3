//! A client that stays where it is in its transaction.

use std::io::Write;
use std::process::{Child, Command, Stdio};

/// A session of `psql` that goes on with what it is told. It is ended with the value, and its transaction with it.
pub struct Session(Child);

impl Session {
    /// At a server or a pooler, by this name (`application_name`).
    pub fn open(port: u16, name: &str) -> Self {
        let session = Command::new("psql")
            .env("PGAPPNAME", name)
            .args(["--no-psqlrc", "--quiet", "--host", "127.0.0.1"])
            .args(["--port", &port.to_string(), "--username", "postgres"])
            .args(["--dbname", "shop"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(session.expect("psql is installed"))
    }

    /// It does that; nobody waits for it.
    pub fn tell(&mut self, sql: &str) {
        let input = self.0.stdin.as_mut().expect("an input");
        input
            .write_all(format!("{sql};\n").as_bytes())
            .expect("sent");
    }

    /// Its last words; it ends well.
    pub fn end(mut self, sql: &str) {
        self.tell(sql);
        drop(self.0.stdin.take());
        assert!(self.0.wait().expect("it ends").success());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
