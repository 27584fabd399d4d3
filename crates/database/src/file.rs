//! The file that describes the rollout of a database.

use std::path::{Path, PathBuf};
use std::time::Duration;

use everopen_edge::config::{self, ConfigError};
use serde::{Deserialize, Serialize};

use crate::dsn::Dsn;

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

/// What clients meet that write while a clone is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Writes {
    /// SQLSTATE 25006, `read_only_sql_transaction`.
    #[default]
    Refused,
    /// They wait, at the pooler. Clients that only read come by another name then, `reads` of each pooler.
    Held,
}

/// How a clone is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// `pg_basebackup` of the whole server, of the same major version. Green need not be on the same host as
    /// blue, but must be on the controller's.
    BaseBackup,
    /// A copy of blue's files that shares their blocks (`cp --reflink`), on a file system that can (Btrfs, XFS
    /// and others); of the whole server, of the same major version. Blue must be on the controller's host.
    CopyOnWrite,
    /// `pg_dump` and `pg_restore`: of this database alone, also into a later major version. Green runs already
    /// and has nothing in its database.
    Dump,
    /// Programs of one's own: a snapshot of a volume, of a cloud's disk, `pg_upgrade` of a copy.
    Command,
}

/// How green is made, and what is done with it when it is not wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloneOf {
    /// By what.
    pub how: How,
    /// What clients meet that write meanwhile, of the strategy `clone`; refused if it is not said.
    #[serde(default)]
    pub writes: Option<Writes>,
    /// Milliseconds for which they may meet that in all, of the strategy `clone`; then everything is as before.
    /// A minute if it is not said.
    #[serde(default)]
    pub hold_ms: Option<u64>,
    /// Green's folder, which is made: of `base_backup` and `copy_on_write`.
    #[serde(default)]
    pub data: Option<PathBuf>,
    /// Blue's folder, of `copy_on_write`.
    #[serde(default)]
    pub blue_data: Option<PathBuf>,
    /// Where the server's programs are (`pg_ctl`, `pg_basebackup`, `pg_restore`); none if they are on the path.
    #[serde(default)]
    pub bin: Option<PathBuf>,
    /// Lines that are added to green's configuration: its port, at least, if blue is on the same host.
    #[serde(default)]
    pub settings: Vec<String>,
    /// What comes before each program and its arguments, as `["sudo", "-u", "postgres"]`: servers refuse to be
    /// root's.
    #[serde(default)]
    pub run_by: Vec<String>,
    /// Programs that dump and restore at the same time, of `dump`.
    #[serde(default = "two")]
    pub jobs: u32,
    /// The program that makes green and starts it, with its arguments, of `command`. It runs in the plan's
    /// folder.
    #[serde(default)]
    pub make: Vec<String>,
    /// The program that ends green and removes it, also where it is not there or not whole; of `command`.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// Where a game day takes place, and what its clients do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GameDay {
    /// A folder on the controller's host that is made, and removed afterwards. A clone of blue, a green and poolers
    /// are in it, and the sockets on which they listen; nobody else may enter it.
    pub folder: PathBuf,
    /// How blue is cloned: `base_backup`, or `copy_on_write` with `blue_data`.
    #[serde(default = "base_backup")]
    pub how: How,
    /// Blue's folder, of `copy_on_write`.
    #[serde(default)]
    pub blue_data: Option<PathBuf>,
    /// Where the programs of blue's major version are; none if they are on the path.
    #[serde(default)]
    pub bin: Option<PathBuf>,
    /// Where those of green's are, if it is another one and green is not made of blue.
    #[serde(default)]
    pub green_bin: Option<PathBuf>,
    /// What comes before each program and its arguments, as `["sudo", "-u", "postgres"]`.
    #[serde(default)]
    pub run_by: Vec<String>,
    /// A `pgbouncer`.
    #[serde(default = "pgbouncer")]
    pub pgbouncer: String,
    /// A file with what a client does in each of its transactions, in SQL; besides it writes a row of its own.
    #[serde(default)]
    pub load: Option<PathBuf>,
    /// Clients.
    #[serde(default = "eight")]
    pub clients: u32,
    /// Transactions a second, of all of them together.
    #[serde(default = "two_hundred")]
    pub rate: u32,
}

/// A PgBouncer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pooler {
    /// Its admin console, as a connection string (`host=… port=… user=… dbname=pgbouncer`).
    pub admin: String,
    /// The name under which clients know the database.
    pub database: String,
    /// The name by which clients come that only read, if they have one of their own. It leads where the other
    /// does.
    #[serde(default)]
    pub reads: Option<String>,
    /// A file that its configuration includes (`%include`) and that holds the lines of these names and nothing
    /// else: it is written anew.
    pub file: PathBuf,
    /// What stands in the line for blue (`host=… port=… dbname=…`).
    pub blue: String,
    /// What stands in the line for green.
    pub green: String,
}

const fn base_backup() -> How {
    How::BaseBackup
}

fn pgbouncer() -> String {
    "pgbouncer".into()
}

const fn eight() -> u32 {
    8
}

const fn two_hundred() -> u32 {
    200
}

const fn half_a_second() -> u64 {
    500
}

