//! The file that describes a change of schema.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use everopen_edge::config::{self, ConfigError};
use serde::{Deserialize, Serialize};

use crate::dsn::Dsn;
use crate::file::{beside, folder_of, is_name};

/// A change of schema across releases of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// It.
    pub schema: Schema,
}

/// What is changed, and what must go on running meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Its name, for people and for `everopen rollout status`; not that of a service or a database.
    pub name: String,
    /// The database, as a libpq connection string; its user owns the tables.
    pub database: String,
    /// The service that uses it, if `everopen rollout` replaces it: versions that serve there or can be gone back
    /// to must run on what the schema becomes.
    #[serde(default)]
    pub service: Option<String>,
    /// Versions that run, where the service is somebody else's to replace.
    #[serde(default)]
    pub serving: Vec<String>,
    /// What is added. Nothing is taken away or changed that a running version uses.
    pub expand: Expand,
    /// Rows that get values in what was added.
    #[serde(default)]
    pub backfill: Vec<Backfill>,
    /// What is taken away when no version that runs uses it any more.
    #[serde(default)]
    pub contract: Option<Contract>,
    /// Versions of the service, and how each is tried.
    #[serde(rename = "version")]
    pub versions: Vec<Version>,
    /// Where they are tried.
    #[serde(default)]
    pub clone: Clones,
    /// Milliseconds for which a statement may wait for a lock; clients wait behind it.
    #[serde(default = "a_fifth_of_a_second")]
    pub lock_ms: u64,
    /// How often it is tried to get it.
    #[serde(default = "fifty")]
    pub attempts: u32,
    /// Milliseconds between two tries.
    #[serde(default = "half_a_second")]
    pub retry_ms: u64,
}

/// What is added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expand {
    /// SQL, run in one transaction.
    pub file: PathBuf,
    /// SQL that takes it away again, in one transaction; without it there is no way back.
    #[serde(default)]
    pub undo: Option<PathBuf>,
    /// Indexes that are made without a lock that writers wait for (`CREATE INDEX CONCURRENTLY`).
    #[serde(default)]
    pub index: Vec<Index>,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// What comes after `ON`: a table and its columns.
    pub on: String,
    /// Whether no two rows may have the same.
    #[serde(default)]
    pub unique: bool,
}

/// Rows of a table that get values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backfill {
    /// The table.
    pub table: String,
    /// What comes after `SET`.
    pub set: String,
    /// Rows that need it still: none when it is done.
    #[serde(rename = "where")]
    pub still: String,
    /// Rows of one transaction, at most; fewer where they take longer than `lock_ms`.
    #[serde(default = "thousand")]
    pub batch: u32,
    /// Milliseconds between two transactions.
    #[serde(default = "ten")]
    pub pause_ms: u64,
    /// Megabytes of log that a standby or a slot may be behind; with more it waits.
    #[serde(default = "sixteen")]
    pub lag_mb: u64,
}

/// What is taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// SQL, run in one transaction.
    pub file: PathBuf,
}

/// A version of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// As rollouts name it.
    pub name: String,
    /// A program and its arguments that ends with 0 if this version runs on the database that `DATABASE` in its
    /// environment connects with.
    pub check: Vec<String>,
}

/// Where versions are tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clones {
    /// A server on which databases are made and dropped, as a connection string to one that is there; without it
    /// that is the server itself.
    pub server: Option<String>,
    /// Whether rows are copied as well.
    pub rows: bool,
    /// Milliseconds that a check may take.
    pub check_ms: u64,
    /// The `pg_dump` of the server's version or a later one.
    pub pg_dump: String,
    /// A `psql`.
    pub psql: String,
}

impl Default for Clones {
    fn default() -> Self {
        Self {
            server: None,
            rows: false,
            check_ms: 60_000,
            pg_dump: "pg_dump".into(),
            psql: "psql".into(),
        }
    }
}

const fn a_fifth_of_a_second() -> u64 {
    200
}

const fn fifty() -> u32 {
    50
}

const fn half_a_second() -> u64 {
    500
}

const fn thousand() -> u32 {
    1_000
}

const fn ten() -> u64 {
    10
}

const fn sixteen() -> u64 {
    16
}

impl File {
    /// Whether a file is one of these.
    pub fn is_one(path: &Path) -> bool {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().any(|line| line.trim() == "[schema]")
    }

    /// Reads and checks a file. Relative paths in it become absolute.
    ///
    /// # Errors
    /// Names the file, and the line or the field.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut file: Self = config::read(path, Self::check)?;
        let base = folder_of(path)?;
        let schema = &mut file.schema;
        let mut paths = vec![&mut schema.expand.file];
        paths.extend(&mut schema.expand.undo);
        paths.extend(schema.contract.as_mut().map(|contract| &mut contract.file));
        for path in paths {
            *path = base.join(&path);
        }
        for version in &mut schema.versions {
            beside(&base, &mut version.check);
        }
        Ok(file)
    }

    fn check(&self) -> Result<(), (String, String)> {
        let schema = &self.schema;
        let wrong = |field: String, detail: String| Err((format!("schema.{field}"), detail));
        if !is_name(&schema.name) {
            let detail = format!("{:?} is no name", schema.name);
            return wrong("name".into(), detail);
        }
        let strings = [
            ("database", Some(&schema.database)),
            ("clone.server", schema.clone.server.as_ref()),
        ];
        for (field, text) in strings {
            if let Some(Err(error)) = text.map(|text| Dsn::check(text)) {
                return wrong(field.into(), error);
            }
        }
        let mut names = BTreeSet::new();
        for (at, version) in schema.versions.iter().enumerate() {
            if version.check.is_empty() {
                return wrong(format!("version[{at}].check"), "there is none".into());
            }
            if !names.insert(&version.name) {
                let detail = format!("{:?} is there twice", version.name);
                return wrong(format!("version[{at}].name"), detail);
            }
        }
        if schema.service.is_none() && schema.serving.is_empty() {
            let detail = "which versions run? Name them, or the `service`".to_string();
            return wrong("serving".into(), detail);
        }
        if let Some(name) = schema.serving.iter().find(|name| !names.contains(name)) {
            let detail = format!("{name:?} is no `version` of this file");
            return wrong("serving".into(), detail);
        }
        for (at, backfill) in schema.backfill.iter().enumerate() {
            if backfill.batch == 0 {
                let detail = "no row would ever be written".to_string();
                return wrong(format!("backfill[{at}].batch"), detail);
            }
        }
        if schema.lock_ms == 0 || schema.attempts == 0 {
            return wrong("lock_ms".into(), "it is never tried".into());
        }
        Ok(())
    }
}
