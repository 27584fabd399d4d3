//! Streams of rows from one side to the other: publications, slots and subscriptions.

use std::time::{Duration, Instant};

use crate::dsn::Dsn;
use crate::server::{Server, literal};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// How long a server may take to connect with the other one.
const SUBSCRIBE: Duration = Duration::from_secs(30);
/// How long workers may be told to leave a subscription alone.
const ALONE: Duration = Duration::from_secs(60);
/// How long a slot may stay in use after who used it has gone.
const RELEASE: Duration = Duration::from_secs(20);

/// A table of the user's that holds rows itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Schema and name, quoted.
    pub name: String,
    /// Its columns that are stored, quoted, in order.
    pub columns: Vec<String>,
    /// Columns and their types, for people and to see whether they changed.
    pub shape: String,
    /// Whether its rows are known by all of their columns.
    pub is_full: bool,
}

/// Schemas that are not the user's.
pub(crate) const OTHERS: &str =
    "n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'everopen')";

/// All tables of a side, and the barrier.
pub(crate) async fn tables(server: &Server) -> Result<Vec<Table>, String> {
    let sql = format!(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname),
                string_agg(quote_ident(a.attname), ',' ORDER BY a.attnum),
                string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum),
                c.relreplident = 'f'
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
         WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND {OTHERS}
         GROUP BY 1, c.oid ORDER BY 1"
    );
    let rows = server.rows(&sql).await?;
    Ok(rows
        .into_iter()
        .map(|row| Table {
            name: row[0].clone(),
            columns: row[1].split(',').map(str::to_string).collect(),
            shape: row[2].clone(),
            is_full: row[3] == "t",
        })
        .collect())
}

/// What is ours on a side: a schema with the barrier, into which a token is written that must come out on
/// the other side; and which server that is, since it may be gone when what it left here is to be found.
pub(crate) async fn prepare(server: &Server, follower: &Server) -> Result<(), String> {
    let system = follower
        .value("SELECT system_identifier FROM pg_control_system()")
        .await?;
    server
        .run(&format!(
            "CREATE SCHEMA IF NOT EXISTS everopen;
             CREATE TABLE IF NOT EXISTS everopen.barrier (token text PRIMARY KEY);
             CREATE TABLE IF NOT EXISTS everopen.follower (system text PRIMARY KEY);
             DELETE FROM everopen.follower;
             INSERT INTO everopen.follower VALUES ({})",
            literal(&system)
        ))
        .await
}

/// What both sides have: tables, and of each the columns. A change may have added some on one side.
pub(crate) fn common(one: &[Table], other: &[Table]) -> Vec<Table> {
    let of = |table: &Table| {
        let there = other.iter().find(|there| there.name == table.name)?;
        let mut table = table.clone();
        table
            .columns
            .retain(|column| there.columns.contains(column));
        Some(table)
    };
    one.iter().filter_map(of).collect()
}

/// Publishes these tables towards the other side: only the columns that both have. Where the change is still to
/// come, these and no later ones; else a table is published without a list where it can be, since columns of a
/// list can't be dropped.
pub(crate) async fn publish(
    from: &Server,
    tables: &[Table],
    is_to_change: bool,
) -> Result<(), String> {
    let name = from.side.other().stream();
    let own = self::tables(from).await?;
    only_whole(tables, &own)?;
    let mut all: Vec<String> = tables
        .iter()
        .map(|table| {
            let is_whole = own
                .iter()
                .any(|own| own.name == table.name && own.columns.len() == table.columns.len());
            match table.is_full || (is_whole && !is_to_change) {
                true => table.name.clone(),
                false => format!("{} ({})", table.name, table.columns.join(", ")),
            }
        })
        .collect();
    all.push("everopen.barrier".into());
    from.run(&format!(
        "DROP PUBLICATION IF EXISTS {name}; CREATE PUBLICATION {name} FOR TABLE {}",
        all.join(", ")
    ))
    .await
}

