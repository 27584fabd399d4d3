//! The replicas' answers as a table for people.

use std::time::Duration;

use serde_json::Value;

use super::access::{Answered, leader};

/// A text in an answer.
pub fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or("-")
}

/// A number or text in an answer, as it is shown.
pub fn shown(answer: &Value, name: &str) -> String {
    match &answer[name] {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The newest entry that any replica knows to be committed.
pub fn newest(statuses: &[Answered]) -> u64 {
    let commits = statuses
        .iter()
        .filter_map(|answered| answered.answer.as_ref().ok()?["commit"].as_u64());
    commits.max().unwrap_or(0)
}

/// How many entries a replica has still to apply.
pub fn lag(status: &Value, newest: u64) -> String {
    status["applied"].as_u64().map_or("-".into(), |applied| {
        newest.saturating_sub(applied).to_string()
    })
}

/// The start of a hash: enough to see a difference.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn running(status: &Value) -> String {
    let Some(ms) = status["uptime_ms"].as_u64() else {
        return "-".into();
    };
    let s = Duration::from_millis(ms).as_secs();
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min", s / 60),
        3_600..172_800 => format!("{} h", s / 3_600),
        _ => format!("{} d", s / 86_400),
    }
}

fn membership(id: u64, statuses: &[Answered]) -> &'static str {
    let Some(knows) = leader(statuses).and_then(|leader| {
        let found = statuses.iter().find(|s| s.node.id == leader.id)?;
        found.answer.as_ref().ok()
    }) else {
        return "-";
    };
    let holds = |name: &str| {
        let ids = knows[name].as_array();
        ids.is_some_and(|ids| ids.iter().any(|known| known.as_u64() == Some(id)))
    };
    if holds("voters") {
        "voter"
    } else if holds("learners") {
        "learner"
    } else {
        "none"
    }
}

/// The table, line by line.
pub fn lines(statuses: &[Answered]) -> Vec<String> {
    let newest = newest(statuses);
    let mut lines = vec![format!(
        "{:>4}  {:<21} {:<9} {:<8} {:>6} {:>11} {:>11} {:>7}  {:<12} {:>5}  {:<14} {:>6}",
        "node",
        "address",
        "role",
        "member",
        "term",
        "committed",
        "applied",
        "lag",
        "event hash",
        "logic",
        "version",
        "up"
    )];
    for answered in statuses {
        let id = answered.node.id;
        let address = answered.node.address.to_string();
        let status = match &answered.answer {
            Ok(status) => status,
            Err(error) => {
                lines.push(format!(
                    "{id:>4}  {address:<21} {:<9} {:<8} {error}",
                    "down",
                    membership(id, statuses),
                ));
                continue;
            }
        };
        // Over all events up to the entry that is applied.
        let hash = short(text(status, "event_hash"));
        let logic = match status["logic_max"].as_u64() {
            Some(max) if status["logic"].as_u64() != Some(max) => {
                format!("{}/{max}", shown(status, "logic"))
            }
            _ => shown(status, "logic"),
        };
        lines.push(format!(
            "{id:>4}  {address:<21} {:<9} {:<8} {:>6} {:>11} {:>11} {:>7}  {hash:<12} {logic:>5}  {:<14} {:>6}",
            text(status, "role"),
            membership(id, statuses),
            shown(status, "term"),
            shown(status, "commit"),
            shown(status, "applied"),
            lag(status, newest),
            shown(status, "build"),
            running(status),
        ));
        if let Some(fault) = status["fault"].as_str() {
            lines.push(format!("      {fault}"));
        }
        for other in status["differing"].as_array().into_iter().flatten() {
            lines.push(format!(
                "      DIFFERENT: replica {} computed other events up to entry {}",
                shown(other, "id"),
                shown(other, "index")
            ));
        }
    }
    let reachable = statuses.iter().filter(|s| s.answer.is_ok()).count();
    let mode = statuses.iter().find_map(|s| {
        let status = s.answer.as_ref().ok()?;
        Some(text(status, "mode").to_string())
    });
    let led = leader(statuses).map_or("no replica leads".into(), |node| {
        format!("replica {} leads", node.id)
    });
    lines.push(format!(
        "{led} · {reachable} of {} reachable · entry {newest} committed · {}",
        statuses.len(),
        mode.unwrap_or_else(|| "-".into())
    ));
    if let Some(differ) = different(statuses) {
        lines.push(differ);
    }
    lines
}

/// Replicas that computed something else at the same entry.
fn different(statuses: &[Answered]) -> Option<String> {
    let at: Vec<(u64, u64, &str)> = statuses
        .iter()
        .filter_map(|answered| {
            let status = answered.answer.as_ref().ok()?;
            let index = status["applied"].as_u64()?;
            Some((answered.node.id, index, status["event_hash"].as_str()?))
        })
        .collect();
    at.iter().enumerate().find_map(|(n, (id, index, hash))| {
        let other = at[..n].iter().find(|(_, i, h)| i == index && h != hash)?;
        Some(format!(
            "DIFFERENT: replicas {} and {id} computed different events up to entry {index}",
            other.0
        ))
    })
}

/// Prints the table.
pub fn print(statuses: &[Answered]) {
    for line in lines(statuses) {
        say!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Peer;
    use serde_json::json;

    fn answered(id: u64, answer: Result<Value, String>) -> Answered {
        Answered {
            node: Peer {
                id,
                address: format!("127.0.0.1:{}", 7_000 + id).parse().unwrap(),
            },
            answer,
        }
    }

    fn status(id: u64, role: &str, term: u64, applied: u64) -> Answered {
        let status = json!({
            "node": id, "role": role, "term": term, "commit": applied + 1, "applied": applied,
            "event_hash": "00112233445566778899", "logic": 1, "logic_max": 2,
            "build": "0.2.0", "mode": "fsync", "voters": [1, 2], "learners": [3], "uptime_ms": 61_000,
        });
        answered(id, Ok(status))
    }

    #[test]
    fn the_table_says_who_leads_who_lags_and_who_is_down() {
        let statuses = [
            status(1, "leader", 4, 100),
            status(2, "follower", 5, 90),
            answered(3, Err("not reachable: connection refused".into())),
        ];
        let lines = lines(&statuses);
        assert!(
            lines[1].contains("leader") && lines[1].contains("voter"),
            "{lines:#?}"
        );
        assert!(lines[1].contains("001122334455 ") && lines[1].contains("1/2"));
        assert!(lines[2].contains("     11  "), "{}", lines[2]);
        assert!(lines[3].contains("down") && lines[3].contains("learner"));
        assert!(lines[3].contains("connection refused"));
        assert!(lines[4].starts_with("replica 1 leads · 2 of 3 reachable"));
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn a_deposed_leader_does_not_lead() {
        let statuses = [status(1, "leader", 4, 100), status(2, "leader", 5, 90)];
        assert_eq!(leader(&statuses).unwrap().id, 2);
    }

    #[test]
    fn a_difference_is_named() {
        let mut other = status(2, "follower", 4, 100);
        if let Ok(status) = &mut other.answer {
            status["event_hash"] = json!("ffff");
        }
        let lines = lines(&[status(1, "leader", 4, 100), other]);
        assert!(lines.last().unwrap().starts_with("DIFFERENT"), "{lines:#?}");
    }
}
