//! What the disk costs, and what group commit makes of it. Prints a table; `--json PATH` writes it.
//!
//! `cargo bench -p everopen-journal --bench journal -- [--dir DIR] [--json PATH] [--records N]`
use everopen_journal::{Config, Durability, Journal};
use rustix::time::{ClockId, clock_gettime};
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PAYLOAD_BYTES: usize = 64;
const RAW_SYNCS: usize = 400;
/// Each measurement stops here even if the disk is slow.
const LIMIT: Duration = Duration::from_secs(5);

struct Row {
    name: String,
    unit: &'static str,
    value: f64,
    conditions: String,
}

struct Arguments {
    dir: PathBuf,
    json: Option<PathBuf>,
    records: u64,
}

/// Cargo starts a benchmark in the folder of its package; paths are meant from the workspace's.
fn from_root(path: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    match package
        .as_deref()
        .and_then(Path::parent)
        .and_then(Path::parent)
    {
        Some(root) => root.join(path),
        None => path.into(),
    }
}

fn arguments() -> Arguments {
    let mut parsed = Arguments {
        dir: from_root("target/bench"),
        json: None,
        records: 4_000_000,
    };
    let mut rest = std::env::args().skip(1);
    while let Some(name) = rest.next() {
        let mut value = || {
            rest.next()
                .unwrap_or_else(|| panic!("{name} needs a value"))
        };
        match name.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--dir" => parsed.dir = from_root(&value()),
            "--json" => parsed.json = Some(from_root(&value())),
            "--records" => parsed.records = value().parse().expect("--records needs a number"),
            other => panic!("unknown argument {other}"),
        }
    }
    parsed
}

/// The type of the file system, by the magic number that `statfs` gives.
fn file_system(dir: &Path) -> String {
    match rustix::fs::statfs(dir)
        .expect("the directory can be asked")
        .f_type as u64
    {
        0xEF53 => "ext4".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683E => "btrfs".to_owned(),
        0x794C_7630 => "overlayfs".to_owned(),
        other => format!("type {other:#x}"),
    }
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn percentile(sorted: &[Duration], per_mille: usize) -> f64 {
    sorted[(sorted.len() - 1) * per_mille / 1000].as_secs_f64() * 1e6
}

/// Writes and syncs blocks one by one into space that was written before, as a journal does.
fn raw(dir: &Path, block: usize, rows: &mut Vec<Row>, file_system: &str) {
    let path = dir.join("raw");
    let file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path)
        .expect("the directory can be written");
    let blocks = RAW_SYNCS.min((64 << 20) / block);
    let bytes = vec![0x5A; block];
    for at in 0..blocks {
        file.write_all_at(&vec![0; block], (at * block) as u64)
            .unwrap();
    }
    file.sync_all().unwrap();
    let mut times = Vec::with_capacity(blocks);
    let started = Instant::now();
    for at in 0..blocks {
        let before = Instant::now();
        file.write_all_at(&bytes, (at * block) as u64).unwrap();
        file.sync_data().unwrap();
        times.push(before.elapsed());
        if started.elapsed() > LIMIT {
            break;
        }
    }
    std::fs::remove_file(&path).unwrap();
    times.sort_unstable();
    let conditions = format!(
        "{} sequential writes of {} KiB, each with fdatasync, {file_system}",
        times.len(),
        block >> 10
    );
    for (name, per_mille) in [("p50", 500), ("p99", 990)] {
        rows.push(Row {
            name: format!("raw_fdatasync_{}k_{name}", block >> 10),
            unit: "us",
            value: percentile(&times, per_mille),
            conditions: conditions.clone(),
        });
    }
}

