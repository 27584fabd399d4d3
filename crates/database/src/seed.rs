//! A clone as the beginning of a stream: green is made of blue while clients write, and then gets what it lacks.
//!
//! Blue's slot is older than the clone, so the slot has every transaction that is not in the clone, whole. What
//! matters is where in blue's log the clone ends. A clone is therefore brought up by archive recovery, without
//! an archive: when its log has ended it begins a timeline of its own, and writes down where it left blue's
//! (PostgreSQL manual, "Timelines"). Transactions whose commit is before that place are in the clone, all others are
//! sent; those that were open there are rolled back in the clone and come over from their beginning.

use std::time::{Duration, Instant};

use crate::file::Database;
use crate::proof::Proof;
use crate::run::connect;
use crate::server::{Server, Side};
use crate::stream::{self, Table};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// How long a session of a change may take to end when its program has.
const END: Duration = Duration::from_secs(5);

/// The file that says that a server comes up by archive recovery.
pub(crate) const SIGNAL: &str = "recovery.signal";

/// What a clone needs to come up so. Blue's own configuration may have settings of a recovery of its own.
/// Clients are let in only when it is over (`hot_standby`), so green may have other limits than blue.
pub(crate) const RECOVERY: [&str; 11] = [
    "restore_command = 'false'",
    "recovery_target = ''",
    "recovery_target_lsn = ''",
    "recovery_target_name = ''",
    "recovery_target_time = ''",
    "recovery_target_xid = ''",
    "recovery_target_timeline = 'current'",
    "recovery_target_action = 'promote'",
    "recovery_end_command = ''",
    "archive_cleanup_command = ''",
    "hot_standby = off",
];

/// What stands on blue and must not be on a clone of it: the publication, and the slot where all files were
/// copied.
async fn forget_blue(green: &Server) -> Result<(), String> {
    let stream = green.side.stream();
    green
        .run(&format!("DROP PUBLICATION IF EXISTS {stream}"))
        .await?;
    green
        .run(&format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{stream}'"
        ))
        .await?;
    for setting in RECOVERY {
        let (name, _) = setting.split_once(' ').unwrap_or_default();
        green.run(&format!("ALTER SYSTEM RESET {name}")).await?;
    }
    green.run("SELECT pg_reload_conf()").await
}

/// A connection to a clone, as soon as its recovery is over: `pg_ctl` does not wait for that.
pub(crate) async fn up(database: &Database, patience: Duration) -> Result<Server, String> {
    let began = Instant::now();
    loop {
        match connect(database, Side::Green).await {
            Ok(green) if green.value("SELECT pg_is_in_recovery()").await? == "f" => {
                return Ok(green);
            }
            // It is starting up.
            Err(error) if !error.contains("57P03") => return Err(error),
            _ if began.elapsed() > patience => {
                let ms = patience.as_millis();
                return Err(format!("green is still in recovery after {ms} ms"));
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Where in blue's log a clone ends.
async fn end_of(green: &Server, blue: &Server) -> Result<String, String> {
    let same = "SELECT system_identifier FROM pg_control_system()";
    if green.value(same).await? != blue.value(same).await? {
        return Err("green is no clone of blue: it has another system identifier".into());
    }
    let timeline =
        "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int";
    let blues: u32 = blue.value(timeline).await?.parse().unwrap_or(0);
    let history = green
        .value("SELECT pg_read_file('pg_wal/' || name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{8}[.]history$' ORDER BY name DESC LIMIT 1")
        .await?;
    left_at(&history, blues).ok_or_else(|| {
        format!(
            "green does not say where it left blue's timeline {blues}: it must come up with the file {SIGNAL} in its folder, and with {}",
            RECOVERY[0]
        )
    })
}

/// Where a timeline was left, by the history of the one that came after it: its last line, if it is of that one.
fn left_at(history: &str, timeline: u32) -> Option<String> {
    let last = history
        .lines()
        .rfind(|line| line.starts_with(|first: char| first.is_ascii_digit()))?;
    let mut fields = last.split_whitespace();
    let is_of_it = fields.next()?.parse() == Ok(timeline);
    let lsn = fields.next()?;
    is_of_it.then(|| lsn.to_string())
}

/// Lets the stream to a clone begin where the clone ends.
pub(crate) async fn join(green: &Server, blue: &Server) -> Result<String, String> {
    let lsn = end_of(green, blue).await?;
    forget_blue(green).await?;
    stream::begin_at(blue, &lsn).await?;
    Ok(lsn)
}

/// Rows that a change has altered: they would differ from blue's, and those that come from there could not be
/// applied.
pub(crate) struct Watch {
    proof: Proof,
    before: Vec<Vec<String>>,
}

const WRITTEN: &str = "SELECT quote_ident(schemaname) || '.' || quote_ident(relname), n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables ORDER BY 1";

impl Watch {
    /// From before the change.
    pub async fn begin(green: &Server) -> Result<Self, String> {
        let mut proof = Proof::connect(green, green).await?;
        proof.keep_one_before_change().await?;
        Ok(Self {
            proof,
            before: green.rows(WRITTEN).await?,
        })
    }

    /// When the change has been made.
    ///
    /// # Errors
    /// Names the tables whose rows it has altered, in columns that blue has.
    pub async fn end(self, green: &Server, tables: &[Table]) -> Result<(), String> {
        // A session counts what it has written when it ends, which may be after its program has.
        let others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database() AND application_name <> 'everopen'";
        let began = Instant::now();
        let mut is_counted = green.value(others).await? == "0";
        while !is_counted && began.elapsed() < END {
            tokio::time::sleep(LOOK).await;
            is_counted = green.value(others).await? == "0";
        }
        let now = green.rows(WRITTEN).await?;
        let is_written = |table: &&Table| {
            let of = |rows: &[Vec<String>]| rows.iter().find(|row| row[0] == table.name).cloned();
            // Somebody's session is still there: it may have written without having counted.
            !is_counted || of(&now) != of(&self.before)
        };
        let written: Vec<Table> = tables.iter().filter(is_written).cloned().collect();
        let compared = self.proof.compare(&written, None).await;
        compared.map(drop).map_err(|wrong| {
            format!(
                "the change alters rows that blue has, which would go on to come from there: {wrong}. Let it only add, or use the strategy `clone`"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_history_says_where_a_timeline_was_left() {
        let first = "1\t0/3000148\tno recovery target specified\n";
        assert_eq!(left_at(first, 1).as_deref(), Some("0/3000148"));
        let second = "1\t0/3000148\tno recovery target specified\n\n2\t16/B374D848\tno recovery target specified\n";
        assert_eq!(left_at(second, 2).as_deref(), Some("16/B374D848"));
        assert_eq!(left_at(second, 1), None, "a history of blue's own");
        assert_eq!(left_at(first, 2), None, "a clone that began none");
        assert_eq!(left_at("", 1), None);
    }
}
