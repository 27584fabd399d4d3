//! A database of its own on which a change and the versions of a service are tried.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::file::{Schema, Version};
use super::{Phase, Proof};
use crate::dsn::Dsn;
use crate::server::{Server, Side};

/// It is dropped by [`Clone::drop`], or by the next one of the same name.
pub(super) struct Clone<'a> {
    schema: &'a Schema,
    maker: Server,
    name: String,
    /// How it is reached.
    pub dsn: String,
}

impl<'a> Clone<'a> {
    /// Makes one of the database as it is.
    pub async fn make(schema: &'a Schema) -> Result<Self, String> {
        let server = schema.clone.server.as_ref().unwrap_or(&schema.database);
        let maker = Server::connect(Side::Green, server).await?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric();
        let part: String = schema
            .name
            .bytes()
            .map(|byte| if plain(byte) { byte as char } else { '_' })
            .collect();
        let name = format!("everopen_try_{}", part.to_ascii_lowercase());
        let clone = Self {
            schema,
            maker,
            dsn: Dsn::parse(server)?.within(&name),
            name,
        };
        clone.drop_it().await?;
        let name = &clone.name;
        clone
            .maker
            .run(&format!("CREATE DATABASE {name} TEMPLATE template0"))
            .await?;
        if let Err(error) = clone.fill().await {
            clone.drop_it().await?;
            return Err(error);
        }
        Ok(clone)
    }

    async fn drop_it(&self) -> Result<(), String> {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        self.maker.run(&sql).await
    }

    pub async fn drop(self) -> Result<(), String> {
        self.drop_it().await
    }

    async fn fill(&self) -> Result<(), String> {
        let mut dump = Command::new(&self.schema.clone.pg_dump);
        dump.args(["--no-publications", "--no-subscriptions", "--dbname"])
            .arg(&self.schema.database);
        if !self.schema.clone.rows {
            dump.arg("--schema-only");
        }
        let mut dump = dump
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", self.schema.clone.pg_dump))?;
        let text = dump.stdout.take().ok_or("pg_dump has no output")?;
        let text: Stdio = text
            .try_into()
            .map_err(|error| format!("pg_dump: {error}"))?;
        let restored = self.psql(text, &[]).await;
        let dumped = dump.wait_with_output().await;
        let dumped = dumped.map_err(|error| format!("pg_dump: {error}"))?;
        if !dumped.status.success() {
            let said = String::from_utf8_lossy(&dumped.stderr);
            return Err(format!("pg_dump: {}", said.trim()));
        }
        restored
    }

    /// Runs a file on it, in one transaction.
    pub async fn run(&self, file: &Path) -> Result<(), String> {
        let path = file.display().to_string();
        let words = ["--single-transaction", "--file", &path];
        let told = self.psql(Stdio::null(), &words).await;
        told.map_err(|said| format!("{path}: {said}"))
    }

    async fn psql(&self, input: Stdio, more: &[&str]) -> Result<(), String> {
        let output = Command::new(&self.schema.clone.psql)
            .args([
                "--no-psqlrc",
                "--quiet",
                "--set",
                "ON_ERROR_STOP=1",
                "--dbname",
            ])
            .arg(&self.dsn)
            .args(more)
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| format!("{}: {error}", self.schema.clone.psql))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_string()),
        }
    }

    /// Whether a version runs on it.
    pub async fn check(&self, version: &Version, on: Phase, is_serving: bool) -> Proof {
        let failed = self.failed(version, on).await.err();
        Proof {
            version: version.name.clone(),
            on,
            failed,
            is_serving,
        }
    }

    async fn failed(&self, version: &Version, on: Phase) -> Result<(), String> {
        let (program, arguments) = version.check.split_first().ok_or("there is no check")?;
        let patience = Duration::from_millis(self.schema.clone.check_ms);
        let output = Command::new(program)
            .args(arguments)
            .env("DATABASE", &self.dsn)
            .env("SCHEMA", on.name())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(patience, output).await;
        let output = output.map_err(|_| format!("not within {} ms", patience.as_millis()))?;
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        let said = String::from_utf8_lossy(&said);
        let last: Vec<&str> = said.trim().lines().rev().take(3).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Err(format!("{}: {}", output.status, last.join("; ")))
    }
}
