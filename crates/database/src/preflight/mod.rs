//! What must be known before anything is begun, and what to do about it.

mod cloned;
mod poolers;
mod room;
mod sessions;

use std::fmt;

use crate::dsn::Dsn;
use crate::file::{Database, How};
use crate::server::{Server, Side, literal};
use crate::stream::OTHERS;

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether nothing is begun as long as it is so.
    pub blocks: bool,
    /// What.
    pub what: String,
    /// What to do about it.
    pub cure: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.blocks { "BLOCKS" } else { "note" };
        write!(f, "{word}: {}. {}", self.what, self.cure)
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, blocks: bool, what: String, cure: &'static str) {
        self.0.push(Finding { blocks, what, cure });
    }

    /// One finding for everything that a query names.
    fn list(&mut self, blocks: bool, what: &str, found: &[String], cure: &'static str) {
        if found.is_empty() {
            return;
        }
        let mut names: Vec<&str> = found.iter().take(10).map(String::as_str).collect();
        if found.len() > names.len() {
            names.push("…");
        }
        self.add(blocks, format!("{what}: {}", names.join(", ")), cure);
    }
}

/// Looks at both sides and at the poolers.
///
/// # Errors
/// One of them can't be asked.
pub async fn look(database: &Database) -> Result<Vec<Finding>, String> {
    let blue = Server::connect(Side::Blue, &database.blue).await?;
    let mut findings = Findings::default();
    on_blue(&blue, &mut findings).await?;
    files(
        &blue,
        Side::Green,
        &database.green_from_blue,
        &database.green,
        &mut findings,
    )
    .await?;
    match database
        .clone
        .as_ref()
        .filter(|clone| clone.how != How::Dump)
    {
        None => {
            let green = Server::connect(Side::Green, &database.green).await?;
            alone(&blue, &mut findings).await?;
            alone(&green, &mut findings).await?;
            files(
                &green,
                Side::Blue,
                &database.blue_from_green,
                &database.blue,
                &mut findings,
            )
            .await?;
            both(&blue, &green, &mut findings).await?;
            room::look(&blue, &green, &mut findings).await?;
        }
        Some(clone) => {
            alone(&blue, &mut findings).await?;
            cloned::look(&blue, database, clone, &mut findings).await?;
        }
    }
    let from_poolers = poolers::look(database, &mut findings).await?;
    sessions::look(&blue, database, &from_poolers, &mut findings).await?;
    Ok(findings.0)
}

/// Files by which a server is to know the other one, which it reads itself.
async fn files(
    server: &Server,
    other: Side,
    from_here: &Option<String>,
    dsn: &str,
    findings: &mut Findings,
) -> Result<(), String> {
    let dsn = Dsn::parse(from_here.as_deref().unwrap_or(dsn))?;
    for (key, path) in dsn.files() {
        let path = path.display().to_string();
        let look = format!("SELECT (pg_stat_file({}, true)).size", literal(&path));
        if server.value(&look).await?.is_empty() {
            findings.add(
                true,
                format!(
                    "{}'s host has no {path}, which {key} names for its stream from {}",
                    server.side.name(),
                    other.name()
                ),
                "Put it there, readable for the server, or say in `blue_from_green` or `green_from_blue` how it reaches the other",
            );
        }
    }
    Ok(())
}

