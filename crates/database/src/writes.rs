//! Writes are held or refused, and reads go on.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};

use crate::cutover::{Held, What, fence, long_transactions};
use crate::file::{CloneOf, Database, Writes};
use crate::pooler::Console;
use crate::server::Server;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// Looks that find a session which no pooler knows before it is a stray: a pooler knows one when its login is
/// over.
const STRAY: u32 = 25;

/// Sees to it that nobody writes on this side any more. When it fails everything is as before.
pub(crate) async fn hold(
    database: &Database,
    clone: &CloneOf,
    from: &Server,
) -> Result<Held, String> {
    wait_for_long_ones(database, from).await?;
    let consoles = try_join_all(database.poolers.iter().map(Console::open)).await?;
    let mut held = Held::new(
        consoles,
        match clone.writes {
            Writes::Held => What::WritesHeld,
            Writes::Refused => What::WritesRefused,
        },
    );
    match stop(database, clone, from, &mut held).await {
        Ok(()) => Ok(held),
        Err(error) => match let_go(database, from).await {
            Ok(()) => Err(error),
            Err(more) => Err(format!("{error}; and writes can't be let go: {more}")),
        },
    }
}

/// Who began to write long ago would be waited for while others meet a refusal.
async fn wait_for_long_ones(database: &Database, from: &Server) -> Result<(), String> {
    let mut last = Vec::new();
    for attempt in 1..=database.attempts {
        if attempt > 1 {
            tokio::time::sleep(Duration::from_millis(database.retry_ms)).await;
        }
        last = long_transactions(from, database.pause_ms / 2).await?;
        if last.is_empty() {
            return Ok(());
        }
    }
    Err(format!(
        "transactions are open that would have to be waited for: {}; nothing has changed",
        last.join(", ")
    ))
}

async fn stop(
    database: &Database,
    clone: &CloneOf,
    from: &Server,
    held: &mut Held,
) -> Result<(), String> {
    if clone.writes == Writes::Held {
        // Before the fence, or a writer would meet it.
        let patience = Duration::from_millis(database.pause_ms);
        let paused = held.consoles.iter().map(|one| one.pause_writes(patience));
        join_all(paused)
            .await
            .into_iter()
            .collect::<Result<Vec<()>, String>>()?;
        held.note("pause");
    }
    fence(from, true).await?;
    let since = from.value("SELECT clock_timestamp()").await?;
    let all = held.consoles.iter().map(Console::reconnect);
    join_all(all)
        .await
        .into_iter()
        .collect::<Result<Vec<()>, String>>()?;
    held.note("fence");
    let deadline = held.began + Duration::from_millis(clone.hold_ms);
    held.strays = wait_for_sessions(from, &held.consoles, &since, deadline).await?;
    held.note("transactions");
    Ok(())
}

/// A fence binds new sessions only. The poolers end theirs with the transactions that they are in; who came
/// another way is ended, and named.
async fn wait_for_sessions(
    from: &Server,
    consoles: &[Console],
    since: &str,
    deadline: Instant,
) -> Result<Vec<String>, String> {
    let old = format!(
        "SELECT pid, coalesce(nullif(application_name, ''), 'process ' || pid) || ' of ' || usename FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid() AND application_name <> 'everopen' AND backend_start < '{since}'::timestamptz"
    );
    let mut strays = Vec::new();
    let mut unknown: HashMap<String, u32> = HashMap::new();
    loop {
        let sessions = from.rows(&old).await?;
        if sessions.is_empty() {
            return Ok(strays);
        }
        let pooled = try_join_all(consoles.iter().map(Console::processes)).await?;
        let pooled: HashSet<String> = pooled.into_iter().flatten().collect();
        for session in &sessions {
            let (process, name) = (&session[0], &session[1]);
            if pooled.contains(process) {
                unknown.remove(process);
                continue;
            }
            let looks = unknown.entry(process.clone()).or_default();
            *looks += 1;
            if *looks == STRAY {
                from.run(&format!("SELECT pg_terminate_backend({process})"))
                    .await?;
                strays.push(name.clone());
            }
        }
        if Instant::now() > deadline {
            let names: Vec<&str> = sessions.iter().map(|one| one[1].as_str()).collect();
            return Err(format!(
                "transactions of before did not end in time: {}",
                names.join(", ")
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Clients write again where they did.
pub(crate) async fn let_go(database: &Database, from: &Server) -> Result<(), String> {
    fence(from, false).await?;
    let mut wrong = Vec::new();
    for pooler in &database.poolers {
        // One that is gone holds nobody, and what it had is gone with it.
        if let Ok(console) = Console::open(pooler).await {
            // Sessions from meanwhile would go on reading only.
            wrong.extend(console.reconnect().await.err());
            wrong.extend(console.resume().await.err());
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("; ")),
    }
}
