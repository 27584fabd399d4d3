//! `everopen runbook`: runs of runbooks on the terminal.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use everopen_rollout::file::Decision;
use everopen_rollout::journal::Line;
use everopen_rollout::state::now_ms;
use everopen_runbook::document::{Document, Kind, Parameter};
use everopen_runbook::import;
use everopen_runbook::run::{self, At, By, Ended, Entry, Outcome, Progress, Seen, approval};

use crate::cli::LogFormat;
use crate::rollout::{past::span, user};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Where runs are kept
    #[arg(
        long,
        value_name = "DIR",
        default_value = "everopen-runbooks",
        env = "EVEROPEN_RUNBOOKS",
        global = true
    )]
    root: PathBuf,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT", default_value = "", global = true)]
    why: String,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Read a document, say what is wrong with it, and show its steps
    Check {
        /// The document, YAML or JSON
        file: PathBuf,
    },
    /// Do what a document says
    Run {
        /// The document, YAML or JSON
        file: PathBuf,
        /// A parameter, NAME=VALUE
        #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = parameter)]
        parameters: Vec<(String, String)>,
    },
    /// Show where a run is; without a name, all runs
    Status {
        /// The run
        run: Option<String>,
    },
    /// Show what was done in a run, by whom, and why
    History {
        /// The run
        run: String,
    },
    /// Say yes to a run that waits for it
    Approve {
        /// The run
        run: String,
        /// Only at this step
        #[arg(long, value_name = "NAME")]
        step: Option<String>,
    },
    /// Say no to a run that waits for an approval
    Reject {
        /// The run
        run: String,
        /// Only at this step
        #[arg(long, value_name = "NAME")]
        step: Option<String>,
    },
    /// End a run: the step at work is stopped, and what was done is undone
    Cancel {
        /// The run
        run: String,
    },
    /// Go on with a run that was cut off
    Resume {
        /// The run
        run: String,
    },
    /// Undo a run that had ended well
    Undo {
        /// The run
        run: String,
    },
    /// Translate a Systems Manager Automation document of schema 0.3, and name what can't be
    Import {
        /// The document, YAML or JSON
        file: PathBuf,
        /// Where the translation goes; without it, to standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the JSON Schema of a document, for editors
    Schema,
}

fn parameter(written: &str) -> Result<(String, String), String> {
    match written.split_once('=') {
        Some((name, value)) => Ok((name.to_string(), value.to_string())),
        None => Err("NAME=VALUE is wanted".into()),
    }
}

/// Performs the command.
///
/// # Errors
/// It was refused, or the run did not end well.
pub fn run(args: &Arguments) -> Result<()> {
    crate::telemetry::start(LogFormat::Text, false)?;
    let root = args.root.as_path();
    let by = By {
        who: user(),
        why: args.why.clone(),
    };
    match &args.what {
        What::Schema => {
            say!("{:#}", Document::schema());
            Ok(())
        }
        What::Check { file } => check(file),
        What::Import { file, output } => translate(file, output.as_deref()),
        What::Run { file, parameters } => {
            let document = Document::read(file)?;
            let begun = run::prepare(root, file, &document, parameters)?;
            say!("run {}", begun.id);
            say!();
            let start = async |tell: &mut Tell| run::resume(root, &begun.id, &by, tell).await;
            carry_on(root, &begun.id, &by, start)
        }
        What::Resume { run: id } => {
            let start = async |tell: &mut Tell| run::resume(root, id, &by, tell).await;
            carry_on(root, id, &by, start)
        }
        What::Undo { run: id } => {
            let start = async |tell: &mut Tell| run::undo(root, id, &by, tell).await;
            carry_on(root, id, &by, start)
        }
        What::Status { run: None } => list(root),
        What::Status { run: Some(id) } => status(root, id),
        What::History { run: id } => history(root, id),
        What::Approve { run: id, step } | What::Reject { run: id, step } => {
            let decision = Decision {
                approved: matches!(args.what, What::Approve { .. }),
                who: by.who,
                why: by.why,
            };
            let (step, more) = approval::decide(root, id, step.as_deref(), &decision)?;
            match (decision.approved, more) {
                (false, _) => say!("step {step} is refused"),
                (true, 0) => say!("step {step} is approved; the run goes on"),
                (true, more) => say!("noted; {more} more must approve step {step}"),
            }
            Ok(())
        }
        What::Cancel { run: id } => {
            run::cancel(root, id, &by)?;
            match run::look(root, id)?.is_at_work {
                true => say!("run {id} is told to end; what it did is undone"),
                false => say!(
                    "run {id} was cut off: `everopen runbook resume {id}` ends it and undoes what it did"
                ),
            }
            Ok(())
        }
    }
}

