//! `everopen log`: reads a stopped venue's log.

use anyhow::{Context, Result};
use everopen_replica as replica;

use crate::cli;
use crate::progress::Bar;

/// Performs the command.
///
/// # Errors
/// Where the log is damaged, or in use.
pub fn run(command: &cli::Log) -> Result<()> {
    let cli::Log::Verify { data } = command;
    let dir = data.dir.join(crate::up::LOG_DIR);
    if !dir.is_dir() {
        anyhow::bail!("no log in {}", data.dir.display());
    }
    let mut bar = Bar::new("reading the log", "entries");
    let verified = replica::verify(&replica::Config::new(&dir), &mut |p| {
        bar.update(p.done, p.total)
    });
    bar.finish();
    let (report, hash) = verified.with_context(|| format!("read the log in {}", dir.display()))?;
    say!(
        "entries     {} (snapshot {})",
        report.last_index,
        report.snapshot_index
    );
    say!(
        "replayed    {} entries, {} commands",
        report.entries_replayed,
        report.commands_replayed
    );
    say!("state hash  {hash}");
    Ok(())
}
