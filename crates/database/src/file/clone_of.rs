//! How green is made of blue.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{PAUSE_MAX_MS, Pooler, beside};

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

const fn two() -> u32 {
    2
}

/// How long writes are held or refused if it is not said.
const HOLD_MS: u64 = 60_000;
/// The longest that writes may be refused.
const HOLD_MAX_MS: u64 = 24 * 3_600_000;

impl CloneOf {
    /// With paths that go from a folder.
    pub(super) fn go_from(&mut self, base: &Path) {
        let folders = [&mut self.data, &mut self.blue_data, &mut self.bin];
        for path in folders.into_iter().flatten() {
            *path = base.join(&path);
        }
        beside(base, &mut self.make);
        beside(base, &mut self.remove);
    }

    /// What clients meet that write while it is made and changed.
    pub fn writes(&self) -> Writes {
        self.writes.unwrap_or_default()
    }

    /// For how long they may meet that in all.
    pub fn hold(&self) -> Duration {
        Duration::from_millis(self.hold_ms.unwrap_or(HOLD_MS))
    }

    /// Of the strategy `replicate`: nobody is held while it is made.
    pub(super) fn check_seed(&self) -> Result<(), (String, String)> {
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
    pub(super) fn check(&self, poolers: &[Pooler]) -> Result<(), (String, String)> {
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
