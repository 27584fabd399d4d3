//! Changes of schema on the terminal.

use std::path::Path;

use anyhow::{Context, Result, bail};
use everopen_database::schema::file::File;
use everopen_database::schema::{self, Done};
use everopen_rollout::execute::By;
use tokio::runtime::Runtime;

/// Whether a file is one of these.
pub fn is_one(file: &Path) -> bool {
    File::is_one(file)
}

/// Whether a name is that of a change of schema.
pub fn knows(root: &Path, name: &str) -> Result<bool> {
    Ok(kept(root, name)?.is_some())
}

fn kept(root: &Path, name: &str) -> Result<Option<File>> {
    schema::kept(root, name).with_context(|| format!("read what is known of {name}"))
}

fn known(root: &Path, name: &str) -> Result<File> {
    kept(root, name)?.context("nothing is known of it")
}

pub fn plan(runtime: &Runtime, root: &Path, file: &Path) -> Result<()> {
    let file = File::read(file)?;
    let phase = runtime.block_on(schema::phase(&file));
    say!("change    {}", file.schema.name);
    say!("now       {}", phase.map_err(anyhow::Error::msg)?);
    say!();
    let proofs = runtime.block_on(schema::proofs(root, &file))?;
    proofs.iter().for_each(|proof| say!("{proof}"));
    let wrong = |proof: &&schema::Proof| proof.is_serving && proof.failed.is_some();
    if proofs.iter().any(|proof| wrong(&proof)) {
        bail!("a version that serves would not run");
    }
    say!("Nothing has changed. `everopen rollout apply` does the next phase.");
    Ok(())
}

pub fn apply(runtime: &Runtime, root: &Path, file: &Path, by: &By) -> Result<()> {
    go_on(runtime, root, &File::read(file)?, by)
}

pub fn resume(runtime: &Runtime, root: &Path, name: &str, by: &By) -> Result<()> {
    go_on(runtime, root, &known(root, name)?, by)
}

fn go_on(runtime: &Runtime, root: &Path, file: &File, by: &By) -> Result<()> {
    let mut tell = |line: &_| super::tell(line, 0);
    end(&runtime.block_on(schema::apply(root, by, file, &mut tell))?)
}

pub fn roll_back(runtime: &Runtime, root: &Path, name: &str, by: &By) -> Result<()> {
    let file = known(root, name)?;
    let mut tell = |line: &_| super::tell(line, 0);
    end(&runtime.block_on(schema::roll_back(root, by, &file, &mut tell))?)
}

pub fn status(runtime: &Runtime, root: &Path, name: &str) -> Result<()> {
    let phase = runtime.block_on(schema::phase(&known(root, name)?));
    say!("now       {}", phase.map_err(anyhow::Error::msg)?);
    Ok(())
}

fn end(done: &Done) -> Result<()> {
    say!();
    say!("the schema is {}", done.phase);
    Ok(())
}
