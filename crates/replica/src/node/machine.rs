//! What machine this is, as far as it matters for who should lead.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// Writes and syncs measured for [`sync_cost`].
const ROUNDS: usize = 100;

/// What it costs to make 4 KiB durable in `dir`, or why that could not be measured.
pub(super) fn sync_cost(dir: &Path) -> Value {
    match everopen_journal::probe::sync_cost(dir, 1, ROUNDS) {
        Ok(mut costs) => {
            costs.sort_unstable();
            let at = |percent: usize| {
                let rank = (costs.len() * percent).div_ceil(100).max(1);
                costs.get(rank - 1).map(|cost| cost.as_micros() as u64)
            };
            json!({ "p50_us": at(50), "p99_us": at(99) })
        }
        Err(error) => json!({ "error": error.to_string() }),
    }
}

/// Cores, NUMA nodes, governor and load, as far as the system shows them.
pub(super) fn processor() -> Value {
    let read = |path: &str| fs::read_to_string(path).ok();
    let cores = std::thread::available_parallelism().ok().map(usize::from);
    let numa = fs::read_dir("/sys/devices/system/node").ok().map(|nodes| {
        nodes
            .flatten()
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.strip_prefix("node")
                    .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
            })
            .count()
    });
    let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    let load = read("/proc/loadavg").and_then(|text| {
        let first = text.split(' ').next()?;
        first.parse::<f64>().ok()
    });
    let model = read("/proc/cpuinfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_string())
    });
    json!({
        "cores": cores,
        "numa_nodes": numa,
        "governor": governor.map(|governor| governor.trim().to_string()),
        "load": load,
        "model": model,
    })
}