type Tell<'a> = dyn FnMut(&Line<Entry>) + Send + 'a;

/// Carries a run on in the foreground. Ctrl-C cancels it, and a second one leaves it cut off.
fn carry_on(
    root: &Path,
    id: &str,
    by: &By,
    start: impl AsyncFnOnce(&mut Tell) -> Result<Ended, run::Fault>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the threads of the run")?;
    let mut tell = |line: &Line<Entry>| tell(line);
    let ended = runtime.block_on(async {
        let work = start(&mut tell);
        tokio::pin!(work);
        let mut times = 0;
        loop {
            tokio::select! {
                ended = &mut work => return ended.map_err(anyhow::Error::from),
                _ = stopped() => {
                    times += 1;
                    if times > 1 {
                        bail!("the run is cut off: `everopen runbook resume {id}` goes on with it");
                    }
                    let by = By { why: "interrupted".into(), ..by.clone() };
                    match run::cancel(root, id, &by) {
                        Ok(()) => say!("cancelled; once more, and it is left as it is"),
                        Err(error) => say!("{error}; once more, and it is left as it is"),
                    }
                }
            }
        }
    })?;
    end(&ended)
}

/// Somebody wants it to stop.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupted), Ok(mut terminated)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
}

fn of(parameter: &Parameter) -> String {
    match &parameter.default {
        Some(default) => format!("{:?}, {default} if not given", parameter.kind),
        None => format!("{:?}, needed", parameter.kind),
    }
}

fn check(file: &Path) -> Result<()> {
    let document = Document::read(file)?;
    if !document.description.is_empty() {
        say!("{}", document.description.trim());
        say!();
    }
    for (name, parameter) in &document.parameters {
        say!("{name:<24} {:<36} {}", of(parameter), parameter.description);
    }
    say!(
        "{:>4}  {:<24} {:<10} {:<10} then",
        "step",
        "name",
        "action",
        "undone by"
    );
    for (at, step) in document.main_steps.iter().enumerate() {
        let undo = step
            .undo
            .as_ref()
            .map_or("-".to_string(), |undo| undo.action.to_string());
        let mut then = vec![match (&step.next_step, step.is_end, step.action) {
            (Some(next), ..) => format!("to {next}"),
            (None, true, _) => "ends".to_string(),
            (None, false, Kind::Branch) => "branches".to_string(),
            (None, false, _) => "on".to_string(),
        }];
        then.push(format!("if it fails {}", step.on_failure));
        if step.max_attempts > 1 {
            then.push(format!("{} attempts", step.max_attempts));
        }
        say!(
            "{:>4}  {:<24} {:<10} {undo:<10} {}",
            at + 1,
            step.name,
            step.action.to_string(),
            then.join(", ")
        );
    }
    let left = document.untranslated();
    if !left.is_empty() {
        say!();
        for (step, why) in &left {
            say!("step {step} is not translated yet: {why}");
        }
        bail!("{} steps are to be written", left.len());
    }
    Ok(())
}

