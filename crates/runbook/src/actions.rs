//! Doing what a step does, once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use everopen_rollout::program::{self, Program};
use everopen_rollout::state::now_ms;
use serde_json::{Map, Value, json};

use crate::call::{Call, Target, call};
use crate::document::action::{
    Action, Approve, Assert, Branch, Http, Kind, Probe, Quantity, Script, Sleep, WaitFor,
};
use crate::document::parameter::text;
use crate::run::approval;
use crate::values::{PROBE, Values};

/// Between two looks whether people have decided.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes of an output's text, and of its JSON, that a run remembers.
const TEXT_MAX: usize = 64 << 10;
const JSON_MAX: usize = 256 << 10;

/// Where and when a step is done.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    /// The document's folder.
    pub base: &'a Path,
    /// The run's folder.
    pub folder: &'a Path,
    /// Marks the programs that are run.
    pub owner: &'a str,
    /// The line of the journal with which the step was begun.
    pub visit: usize,
    /// When that was, in milliseconds since 1970.
    pub begun_ms: u64,
    /// How long an attempt may take.
    pub patience: Option<Duration>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Performed {
    pub results: Map<String, Value>,
    /// For people.
    pub evidence: String,
    /// Where a branch goes on.
    pub next: Option<String>,
}

/// Does it.
///
/// # Errors
/// Why it has failed, for people.
pub(crate) async fn perform(
    kind: Kind,
    inputs: &Value,
    values: &Values,
    place: &Place<'_>,
) -> Result<Performed, String> {
    let inputs = values.inputs(kind, inputs)?;
    let action = Action::read(kind, &inputs).map_err(|detail| format!("inputs: {detail}"))?;
    let done = async {
        match &action {
            Action::Script(script) => run_script(script, place).await,
            Action::Http(http) => ask(http, place).await,
            Action::Sleep(sleep) => wait(sleep, place).await,
            Action::Approve(approve) => decide(approve, place).await,
            Action::Branch(branch) => choose(branch, values),
            Action::WaitFor(wait) => wait_for(wait, values, place).await,
            Action::Assert(assert) => make_sure(assert, values, place).await,
            Action::Untranslated(_) => Err("it is not translated".into()),
        }
    };
    let Some(patience) = place.patience else {
        return done.await;
    };
    // A run that is taken up again does not begin to wait anew.
    let left = match action {
        Action::Approve(_) => patience.saturating_sub(since(place.begun_ms)),
        _ => patience,
    };
    tokio::time::timeout(left, done)
        .await
        .unwrap_or_else(|_| Err(format!("it took longer than {} s", patience.as_secs_f64())))
}

fn since(ms: u64) -> Duration {
    Duration::from_millis(now_ms().saturating_sub(ms))
}

fn short(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn excerpt(text: &str) -> &str {
    short(text.trim().lines().next().unwrap_or_default(), 200)
}

/// Adds a text, and what it says if it is JSON.
fn keep(results: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    let said = String::from_utf8_lossy(bytes);
    results.insert(name.to_string(), short(&said, TEXT_MAX).into());
    if bytes.len() <= JSON_MAX
        && let Ok(json) = serde_json::from_slice(bytes)
    {
        results.insert("json".to_string(), json);
    }
}

/// A body or an input: text as it is, nothing as nothing, and all else as JSON.
fn bytes(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        other => text(other),
    }
}

