//! Whether a document makes sense: everything that can be known before it is run.

use std::collections::BTreeSet;

use serde_json::Value;

use super::action::{Action, Approve, Http, Kind, Probe, Quantity, Script, Sleep};
use super::parameter::whole;
use super::{Document, OnCancel, OnFailure, SCHEMA, Step};
use crate::call::Target;
use crate::values::{Name, PROBE, names};

/// The longest time of a step, a week: what waits longer is two runs.
const SECONDS_MAX: u64 = 7 * 24 * 3_600;
/// Attempts of a step at most.
const ATTEMPTS_MAX: u32 = 1_000;

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The step, if it is in one.
    pub step: Option<String>,
    /// Which of those with this name, counted from 0.
    pub nth: usize,
    /// The field.
    pub field: String,
    pub detail: String,
}

impl Wrong {
    fn new(step: Option<&str>, field: &str, detail: impl Into<String>) -> Self {
        Self {
            step: step.map(str::to_string),
            nth: 0,
            field: field.to_string(),
            detail: detail.into(),
        }
    }

    pub fn place(&self) -> String {
        match &self.step {
            Some(step) => format!("step {step:?}: {}", self.field),
            None => self.field.clone(),
        }
    }
}

fn is_name(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(known)
}

impl Document {
    pub(super) fn check(&self) -> Result<(), Wrong> {
        if self.schema_version != SCHEMA {
            let hint = match self.schema_version.as_str() {
                "0.3" => ": `everopen runbook import` translates it",
                _ => "",
            };
            let detail = format!("{:?} is not {SCHEMA:?}{hint}", self.schema_version);
            return Err(Wrong::new(None, "schemaVersion", detail));
        }
        if self.main_steps.is_empty() {
            return Err(Wrong::new(None, "mainSteps", "there is none"));
        }
        self.check_parameters()?;
        for (at, step) in self.main_steps.iter().enumerate() {
            let earlier = &self.main_steps[..at];
            let twice = earlier
                .iter()
                .filter(|other| other.name == step.name)
                .count();
            self.check_step(step, twice > 0)
                .map_err(|(field, detail)| Wrong {
                    nth: twice,
                    ..Wrong::new(Some(&step.name), &field, detail)
                })?;
        }
        for output in &self.outputs {
            self.check_name(output, None)
                .map_err(|detail| Wrong::new(None, "outputs", detail))?;
        }
        self.check_reach()
    }

    fn check_parameters(&self) -> Result<(), Wrong> {
        for (name, parameter) in &self.parameters {
            let wrong =
                |detail: String| Err(Wrong::new(None, &format!("parameters.{name}"), detail));
            if !is_name(name) {
                return wrong("a name is 1 to 128 letters, digits, `-` and `_`".into());
            }
            if let Some(pattern) = &parameter.allowed_pattern
                && let Err(detail) = whole(pattern)
            {
                return wrong(format!("allowedPattern: {detail}"));
            }
            if let Some(default) = &parameter.default
                && let Err(detail) = parameter.check(default)
            {
                return wrong(format!("default: {detail}"));
            }
        }
        Ok(())
    }

