//! `everopen cluster doctor`: measures between and on the replicas, and says what to change.

mod advice;
mod measure;

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use super::access::{Access, leader};
use advice::Grade;
use measure::{Measured, us};

/// Performs the command.
///
/// # Errors
/// When no replica answers.
pub fn run(access: &mut Access, goal_ms: f64, as_json: bool, patience: Duration) -> Result<()> {
    let statuses = access.statuses();
    let answers = access.ask_all(&json!({ "ask": "doctor" }), patience);
    let measured = Measured::of(&statuses, &answers, leader(&statuses).as_ref());
    if measured.nodes.iter().all(|node| node.silent.is_some()) {
        bail!("no replica answers");
    }
    let findings = advice::findings(&measured, goal_ms * 1e3);
    if as_json {
        let answers: Vec<_> = answers
            .iter()
            .map(|answered| match &answered.answer {
                Ok(answer) => json!({ "node": answered.node.id, "measured": answer }),
                Err(error) => json!({ "node": answered.node.id, "error": error }),
            })
            .collect();
        let told = json!({ "nodes": answers, "findings": findings });
        say!("{}", serde_json::to_string_pretty(&told)?);
        return Ok(());
    }
    for line in table(&measured) {
        say!("{line}");
    }
    say!();
    for finding in &findings {
        let mark = match finding.grade {
            Grade::Good => "good  ",
            Grade::Note => "note  ",
            Grade::Change => "CHANGE",
        };
        say!("{mark}  {}", finding.text);
        if let Some(todo) = &finding.todo {
            say!("        {todo}");
        }
    }
    Ok(())
}

/// The measurements, one line a replica.
fn table(measured: &Measured) -> Vec<String> {
    let mut head = format!("{:<10}", "round trip");
    for to in &measured.nodes {
        head.push_str(&format!("{:>20}", format!("to {} p50/p99", to.id)));
    }
    head.push_str(&format!(
        "{:>22}{:>12}  {}",
        "fdatasync p50/p99", "clock", "processor"
    ));
    let mut lines = vec![head];
    for node in &measured.nodes {
        let mut line = format!("{:<10}", format!("node {}", node.id));
        if let Some(why) = &node.silent {
            line.push_str(&format!("{:>20}", why));
            lines.push(line);
            continue;
        }
        for to in &measured.nodes {
            let shown = match node.rtt.get(&to.id) {
                _ if to.id == node.id => "·".to_string(),
                Some(rtt) => format!("{}/{} µs", us(rtt.p50), us(rtt.p99)),
                None => "no answer".to_string(),
            };
            line.push_str(&format!("{shown:>20}"));
        }
        let sync = node.sync.map_or("-".into(), |sync| {
            format!("{}/{} µs", us(sync.p50), us(sync.p99))
        });
        let clock = measured
            .clock_error(node.id)
            .map_or("-".into(), |offset| format!("{:+.1} ms", offset / 1e3));
        line.push_str(&format!("{sync:>22}{clock:>12}  {}", node.processor()));
        lines.push(line);
    }
    lines
}