fn texts(values: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let each = values.iter();
    each.map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

async fn run_script(script: &Script, place: &Place<'_>) -> Result<Performed, String> {
    let mut command = script.command.clone();
    if let Some(text) = &script.script {
        if command.is_empty() {
            command.push("sh".into());
        }
        let path = place.folder.join(format!("script-{}", place.visit));
        std::fs::write(&path, text).map_err(|error| format!("write the script: {error}"))?;
        command.push(path.display().to_string());
    }
    let mut env = texts(&script.env);
    env.extend([everopen_rollout::execute::marking(place.owner)]);
    let dir: PathBuf = match &script.dir {
        Some(dir) => place.base.join(dir),
        None => place.base.to_path_buf(),
    };
    let input = bytes(&script.input);
    let program = Program {
        command: &command,
        dir: &dir,
        env: &env,
        input: input.as_bytes(),
    };
    let began = Instant::now();
    // The step's own limit is around this one.
    let patience = place
        .patience
        .unwrap_or(Duration::from_secs(7 * 24 * 3_600));
    let ran = program::run(program, patience)
        .await
        .map_err(|error| error.to_string())?;
    if !ran.status.success() {
        return Err(format!("{}: {}: {}", command[0], ran.status, ran.said()));
    }
    let mut results = Map::new();
    results.insert("exitCode".into(), ran.status.code().into());
    let errors = String::from_utf8_lossy(&ran.errors);
    results.insert("stderr".into(), short(&errors, TEXT_MAX).into());
    keep(&mut results, "stdout", &ran.output);
    let said = String::from_utf8_lossy(&ran.output).into_owned();
    let took = began.elapsed().as_millis();
    // What a program says last is how it came out.
    let last = said.trim_end().lines().next_back().unwrap_or_default();
    Ok(Performed {
        evidence: match excerpt(last) {
            "" => format!("after {took} ms"),
            said => format!("after {took} ms: {said}"),
        },
        results,
        next: None,
    })
}

async fn ask(http: &Http, place: &Place<'_>) -> Result<Performed, String> {
    let target = Target::read(&http.url)?;
    let body = bytes(&http.body);
    let mut headers = texts(&http.headers);
    let has_type = headers
        .keys()
        .any(|name| name.eq_ignore_ascii_case("content-type"));
    if !has_type && (http.body.is_object() || http.body.is_array()) {
        headers.insert("content-type".into(), "application/json".into());
    }
    let ca_file = http.ca_file.as_ref().map(|path| place.base.join(path));
    let asked = Call {
        method: &http.method,
        headers: &headers,
        body,
        ca_file: ca_file.as_deref(),
    };
    let began = Instant::now();
    let patience = place.patience.unwrap_or(Duration::from_secs(3_600));
    let answer = call(&target, asked, patience)
        .await
        .map_err(|error| format!("{} {}: {error}", http.method, http.url))?;
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    let is_well = match http.status.is_empty() {
        true => (200..300).contains(&answer.status),
        false => http.status.contains(&answer.status),
    };
    if !is_well {
        let said = short(said.trim(), 400);
        return Err(format!(
            "{} {}: status {}: {said}",
            http.method, http.url, answer.status
        ));
    }
    let mut results = Map::new();
    results.insert("status".into(), answer.status.into());
    results.insert("headers".into(), json!(answer.headers));
    keep(&mut results, "body", &answer.body);
    let took = began.elapsed().as_millis();
    Ok(Performed {
        evidence: format!(
            "status {} after {took} ms: {}",
            answer.status,
            excerpt(&said)
        ),
        results,
        next: None,
    })
}

async fn wait(sleep: &Sleep, place: &Place<'_>) -> Result<Performed, String> {
    let until_ms = match (&sleep.seconds, &sleep.duration, &sleep.until) {
        (Some(Quantity::Number(seconds)), ..) if *seconds >= 0.0 => {
            place.begun_ms.saturating_add((seconds * 1_000.0) as u64)
        }
        (_, Some(duration), _) => {
            let ms = Sleep::milliseconds(duration)?;
            place.begun_ms.saturating_add(ms)
        }
        (.., Some(until)) => {
            let until: jiff::Timestamp = until
                .parse()
                .map_err(|error| format!("until {until:?}: {error}"))?;
            u64::try_from(until.as_millisecond()).unwrap_or(0)
        }
        (seconds, ..) => return Err(format!("seconds: {seconds:?} is no time")),
    };
    let left = until_ms.saturating_sub(now_ms());
    tokio::time::sleep(Duration::from_millis(left)).await;
    Ok(Performed {
        evidence: format!("slept {:.1} s", left as f64 / 1_000.0),
        ..Performed::default()
    })
}

async fn decide(approve: &Approve, place: &Place<'_>) -> Result<Performed, String> {
    loop {
        let decisions = approval::decisions(place.folder, place.visit)
            .map_err(|error| format!("read decisions: {error}"))?;
        let may = |who: &String| approve.approvers.is_empty() || approve.approvers.contains(who);
        let mut said_yes = Vec::new();
        for decision in decisions.into_iter().filter(|decision| may(&decision.who)) {
            match decision.approved {
                false => return Err(format!("{} said no: {:?}", decision.who, decision.why)),
                true => said_yes.push(decision),
            }
        }
        if said_yes.len() >= approve.min_required_approvals {
            let told: Vec<String> = said_yes
                .iter()
                .map(|decision| format!("{}: {:?}", decision.who, decision.why))
                .collect();
            let who: Vec<&String> = said_yes.iter().map(|decision| &decision.who).collect();
            let mut results = Map::new();
            results.insert("approvers".into(), json!(who));
            return Ok(Performed {
                evidence: format!("approved by {}", told.join(", ")),
                results,
                next: None,
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn choose(branch: &Branch, values: &Values) -> Result<Performed, String> {
    for choice in &branch.choices {
        if choice.when.holds(values)? {
            return Ok(Performed {
                evidence: format!(
                    "to {}, since {}",
                    choice.next_step,
                    choice.when.tell(values)
                ),
                next: Some(choice.next_step.clone()),
                ..Performed::default()
            });
        }
    }
    Ok(Performed {
        evidence: match &branch.default {
            Some(default) => format!("to {default}, since no choice holds"),
            None => "on, since no choice holds".to_string(),
        },
        next: branch.default.clone(),
        ..Performed::default()
    })
}

async fn put(probe: &Probe, place: &Place<'_>) -> Result<Performed, String> {
    match probe {
        Probe::Script(script) => run_script(script, place).await,
        Probe::Http(http) => ask(http, place).await,
    }
}

fn with_probe(values: &Values, performed: &Performed) -> Values {
    let mut values = values.clone();
    let results = Value::Object(performed.results.clone());
    values.results.insert(PROBE.to_string(), results);
    values
}

async fn wait_for(wait: &WaitFor, values: &Values, place: &Place<'_>) -> Result<Performed, String> {
    let every = Duration::from_secs_f64(wait.every_seconds);
    let deadline = place.patience.map(|patience| Instant::now() + patience);
    let mut count = 0;
    loop {
        let began = Instant::now();
        count += 1;
        let missing = match put(&wait.probe, place).await {
            Ok(performed) => {
                let values = with_probe(values, &performed);
                let until = wait.until.as_ref();
                // What has no value yet may have one later.
                if until.is_none_or(|until| until.holds(&values) == Ok(true)) {
                    return Ok(Performed {
                        evidence: format!("{count} probes: {}", performed.evidence),
                        ..performed
                    });
                }
                let told = until.map(|until| until.tell(&values)).unwrap_or_default();
                format!("not {told}")
            }
            Err(error) => error,
        };
        let next = began + every;
        if deadline.is_some_and(|deadline| next >= deadline) {
            let patience = place.patience.unwrap_or_default().as_secs_f64();
            return Err(format!(
                "not within {patience} s, {count} probes; the last: {missing}"
            ));
        }
        tokio::time::sleep_until(next.into()).await;
    }
}

async fn make_sure(
    assert: &Assert,
    values: &Values,
    place: &Place<'_>,
) -> Result<Performed, String> {
    let performed = match &assert.probe {
        Some(probe) => put(probe, place).await?,
        None => Performed::default(),
    };
    let values = with_probe(values, &performed);
    let told = assert.that.tell(&values);
    match assert.that.holds(&values)? {
        true => Ok(Performed {
            evidence: told,
            ..performed
        }),
        false => Err(match assert.message.as_str() {
            "" => format!("it does not hold that {told}"),
            message => format!("{message}: it does not hold that {told}"),
        }),
    }
}
