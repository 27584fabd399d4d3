//! The file that describes the rollout of a database.

use std::path::{Path, PathBuf};

use everopen_edge::config::{self, ConfigError};
use serde::{Deserialize, Serialize};

/// A rollout of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// It.
    pub database: Database,
}

/// A database and its two servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Its name, for people and for `everopen rollout status`.
    pub name: String,
    /// The server that serves, as a libpq connection string (`host=… port=… user=… dbname=…`). Its user may
    /// replicate and owns the tables, as a superuser does. The other server reaches it by the same string.
    pub blue: String,
    /// The server that is to serve: it runs, has the database, and nothing in it.
    pub green: String,
    /// The poolers through which all clients come.
    #[serde(rename = "pgbouncer")]
    pub poolers: Vec<Pooler>,
    /// SQL files that are run on green when it has the schema, and before it has rows. Blue's tables and
    /// columns must stay: rows go on coming from there, and go back.
    #[serde(default)]
    pub change: Vec<PathBuf>,
    /// Milliseconds for which clients may be held.
    #[serde(default = "half_a_second")]
    pub pause_ms: u64,
    /// How often it is tried to stay within that.
    #[serde(default = "twenty")]
    pub attempts: u32,
    /// Milliseconds between two tries.
    #[serde(default = "two_seconds")]
    pub retry_ms: u64,
    /// Milliseconds that copying all rows may take.
    #[serde(default = "a_day")]
    pub copy_ms: u64,
    /// Milliseconds for which one can go back.
    #[serde(default = "one_hour")]
    pub warm_ms: u64,
    /// The `pg_dump` of blue's version or a later one.
    #[serde(default = "pg_dump")]
    pub pg_dump: String,
    /// A `psql`.
    #[serde(default = "psql")]
    pub psql: String,
}

/// A PgBouncer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pooler {
    /// Its admin console, as a connection string (`host=… port=… user=… dbname=pgbouncer`).
    pub admin: String,
    /// The name under which clients know the database.
    pub database: String,
    /// A file that its configuration includes (`%include`) and that holds this database's line and nothing
    /// else: it is written anew.
    pub file: PathBuf,
    /// What stands in the line for blue (`host=… port=… dbname=…`).
    pub blue: String,
    /// What stands in the line for green.
    pub green: String,
}

const fn half_a_second() -> u64 {
    500
}

const fn twenty() -> u32 {
    20
}

const fn two_seconds() -> u64 {
    2_000
}

const fn a_day() -> u64 {
    24 * 3_600_000
}

const fn one_hour() -> u64 {
    3_600_000
}

fn pg_dump() -> String {
    "pg_dump".into()
}

fn psql() -> String {
    "psql".into()
}

/// The longest that clients may be held: a pooler's own limit for waiting clients is two minutes.
const PAUSE_MAX_MS: u64 = 60_000;

impl File {
    /// Whether a file is one of these, and not that of a service.
    pub fn is_one(path: &Path) -> bool {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().any(|line| line.trim() == "[database]")
    }

    /// Reads and checks a file. Relative paths in it become absolute.
    ///
    /// # Errors
    /// Names the file, and the line or the field.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut file: Self = config::read(path, Self::check)?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let base = std::path::absolute(folder.unwrap_or(Path::new(".")));
        let base = base.map_err(|source| ConfigError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        let database = &mut file.database;
        for path in &mut database.change {
            *path = base.join(&path);
        }
        for pooler in &mut database.poolers {
            pooler.file = base.join(&pooler.file);
        }
        Ok(file)
    }

    fn check(&self) -> Result<(), (String, String)> {
        let database = &self.database;
        let wrong = |field: &str, detail: String| Err((format!("database.{field}"), detail));
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let name = &database.name;
        let is_name =
            (1..=64).contains(&name.len()) && name.bytes().all(known) && !name.starts_with('.');
        if !is_name {
            let detail = format!("{name:?} is not 1 to 64 letters, digits, `-`, `_` and `.`");
            return wrong("name", detail);
        }
        for (field, text) in [("blue", &database.blue), ("green", &database.green)] {
            if let Err(error) = text.parse::<tokio_postgres::Config>() {
                return wrong(field, error.to_string());
            }
        }
        if database.blue == database.green {
            return wrong("green", "it is the same server as blue".into());
        }
        if database.poolers.is_empty() {
            return wrong("pgbouncer", "there is none: clients can't be held".into());
        }
        for (at, pooler) in database.poolers.iter().enumerate() {
            let field = |name: &str| format!("database.pgbouncer[{at}].{name}");
            if let Err(error) = pooler.admin.parse::<tokio_postgres::Config>() {
                return Err((field("admin"), error.to_string()));
            }
            let plain = pooler.database.bytes().all(known) && !pooler.database.is_empty();
            if !plain {
                let detail = format!("{:?} is no plain name", pooler.database);
                return Err((field("database"), detail));
            }
            for (name, line) in [("blue", &pooler.blue), ("green", &pooler.green)] {
                if line.contains(['\n', '\r', '[', ';']) || !line.contains("host=") {
                    let detail = format!("{line:?} is not like host=… port=… dbname=…");
                    return Err((field(name), detail));
                }
            }
        }
        if !(1..=PAUSE_MAX_MS).contains(&database.pause_ms) {
            let detail = format!("{} is not from 1 to {PAUSE_MAX_MS}", database.pause_ms);
            return wrong("pause_ms", detail);
        }
        if database.warm_ms > everopen_rollout::file::WARM_MAX_MS {
            return wrong("warm_ms", format!("{} is above 48 hours", database.warm_ms));
        }
        if database.attempts == 0 {
            return wrong("attempts", "it is never tried".into());
        }
        Ok(())
    }
}