/// Tables whose rows are known by all of their columns can't be published without some of them: an UPDATE of a
/// client would fail.
pub(crate) fn only_whole(tables: &[Table], own: &[Table]) -> Result<(), String> {
    let grown = tables.iter().filter(|table| table.is_full).find(|table| {
        let own = own.iter().find(|own| own.name == table.name);
        own.is_some_and(|own| own.columns.len() != table.columns.len())
    });
    match grown {
        None => Ok(()),
        Some(table) => Err(format!(
            "{} has REPLICA IDENTITY FULL and gets a column by the change: every UPDATE of it would fail. Give it a primary key first",
            table.name
        )),
    }
}

/// Makes a slot for a stream from here, which holds the log from now on. All transactions that are open must end
/// before it is there.
pub(crate) async fn make_slot(from: &Server, patience: Duration) -> Result<(), String> {
    drop_slot(from).await?;
    let name = from.side.other().stream();
    let patience = patience.as_millis().min(i32::MAX as u128);
    from.run(&format!("SET statement_timeout = {patience}"))
        .await?;
    let made = from
        .run(&format!(
            "SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"
        ))
        .await;
    from.run("SET statement_timeout = 0").await?;
    made.map_err(|error| match error.contains("57014") {
        true => format!(
            "transactions that were open on {} had not ended within {patience} ms",
            from.side.name()
        ),
        false => error,
    })
}

/// Drops the slot of the stream from here; who used it may not have noticed yet that it is over.
pub(crate) async fn drop_slot(from: &Server) -> Result<(), String> {
    let name = from.side.other().stream();
    drop_slots(from, &format!("slot_name = '{name}'")).await
}

/// Drops the slots by which the other side copied its tables. It does that itself, unless it died.
pub(crate) async fn drop_copies(from: &Server) -> Result<(), String> {
    let is_known = from
        .value("SELECT to_regclass('everopen.follower') IS NOT NULL")
        .await?;
    if is_known != "t" {
        return Ok(());
    }
    // The server's name for them ends in who copies (`ReplicationSlotNameForTablesync`).
    let which = "slot_name ~ ('^pg_[0-9]+_sync_[0-9]+_' || (SELECT max(system) FROM everopen.follower) || '$')";
    drop_slots(from, which).await
}

/// Drops these slots. A server that was cut off may hold one for a minute here; it is told to leave.
async fn drop_slots(from: &Server, which: &str) -> Result<(), String> {
    let deadline = Instant::now() + RELEASE;
    loop {
        let dropped = from
            .run(&format!(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE {which}"
            ))
            .await;
        match dropped {
            Err(error) if error.contains("55006") && Instant::now() < deadline => {
                from.run(&format!(
                    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL AND {which}"
                ))
                .await?;
                tokio::time::sleep(LOOK).await;
            }
            done => return done,
        }
    }
}

/// Begins to take what the other side publishes: with its rows so far, or from where its slot stands.
pub(crate) async fn subscribe(
    to: &Server,
    from: &Server,
    with_copy: bool,
    patience: Duration,
) -> Result<(), String> {
    let name = to.side.stream();
    let how = match with_copy {
        true => "copy_data = true, create_slot = true",
        false => "copy_data = false, create_slot = false, enabled = false",
    };
    let patience = patience.min(SUBSCRIBE).as_millis();
    to.run(&format!("SET statement_timeout = {patience}"))
        .await?;
    // It connects with the other side, and by itself waits for ever where the network is cut.
    let done = to
        .run(&format!(
            "CREATE SUBSCRIPTION {name} CONNECTION {} PUBLICATION {name} WITH ({how}, slot_name = '{name}')",
            literal(&Dsn::with_patience(&from.from_other))
        ))
        .await;
    to.run("SET statement_timeout = 0").await?;
    done.map_err(|error| match error.contains("57014") {
        true => format!(
            "{} could not subscribe within {patience} ms: does it reach {}?",
            to.side.name(),
            from.side.name()
        ),
        false => error,
    })?;
    match with_copy {
        true => Ok(()),
        false => begin_where_noted(to, from).await,
    }
}

