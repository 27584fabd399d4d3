//! The file of a service's version that has its database in it: one plan for both.

use std::path::Path;

use everopen_edge::config::{self, ConfigError};
use everopen_rollout::file::File as Version;
use everopen_rollout::parts::{Plan, Service};
use everopen_rollout::{execute, plan};
use serde::{Deserialize, Serialize};

use crate::file::{Database, File, When};

/// What stands in the file of a version, beside the version.
#[derive(Debug, Deserialize)]
struct Beside {
    database: Database,
}

/// A version of a service, and its database.
#[derive(Clone, Debug, PartialEq)]
pub struct Both {
    /// The version.
    pub version: Version,
    /// The database.
    pub database: File,
}

/// What is to be done of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    /// What is done of the service.
    pub service: plan::Plan,
    /// The rollout that had brought the version of before, if that is known.
    pub before: Option<String>,
    /// The database's file.
    pub database: File,
}

impl Parts {
    /// Whether the database becomes new before the service does.
    pub fn is_database_first(&self) -> bool {
        self.database.database.when.unwrap_or_default() == When::Before
    }
}

impl Both {
    /// Whether a file is one of these: it has a database, and something of a service.
    pub fn is_one(path: &Path) -> bool {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let Ok(table) = text.parse::<toml::Table>() else {
            // Who reads it says what is wrong with it, and where.
            return false;
        };
        let of_service = ["service", "version", "edge", "start"];
        let has_service = of_service.iter().any(|key| table.contains_key(*key));
        let has = |key: &str| table.contains_key(key);
        has("database") && (has_service || has("schema")) || has("schema") && has_service
    }

    /// Reads and checks a file. Relative paths in it become absolute.
    ///
    /// # Errors
    /// Names the file, and the line or the field.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        config::read(path, |table: &toml::Table| {
            match table.contains_key("schema") {
                true => Err((
                    "schema".into(),
                    "a change of schema is no part of a plan of a service and its database: give it a file of its own, and do one after the other".into(),
                )),
                false => Ok(()),
            }
        })?;
        let mut version = Version::read(path)?;
        version.database = None;
        let Beside { database } = config::read(path, |beside: &Beside| {
            let database = &beside.database;
            if database.name == version.service {
                let detail = format!("{:?} is the service's name already", database.name);
                return Err(("database.name".into(), detail));
            }
            let file = File {
                database: database.clone(),
            };
            file.check()
        })?;
        let database = File { database }.from(path)?;
        Ok(Self { version, database })
    }

    /// The plan's folder among those of all rollouts: no service and no database has this name.
    pub fn folder(&self) -> String {
        folder(&self.version.service, &self.database.database.name)
    }

    /// What is to be done, as far as the edge says what is in service.
    ///
    /// # Errors
    /// It can't be asked, or the service could not be taken back when the database fails.
    pub fn plan(&self, site: &execute::Site<'_>) -> Result<Plan<Parts>, execute::Fault> {
        let inventory = execute::inventory(site.root, &self.version)?;
        let id = everopen_rollout::id::fresh(&self.version.version);
        let service = plan::plan(&self.version, &inventory, &id);
        let before = Service::before(site, &service);
        let parts = Parts {
            before: execute::io_fault("read the service's state", before)?,
            service,
            database: self.database.clone(),
        };
        if parts.service.from.is_none() && !parts.is_database_first() {
            return Err(execute::Fault::Refused(format!(
                "database.when: nothing serves {} yet, so it could not be taken back when the database fails: let the database go before it",
                self.version.service
            )));
        }
        Ok(Plan {
            id,
            to: everopen_rollout::parts::End::New,
            parts,
        })
    }
}

/// See [`Both::folder`].
pub fn folder(service: &str, database: &str) -> String {
    format!("{service}+{database}")
}

/// The service and the database of a folder's name, if it is that of a plan of both.
pub fn of_folder(name: &str) -> Option<(&str, &str)> {
    name.split_once('+')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
service = "greeter"
version = "2"
edge = "edge.sock"

[start]
command = ["greeter", "{port}"]
ready = "/health"

[database]
name = "shop"
blue = "host=127.0.0.1 port=5415 dbname=shop"
green = "host=127.0.0.1 port=5418 dbname=shop"
change = ["change.sql"]

[[database.pgbouncer]]
admin = "host=127.0.0.1 port=6432 dbname=pgbouncer"
database = "shop"
file = "shop.ini"
blue = "host=127.0.0.1 port=5415 dbname=shop"
green = "host=127.0.0.1 port=5418 dbname=shop"
"#;

    fn written(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("both.toml");
        std::fs::write(&path, text).expect("written");
        (folder, path)
    }

    fn read(text: &str) -> Result<Both, String> {
        let (_folder, path) = written(text);
        Both::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn one_file_has_both_and_its_paths_go_from_its_folder() {
        let (folder, path) = written(GOOD);
        let both = Both::read(&path).expect("good");
        assert_eq!(both.folder(), "greeter+shop");
        assert_eq!(of_folder(&both.folder()), Some(("greeter", "shop")));
        let database = &both.database.database;
        assert_eq!(database.change, [folder.path().join("change.sql")]);
        assert_eq!(database.poolers[0].file, folder.path().join("shop.ini"));
        assert_eq!(both.version.edge, folder.path().join("edge.sock"));
        assert_eq!((both.version.database, database.when), (None, None));
        let after = GOOD.replace("name =", "when = \"after\"\nname =");
        let when = read(&after).expect("good").database.database.when;
        assert_eq!(when, Some(When::After));
    }

    #[test]
    fn a_file_of_one_part_is_none_of_these() {
        let (service, database) = GOOD.split_once("[database]").expect("both");
        for (text, is_one) in [
            (service.to_string(), false),
            (format!("[database]{database}"), false),
            (GOOD.to_string(), true),
            (format!("{service}[schema]\n"), true),
            ("not = toml = at all".to_string(), false),
        ] {
            let (_folder, path) = written(&text);
            assert_eq!(Both::is_one(&path), is_one, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, found) in [
            (
                "name = \"shop\"",
                "name = \"greeter\"",
                vec!["database.name", "service's name"],
            ),
            (
                "name = \"shop\"",
                "name = \"a+b\"",
                vec!["database.name", "a+b"],
            ),
            (
                "name =",
                "when = \"while\"\nname =",
                vec!["line 11", "when", "while"],
            ),
            (
                "name =",
                "wen = \"after\"\nname =",
                vec!["line 11", "unknown field `wen`"],
            ),
            ("version = \"2\"\n", "", vec!["version"]),
            ("ready =", "redy =", vec!["line 8", "redy"]),
            ("file = \"shop.ini\"\n", "", vec!["file"]),
            (
                "[database]\n",
                "[schema]\nname = \"cents\"\n\n[database]\n",
                vec!["schema: ", "a file of its own"],
            ),
        ] {
            let error = read(&GOOD.replace(from, to)).expect_err(to);
            for part in found {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
        let (_, database) = GOOD.split_once("[database]").expect("both");
        let (_folder, path) = written(&format!("[database]\nwhen = \"after\"{database}"));
        let error = File::read(&path).expect_err("alone").to_string();
        assert!(error.contains("database.when"), "{error}");
    }
}
