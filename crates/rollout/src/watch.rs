//! The journey of the version in service, again and again after its rollout.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::execute::Fault;
use crate::journey;
use crate::plan::Plan;
use crate::state::{Folder, now_ms};

/// One journey, as it is kept in `journeys.jsonl` of the service's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// When it began, in milliseconds since 1970.
    pub at_ms: u64,
    /// The version in service.
    pub version: String,
    /// Milliseconds that it took.
    pub took_ms: u64,
    /// The step that failed, and what was wrong about it; none if all went well.
    pub failed: Option<String>,
}

/// Goes once through the journey of the version in service, at this address instead of the test listener,
/// and keeps what came of it.
///
/// # Errors
/// Nothing is in service, its file has no journey, or the folder can't be read or written.
pub async fn walk(root: &Path, service: &str, at: &str) -> Result<Walk, Fault> {
    let io = |what: &str| {
        let what = what.to_string();
        move |source: io::Error| Fault::Io { what, source }
    };
    let state = Folder::peek(root, service).map_err(io("read the service's state"))?;
    let serves = |group: &&String| state.back.as_ref().is_none_or(|(back, _)| back != *group);
    let running = state
        .groups
        .keys()
        .find(serves)
        .map(|group| &state.groups[group]);
    let running =
        running.ok_or_else(|| Fault::Refused(format!("nothing of {service} is in service")))?;
    let plan = Plan::read(&Folder::plan_of(root, service, &running.rollout))
        .map_err(io("read the plan"))?;
    let Some(mut journey) = plan.file.journey else {
        let version = &running.version;
        return Err(Fault::Refused(format!(
            "the file of version {version} of {service} has no journey"
        )));
    };
    journey.at = at.to_string();
    let (at_ms, began) = (now_ms(), Instant::now());
    let failed = journey::run(&journey).await.err();
    let walk = Walk {
        at_ms,
        version: running.version.clone(),
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        failed,
    };
    let line =
        serde_json::to_string(&walk).map_err(|error| io("write the journey down")(error.into()))?;
    let path = root.join(service).join("journeys.jsonl");
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| writeln!(file, "{line}"))
        .map_err(io("write the journey down"))?;
    Ok(walk)
}
