//! The moment in which clients are held.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::file::{Database, Pooler};
use crate::pooler::Console;
use crate::proof::Proof;
use crate::server::{Server, Side, literal};
use crate::stream;

/// Between two looks whether the barrier has come out on the other side.
const LOOK: Duration = Duration::from_millis(2);
/// Bytes of log that the other side may be behind when clients are held.
const BEHIND_MAX: i64 = 16 << 20;
/// How long a pooler is asked again that must be told where to lead.
const INSIST: Duration = Duration::from_secs(30);

/// The side that serves, and the one that is to.
pub(crate) struct Cutover<'a> {
    pub database: &'a Database,
    pub from: &'a Server,
    pub to: &'a Server,
}

/// Who or what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// All clients.
    Clients,
    /// Those who write.
    WritesHeld,
    /// Nobody, and who writes is refused.
    WritesRefused,
}

/// The side that served takes no writes, and clients wait, or those that write.
pub(crate) struct Held {
    pub consoles: Vec<Console>,
    what: What,
    pub began: Instant,
    /// The last moment that was noted.
    mark: Instant,
    /// What took how long.
    told: String,
    /// Sessions that had gone around the poolers, and were ended.
    pub strays: Vec<String>,
    /// Both sides as they were in this time.
    pub proof: Option<Proof>,
    /// For how long it was to be, as far as that could be told before.
    predicted: Option<Duration>,
}

impl Held {
    /// It begins now.
    pub fn new(consoles: Vec<Console>, what: What) -> Self {
        let now = Instant::now();
        Self {
            consoles,
            what,
            began: now,
            mark: now,
            told: String::new(),
            strays: Vec::new(),
            proof: None,
            predicted: None,
        }
    }

    /// Whether reads go on.
    pub fn is_of_writes(&self) -> bool {
        self.what != What::Clients
    }

    /// What the time since the last note was for.
    pub fn note(&mut self, what: &str) {
        let ms = self.mark.elapsed().as_secs_f64() * 1_000.0;
        self.told += &format!("{what} {ms:.0} ms, ");
        self.mark = Instant::now();
    }

    /// All of it, for people.
    fn told(&self) -> String {
        let what = match self.what {
            What::Clients => "clients were held for",
            What::WritesHeld => "writes were held, and reads went on, for",
            What::WritesRefused => "writes were refused (25006), and reads went on, for",
        };
        let ms = self.began.elapsed().as_secs_f64() * 1_000.0;
        let predicted = self.predicted.map_or_else(String::new, |predicted| {
            format!("predicted {:.0} ms: ", predicted.as_secs_f64() * 1_000.0)
        });
        let told = self.told.trim_end_matches([',', ' ']);
        format!("{what} {ms:.0} ms ({predicted}{told})")
    }
}

/// Sets or lifts the fence of a side: new sessions read only.
pub(crate) async fn fence(server: &Server, is_up: bool) -> Result<(), String> {
    let name = server
        .value("SELECT quote_ident(current_database())")
        .await?;
    let how = if is_up {
        "SET default_transaction_read_only = on"
    } else {
        "RESET default_transaction_read_only"
    };
    server.run(&format!("ALTER DATABASE {name} {how}")).await
}

/// Those that have been open for so long that they will hardly end within the budget.
pub(crate) async fn long_transactions(from: &Server, ms: u64) -> Result<Vec<String>, String> {
    from
        .column(&format!(
            "SELECT coalesce(nullif(application_name, ''), 'somebody') || ' (process ' || pid || ') for ' || round(extract(epoch FROM clock_timestamp() - xact_start) * 1000) || ' ms' FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid() AND application_name <> 'everopen' AND clock_timestamp() - xact_start > interval '{ms} milliseconds'"
        ))
        .await
}

/// The poolers have no connection here any more; who has one came another way, and a fence binds new
/// sessions only.
pub(crate) async fn end_strays(from: &Server) -> Result<Vec<String>, String> {
    const STRAYS: &str = "SELECT pid, coalesce(nullif(application_name, ''), 'process ' || pid) || ' of ' || usename AS name FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid() AND application_name <> 'everopen'";
    // What a pooler has let go may take a moment to end.
    for _ in 0..10 {
        if from.rows(STRAYS).await?.is_empty() {
            return Ok(Vec::new());
        }
        tokio::time::sleep(LOOK).await;
    }
    // Who they are is settled first: a condition that ends sessions may be looked at before others.
    from
        .column(&format!(
            "WITH strays AS MATERIALIZED ({STRAYS}) SELECT name FROM strays WHERE pg_terminate_backend(pid)"
        ))
        .await
}

