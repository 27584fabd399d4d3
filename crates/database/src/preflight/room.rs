//! Whether green's disk has room for a copy by rows.

use std::fs;
use std::path::Path;

use super::cloned::free;
use super::{Findings, setting};
use crate::server::Server;
use crate::stream::OTHERS;

pub(super) async fn look(
    blue: &Server,
    green: &Server,
    findings: &mut Findings,
) -> Result<(), String> {
    let size = format!(
        "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND {OTHERS}"
    );
    let size: u64 = blue.value(&size).await?.parse().unwrap_or(0);
    let data = green.value(&setting("data_directory")).await?;
    let started = green
        .value("SELECT floor(extract(epoch FROM pg_postmaster_start_time()))::bigint")
        .await?;
    let port = green.value(&setting("port")).await?;
    let data = Path::new(&data);
    let free = match is_here(data, &started, &port) {
        true => free(data),
        false => Err("its data directory can't be seen from here".into()),
    };
    judge(size, free, data, findings);
    Ok(())
}

/// Whether a folder is that of this server, and not of another one at the same place of another host.
fn is_here(data: &Path, started: &str, port: &str) -> bool {
    // The third line is when it was started, the fourth its port.
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines().map(str::trim).skip(2);
    let near = |of: &str| match (of.parse::<i64>(), started.parse::<i64>()) {
        (Ok(of), Ok(started)) => (of - started).abs() <= 1,
        _ => false,
    };
    data.join("PG_VERSION").is_file()
        && lines.next().is_some_and(near)
        && lines.next() == Some(port)
}

fn judge(size: u64, free: Result<u64, String>, data: &Path, findings: &mut Findings) {
    // Indexes are built once more, and rows go on coming.
    let (needed, has) = (size + size / 10, size >> 20);
    let megabytes = needed.div_ceil(1 << 20);
    let data = data.display();
    match free {
        Ok(free) if free < needed => findings.add(
            true,
            format!(
                "blue's tables and indexes have {has} MB: green needs {megabytes} MB, and {data} has {} MB free",
                free >> 20
            ),
            "Make room there",
        ),
        Ok(free) => findings.add(
            false,
            format!(
                "blue's tables and indexes have {has} MB: green needs {megabytes} MB, and {data} has {} MB free",
                free >> 20
            ),
            "That is enough; log comes on top (max_wal_size)",
        ),
        Err(why) => findings.add(
            false,
            format!(
                "blue's tables and indexes have {has} MB: green needs {megabytes} MB, and whether it has them is not known: {why}"
            ),
            "Look at the disk of its host",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_server_is_not_taken_for_greens() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        assert!(!is_here(data, "1700000000", "5432"), "there is nothing");
        fs::write(data.join("PG_VERSION"), "18\n").expect("written");
        let pid = format!("77\n{}\n1700000000\n5432\n\n", data.display());
        fs::write(data.join("postmaster.pid"), pid).expect("written");
        assert!(is_here(data, "1700000000", "5432"));
        assert!(!is_here(data, "1700000900", "5432"), "started otherwise");
        assert!(!is_here(data, "1700000000", "5433"), "another port");
    }

    #[test]
    fn what_is_needed_is_said_also_where_it_can_not_be_seen() {
        let told = |free| {
            let mut findings = Findings::default();
            judge(100 << 20, free, Path::new("/data"), &mut findings);
            findings.0.remove(0)
        };
        let blind = told(Err("it can't be seen".into()));
        assert!(
            !blind.blocks && blind.what.contains("needs 110 MB"),
            "{blind}"
        );
        let small = told(Ok(109 << 20));
        assert!(
            small.blocks && small.what.contains("109 MB free"),
            "{small}"
        );
        assert!(!told(Ok(110 << 20)).blocks);
    }
}