/// Forgets where a stream from here would begin.
pub(crate) async fn forget_beginning(from: &Server) -> Result<(), String> {
    from.run(
        "CREATE TABLE IF NOT EXISTS everopen.way_back (lsn pg_lsn); DELETE FROM everopen.way_back",
    )
    .await
}

/// Moves the slot of the stream from here to now, and notes where that is: a server that dies before its next
/// checkpoint finds its slot where it was before, and would send what had come from the other side.
pub(crate) async fn move_slot(from: &Server) -> Result<(), String> {
    let slot = from.side.other().stream();
    from.run(&format!(
        "INSERT INTO everopen.way_back SELECT end_lsn FROM pg_replication_slot_advance('{slot}', pg_current_wal_lsn())"
    ))
    .await
}

/// Moves the slot of the stream from here to a place in the log, and notes it.
pub(crate) async fn begin_at(from: &Server, lsn: &str) -> Result<(), String> {
    let (slot, lsn) = (from.side.other().stream(), literal(lsn));
    forget_beginning(from).await?;
    from.run(&format!("INSERT INTO everopen.way_back VALUES ({lsn})"))
        .await?;
    from.run(&format!(
        "SELECT pg_replication_slot_advance('{slot}', {lsn})"
    ))
    .await
}

/// Lets a subscription begin where the other side has noted, whatever its slot says now.
async fn begin_where_noted(to: &Server, from: &Server) -> Result<(), String> {
    let noted = from.value("SELECT max(lsn) FROM everopen.way_back").await?;
    let name = to.side.stream();
    if !noted.is_empty() {
        to.run(&format!(
            "SELECT pg_replication_origin_advance('pg_' || oid, {}) FROM pg_subscription WHERE subname = '{name}' AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
            literal(&noted)
        ))
        .await?;
    }
    to.run(&format!("ALTER SUBSCRIPTION {name} ENABLE")).await
}

/// Workers of subscriptions in a database, by all names that they have had.
const WORKERS: &str =
    "datname = current_database() AND backend_type LIKE 'logical replication %worker'";

/// Changes a subscription. A worker that copies a table has a lock on it, for as long as the network is cut in the
/// middle: workers are told to leave then. One that waits for the end of a copy does not hear it (libpq's
/// `PQendcopy`), and leaves when its connection fails ([`Dsn::with_patience`]).
async fn alone(to: &Server, sql: &str) -> Result<(), String> {
    let name = to.side.stream();
    let began = Instant::now();
    to.run("SET lock_timeout = 1000").await?;
    let done = loop {
        match to.run(sql).await {
            Err(error) if error.contains("55P03") && began.elapsed() < ALONE => {
                let workers = match began.elapsed() < RELEASE {
                    true => {
                        format!("pg_stat_subscription WHERE subname = '{name}' AND pid IS NOT NULL")
                    }
                    // Those that have not said yet for which subscription they are, too; others begin again.
                    false => format!("pg_stat_activity WHERE {WORKERS}"),
                };
                to.run(&format!("SELECT pg_terminate_backend(pid) FROM {workers}"))
                    .await?;
            }
            Err(error) if error.contains("55P03") => {
                let workers = to
                    .column(&format!("SELECT backend_type || ' ' || pid || ' waits for ' || coalesce(wait_event, 'nothing') FROM pg_stat_activity WHERE {WORKERS}"))
                    .await?;
                break Err(format!("{error}; at work are: {}", workers.join(", ")));
            }
            done => break done,
        }
    };
    to.run("RESET lock_timeout").await?;
    done
}

/// Whether a side has a subscription that has begun.
pub(crate) async fn is_subscribed(to: &Server) -> Result<bool, String> {
    let name = to.side.stream();
    let begun = to
        .value(&format!("SELECT 1 FROM pg_subscription WHERE subname = '{name}' AND subenabled AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"))
        .await?;
    Ok(!begun.is_empty())
}

