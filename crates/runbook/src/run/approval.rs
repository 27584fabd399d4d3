//! What people decided, each in a file of its own.

use std::io;
use std::path::Path;

use everopen_rollout::file::Decision;
use everopen_rollout::state::write;

use super::{Fault, Open, Seen, folder, io_fault, look};
use crate::document::action::{Action, Approve};

/// The decisions about the step that was begun with this line of the journal.
pub(crate) fn decisions(folder: &Path, visit: usize) -> io::Result<Vec<Decision>> {
    let prefix = format!("decision-{visit}-");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&prefix) && name.ends_with(".json") {
            found.push(serde_json::from_slice::<Decision>(&std::fs::read(&path)?)?);
        }
    }
    found.sort_by(|a, b| a.who.cmp(&b.who));
    Ok(found)
}

/// What a run waits to be decided, if it does.
pub fn question(seen: &Seen) -> Option<(&Open, Approve)> {
    let open = seen.progress.open.as_ref()?;
    let step = seen.document.step(&open.step)?;
    let (kind, inputs) = match (&step.undo, open.is_undo) {
        (Some(undo), true) => (undo.action, &undo.inputs),
        _ => (step.action, &step.inputs),
    };
    let inputs = seen
        .progress
        .values(&seen.begun)
        .inputs(kind, inputs)
        .ok()?;
    match Action::read(kind, &inputs) {
        Ok(Action::Approve(approve)) => Some((open, approve)),
        _ => None,
    }
}

/// Says yes or no to a run that waits for it; with a step, only to that. Which step it was, and how many
/// more must say yes.
///
/// # Errors
/// It does not wait, this user has decided, or is none of those who may.
pub fn decide(
    root: &Path,
    id: &str,
    step: Option<&str>,
    decision: &Decision,
) -> Result<(String, usize), Fault> {
    let refuse = |text: String| Err(Fault::Refused(text));
    let seen = look(root, id)?;
    let Some((open, approve)) = question(&seen) else {
        return refuse(format!("run {id} waits for nobody"));
    };
    let Approve {
        approvers,
        min_required_approvals: least,
        ..
    } = approve;
    if let Some(wanted) = step.filter(|wanted| *wanted != open.step) {
        return refuse(format!(
            "run {id} waits at {:?}, not at {wanted:?}",
            open.step
        ));
    }
    if !approvers.is_empty() && !approvers.contains(&decision.who) {
        let may = approvers.join(", ");
        return refuse(format!("{} may not decide here: {may} may", decision.who));
    }
    let path = folder(root, id)?;
    let before = io_fault("read decisions", decisions(&path, open.visit))?;
    if before.iter().any(|other| other.who == decision.who) {
        return refuse(format!("{} has decided already", decision.who));
    }
    let who: String = decision
        .who
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let text = serde_json::to_vec_pretty(decision).map_err(Into::into);
    let text = io_fault("write the decision", text)?;
    let path = path.join(format!("decision-{}-{who}.json", open.visit));
    io_fault("write the decision", write(&path, &text))?;
    let yes = before.iter().filter(|other| other.approved).count();
    let yes = yes + usize::from(decision.approved);
    Ok((open.step.clone(), least.saturating_sub(yes)))
}