    fn check_step(&self, step: &Step, is_twice: bool) -> Result<(), (String, String)> {
        let wrong = |field: &str, detail: String| Err((field.to_string(), detail));
        if !is_name(&step.name) {
            return wrong(
                "name",
                "a name is 1 to 128 letters, digits, `-` and `_`".into(),
            );
        }
        if is_twice {
            return wrong("name", "another step has it, too".into());
        }
        if step.name == PROBE {
            return wrong("name", "it stands for what comes of a probe".into());
        }
        let there = |field: &str, name: &str| match self.step(name) {
            Some(_) => Ok(()),
            None => Err((field.to_string(), format!("there is no step {name:?}"))),
        };
        if let OnFailure::Step(name) = &step.on_failure {
            there("onFailure", name)?;
        }
        if let OnCancel::Step(name) = &step.on_cancel {
            there("onCancel", name)?;
        }
        if let Some(name) = &step.next_step {
            there("nextStep", name)?;
            if step.is_end {
                return wrong("nextStep", "the run ends after this step (isEnd)".into());
            }
            if step.action == Kind::Branch {
                return wrong(
                    "nextStep",
                    "a branch says where it goes on by itself".into(),
                );
            }
        }
        check_times(
            "",
            step.timeout_seconds,
            step.max_attempts,
            step.retry_seconds,
        )?;
        let action = Action::read(step.action, &step.inputs)
            .map_err(|detail| ("inputs".to_string(), detail))?;
        check_action(&action)?;
        if let Action::Branch(branch) = &action {
            for choice in &branch.choices {
                there("inputs.choices", &choice.next_step)?;
            }
            if let Some(default) = &branch.default {
                there("inputs.default", default)?;
            }
        }
        for (name, pointer) in &step.outputs {
            if !is_name(name) || !(pointer.is_empty() || pointer.starts_with('/')) {
                let detail = format!("{name}: {pointer:?} is no RFC 6901 pointer");
                return wrong("outputs", detail);
            }
            let first = pointer.split('/').nth(1).unwrap_or_default();
            let is_known = action.results().contains(&first) || pointer.is_empty();
            if !is_known && step.action != Kind::Untranslated {
                let known = action.results().join(", ");
                let detail = format!("{name}: {pointer:?} begins with none of {known}");
                return wrong("outputs", detail);
            }
        }
        self.check_names(&step.inputs, "inputs")?;
        if let Some(undo) = &step.undo {
            if matches!(undo.action, Kind::Branch | Kind::Untranslated) {
                return wrong("undo.action", format!("{} undoes nothing", undo.action));
            }
            check_times(
                "undo.",
                undo.timeout_seconds,
                undo.max_attempts,
                undo.retry_seconds,
            )?;
            let action = Action::read(undo.action, &undo.inputs)
                .map_err(|detail| ("undo.inputs".to_string(), detail))?;
            check_action(&action).map_err(|(field, detail)| (format!("undo.{field}"), detail))?;
            self.check_names(&undo.inputs, "undo.inputs")?;
        }
        Ok(())
    }

    /// Everything that `{{ }}` names is something that can have a value.
    fn check_names(&self, inputs: &Value, field: &str) -> Result<(), (String, String)> {
        let inputs = without_scripts(inputs);
        let mut found = Vec::new();
        names(&inputs, &mut found);
        for name in found {
            self.check_name(&name, Some(&inputs))
                .map_err(|detail| (field.to_string(), detail))?;
        }
        Ok(())
    }

    fn check_name(&self, written: &str, inputs: Option<&Value>) -> Result<(), String> {
        match Name::read(written) {
            Name::Parameter(name) => match self.parameters.contains_key(&name) {
                true => Ok(()),
                false => Err(format!("{{{{ {name} }}}}: there is no such parameter")),
            },
            Name::Environment(_) => Ok(()),
            Name::Run(name) => match ["id", "date", "dateTime"].contains(&name.as_str()) {
                true => Ok(()),
                false => Err(format!(
                    "{{{{ run:{name} }}}} is none of id, date, dateTime"
                )),
            },
            Name::Result(step, _, _) if step == PROBE => {
                match inputs.is_some_and(|inputs| inputs.get("probe").is_some()) {
                    true => Ok(()),
                    false => Err(format!("{{{{ {written} }}}}: there is no probe here")),
                }
            }
            Name::Result(name, result, _) => {
                let step = self
                    .step(&name)
                    .ok_or_else(|| format!("{{{{ {written} }}}}: there is no step {name:?}"))?;
                if step.action == Kind::Untranslated {
                    return Ok(());
                }
                let action = Action::read(step.action, &step.inputs)?;
                let results = action.results();
                if step.outputs.contains_key(&result) || results.contains(&result.as_str()) {
                    return Ok(());
                }
                let mut known: Vec<&str> = step.outputs.keys().map(String::as_str).collect();
                known.extend(results);
                let known = known.join(", ");
                Err(format!(
                    "{{{{ {written} }}}}: step {name:?} has only {known}"
                ))
            }
        }
    }

