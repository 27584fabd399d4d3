//! Writes are held or refused, and reads go on.
//!
//! What binds writers is the database's default for new sessions, so the poolers need new sessions at the moment
//! when it changes, and at the moment when they lead elsewhere. Their way for that without holding anybody
//! (`RECONNECT`, `RELOAD`) also closes sessions that are just logging in, takes that for a login that failed, and
//! refuses clients for seconds (`server_login_retry`; seen with 1.18). So all are held for these moments, as in a
//! cutover: some milliseconds, within the same budget.

use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};

use crate::cutover::{Held, What, end_strays, fence, long_transactions};
use crate::file::{CloneOf, Database, Writes};
use crate::pooler::Console;
use crate::server::Server;

/// Sees to it that nobody writes on this side any more. When it fails everything is as before.
pub(crate) async fn hold(
    database: &Database,
    clone: &CloneOf,
    from: &Server,
) -> Result<Held, String> {
    tries(database, async || {
        wait_for_none(database, from).await?;
        let consoles = open(database).await?;
        let what = match clone.writes() {
            Writes::Held => What::WritesHeld,
            Writes::Refused => What::WritesRefused,
        };
        let mut held = Held::new(consoles, what);
        match stop(database, clone, from, &mut held).await {
            Ok(()) => Ok(held),
            Err(error) => {
                let_go(database, from).await?;
                Err(error)
            }
        }
    })
    .await
}

/// As often as it may be tried.
async fn tries<T>(
    database: &Database,
    one: impl AsyncFn() -> Result<T, String>,
) -> Result<T, String> {
    let mut last = String::new();
    for attempt in 1..=database.attempts {
        if attempt > 1 {
            tokio::time::sleep(Duration::from_millis(database.retry_ms)).await;
        }
        match one().await {
            Ok(done) => return Ok(done),
            Err(error) => {
                tracing::info!(attempt, error, "it is put off");
                last = error;
            }
        }
    }
    Err(format!(
        "clients could not be held for {} ms or less in {} tries. The last: {last}",
        database.pause_ms, database.attempts
    ))
}

async fn open(database: &Database) -> Result<Vec<Console>, String> {
    try_join_all(database.poolers.iter().map(Console::open)).await
}

/// The consoles of poolers that are not gone.
async fn those_there(database: &Database) -> Vec<Console> {
    let opened = join_all(database.poolers.iter().map(Console::open)).await;
    opened.into_iter().filter_map(Result::ok).collect()
}

/// Whoever reads or writes for long would be waited for, and all others with him.
async fn wait_for_none(database: &Database, from: &Server) -> Result<(), String> {
    let long = long_transactions(from, database.pause_ms / 2).await?;
    match long.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "transactions are open that would have to be waited for: {}",
            long.join(", ")
        )),
    }
}

/// Holds all clients until no pooler has a connection to a server any more.
async fn pause(consoles: &[Console], budget: Duration) -> Result<(), String> {
    let began = Instant::now();
    let paused = consoles.iter().map(|console| console.pause(budget));
    join_all(paused)
        .await
        .into_iter()
        .collect::<Result<Vec<()>, String>>()?;
    let left = budget.saturating_sub(began.elapsed());
    let apart = consoles.iter().map(|console| console.wait_apart(left));
    join_all(apart)
        .await
        .into_iter()
        .collect::<Result<Vec<()>, String>>()?;
    Ok(())
}

async fn stop(
    database: &Database,
    clone: &CloneOf,
    from: &Server,
    held: &mut Held,
) -> Result<(), String> {
    pause(&held.consoles, Duration::from_millis(database.pause_ms)).await?;
    fence(from, true).await?;
    held.strays = end_strays(from).await?;
    for console in &held.consoles {
        match clone.writes() {
            Writes::Refused => drop(console.resume().await?),
            Writes::Held => console.resume_reads().await?,
        }
    }
    held.note("all held");
    Ok(())
}

/// Holds all for the moment in which the poolers are led elsewhere.
pub(crate) async fn hold_all(
    database: &Database,
    from: &Server,
    held: &mut Held,
) -> Result<(), String> {
    let budget = Duration::from_millis(database.pause_ms);
    held.consoles = tries(database, async || {
        wait_for_none(database, from).await?;
        let consoles = open(database).await?;
        match pause(&consoles, budget).await {
            Ok(()) => Ok(consoles),
            Err(error) => {
                // Those who read go on until the next try; who writes waits, or is refused. By other consoles:
                // these may still wait for an answer. One that is gone holds nobody.
                for console in those_there(database).await {
                    console.resume_reads().await?;
                }
                Err(error)
            }
        }
    })
    .await?;
    held.note("all held again");
    Ok(())
}

/// Clients write again where they did.
pub(crate) async fn let_go(database: &Database, from: &Server) -> Result<(), String> {
    // One that is gone holds nobody, and what it had is gone with it.
    let consoles = those_there(database).await;
    let budget = Duration::from_millis(database.pause_ms);
    let are_apart = pause(&consoles, budget).await.is_ok();
    fence(from, false).await?;
    let consoles = match are_apart {
        true => consoles,
        // These may still wait for an answer.
        false => those_there(database).await,
    };
    let mut wrong = Vec::new();
    for console in &consoles {
        if !are_apart {
            // Sessions from meanwhile would go on reading only.
            wrong.extend(console.reconnect().await.err());
        }
        wrong.extend(console.resume().await.err());
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("; ")),
    }
}
