//! What clients keep in their sessions, which does not come over. Each finding says who: the name that the
//! application gives itself, and the process.
//!
//! PostgreSQL tells of another session's locks and temporary tables; of what else it keeps only its last statement
//! tells something.

use std::collections::BTreeSet;

use super::Findings;
use crate::file::Database;
use crate::server::Server;

/// A session in words.
const WHO: &str = "coalesce(nullif(a.application_name, ''), 'somebody') || ' (process ' || a.pid || ' of ' || coalesce(a.usename, '?') || ')'";
/// Sessions of clients.
const CLIENTS: &str = "a.backend_type = 'client backend' AND a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.application_name <> 'everopen'";

/// What the last statement of a session tells: a pattern for it, what is told, and what to do about it.
const STATEMENTS: [(&str, &str, &str); 4] = [
    (
        r"(^|;)\s*listen\s",
        "sessions that LISTEN",
        "They do not come over: a listener must connect and LISTEN again",
    ),
    (
        r"(^|;)\s*(prepare\s+(?!transaction\y)|execute\s)",
        "sessions that PREPARE statements in SQL",
        "These stay where they were: EXECUTE fails with 26000 after the cutover, and the client must PREPARE again",
    ),
    (
        r"(^|;)\s*declare\s.*\swith\s+hold\s",
        "sessions with a cursor WITH HOLD",
        "It ends at the cutover, and FETCH fails with 34000: read it to its end before, or within one transaction, which is waited for",
    ),
    (
        r"(^|;)\s*set\s+(?!local\y|transaction\y|constraints\y|(session\s+)?(client_encoding|datestyle|timezone|time\s+zone|standard_conforming_strings|application_name)\y)",
        "sessions that SET something",
        "PgBouncer carries over client_encoding, DateStyle, TimeZone, standard_conforming_strings and application_name; for anything else use SET LOCAL, or ALTER ROLE … SET on both sides",
    ),
];

/// Looks at the sessions of clients; those of `from_poolers` serve clients of a pooler.
pub(super) async fn look(
    blue: &Server,
    database: &Database,
    from_poolers: &BTreeSet<u32>,
    findings: &mut Findings,
) -> Result<(), String> {
    let long = format!(
        "SELECT {WHO} || ' for ' || round(extract(epoch FROM clock_timestamp() - a.xact_start)) || ' s' FROM pg_stat_activity a WHERE {CLIENTS} AND clock_timestamp() - a.xact_start > interval '{} milliseconds'",
        database.pause_ms
    );
    findings.list(
        false,
        "transactions that have been open for longer than clients may be held",
        &blue.column(&long).await?,
        "They are waited for and looked at again at the cutover, which is put off as long as there is one",
    );
    let locks = format!(
        "SELECT DISTINCT {WHO} FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND {CLIENTS}"
    );
    findings.list(
        false,
        "advisory locks are held",
        &blue.column(&locks).await?,
        "They do not come over; whoever holds one for longer than a transaction must take it again",
    );
    for (pattern, what, cure) in STATEMENTS {
        let sql = format!(
            "SELECT {WHO} FROM pg_stat_activity a WHERE {CLIENTS} AND a.query ~* '{pattern}' ORDER BY a.pid"
        );
        findings.list(false, what, &blue.column(&sql).await?, cure);
    }
    temporary(blue, findings).await?;
    let all = format!("SELECT a.pid, {WHO} FROM pg_stat_activity a WHERE {CLIENTS} ORDER BY a.pid");
    let around: Vec<String> = blue
        .rows(&all)
        .await?
        .into_iter()
        .filter(|row| row[0].parse().is_ok_and(|pid| !from_poolers.contains(&pid)))
        .map(|row| row[1].clone())
        .collect();
    findings.list(
        false,
        "sessions that have not come through a pooler",
        &around,
        "They are ended when clients are held (57P01), and must connect to the other side themselves",
    );
    Ok(())
}

/// Temporary tables, with whose they are: from 16 on a server tells which process has which temporary schema;
/// before, a last statement may.
async fn temporary(blue: &Server, findings: &mut Findings) -> Result<(), String> {
    let tables = "SELECT substr(n.nspname, 9), quote_ident(c.relname) || ' of ' || pg_get_userbyid(c.relowner) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.relpersistence = 't' AND n.nspname LIKE 'pg\\_temp\\_%' ORDER BY 2";
    let tables = blue.rows(tables).await?;
    if tables.is_empty() {
        return Ok(());
    }
    let knows = blue
        .value("SELECT current_setting('server_version_num')::int >= 160000")
        .await?;
    let told = match knows == "t" {
        true => {
            let sql = format!(
                "SELECT b.id, {WHO} FROM pg_stat_get_backend_idset() b (id) JOIN pg_stat_activity a ON a.pid = pg_stat_get_backend_pid(b.id) WHERE a.backend_type = 'client backend'"
            );
            let sessions = blue.rows(&sql).await?;
            let of = |id: &String| {
                let found = sessions.iter().find(|row| row[0] == *id);
                found.map_or("a session that is gone", |row| row[1].as_str())
            };
            let told = tables
                .iter()
                .map(|row| format!("{}, by {}", row[1], of(&row[0])));
            told.collect()
        }
        false => {
            let sql = format!(
                "SELECT {WHO} FROM pg_stat_activity a WHERE {CLIENTS} AND a.query ~* '(^|;)\\s*create\\s+((local|global)\\s+)?temp' ORDER BY a.pid"
            );
            let mut told: Vec<String> = tables.into_iter().map(|row| row[1].clone()).collect();
            let made = blue.column(&sql).await?;
            told.extend(
                made.iter()
                    .map(|who| format!("the last to make one: {who}")),
            );
            told
        }
    };
    findings.list(
        false,
        "temporary tables of sessions",
        &told,
        "They end with their session at the cutover: make and use one within a transaction, which is waited for",
    );
    Ok(())
}
