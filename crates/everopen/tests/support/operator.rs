//! What an operator and a patient member do: subcommands of the program, waiting, trying again.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Client, Venue};

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something to become true.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Places an order that rests.
pub fn place(client: &mut Client, id: &str) -> std::io::Result<(u16, Value)> {
    let body = format!(
        r#"{{"type":"limit","side":"buy","product_id":"BTC-USD","price":"100","size":"0.01","client_oid":"{id}"}}"#
    );
    client.call("POST", "/orders", &body)
}

/// Places an order, however often it takes; the id keeps it from being placed twice.
pub fn place_at_last(venue: &Venue, id: &str) -> String {
    until("an order is acknowledged", || {
        let mut client = Client::connect(venue).ok()?;
        match place(&mut client, id) {
            Ok((200, order)) => order["id"].as_str().map(str::to_string),
            _ => client
                .call("GET", &format!("/orders/client:{id}"), "")
                .ok()
                .filter(|(status, _)| *status == 200)
                .and_then(|(_, order)| order["id"].as_str().map(str::to_string)),
        }
    })
}

/// Runs a subcommand of the program; its standard output, or what it said instead.
pub fn everopen(dir: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_everopen"))
        .args(args)
        .env("EVEROPEN_DIR", dir)
        .output()
        .expect("run everopen");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// The replicas' answers to `cluster status`.
pub fn statuses(dir: &Path) -> Vec<Value> {
    let text = everopen(dir, &["cluster", "status", "--json"]).unwrap_or_else(|_| "[]".into());
    serde_json::from_str(&text).expect("statuses")
}

/// Who leads, if somebody does.
pub fn leader(dir: &Path) -> Option<u64> {
    let statuses = statuses(dir);
    let leads = statuses.iter().filter(|status| status["role"] == "leader");
    leads
        .max_by_key(|status| status["term"].as_u64())
        .and_then(|status| status["node"].as_u64())
}

/// How many vote, as the leader says.
pub fn voters(dir: &Path) -> usize {
    let statuses = statuses(dir);
    let leads = statuses.iter().find(|status| status["role"] == "leader");
    let voters = leads.and_then(|status| status["voters"].as_array());
    voters.map_or(0, Vec::len)
}

/// Replicas that applied the same entries computed the same events.
pub fn same_everywhere(dir: &Path) {
    until(
        "all replicas are at the same entry with the same hash",
        || {
            let statuses = statuses(dir);
            let of = |status: &Value| (status["applied"].clone(), status["event_hash"].clone());
            let first = of(statuses.first()?);
            (statuses.len() == 3 && statuses.iter().all(|status| of(status) == first)).then_some(())
        },
    );
}