fn group_commit(
    dir: &Path,
    durability: Durability,
    batch: u64,
    records: u64,
    rows: &mut Vec<Row>,
    file_system: &str,
) {
    let dir = dir.join("journal");
    // Left over from a run that was stopped.
    let _ = std::fs::remove_dir_all(&dir);
    let (mut journal, _) = Journal::open(Config {
        durability,
        ..Config::new(&dir)
    })
    .expect("the journal opens");
    let mut payload = [0x5A; PAYLOAD_BYTES];
    let mut latencies = Vec::new();
    let (mut written, mut bytes) = (0, 0);
    let started = Instant::now();
    let cpu = thread_cpu();
    while written < records && started.elapsed() < LIMIT {
        for _ in 0..batch {
            written += 1;
            payload[..8].copy_from_slice(&written.to_le_bytes());
            journal.append(&payload).expect("there is room");
        }
        let before = Instant::now();
        let committed = journal.commit().expect("the disk works");
        latencies.push(before.elapsed());
        assert_eq!(committed.last_index, written, "everything is durable");
        bytes += committed.bytes;
    }
    let cpu = thread_cpu() - cpu;
    let seconds = started.elapsed().as_secs_f64();
    drop(journal);
    let opened = Instant::now();
    let (_, recovery) = Journal::open(Config {
        durability,
        ..Config::new(&dir)
    })
    .unwrap();
    assert_eq!(
        recovery.last_index, written,
        "everything is there afterwards"
    );
    let opened = opened.elapsed().as_secs_f64();
    std::fs::remove_dir_all(&dir).unwrap();
    latencies.sort_unstable();
    let name = format!("group_commit_{}_{batch}", durability.name());
    let conditions = format!(
        "durability {}, {written} records of {PAYLOAD_BYTES} bytes, {batch} a commit, one writer thread, {file_system}",
        durability.name()
    );
    let commits = latencies.len() as f64;
    for (what, unit, value) in [
        ("records", "records/s", written as f64 / seconds),
        ("commits", "commits/s", commits / seconds),
        ("bytes", "MB/s", bytes as f64 / 1e6 / seconds),
        ("commit_p50", "us", percentile(&latencies, 500)),
        ("commit_p99", "us", percentile(&latencies, 990)),
        // From the page cache: what checking costs, not what reading the disk costs.
        ("recovery", "records/s", written as f64 / opened),
        ("cpu", "ns/record", cpu.as_nanos() as f64 / written as f64),
    ] {
        rows.push(Row {
            name: format!("{name}_{what}"),
            unit,
            value,
            conditions: conditions.clone(),
        });
    }
}

fn json(rows: &[Row]) -> String {
    let mut out = String::from("[\n");
    for (number, row) in rows.iter().enumerate() {
        // No name or condition has a character that JSON escapes.
        let _ = write!(
            out,
            "  {{\"name\": \"{}\", \"unit\": \"{}\", \"value\": {:.3}, \"conditions\": \"{}\"}}",
            row.name, row.unit, row.value, row.conditions
        );
        out.push_str(if number + 1 < rows.len() { ",\n" } else { "\n" });
    }
    out.push_str("]\n");
    out
}

fn main() {
    let arguments = arguments();
    std::fs::create_dir_all(&arguments.dir).expect("the directory can be made");
    let system = file_system(&arguments.dir);
    let mut rows = Vec::new();
    raw(&arguments.dir, 4 << 10, &mut rows, &system);
    raw(&arguments.dir, 1 << 20, &mut rows, &system);
    for batch in [64, 1024, 8192] {
        let records = if batch < 1024 {
            arguments.records / 20
        } else {
            arguments.records
        };
        group_commit(
            &arguments.dir,
            Durability::Fsync,
            batch,
            records,
            &mut rows,
            &system,
        );
    }
    group_commit(
        &arguments.dir,
        Durability::Memory,
        8192,
        arguments.records,
        &mut rows,
        &system,
    );
    for row in &rows {
        println!(
            "{:<38} {:>14.1} {:<10} {}",
            row.name, row.value, row.unit, row.conditions
        );
    }
    if let Some(path) = arguments.json {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("the folder of the JSON file can be made");
        }
        std::fs::write(&path, json(&rows)).expect("the JSON file can be written");
        println!("wrote {}", path.display());
    }
}