    /// Every step can be come to.
    fn check_reach(&self) -> Result<(), Wrong> {
        let mut seen = BTreeSet::from([0]);
        let mut next = vec![0];
        let place = |name: &String| self.main_steps.iter().position(|step| step.name == *name);
        while let Some(at) = next.pop() {
            let step = &self.main_steps[at];
            let mut to: Vec<Option<usize>> = Vec::new();
            if let OnFailure::Step(name) = &step.on_failure {
                to.push(place(name));
            }
            if let OnCancel::Step(name) = &step.on_cancel {
                to.push(place(name));
            }
            let mut goes_on = !step.is_end && step.next_step.is_none();
            to.extend(step.next_step.iter().map(place));
            if let Ok(Action::Branch(branch)) = Action::read(step.action, &step.inputs) {
                goes_on &= branch.default.is_none();
                to.extend(branch.choices.iter().map(|choice| place(&choice.next_step)));
                to.extend(branch.default.iter().map(place));
            }
            if goes_on && at + 1 < self.main_steps.len() {
                to.push(Some(at + 1));
            }
            next.extend(to.into_iter().flatten().filter(|to| seen.insert(*to)));
        }
        match (0..self.main_steps.len()).find(|at| !seen.contains(at)) {
            None => Ok(()),
            Some(at) => {
                let name = &self.main_steps[at].name;
                Err(Wrong::new(Some(name), "name", "no step leads to it"))
            }
        }
    }

    /// The steps that an importer left to be written.
    pub fn untranslated(&self) -> Vec<(String, String)> {
        let steps = self.main_steps.iter();
        let found = steps.filter(|step| step.action == Kind::Untranslated);
        found
            .map(|step| {
                let of = |key: &str| step.inputs.get(key).and_then(Value::as_str);
                let was = of("was").unwrap_or_default();
                (
                    step.name.clone(),
                    format!("{was}: {}", of("why").unwrap_or_default()),
                )
            })
            .collect()
    }
}

fn check_times(
    prefix: &str,
    timeout: Option<u64>,
    attempts: u32,
    retry: u64,
) -> Result<(), (String, String)> {
    let wrong = |field: &str, detail: String| Err((format!("{prefix}{field}"), detail));
    if let Some(timeout) = timeout.filter(|timeout| !(1..=SECONDS_MAX).contains(timeout)) {
        return wrong(
            "timeoutSeconds",
            format!("{timeout} is not from 1 to {SECONDS_MAX}"),
        );
    }
    if !(1..=ATTEMPTS_MAX).contains(&attempts) {
        return wrong(
            "maxAttempts",
            format!("{attempts} is not from 1 to {ATTEMPTS_MAX}"),
        );
    }
    if retry > SECONDS_MAX {
        return wrong("retrySeconds", format!("{retry} is above {SECONDS_MAX}"));
    }
    Ok(())
}

/// Inputs without the texts of scripts, in which nothing is replaced.
fn without_scripts(inputs: &Value) -> Value {
    let mut inputs = inputs.clone();
    let drop_text = |script: &mut Value| {
        if let Some(map) = script.as_object_mut()
            && map.get("script").is_some_and(Value::is_string)
        {
            map.remove("script");
        }
    };
    if let Some(probe) = inputs.pointer_mut("/probe/script") {
        drop_text(probe);
    }
    // An HTTP body may have a field of that name; it is deeper.
    drop_text(&mut inputs);
    inputs
}