fn translate(file: &Path, output: Option<&Path>) -> Result<()> {
    let imported = import::read(file)?;
    let text = import::to_yaml(&imported.document).map_err(anyhow::Error::msg)?;
    // What is written must be readable as what it is.
    let sense = Document::parse(output.unwrap_or(file), &text);
    match output {
        Some(path) => {
            std::fs::write(path, &text).with_context(|| format!("write {}", path.display()))?;
        }
        None => say!("{text}"),
    }
    let told = |is_missing: bool| {
        imported
            .findings
            .iter()
            .filter(move |one| one.is_missing == is_missing)
    };
    for one in told(false) {
        crate::console::error_line(format_args!("another meaning: {}: {}", one.place, one.what));
    }
    for one in told(true) {
        crate::console::error_line(format_args!("NOT TRANSLATED: {}: {}", one.place, one.what));
    }
    sense.context("the translation is written, and needs work")?;
    match told(true).count() {
        0 => Ok(()),
        count => bail!("{count} things could not be translated; they are named above"),
    }
}

fn tell(line: &Line<Entry>) {
    match &line.entry {
        Entry::Opened { .. } | Entry::Ended { .. } => {}
        Entry::Begun { step, attempt: 1 } => say!("{step} ..."),
        Entry::Begun { step, attempt } => say!("{step} ... attempt {attempt}"),
        Entry::Done { step, evidence, .. } => say!("{step}  done: {evidence}"),
        Entry::Failed {
            step,
            reason,
            again,
            ..
        } => match again {
            true => say!("{step}  failed, and is tried again: {reason}"),
            false => say!("{step}  FAILED: {reason}"),
        },
        Entry::Cancelled { who, why, .. } => say!("cancelled by {who}: {why:?}"),
        Entry::TakenBack { who, why } => say!("taken back by {who}: {why:?}"),
        Entry::Undoing { step, .. } => say!("undo {step} ..."),
        Entry::Undone { step, evidence } => say!("undo {step}  done: {evidence}"),
        Entry::NotUndone {
            step,
            reason,
            again,
        } => match again {
            true => say!("undo {step}  failed, and is tried again: {reason}"),
            false => say!("undo {step}  FAILED: {reason}"),
        },
    }
}

/// What must be known of a run that did not end well, or not quite.
fn remains(progress: &Progress) {
    for (step, why) in &progress.failures {
        say!("failed: {step}: {why}");
    }
    for step in &progress.undone {
        say!("undone: {step}");
    }
    for (step, why) in &progress.not_undone {
        say!("NOT UNDONE: {step}: {why}");
    }
}

fn outcome(outcome: Outcome, progress: &Progress) -> &'static str {
    match (outcome, progress.not_undone.is_empty()) {
        (Outcome::Success, _) if progress.failures.is_empty() => "ended well",
        (Outcome::Success, _) => "ended well, but steps that are not critical failed",
        (Outcome::Failed, true) => "failed; what could be undone is undone",
        (Outcome::Failed, false) => "failed, and could not be undone whole",
        (Outcome::Cancelled, true) => "was cancelled; what could be undone is undone",
        (Outcome::Cancelled, false) => "was cancelled, and could not be undone whole",
        (Outcome::TakenBack, true) => "was taken back; what could be undone is undone",
        (Outcome::TakenBack, false) => "was taken back, and could not be undone whole",
    }
}

fn end(ended: &Ended) -> Result<()> {
    say!();
    for (name, value) in &ended.outputs {
        say!("{name} = {value}");
    }
    remains(&ended.progress);
    let told = outcome(ended.outcome, &ended.progress);
    let is_well = match ended.outcome {
        Outcome::Success => true,
        Outcome::TakenBack => ended.progress.not_undone.is_empty(),
        Outcome::Failed | Outcome::Cancelled => false,
    };
    match is_well {
        true => say!("the run {told}"),
        false => bail!("the run {told}"),
    }
    Ok(())
}