const fn two() -> u32 {
    2
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
/// How long writes are held or refused if it is not said.
const HOLD_MS: u64 = 60_000;
/// The longest that writes may be refused.
const HOLD_MAX_MS: u64 = 24 * 3_600_000;

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
            let folders = [&mut clone.data, &mut clone.blue_data, &mut clone.bin];
            for path in folders.into_iter().flatten() {
                *path = base.join(&path);
            }
            beside(&base, &mut clone.make);
            beside(&base, &mut clone.remove);
        }
        if let Some(day) = &mut database.game_day {
            day.folder = base.join(&day.folder);
            let others = [
                &mut day.blue_data,
                &mut day.bin,
                &mut day.green_bin,
                &mut day.load,
            ];
            for path in others.into_iter().flatten() {
                *path = base.join(&path);
            }
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
            let field = |name: &str| format!("database.pgbouncer[{at}].{name}");
            if let Err(error) = Dsn::check(&pooler.admin) {
                return Err((field("admin"), error));
            }
            let names = [
                ("database", Some(&pooler.database)),
                ("reads", pooler.reads.as_ref()),
            ];
            for (key, name) in names {
                let plain = |name: &String| name.bytes().all(known) && !name.is_empty();
                if let Some(name) = name.filter(|name| !plain(name)) {
                    return Err((field(key), format!("{name:?} is no plain name")));
                }
            }
            if pooler.reads.as_ref() == Some(&pooler.database) {
                return Err((field("reads"), "it is the same name as `database`".into()));
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

impl GameDay {
    fn check(&self, clone: Option<&CloneOf>) -> Result<(), (String, String)> {
        let wrong = |field: &str, detail: &str| {
            Err((format!("database.game_day.{field}"), detail.to_string()))
        };
        match (self.how, &self.blue_data) {
            (How::BaseBackup, None) | (How::CopyOnWrite, Some(_)) => {}
            (How::BaseBackup, Some(_)) => {
                return wrong("blue_data", "a base backup has no use for it");
            }
            (How::CopyOnWrite, None) => return wrong("blue_data", "this way of cloning needs it"),
            _ => return wrong("how", "it is `base_backup` or `copy_on_write`"),
        }
        if clone.is_some_and(|clone| clone.how == How::Command) {
            return wrong(
                "folder",
                "programs of one's own can't be led to other servers: there is no game day for them",
            );
        }
        if !(1..=100).contains(&self.clients) || !(1..=100_000).contains(&self.rate) {
            return wrong(
                "clients",
                "1 to 100 clients with 1 to 100,000 transactions a second",
            );
        }
        Ok(())
    }
}

impl CloneOf {
    /// What clients meet that write while it is made and changed.
    pub fn writes(&self) -> Writes {
        self.writes.unwrap_or_default()
    }

    /// For how long they may meet that in all.
    pub fn hold(&self) -> Duration {
        Duration::from_millis(self.hold_ms.unwrap_or(HOLD_MS))
    }

    /// Of the strategy `replicate`: nobody is held while it is made.
    fn check_seed(&self) -> Result<(), (String, String)> {
        let wrong = |field: &str, detail: &str| {
            Err((format!("database.clone.{field}"), detail.to_string()))
        };
        if self.how == How::Dump {
            return wrong(
                "how",
                "a dump does not say where in the log its rows end; without `clone` they are copied row by row, into a later major version as well",
            );
        }
        if self.writes.is_some() || self.hold_ms.is_some() {
            let field = match self.writes {
                Some(_) => "writes",
                None => "hold_ms",
            };
            return wrong(field, "the strategy is not `clone`: writes go on");
        }
        self.check_fields()
    }

    fn check_fields(&self) -> Result<(), (String, String)> {
        let wrong = |field: &str, detail: &str| {
            Err((format!("database.clone.{field}"), detail.to_string()))
        };
        let needs = |field: &str, is_there: bool, is_needed: bool| match (is_there, is_needed) {
            (false, true) => wrong(field, "this way of cloning needs it"),
            (true, false) => wrong(field, "this way of cloning has no use for it"),
            _ => Ok(()),
        };
        let is_physical = matches!(self.how, How::BaseBackup | How::CopyOnWrite);
        needs("data", self.data.is_some(), is_physical)?;
        needs(
            "blue_data",
            self.blue_data.is_some(),
            self.how == How::CopyOnWrite,
        )?;
        needs("make", !self.make.is_empty(), self.how == How::Command)?;
        needs("remove", !self.remove.is_empty(), self.how == How::Command)?;
        if !self.settings.is_empty() && !is_physical {
            return wrong("settings", "this way of cloning has no use for it");
        }
        if let Some(line) = self.settings.iter().find(|line| line.contains('\n')) {
            return wrong("settings", &format!("{line:?} is more than a line"));
        }
        if self.jobs == 0 {
            return wrong("jobs", "nothing would be copied");
        }
        Ok(())
    }

    /// Of the strategy `clone`.
    fn check(&self, poolers: &[Pooler]) -> Result<(), (String, String)> {
        let wrong = |field: &str, detail: &str| {
            Err((format!("database.clone.{field}"), detail.to_string()))
        };
        self.check_fields()?;
        let most = match self.writes() {
            Writes::Held => PAUSE_MAX_MS,
            Writes::Refused => HOLD_MAX_MS,
        };
        let hold_ms = self.hold().as_millis();
        if !(1..=u128::from(most)).contains(&hold_ms) {
            let detail = format!("{hold_ms} is not from 1 to {most}");
            return wrong("hold_ms", &detail);
        }
        if self.writes() == Writes::Held && poolers.iter().any(|pooler| pooler.reads.is_none()) {
            return wrong(
                "writes",
                "a pooler can't tell who writes: each needs `reads`, a name for those who only read",
            );
        }
        Ok(())
    }
}
