//! What must be known of a server that is to be cloned as a whole.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::{Findings, limits, setting};
use crate::file::{CloneOf, Database, How};
use crate::server::{Server, Side};

pub(super) async fn look(
    blue: &Server,
    database: &Database,
    clone: &CloneOf,
    findings: &mut Findings,
) -> Result<(), String> {
    // Also one that does not let this program in, or by whose certificate it is another one.
    let nobody = ["error connecting to server", "it takes too long"];
    let is_there = match Server::connect(Side::Green, &database.green).await {
        Ok(_) => true,
        Err(error) => !nobody.iter().any(|silence| error.contains(silence)),
    };
    if is_there {
        findings.add(
            true,
            "a server answers where green is to be made".into(),
            "Stop it, or give green another port",
        );
    }
    if clone.how == How::Command {
        return Ok(());
    }
    // What holds the log meanwhile; a base backup is sent, and its log beside it.
    match clone.how {
        How::CopyOnWrite => limits(blue, [1, 0], findings).await?,
        How::BaseBackup => limits(blue, [1, 2], findings).await?,
        How::Dump | How::Command => {}
    }
    let version: u32 = blue
        .value("SELECT current_setting('server_version_num')::int / 10000")
        .await?
        .parse()
        .unwrap_or(0);
    if version < 15 {
        findings.add(
            true,
            format!("PostgreSQL {version}: 15 and later are supported"),
            "Upgrade it another way first",
        );
    }
    let subscriptions = blue.column("SELECT subname FROM pg_subscription").await?;
    findings.list(
        true,
        "subscriptions of blue: the clone would have them, too, and take what is meant for blue",
        &subscriptions,
        "Drop them for the time, or clone by `command` and disable them before green starts",
    );
    let spaces = "SELECT spcname FROM pg_tablespace WHERE spcname NOT LIKE 'pg\\_%'";
    findings.list(
        true,
        "tablespaces: their folders are blue's",
        &blue.column(spaces).await?,
        "Clone by `command`, which gives them other folders",
    );
    let standbys = blue.value(&setting("synchronous_standby_names")).await?;
    let is_set = |line: &String| line.trim_start().starts_with("synchronous_standby_names");
    if !standbys.is_empty() && !clone.settings.iter().any(is_set) {
        findings.add(
            true,
            format!("blue waits for standbys ({standbys}): a clone would, too, and has none"),
            "Add a line to `settings`: \"synchronous_standby_names = ''\"; set it on green when it has standbys of its own",
        );
    }
    let data = blue.value(&setting("data_directory")).await?;
    let configuration = blue.value(&setting("config_file")).await?;
    if !Path::new(&configuration).starts_with(&data) {
        findings.add(
            true,
            format!("blue's configuration is {configuration}, not in {data}: a clone has none"),
            "Clone by `command`, which gives green a configuration",
        );
    }
    let data = clone.data.as_deref().unwrap_or(Path::new(""));
    if data.exists() {
        findings.add(
            true,
            format!("{} is there already", data.display()),
            "Name a folder that is to be made",
        );
    }
    let folder = data.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        findings.add(
            true,
            format!("{} is no folder", folder.display()),
            "Make it, so that green's folder can be made in it",
        );
        return Ok(());
    }
    let size: u64 = blue
        .value("SELECT sum(pg_database_size(oid)) FROM pg_database")
        .await?
        .parse()
        .unwrap_or(0);
    match clone.how {
        How::CopyOnWrite => {
            let blue_data = clone.blue_data.as_deref().unwrap_or(Path::new(""));
            if let Err(why) = shares_blocks(clone, blue_data, folder).await {
                findings.add(
                    true,
                    format!("blocks can't be shared between {} and {}: {why}", blue_data.display(), folder.display()),
                    "Both must be on one file system that shares blocks (Btrfs, XFS); elsewhere clone by `base_backup`",
                );
            }
        }
        _ => {
            // The log that is written meanwhile comes on top.
            let needed = size + size / 10;
            match free(folder) {
                Ok(free) if free < needed => findings.add(
                    true,
                    format!(
                        "{} has {} MB free, and green needs {} MB",
                        folder.display(),
                        free >> 20,
                        needed >> 20
                    ),
                    "Make room, or let green's folder be elsewhere",
                ),
                Ok(_) => {}
                Err(why) => findings.add(
                    false,
                    format!(
                        "how much is free at {} is not known: {why}",
                        folder.display()
                    ),
                    "Look at it",
                ),
            }
        }
    }
    Ok(())
}

/// Bytes that are free for everybody.
pub(super) fn free(folder: &Path) -> Result<u64, String> {
    let told = rustix::fs::statvfs(folder).map_err(|error| error.to_string())?;
    Ok(told.f_bavail * told.f_frsize)
}

/// Tries it with one small file.
async fn shares_blocks(clone: &CloneOf, blue: &Path, folder: &Path) -> Result<(), String> {
    let script = "cp --reflink=always \"$0/PG_VERSION\" \"$1/.everopen-share\" && rm \"$1/.everopen-share\" || { rm -f \"$1/.everopen-share\"; exit 1; }";
    let mut words = clone.run_by.clone();
    words.extend(["sh".into(), "-c".into(), script.into()]);
    let output = Command::new(&words[0])
        .args(&words[1..])
        .args([blue, folder])
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_string()),
    }
}