fn check_action(action: &Action) -> Result<(), (String, String)> {
    let wrong = |field: &str, detail: &str| Err((format!("inputs.{field}"), detail.to_string()));
    match action {
        Action::Script(script) => check_script(script, ""),
        Action::Http(http) => check_http(http, ""),
        Action::Sleep(sleep) => check_sleep(sleep),
        Action::Approve(Approve {
            approvers,
            min_required_approvals: least,
            ..
        }) => {
            let is_named = approvers.iter().all(|name| !name.contains("{{"));
            if *least == 0 || (is_named && !approvers.is_empty() && approvers.len() < *least) {
                let detail = format!("{least} of {} can't say yes", approvers.len());
                return wrong("minRequiredApprovals", &detail);
            }
            Ok(())
        }
        Action::Branch(branch) => {
            if branch.choices.is_empty() {
                return wrong("choices", "there is none");
            }
            for choice in &branch.choices {
                let checked = choice.when.check();
                checked.map_err(|detail| ("inputs.choices".to_string(), detail))?;
            }
            Ok(())
        }
        Action::WaitFor(wait) => {
            check_probe(&wait.probe)?;
            if !(0.05..=SECONDS_MAX as f64).contains(&wait.every_seconds) {
                return wrong(
                    "everySeconds",
                    &format!("{} is not from 0.05", wait.every_seconds),
                );
            }
            let checked = wait.until.as_ref().map_or(Ok(()), |until| until.check());
            checked.map_err(|detail| ("inputs.until".to_string(), detail))
        }
        Action::Assert(assert) => {
            assert.probe.as_ref().map_or(Ok(()), check_probe)?;
            let checked = assert.that.check();
            checked.map_err(|detail| ("inputs.that".to_string(), detail))
        }
        Action::Untranslated(_) => Ok(()),
    }
}

fn check_sleep(sleep: &Sleep) -> Result<(), (String, String)> {
    let wrong = |field: &str, detail: String| Err((format!("inputs.{field}"), detail));
    let is_named = |text: &String| text.contains("{{");
    match (&sleep.seconds, &sleep.duration, &sleep.until) {
        (Some(Quantity::Number(seconds)), None, None) => {
            match (0.0..=SECONDS_MAX as f64).contains(seconds) {
                true => Ok(()),
                false => wrong(
                    "seconds",
                    format!("{seconds} is not from 0 to {SECONDS_MAX}"),
                ),
            }
        }
        (Some(Quantity::Named(text)), None, None) if !is_named(text) => {
            wrong("seconds", format!("{text:?} is no number"))
        }
        (None, Some(duration), None) if !is_named(duration) => {
            match Sleep::milliseconds(duration) {
                Ok(ms) if ms <= SECONDS_MAX * 1_000 => Ok(()),
                Ok(_) => wrong("duration", format!("{duration} is above {SECONDS_MAX} s")),
                Err(detail) => wrong("duration", detail),
            }
        }
        (None, None, Some(until)) if !is_named(until) => match until.parse::<jiff::Timestamp>() {
            Ok(_) => Ok(()),
            Err(error) => wrong("until", error.to_string()),
        },
        (Some(_), None, None) | (None, Some(_), None) | (None, None, Some(_)) => Ok(()),
        _ => wrong(
            "seconds",
            "it has one of `seconds`, `duration` and `until`".into(),
        ),
    }
}

fn check_probe(probe: &Probe) -> Result<(), (String, String)> {
    match probe {
        Probe::Script(script) => check_script(script, "probe.script."),
        Probe::Http(http) => check_http(http, "probe.http."),
    }
}

fn check_script(script: &Script, at: &str) -> Result<(), (String, String)> {
    match script.command.is_empty() && script.script.is_none() {
        true => Err((
            format!("inputs.{at}command"),
            "it names no program and has no script".into(),
        )),
        false => Ok(()),
    }
}

fn check_http(http: &Http, at: &str) -> Result<(), (String, String)> {
    if http.url.contains("{{") {
        return Ok(());
    }
    match Target::read(&http.url) {
        Ok(_) => Ok(()),
        Err(detail) => Err((format!("inputs.{at}url"), detail)),
    }
}
