//! PgBouncer: its admin console, and the file with the database's line.

use std::time::{Duration, Instant};

use everopen_rollout::state::write;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::dsn::Dsn;
use crate::file::Pooler;
use crate::server::{Side, connect, query};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);
/// How long a command may take that waits for nobody.
const ORDER: Duration = Duration::from_secs(5);

/// An open admin console.
pub(crate) struct Console {
    client: Client,
    address: String,
    pooler: Pooler,
}

impl Console {
    pub async fn open(pooler: &Pooler) -> Result<Self, String> {
        let admin = Dsn::parse(&pooler.admin).map_err(|error| format!("pgbouncer: {error}"))?;
        let client = connect(&admin, "pgbouncer").await?;
        Ok(Self {
            client,
            address: admin.address(),
            pooler: pooler.clone(),
        })
    }

    /// Where it is, for people.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// One command. `patience` is for all of it.
    async fn order(&self, command: &str, patience: Duration) -> Result<Vec<Vec<String>>, String> {
        let done = tokio::time::timeout(patience, query(&self.client, command)).await;
        let done = done.map_err(|_| format!("not within {} ms", patience.as_millis()));
        done.and_then(|done| done)
            .map_err(|error| format!("pgbouncer: {command}: {error}"))
    }

    pub async fn show(&self, what: &str) -> Result<Vec<Vec<String>>, String> {
        self.order(&format!("SHOW {what}"), ORDER).await
    }

    /// The processes of servers that serve its clients.
    pub async fn processes(&self) -> Result<Vec<u32>, String> {
        let said = self.client.simple_query("SHOW SERVERS").await;
        let said = said.map_err(|error| format!("pgbouncer: SHOW SERVERS: {error}"))?;
        let processes = said.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.try_get("remote_pid").ok()??.parse().ok(),
            _ => None,
        });
        Ok(processes.collect())
    }

    /// Holds clients: those that are in a transaction end it first.
    pub async fn pause(&self, patience: Duration) -> Result<(), String> {
        let began = Instant::now();
        for name in self.pooler.names() {
            self.wait_for_logins(patience.saturating_sub(began.elapsed()))
                .await?;
            let left = patience.saturating_sub(began.elapsed());
            match self.order(&format!("PAUSE {name}"), left).await {
                Err(error) if error.contains("already") => {}
                done => drop(done?),
            }
        }
        Ok(())
    }

    /// Waits until no connection to a server is logging in, twice in a row. A pause closes one that is, which
    /// makes the pooler refuse clients for seconds (`server_login_retry`). One that begins just between the last
    /// look and the pause is closed all the same: that can't be told from here.
    async fn wait_for_logins(&self, patience: Duration) -> Result<(), String> {
        let began = Instant::now();
        let mut quiet = 0;
        while quiet < 2 {
            let left = patience.saturating_sub(began.elapsed());
            let said = tokio::time::timeout(left, self.client.simple_query("SHOW POOLS")).await;
            let said = said.map_err(|_| "pgbouncer: connections go on logging in".to_string())?;
            let said = said.map_err(|error| format!("pgbouncer: SHOW POOLS: {error}"))?;
            let is_logging_in = said.iter().any(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    let value = |name| row.try_get(name).ok().flatten();
                    let is_ours = |of| self.pooler.names().any(|name| name == of);
                    value("database").is_some_and(is_ours)
                        && value("sv_login").is_some_and(|count| count != "0")
                }
                _ => false,
            });
            quiet = if is_logging_in { 0 } else { quiet + 1 };
            if quiet < 2 {
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Waits until a pooler that holds its clients has no connection to a server, none that is still
    /// logging in either: one that is ended in its login makes the pooler refuse clients for seconds
    /// (`server_login_retry`).
    pub async fn wait_apart(&self, patience: Duration) -> Result<(), String> {
        let began = Instant::now();
        loop {
            // Type, user and database are the first columns.
            let left = patience.saturating_sub(began.elapsed());
            let servers = self.order("SHOW SERVERS", left).await?;
            let is_ours = |row: &Vec<String>| {
                let of = row.get(2).map(String::as_str);
                self.pooler.names().any(|name| of == Some(name))
            };
            if !servers.iter().any(is_ours) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Lets clients go on; one that holds nobody is left as it is. Whether it held all of them.
    pub async fn resume(&self) -> Result<bool, String> {
        let mut done = Ok(true);
        for name in self.pooler.names() {
            match self.resume_one(name).await {
                Ok(held) => done = done.map(|all| all && held),
                Err(error) => done = Err(error),
            }
        }
        done
    }

    /// Lets those go on that come by the name by which one only reads.
    pub async fn resume_reads(&self) -> Result<(), String> {
        let name = self.pooler.reads.as_ref();
        let name = name.unwrap_or(&self.pooler.database);
        self.resume_one(name).await.map(drop)
    }

    /// Whether it held them.
    async fn resume_one(&self, name: &str) -> Result<bool, String> {
        match self.order(&format!("RESUME {name}"), ORDER).await {
            Err(error) if error.contains("is not paused") => Ok(false),
            done => done.map(|_| true),
        }
    }

    /// Gives clients new connections to the server, as one must that held nobody while its sessions were to read
    /// only: those would go on to read only. Clients are held for it, if that can be done in time.
    pub async fn renew(&self, patience: Duration) -> Result<(), String> {
        let began = Instant::now();
        let is_apart = match self.pause(patience).await {
            Ok(()) => {
                let left = patience.saturating_sub(began.elapsed());
                self.wait_apart(left).await
            }
            wrong => wrong,
        };
        if is_apart.is_ok() {
            return self.resume().await.map(drop);
        }
        // This one may still wait for an answer.
        let console = Self::open(&self.pooler).await?;
        console.reconnect().await?;
        console.resume().await.map(drop)
    }

    /// Sends clients to a side from now on. Connections to the other one end with their transactions.
    pub async fn lead_to(&self, side: Side) -> Result<(), String> {
        set_line(&self.pooler, side)?;
        self.order("RELOAD", ORDER).await.map(drop)
    }

    /// Each connection to a server is closed when its transaction has ended; but one that is just logging in is
    /// closed at once, which the pooler takes for a failed login.
    pub async fn reconnect(&self) -> Result<(), String> {
        for name in self.pooler.names() {
            self.order(&format!("RECONNECT {name}"), ORDER).await?;
        }
        Ok(())
    }
}

impl Pooler {
    /// All names of the database.
    fn names(&self) -> impl Iterator<Item = &str> {
        let reads = self.reads.as_deref();
        std::iter::once(self.database.as_str()).chain(reads)
    }
}

/// Writes the file with the database's lines.
pub(crate) fn set_line(pooler: &Pooler, side: Side) -> Result<(), String> {
    let target = match side {
        Side::Blue => &pooler.blue,
        Side::Green => &pooler.green,
    };
    let mut text = "[databases]\n".to_string();
    for name in pooler.names() {
        text += &format!("{name} = {target}\n");
    }
    write(&pooler.file, text.as_bytes())
        .map_err(|error| format!("write {}: {error}", pooler.file.display()))
}

/// Where a pooler's file leads.
pub(crate) fn leads_to(pooler: &Pooler) -> Option<Side> {
    let text = std::fs::read_to_string(&pooler.file).ok()?;
    let has = |target: &str| {
        pooler.names().all(|name| {
            let line = format!("{name} = {target}");
            text.lines().any(|read| read.trim() == line)
        })
    };
    match (has(&pooler.blue), has(&pooler.green)) {
        (true, false) => Some(Side::Blue),
        (false, true) => Some(Side::Green),
        _ => None,
    }
}