fn now(seen: &Seen) -> String {
    let progress = &seen.progress;
    match (&progress.at, &progress.open) {
        (At::Ended(ended), _) => outcome(*ended, progress).to_string(),
        (_, _) if !seen.is_at_work => "was CUT OFF: resume it, or cancel it".to_string(),
        (_, Some(open)) => {
            let step = seen.document.step(&open.step);
            let waits = step.is_some_and(|step| step.action == Kind::Approve) && !open.is_undo;
            let for_ms = now_ms().saturating_sub(open.at_ms);
            match (open.is_undo, waits) {
                (true, _) => format!("undoes {}, for {}", open.step, span(for_ms)),
                (false, true) => format!(
                    "waits for an approval at {}, for {}",
                    open.step,
                    span(for_ms)
                ),
                (false, false) => format!("is at {}, for {}", open.step, span(for_ms)),
            }
        }
        (At::Step { name, .. }, None) => format!("is before {name}"),
        (At::Undo, None) => "is being undone".to_string(),
    }
}

fn list(root: &Path) -> Result<()> {
    let all = run::all(root).with_context(|| format!("read {}", root.display()))?;
    if all.is_empty() {
        say!("nothing was run in {}", root.display());
    }
    for id in all {
        let seen = run::look(root, &id)?;
        say!("{id}  {}", now(&seen));
    }
    Ok(())
}

fn status(root: &Path, id: &str) -> Result<()> {
    let seen = run::look(root, id)?;
    say!("run       {id}");
    say!("document  {}", seen.begun.file.display());
    for (name, value) in &seen.begun.parameters {
        say!("given     {name} = {value}");
    }
    say!("now       {}", now(&seen));
    for step in &seen.progress.begun {
        let word = match (
            seen.progress.failures.get(step),
            seen.progress.results.contains_key(step),
        ) {
            (Some(why), _) => format!("failed: {why}"),
            (None, true) => "done".to_string(),
            (None, false) => "begun".to_string(),
        };
        let undone = match seen.progress.undone.contains(step) {
            true => ", undone",
            false => "",
        };
        say!("          {step}: {word}{undone}");
    }
    for (step, why) in &seen.progress.not_undone {
        say!("NOT UNDONE: {step}: {why}");
    }
    if let Some((open, approve)) = approval::question(&seen) {
        say!();
        say!("{}: {}", open.step, approve.message);
        if !approve.approvers.is_empty() {
            say!(
                "{} of {}",
                approve.min_required_approvals,
                approve.approvers.join(", ")
            );
        }
        say!("`everopen runbook approve {id}` or `everopen runbook reject {id}`");
    }
    Ok(())
}

fn history(root: &Path, id: &str) -> Result<()> {
    let seen = run::look(root, id)?;
    let first = seen.lines.first().map_or(0, |line| line.at_ms);
    for line in &seen.lines {
        let at = line.at_ms.saturating_sub(first);
        let told = match &line.entry {
            Entry::Opened { who, why } => format!("{who}: {why:?}"),
            Entry::Begun { step, attempt } => format!("{step}, attempt {attempt}"),
            Entry::Done { evidence, next, .. } => match next {
                Some(next) => format!("  {evidence}; next {next}"),
                None => format!("  {evidence}"),
            },
            Entry::Failed { reason, .. } => format!("  failed: {reason}"),
            Entry::Cancelled { who, why, .. } => format!("cancelled by {who}: {why:?}"),
            Entry::TakenBack { who, why } => format!("taken back by {who}: {why:?}"),
            Entry::Undoing { step, attempt } => format!("undo {step}, attempt {attempt}"),
            Entry::Undone { evidence, .. } => format!("  {evidence}"),
            Entry::NotUndone { reason, .. } => format!("  failed: {reason}"),
            Entry::Ended { outcome: ended } => outcome(*ended, &seen.progress).to_string(),
        };
        say!("{at:>8} ms  {told}");
    }
    Ok(())
}
