//! The file that describes the rollout of a database.

use std::path::{Path, PathBuf};

use everopen_edge::config::{self, ConfigError};
use serde::{Deserialize, Serialize};

use crate::dsn::Dsn;

mod clone_of;
mod game_day;
mod pooler;

pub use clone_of::{CloneOf, How, Writes};
pub use game_day::GameDay;
pub use pooler::Pooler;

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
    /// The server that is to serve: it runs, has the database, and nothing in it; or it is made, if `clone`
    /// says how.
    pub green: String,
    /// How green reaches blue, if not by the same string.
    #[serde(default)]
    pub blue_from_green: Option<String>,
    /// How blue reaches green, if not by the same string.
    #[serde(default)]
    pub green_from_blue: Option<String>,
    /// Whether it goes before the service in whose file it stands, or after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// Whether rows are copied while clients write, or green is made while nobody may write.
    #[serde(default)]
    pub strategy: Strategy,
    /// How green is made: of the strategy `clone`; and of `replicate`, if it is not to be copied row by row.
    #[serde(default)]
    pub clone: Option<CloneOf>,
    /// Where the plan is tried on a clone of production (`everopen rollout game-day`).
    #[serde(default)]
    pub game_day: Option<GameDay>,
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

/// When a database goes, of one plan for a service and its database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Before the service: what is new may need the new server.
    #[default]
    Before,
    /// After the service: what is old could not work with the new server.
    After,
}

/// How green comes to have blue's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// By a stream, while clients read and write. They are held for a moment.
    #[default]
    Replicate,
    /// By a clone, while clients read. Writes are held or refused until green serves.
    Clone,
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
/// The folder of a file, from which relative paths in it go.
pub(crate) fn folder_of(path: &Path) -> Result<PathBuf, ConfigError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let base = std::path::absolute(folder.unwrap_or(Path::new(".")));
    base.map_err(|source| ConfigError::Read {
        path: path.to_path_buf(),
        source,
    })
}

/// A program beside a file, as one writes it in a shell, found from everywhere.
pub(crate) fn beside(base: &Path, program: &mut [String]) {
    if let Some(program) = program.first_mut().filter(|name| name.contains('/')) {
        *program = base.join(&program).display().to_string();
    }
}

fn known(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

/// Whether it can name a folder of rollouts.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(known) && !name.starts_with('.')
}

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
        let file: Self = config::read(path, |file: &Self| {
            if file.database.when.is_some() {
                let detail = "there is no service in the file before or after which it could go";
                return Err(("database.when".into(), detail.into()));
            }
            file.check()
        })?;
        file.from(path)
    }

    /// With paths that go from the folder of the file.
    pub(crate) fn from(mut self, path: &Path) -> Result<Self, ConfigError> {
        let file = &mut self;
        let base = folder_of(path)?;
        let database = &mut file.database;
        for path in &mut database.change {
            *path = base.join(&path);
        }
        if let Some(clone) = &mut database.clone {
            clone.go_from(&base);
        }
        if let Some(day) = &mut database.game_day {
            day.go_from(&base);
        }
        for pooler in &mut database.poolers {
            pooler.file = base.join(&pooler.file);
        }
        Ok(self)
    }

    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        let database = &self.database;
        let wrong = |field: &str, detail: String| Err((format!("database.{field}"), detail));
        let name = &database.name;
        if !is_name(name) {
            let detail = format!("{name:?} is not 1 to 64 letters, digits, `-`, `_` and `.`");
            return wrong("name", detail);
        }
        let strings = [
            ("blue", Some(&database.blue)),
            ("green", Some(&database.green)),
            ("blue_from_green", database.blue_from_green.as_ref()),
            ("green_from_blue", database.green_from_blue.as_ref()),
        ];
        for (field, text) in strings {
            let Some(text) = text else { continue };
            if let Err(error) = Dsn::check(text) {
                return wrong(field, error);
            }
        }
        if database.blue == database.green {
            return wrong("green", "it is the same server as blue".into());
        }
        if database.poolers.is_empty() {
            return wrong("pgbouncer", "there is none: clients can't be held".into());
        }
        for (at, pooler) in database.poolers.iter().enumerate() {
            pooler.check(at)?;
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
        if let Some(day) = &database.game_day {
            day.check(database.clone.as_ref())?;
        }
        match (database.strategy, &database.clone) {
            (Strategy::Replicate, None) => Ok(()),
            (Strategy::Replicate, Some(clone)) => clone.check_seed(),
            (Strategy::Clone, Some(clone)) => clone.check(&database.poolers),
            (Strategy::Clone, None) => wrong(
                "clone",
                "the strategy is `clone`: how is green made?".into(),
            ),
        }
    }
}
