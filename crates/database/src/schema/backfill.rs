//! Rows that get values, some at a time, no faster than others can follow.

use std::time::{Duration, Instant};

use super::file::Backfill;
use crate::server::{Server, literal};

/// Between two looks whether others have caught up.
const LOOK: Duration = Duration::from_millis(200);
/// Pages of a table that are looked through at once, at most.
const PAGES_MAX: u64 = 4_096;

/// How often a table is gone through from its beginning.
const PASSES: u32 = 5;

/// What it came to.
#[derive(Debug, Default)]
pub(super) struct Filled {
    rows: u64,
    transactions: u64,
    longest: Duration,
    waited: Duration,
}

impl Filled {
    pub fn told(&self, table: &str) -> String {
        format!(
            "{table}: {} rows in {} transactions, the longest {} ms; waited {} ms for others to follow",
            self.rows,
            self.transactions,
            self.longest.as_millis(),
            self.waited.as_millis()
        )
    }
}

/// Fills one table. What is already done is passed over, so it may be done again after it was cut off.
pub(super) async fn fill(
    server: &Server,
    backfill: &Backfill,
    lock_ms: u64,
) -> Result<Filled, String> {
    let table = &backfill.table;
    let kind = server
        .value(&format!(
            "SELECT relkind FROM pg_class WHERE oid = to_regclass({})",
            literal(table)
        ))
        .await?;
    match kind.as_str() {
        "r" => {}
        "" => return Err(format!("there is no table {table}")),
        _ => return Err(format!("{table} is no plain table: fill its partitions")),
    }
    let mut filled = Filled::default();
    let batch = u64::from(backfill.batch);
    // Pages that have about a batch of rows; found out as it goes.
    let mut pages = 8_u64;
    let mut passes = 0;
    loop {
        let mut page = 0;
        // Rows that are written go to later pages, where they are passed over; so the end is looked for anew.
        while page < end(server, table).await? {
            wait_for_others(server, backfill, &mut filled).await?;
            let began = Instant::now();
            let (until, limit) = (page + pages, backfill.batch);
            let sql = format!(
                "SET lock_timeout = {lock_ms};
                 WITH batch AS (SELECT ctid FROM {table} WHERE ctid >= '({page},0)' AND ctid < '({until},0)' AND ({}) LIMIT {limit} FOR UPDATE),
                      done AS (UPDATE {table} SET {} FROM batch WHERE {table}.ctid = batch.ctid RETURNING ({}) AS again)
                 SELECT count(*), count(*) FILTER (WHERE again) FROM done",
                backfill.still, backfill.set, backfill.still
            );
            let count = match server.rows(&sql).await {
                Ok(rows) => {
                    let number =
                        |at: usize| rows.first().and_then(|row| row[at].parse::<u64>().ok());
                    // Else it would never end.
                    if number(1) != Some(0) {
                        return Err(format!(
                            "{table}: rows stay for which `{}` holds: does `{}` end that?",
                            backfill.still, backfill.set
                        ));
                    }
                    number(0).unwrap_or(0)
                }
                // Somebody has a row for longer than one may wait: fewer the next time, and again.
                Err(error) if error.contains("55P03") => {
                    pages = (pages / 2).max(1);
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let took = began.elapsed();
            if count > 0 {
                filled.rows += count;
                filled.transactions += 1;
                filled.longest = filled.longest.max(took);
                tokio::time::sleep(Duration::from_millis(backfill.pause_ms)).await;
            }
            // A full batch may have left rows behind in these pages.
            if count < batch {
                page = until;
            }
            if took > Duration::from_millis(lock_ms) {
                pages = (pages / 2).max(1);
            } else if count < batch / 2 {
                pages = (pages * 2).min(PAGES_MAX);
            }
        }
        let left = server
            .value(&format!(
                "SELECT EXISTS (SELECT FROM {table} WHERE {})",
                backfill.still
            ))
            .await?;
        if left != "t" {
            return Ok(filled);
        }
        passes += 1;
        if passes == PASSES {
            return Err(format!(
                "{table}: rows for which `{}` holds go on coming: let the database fill them (a trigger, a default)",
                backfill.still
            ));
        }
    }
}

async fn end(server: &Server, table: &str) -> Result<u64, String> {
    let pages = server
        .value(&format!(
            "SELECT pg_relation_size({}) / current_setting('block_size')::int",
            literal(table)
        ))
        .await?;
    pages
        .parse()
        .map_err(|_| format!("{table}: its size is not known"))
}

/// Waits while a standby or a slot is too far behind.
async fn wait_for_others(
    server: &Server,
    backfill: &Backfill,
    filled: &mut Filled,
) -> Result<(), String> {
    // Standbys and logical subscribers that are connected: one that is gone would stop this for ever.
    let behind = "SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0)::bigint / 1048576 FROM pg_stat_replication";
    let began = Instant::now();
    loop {
        let megabytes: u64 = server.value(behind).await?.parse().unwrap_or(0);
        if megabytes <= backfill.lag_mb {
            break;
        }
        tracing::info!(megabytes, table = backfill.table, "others are behind");
        tokio::time::sleep(LOOK).await;
    }
    if began.elapsed() > LOOK {
        filled.waited += began.elapsed();
    }
    Ok(())
}