impl Cutover<'_> {
    /// Holds clients within the budget, as often as it takes. When it fails everything is as before.
    pub async fn hold(&self) -> Result<Held, String> {
        let mut last = String::new();
        for attempt in 1..=self.database.attempts {
            if attempt > 1 {
                tokio::time::sleep(Duration::from_millis(self.database.retry_ms)).await;
            }
            let long = long_transactions(self.from, self.database.pause_ms / 2).await?;
            if !long.is_empty() {
                last = format!(
                    "transactions are open that would have to be waited for: {}",
                    long.join(", ")
                );
                tracing::info!(attempt, last, "the cutover is put off");
                continue;
            }
            if let Some(why) = self.does_not_follow().await? {
                last = why;
                tracing::info!(attempt, last, "the cutover is put off");
                continue;
            }
            let predicted = match self.predict().await {
                Ok(predicted) => predicted,
                Err(error) => {
                    last = error;
                    tracing::info!(attempt, last, "the cutover is put off");
                    continue;
                }
            };
            match self.try_hold().await {
                Ok(mut held) => {
                    held.predicted = Some(predicted);
                    return Ok(held);
                }
                Err(error) => {
                    tracing::info!(attempt, error, "the cutover is put off");
                    self.release().await?;
                    last = error;
                }
            }
        }
        let ms = self.database.pause_ms;
        let attempts = self.database.attempts;
        Err(format!(
            "clients could not be held for {ms} ms or less in {attempts} tries; nothing has changed. The last: {last}"
        ))
    }

    /// Why the other side would not have all rows in time; nobody is held to find that out.
    async fn does_not_follow(&self) -> Result<Option<String>, String> {
        let slot = self.to.side.stream();
        let found = self
            .from
            .rows(&format!(
                "SELECT active, pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint FROM pg_replication_slots WHERE slot_name = '{slot}'"
            ))
            .await?;
        let to = self.to.side.name();
        Ok(match found.first() {
            None => return Err(format!("the slot of the stream to {to} is gone")),
            Some(row) if row[0] != "t" => {
                Some(format!("{to} is not connected to its stream at the moment"))
            }
            Some(row) => {
                let behind: i64 = row[1].parse().unwrap_or(i64::MAX);
                (behind > BEHIND_MAX).then(|| format!("{to} is {behind} bytes of log behind"))
            }
        })
    }

    /// What it would take now. What can be done while nobody is held is done once to see: a token goes over,
    /// sequences are set, the slot is moved. The rest are transactions to wait for, and two commits.
    async fn predict(&self) -> Result<Duration, String> {
        let began = Instant::now();
        let budget = Duration::from_millis(self.database.pause_ms);
        self.barrier(began + budget).await?;
        self.copy_sequences().await?;
        stream::move_slot(self.to).await?;
        let seen = began.elapsed();
        let began = Instant::now();
        let token = "INSERT INTO everopen.barrier VALUES (gen_random_uuid())";
        self.from.run(token).await?;
        let commits = 2 * began.elapsed();
        let longest = self
            .from
            .value("SELECT coalesce(round(extract(epoch FROM max(clock_timestamp() - xact_start)) * 1e6), 0)::bigint FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database() AND application_name <> 'everopen'")
            .await?;
        let longest = Duration::from_micros(longest.parse().unwrap_or(0));
        Ok(longest + seen + commits)
    }

    async fn try_hold(&self) -> Result<Held, String> {
        let mut consoles = Vec::new();
        for pooler in &self.database.poolers {
            consoles.push(Console::open(pooler).await?);
        }
        let mut proof = Proof::connect(self.from, self.to).await?;
        let mut held = Held::new(consoles, What::Clients);
        let began = held.began;
        let budget = Duration::from_millis(self.database.pause_ms);
        let left = || budget.saturating_sub(began.elapsed());
        // All of them, and only then anything else.
        let paused = join_all(held.consoles.iter().map(|console| console.pause(budget))).await;
        paused.into_iter().collect::<Result<Vec<()>, String>>()?;
        let apart = held
            .consoles
            .iter()
            .map(|console| console.wait_apart(left()));
        join_all(apart)
            .await
            .into_iter()
            .collect::<Result<Vec<()>, String>>()?;
        held.note("pause");
        fence(self.from, true).await?;
        held.strays = end_strays(self.from).await?;
        held.note("fence");
        self.barrier(began + budget).await?;
        held.note("barrier");
        self.copy_sequences().await?;
        held.note("sequences");
        // Where the way back begins: before the first write there, after the last that came from here.
        stream::move_slot(self.to).await?;
        fence(self.to, false).await?;
        proof.keep().await?;
        held.note("slot");
        if left().is_zero() {
            return Err(format!(
                "{}which is more than {} ms",
                held.told,
                budget.as_millis()
            ));
        }
        held.proof = Some(proof);
        Ok(held)
    }

    /// Writes a token on this side and waits until it comes out on the other: rows are applied in the order
    /// of their commits, so all that were before it are there, too.
    async fn barrier(&self, deadline: Instant) -> Result<(), String> {
        let token = self.from.value("SELECT gen_random_uuid()").await?;
        let token = literal(&token);
        self.from
            .run(&format!("INSERT INTO everopen.barrier VALUES ({token})"))
            .await?;
        let look = format!("SELECT 1 FROM everopen.barrier WHERE token = {token}");
        while self.to.value(&look).await?.is_empty() {
            if Instant::now() > deadline {
                return Err("rows that were written before had not come over in time".into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn copy_sequences(&self) -> Result<(), String> {
        let set = self
            .from
            .column(
                "SELECT format('SELECT setval(%L, %s, %L)', quote_ident(schemaname) || '.' || quote_ident(sequencename), coalesce(last_value, start_value), last_value IS NOT NULL) FROM pg_sequences WHERE schemaname <> 'everopen'",
            )
            .await?;
        match set.is_empty() {
            true => Ok(()),
            false => self.to.run(&set.join("; ")).await,
        }
    }

    /// Everything as before: clients go on where they were.
    pub async fn release(&self) -> Result<(), String> {
        let fenced = fence(self.to, true).await;
        let released = let_go(self.database, self.from).await;
        if let Err(error) = fenced {
            tracing::warn!(error, "the side that was to serve is not fenced");
        }
        released
    }
}

/// Clients go on at the side that served.
pub(crate) async fn let_go(database: &Database, from: &Server) -> Result<(), String> {
    let was_fenced = is_fenced(from).await?;
    // First the side takes writes again, then clients come.
    fence(from, false).await?;
    let mut wrong = Vec::new();
    for pooler in &database.poolers {
        // One that is gone holds nobody.
        let resumed = match Console::open(pooler).await {
            // One that came back while others were held has sessions that read only.
            Ok(console) => match console.resume().await {
                Ok(held) if held || !was_fenced => Ok(()),
                Ok(_) => {
                    let patience = Duration::from_millis(database.pause_ms);
                    console.renew(patience).await
                }
                Err(error) => Err(error),
            },
            Err(error) => {
                tracing::warn!(error, "a pooler can't be told that clients go on");
                Ok(())
            }
        };
        wrong.extend(resumed.err());
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("; ")),
    }
}

/// Whether a side takes no writes of new sessions: it is so from when clients are held until they are let go
/// there again, whatever a journal says.
pub(crate) async fn is_fenced(server: &Server) -> Result<bool, String> {
    let found = server
        .value("SELECT 1 FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database() AND s.setrole = 0 AND 'default_transaction_read_only=on' = ANY (s.setconfig)")
        .await?;
    Ok(!found.is_empty())
}

/// Writes where all poolers are to lead, before any of them reads it; all of them or none.
pub(crate) fn set_lines(database: &Database, to: Side) -> Result<(), String> {
    for pooler in &database.poolers {
        if let Err(error) = crate::pooler::set_line(pooler, to) {
            for pooler in &database.poolers {
                if let Err(error) = crate::pooler::set_line(pooler, to.other()) {
                    tracing::error!(error, "a pooler's file leads to the wrong side");
                }
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Sends clients on to the other side; there is no way but forward from here. How long they were held.
pub(crate) async fn switch(database: &Database, held: Option<&Held>, to: Side) -> String {
    // All at the same time: one that is gone is asked again for long, and clients of the others don't wait for it.
    let led = database
        .poolers
        .iter()
        .enumerate()
        .map(async |(at, pooler)| {
            match held.map(|held| lead(&held.consoles[at], to)) {
                Some(led) => led.await.map(|()| held.map(Held::told)),
                None => Err("no console is open".to_string()),
            }
            .map_err(|error| (pooler, error))
        });
    let mut late = Vec::new();
    let mut told = None;
    for led in join_all(led).await {
        match led {
            Ok(held) => told = held,
            Err((pooler, error)) => late.push((pooler, error)),
        }
    }
    let insist = late
        .into_iter()
        .map(|(pooler, error)| insist(pooler, error, to));
    let late: Vec<String> = join_all(insist).await.into_iter().flatten().collect();
    let mut told = match (told, held) {
        (Some(told), _) => told,
        (None, Some(held)) => held.told(),
        (None, None) => "it was gone on with after it was cut off".to_string(),
    };
    if let Some(held) = held.filter(|held| !held.strays.is_empty()) {
        told += &format!(
            "; sessions that had gone around the poolers were ended: {}",
            held.strays.join(", ")
        );
    }
    if !late.is_empty() {
        told += &format!("; POOLERS THAT COULD NOT BE TOLD: {}", late.join(", "));
    }
    told
}

async fn lead(console: &Console, to: Side) -> Result<(), String> {
    console.lead_to(to).await?;
    console.resume().await.map(drop)
}

/// Tells a pooler again that did not take it. What it said last, if it can't be told.
async fn insist(pooler: &Pooler, mut error: String, to: Side) -> Option<String> {
    let deadline = Instant::now() + INSIST;
    while Instant::now() < deadline {
        tracing::warn!(error, "a pooler is told again");
        let led = match Console::open(pooler).await {
            Ok(console) => lead(&console, to).await,
            gone => gone.map(drop),
        };
        match led {
            Ok(()) => return None,
            Err(now) => error = now,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // It holds its clients, or is gone; when it comes back it reads where to lead.
    Some(error)
}