async fn on_blue(blue: &Server, findings: &mut Findings) -> Result<(), String> {
    let name = "quote_ident(n.nspname) || '.' || quote_ident(c.relname)";
    let of = |what: &str| {
        format!(
            "SELECT {name} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OTHERS} AND {what} ORDER BY 1"
        )
    };
    let identity = of(
        "c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND (c.relreplident = 'n' OR (c.relreplident = 'd' AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)))",
    );
    findings.list(
        true,
        "tables without a primary key or replica identity: an UPDATE or DELETE would fail on blue as soon as they are published",
        &blue.column(&identity).await?,
        "Give each a primary key, or ALTER TABLE … REPLICA IDENTITY FULL",
    );
    findings.list(
        true,
        "unlogged tables: their rows do not come over",
        &blue
            .column(&of("c.relkind = 'r' AND c.relpersistence = 'u'"))
            .await?,
        "ALTER TABLE … SET LOGGED, or drop them",
    );
    findings.list(
        false,
        "materialized views come over empty",
        &blue.column(&of("c.relkind = 'm'")).await?,
        "REFRESH them on green before the cutover",
    );
    findings.list(
        true,
        "foreign tables can't be published",
        &blue.column(&of("c.relkind = 'f'")).await?,
        "Make them on green by hand and drop them here, or move them to another database",
    );
    let objects = blue
        .value("SELECT count(*) FROM pg_largeobject_metadata")
        .await?;
    if objects != "0" {
        findings.add(
            true,
            format!("{objects} large objects: they do not come over"),
            "Move them into bytea columns",
        );
    }
    let prepared = blue
        .column("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
        .await?;
    findings.list(
        true,
        "prepared transactions: they stay on blue",
        &prepared,
        "COMMIT PREPARED or ROLLBACK PREPARED",
    );
    let sequences = "SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename) || ' at ' || last_value FROM pg_sequences WHERE last_value > max_value - (max_value / 10) AND NOT cycle AND increment_by > 0";
    findings.list(
        false,
        "sequences near their end",
        &blue.column(sequences).await?,
        "ALTER SEQUENCE … AS bigint",
    );
    Ok(())
}

fn setting(name: &str) -> String {
    format!("SELECT setting FROM pg_settings WHERE name = '{name}'")
}

/// Slots and senders that a server must have left.
async fn limits(server: &Server, needed: [i64; 2], findings: &mut Findings) -> Result<(), String> {
    let looks = [
        (
            "max_replication_slots",
            "SELECT count(*) FROM pg_replication_slots",
        ),
        (
            "max_wal_senders",
            "SELECT count(*) FROM pg_stat_replication",
        ),
    ];
    let side = server.side.name();
    for ((limit, used), needed) in looks.into_iter().zip(needed) {
        let limit_is: i64 = server.value(&setting(limit)).await?.parse().unwrap_or(0);
        let used: i64 = server.value(used).await?.parse().unwrap_or(0);
        if limit_is - used < needed {
            findings.add(
                true,
                format!(
                    "{limit} of {side}: {used} of {limit_is} are in use, and {needed} are needed"
                ),
                "Raise it, and restart the server",
            );
        }
    }
    Ok(())
}

/// What a server must be able to do.
async fn alone(server: &Server, findings: &mut Findings) -> Result<(), String> {
    let side = server.side.name();
    if server.value(&setting("wal_level")).await? != "logical" {
        findings.add(
            true,
            format!("wal_level of {side} is not logical: there is no stream from it"),
            "ALTER SYSTEM SET wal_level = logical, and restart it",
        );
    }
    // One stream, and copies of tables while they last.
    limits(server, [3, 3], findings).await?;
    let may = server
        .value("SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user")
        .await?;
    let owns = server
        .value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        .await?;
    if may != "t" || owns != "t" {
        findings.add(
            true,
            format!("the user of {side} is no superuser"),
            "Subscriptions, and tables of other owners, need one",
        );
    }
    let ours = server
        .column("SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'everopen\\_to\\_%' UNION SELECT subname FROM pg_subscription WHERE subname LIKE 'everopen\\_to\\_%'")
        .await?;
    findings.list(
        true,
        "slots or subscriptions of an earlier rollout",
        &ours,
        "Finish or roll back that one first (`everopen rollout finish`)",
    );
    Ok(())
}

async fn both(blue: &Server, green: &Server, findings: &mut Findings) -> Result<(), String> {
    let version = "SELECT current_setting('server_version_num')::int / 10000";
    let (old, new): (u32, u32) = (
        blue.value(version).await?.parse().unwrap_or(0),
        green.value(version).await?.parse().unwrap_or(0),
    );
    if old < 15 || new < old {
        findings.add(
            true,
            format!("from PostgreSQL {old} to {new}: 15 and later are supported, and never an earlier one"),
            "Choose a green of the same or a later major version",
        );
    }
    let encoding =
        "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()";
    let (was, is) = (blue.value(encoding).await?, green.value(encoding).await?);
    if was != is {
        findings.add(
            true,
            format!("encoding {was} on blue, {is} on green"),
            "Make green's database with the same encoding",
        );
    }
    let collation =
        "SELECT datcollate || '/' || datctype FROM pg_database WHERE datname = current_database()";
    let (was, is) = (blue.value(collation).await?, green.value(collation).await?);
    if was != is {
        findings.add(
            true,
            format!("collation {was} on blue, {is} on green: rows would sort otherwise"),
            "Make green's database with the same LC_COLLATE and LC_CTYPE",
        );
    }
    let collation =
        "SELECT coalesce(datcollversion, '') FROM pg_database WHERE datname = current_database()";
    let (was, is) = (blue.value(collation).await?, green.value(collation).await?);
    if was != is {
        findings.add(
            false,
            format!("the collation's version is {was:?} on blue and {is:?} on green: texts may sort otherwise"),
            "Look at ranges and unique indexes over text",
        );
    }
    let extensions = blue
        .column("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'")
        .await?;
    let available = green
        .column("SELECT name FROM pg_available_extensions")
        .await?;
    let missing: Vec<String> = extensions
        .into_iter()
        .filter(|one| !available.contains(one))
        .collect();
    findings.list(
        true,
        "extensions that green's server does not have",
        &missing,
        "Install their packages there",
    );
    let roles = "SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%'";
    let there = green.column(roles).await?;
    let missing: Vec<String> = blue
        .column(roles)
        .await?
        .into_iter()
        .filter(|one| !there.contains(one))
        .collect();
    findings.list(
        true,
        "roles that green's server does not have: owners and grants would be lost",
        &missing,
        "pg_dumpall --roles-only from blue into green",
    );
    // `pg_dump` of a schema has none of them.
    let settings = "SELECT coalesce(quote_ident(r.rolname) || ': ', '') || one FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) one WHERE d.datname = current_database() AND one NOT LIKE 'default_transaction_read_only=%' ORDER BY 1";
    let there = green.column(settings).await?;
    let missing: Vec<String> = blue
        .column(settings)
        .await?
        .into_iter()
        .filter(|one| !there.contains(one))
        .collect();
    findings.list(
        true,
        "settings of the database that green's does not have",
        &missing,
        "ALTER DATABASE … SET, or ALTER ROLE … IN DATABASE … SET, on green as on blue",
    );
    let sql = format!(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND {OTHERS}"
    );
    findings.list(
        true,
        "green is not empty",
        &green.column(&sql).await?,
        "Make its database anew",
    );
    Ok(())
}
