//! What must be known of the poolers.

use std::collections::BTreeSet;

use super::Findings;
use crate::file::{Database, Pooler};
use crate::pooler::{Console, leads_to};
use crate::server::Side;

/// Looks at all of them. The processes of blue's that serve their clients.
pub(super) async fn look(
    database: &Database,
    findings: &mut Findings,
) -> Result<BTreeSet<u32>, String> {
    let mut processes = BTreeSet::new();
    for pooler in &database.poolers {
        let console = Console::open(pooler).await?;
        let version = console.show("VERSION").await?;
        let version = version
            .first()
            .and_then(|row| row.first())
            .cloned()
            .unwrap_or_default();
        processes.extend(console.processes().await?);
        let databases = console.show("DATABASES").await?;
        let ours = databases
            .iter()
            .find(|row| row.first() == Some(&pooler.database));
        let Some(ours) = ours else {
            findings.add(
                true,
                format!(
                    "{version} at {} has no database {}",
                    console.address(),
                    pooler.database
                ),
                "Let its configuration include the file that is named here",
            );
            continue;
        };
        let by_session = by_session(&console, pooler, ours).await?;
        if let Some(whom) = by_session {
            findings.add(
                true,
                format!(
                    "{whom} is pooled by session: it can be held only when every client has gone"
                ),
                "pool_mode = transaction, if clients keep nothing in their sessions",
            );
        }
        match setting(&console, "max_prepared_statements").await?.as_deref() {
            None => findings.add(
                false,
                format!("{version} does not carry prepared statements of the protocol in transaction mode"),
                "Clients that use them fail with or without this; 1.22 and later carry them over",
            ),
            Some("0") => findings.add(
                false,
                format!("max_prepared_statements of {version} is 0: it does not carry prepared statements of the protocol in transaction mode"),
                "Clients that use them fail with or without this; with another value they are carried over",
            ),
            Some(_) => {}
        }
        if leads_to(pooler) != Some(Side::Blue) {
            findings.add(
                true,
                format!(
                    "{} does not lead to blue in the words of this file",
                    pooler.file.display()
                ),
                "Write the line as it stands in `blue` of this pooler, and RELOAD it",
            );
        }
    }
    Ok(processes)
}

/// Which database or user keeps a connection for as long as its client is there. A user's mode comes before the
/// database's, and that before the pooler's.
async fn by_session(
    console: &Console,
    pooler: &Pooler,
    ours: &[String],
) -> Result<Option<String>, String> {
    let users = console.show("USERS").await?;
    let pools = console.show("POOLS").await?;
    let has_pool = |user: &str| {
        pools.iter().any(|row| {
            row.first() == Some(&pooler.database) && row.get(1).is_some_and(|of| of == user)
        })
    };
    let of_users: Vec<&str> = users
        .iter()
        // Later versions have more columns.
        .filter(|row| row.iter().skip(1).any(|value| value == "session"))
        .filter_map(|row| row.first().map(String::as_str))
        .filter(|user| has_pool(user))
        .collect();
    if !of_users.is_empty() {
        let users = of_users.join(", ");
        return Ok(Some(format!("{} of {users}", pooler.database)));
    }
    let mode = setting(console, "pool_mode").await?.unwrap_or_default();
    let has_own = |mode: &str| ours.iter().any(|value| value == mode);
    let is_session =
        has_own("session") || mode == "session" && !has_own("transaction") && !has_own("statement");
    Ok(is_session.then(|| pooler.database.clone()))
}

/// A setting of the pooler's; none if it does not know it.
async fn setting(console: &Console, name: &str) -> Result<Option<String>, String> {
    let config = console.show("CONFIG").await?;
    let found = config
        .iter()
        .find(|row| row.first().is_some_and(|key| key == name));
    Ok(found.and_then(|row| row.get(1).cloned()))
}
