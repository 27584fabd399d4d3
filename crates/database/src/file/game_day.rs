//! Where a plan is tried before it is carried out.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CloneOf, How};

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

impl GameDay {
    /// With paths that go from a folder.
    pub(super) fn go_from(&mut self, base: &Path) {
        self.folder = base.join(&self.folder);
        let others = [
            &mut self.blue_data,
            &mut self.bin,
            &mut self.green_bin,
            &mut self.load,
        ];
        for path in others.into_iter().flatten() {
            *path = base.join(&path);
        }
    }

    pub(super) fn check(&self, clone: Option<&CloneOf>) -> Result<(), (String, String)> {
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
