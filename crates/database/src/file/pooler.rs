//! Through what clients come.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::known;
use crate::dsn::Dsn;

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

impl Pooler {
    pub(super) fn check(&self, at: usize) -> Result<(), (String, String)> {
        let field = |name: &str| format!("database.pgbouncer[{at}].{name}");
        if let Err(error) = Dsn::check(&self.admin) {
            return Err((field("admin"), error));
        }
        let names = [
            ("database", Some(&self.database)),
            ("reads", self.reads.as_ref()),
        ];
        for (key, name) in names {
            let plain = |name: &String| name.bytes().all(known) && !name.is_empty();
            if let Some(name) = name.filter(|name| !plain(name)) {
                return Err((field(key), format!("{name:?} is no plain name")));
            }
        }
        if self.reads.as_ref() == Some(&self.database) {
            return Err((field("reads"), "it is the same name as `database`".into()));
        }
        for (name, line) in [("blue", &self.blue), ("green", &self.green)] {
            if line.contains(['\n', '\r', '[', ';']) || !line.contains("host=") {
                let detail = format!("{line:?} is not like host=… port=… dbname=…");
                return Err((field(name), detail));
            }
        }
        Ok(())
    }
}