/// Ends what a side takes from the other; the slot there is somebody else's business.
pub(crate) async fn unsubscribe(to: &Server) -> Result<(), String> {
    let name = to.side.stream();
    let there = to
        .value(&format!("SELECT 1 FROM pg_subscription WHERE subname = '{name}' AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"))
        .await?;
    if there.is_empty() {
        return Ok(());
    }
    // Each on its own: they may not be in one transaction.
    alone(to, &format!("ALTER SUBSCRIPTION {name} DISABLE")).await?;
    alone(
        to,
        &format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
    )
    .await?;
    // If tables were still copied it would ask the other side to drop their slots, and wait for ever where the
    // network is cut; nobody is at this address. Those slots are dropped there, by whoever takes all of it back.
    alone(
        to,
        &format!("ALTER SUBSCRIPTION {name} CONNECTION 'host=127.0.0.1 port=1'"),
    )
    .await?;
    alone(to, &format!("DROP SUBSCRIPTION {name}")).await
}

/// Why rows can't be applied on a side, if they can't. Before 15 nobody counts errors; there the time limit is
/// all.
async fn is_stuck(to: &Server) -> Result<(), String> {
    let name = to.side.stream();
    let errors = to
        .value(&format!(
            "SELECT apply_error_count + sync_error_count FROM pg_stat_subscription_stats WHERE subname = '{name}'"
        ))
        .await
        .unwrap_or_default();
    match errors.parse::<u64>() {
        Ok(errors) if errors > 5 => Err(format!(
            "rows can't be applied ({errors} errors; the log of {} says which)",
            to.side.name()
        )),
        _ => Ok(()),
    }
}

/// Waits until everything that was written so far has come over, as long as both sides are there.
pub(crate) async fn followed(
    to: &Server,
    from: &Server,
    patience: Duration,
) -> Result<String, String> {
    let began = Instant::now();
    let token = literal(&from.value("SELECT gen_random_uuid()").await?);
    let behind = from
        .value(&format!("SELECT pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)) FROM pg_replication_slots WHERE slot_name = '{}'", to.side.stream()))
        .await?;
    from.run(&format!("INSERT INTO everopen.barrier VALUES ({token})"))
        .await?;
    let look = format!("SELECT 1 FROM everopen.barrier WHERE token = {token}");
    while to.value(&look).await?.is_empty() {
        // The other side only tries again when it can't reach this one.
        from.value("SELECT 1").await?;
        is_stuck(to).await?;
        if began.elapsed() > patience {
            return Err(format!(
                "{} did not come up with {} within {} ms",
                to.side.name(),
                from.side.name(),
                patience.as_millis()
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
    let ms = began.elapsed().as_millis();
    Ok(format!("{behind} of log after {ms} ms"))
}

/// Waits until every table is copied and rows come as they are written, as long as both sides are there.
pub(crate) async fn copied(
    to: &Server,
    from: &Server,
    patience: Duration,
) -> Result<String, String> {
    let name = to.side.stream();
    let began = Instant::now();
    loop {
        let state = to
            .rows(&format!(
                "SELECT count(*), count(*) FILTER (WHERE srsubstate = 'r') FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid WHERE s.subname = '{name}'"
            ))
            .await?;
        // The other side only tries again when it can't reach this one.
        from.value("SELECT 1").await?;
        let (all, ready) = (state[0][0].clone(), state[0][1].clone());
        if all == ready && all != "0" {
            return Ok(format!(
                "{all} tables after {} ms",
                began.elapsed().as_millis()
            ));
        }
        if began.elapsed() > patience {
            return Err(format!(
                "{ready} of {all} tables within {} ms",
                patience.as_millis()
            ));
        }
        is_stuck(to).await?;
        tokio::time::sleep(LOOK).await;
    }
}

/// Drops all that is ours on a side.
pub(crate) async fn clean(server: &Server) -> Result<(), String> {
    unsubscribe(server).await?;
    let name = server.side.other().stream();
    server
        .run(&format!("DROP PUBLICATION IF EXISTS {name}"))
        .await
}
