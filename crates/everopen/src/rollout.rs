//! `everopen rollout`: plans, progress and history on the terminal.

mod both;
mod database;
pub mod past;
mod rehearse;
mod schema;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use everopen_kubernetes::Clusters;
use everopen_rollout::execute::{self, By, Ended, Site};
use everopen_rollout::file::{Decision, File};
use everopen_rollout::id;
use everopen_rollout::journal::{Entry, Line, Outcome};
use everopen_rollout::plan::{Plan, plan};

use crate::cli::LogFormat;
use rehearse::Wanted;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Where plans, journals and logs are kept
    #[arg(
        long,
        value_name = "DIR",
        default_value = "everopen-rollouts",
        env = "EVEROPEN_ROLLOUTS",
        global = true
    )]
    root: PathBuf,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT", default_value = "", global = true)]
    why: String,
    /// Act on the service or the database alone, though one plan has them both
    #[arg(long, global = true)]
    alone: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the JSON Schema of a version's file, for editors
    Schema,
    /// Show what would be done, and do nothing
    Plan {
        /// The file of a version, of a database, of both, or of a change of schema
        file: PathBuf,
    },
    /// Do it
    Apply {
        /// The file of a version, of a database, of both, or of a change of schema
        file: PathBuf,
    },
    /// Show what is in service, what can be gone back to, and what is under way
    Status {
        /// The service, or a file that names it
        #[arg(value_parser = named)]
        service: String,
        /// The edge's admin socket, for weights and counts
        #[arg(long, value_name = "SOCKET")]
        edge: Option<PathBuf>,
        /// Go on showing what is done, until nothing is under way
        #[arg(long)]
        follow: bool,
    },
    /// Do it again and again with faults thrown in: a version's old one is to serve after each; a database is
    /// cloned for it
    GameDay {
        /// The file of a version, of a database, or of both
        file: PathBuf,
        /// Only faults whose name begins so, and the plan without one (`none`) if that is asked for
        #[arg(long, value_name = "FAULT")]
        only: Vec<String>,
    },
    /// Let a rollout wait before its next step
    Pause {
        /// The service, or a file that names it
        #[arg(value_parser = named)]
        service: String,
    },
    /// Go on with a rollout that was paused or cut off
    Resume {
        /// The service, or a file that names it
        #[arg(value_parser = named)]
        service: String,
    },
    /// Go through the journey of the version in service, once or on a schedule
    Journey {
        /// The service, or a file that names it
        #[arg(value_parser = named)]
        service: String,
        /// Where clients come in, as host:port
        #[arg(long, value_name = "ADDRESS")]
        at: String,
        /// Milliseconds from one to the next; without it, once
        #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(100..))]
        every_ms: Option<u64>,
        /// How many; without it, until it is stopped
        #[arg(long, value_name = "N", requires = "every_ms")]
        times: Option<u64>,
        /// A program that is run when one fails, with what was wrong as its last argument
        #[arg(long, value_name = "PROGRAM")]
        on_failure: Option<PathBuf>,
    },
    /// Let a rollout that waits at a gate go on
    Approve {
        /// The service, or a file that names it
        #[arg(value_parser = named)]
        service: String,
        /// Only at this gate
        #[arg(long, value_name = "NAME")]
        gate: Option<String>,
    },
    /// Take a rollout back that waits at a gate
    Reject {
        /// The service, or a file that names it
        #[arg(value_parser = named)]
        service: String,
        /// Only at this gate
        #[arg(long, value_name = "NAME")]
        gate: Option<String>,
    },
    /// Go back to the version before, or take back the rollout that was cut off
    Rollback {
        /// The service, or a file that names it
        #[arg(value_parser = named)]
        service: String,
    },
    /// End the way back: what serves, serves alone
    Finish {
        /// The service or the database, or a file that names it
        #[arg(value_parser = named)]
        name: String,
        /// Only if this version of the service is the one that is kept
        #[arg(long, value_name = "VERSION")]
        only: Option<String>,
    },
    /// Wait beside a controller that holds clients of a database, and act if it dies
    #[command(hide = true)]
    Guard {
        /// The database
        database: String,
    },
    /// Show what was done, by whom, and why
    History {
        /// The service, or a file that names it
        #[arg(value_parser = named)]
        service: String,
        /// With every step
        #[arg(long)]
        steps: bool,
    },
}

/// A name, or that which stands in a file of a version, of a database, of both, or of a change of schema.
fn named(text: &str) -> Result<String, String> {
    let path = Path::new(text);
    if path.extension().is_none_or(|extension| extension != "toml") || !path.is_file() {
        return Ok(text.to_string());
    }
    let wrong = |error: &dyn std::fmt::Display| format!("{text}: {error}");
    let read = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let file: toml::Table = read.parse().map_err(|error| wrong(&error))?;
    let name = |table: &str| file.get(table)?.get("name");
    let found = file
        .get("service")
        .or_else(|| name("database"))
        .or_else(|| name("schema"));
    match found.and_then(toml::Value::as_str) {
        Some(name) => Ok(name.to_string()),
        None => Err(wrong(
            &"it names no service, no database and no change of schema",
        )),
    }
}

/// Performs the command.
///
/// # Errors
/// It was refused, or the rollout came back to the old version.
pub fn run(args: &Arguments) -> Result<()> {
    crate::telemetry::start(LogFormat::Text, false)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .context("start the controller's threads")?;
    let root = args.root.as_path();
    let by = By {
        who: user(),
        why: args.why.clone(),
    };
    let clusters = Clusters::default();
    let site = Site {
        root,
        by: &by,
        cluster: Some(&clusters),
    };
    // The plan of both, under the service's name.
    let whole = |service: &str| match args.alone {
        true => Ok(None),
        false => both::open(root, service),
    };
    match &args.what {
        What::Schema => {
            say!("{:#}", File::schema());
            Ok(())
        }
        What::Plan { file } if both::is_one(file) => both::plan(&runtime, &site, file),
        What::Apply { file } if both::is_one(file) => both::apply(&runtime, &site, file),
        What::Plan { file } if database::is_one(file) => database::plan(&runtime, file),
        What::Plan { file } if schema::is_one(file) => schema::plan(&runtime, root, file),
        What::Plan { file } => {
            let plan = make(root, file)?;
            show(&plan);
            say!();
            say!("Nothing has changed. `everopen rollout apply` does this.");
            Ok(())
        }
        What::Apply { file } if schema::is_one(file) => schema::apply(&runtime, root, file, &by),
        What::Apply { file } if database::is_one(file) => {
            let is_free = |name: &str| both::is_free(root, name, args.alone);
            database::apply(&runtime, root, file, &by, is_free)
        }
        What::Apply { file } => {
            let plan = make(root, file)?;
            both::is_free(root, &plan.file.service, args.alone)?;
            both::note(root, &plan.file.service)?;
            show(&plan);
            say!();
            let count = plan.steps.len();
            let mut tell = |line: &Line| tell(line, count);
            end(&runtime.block_on(execute::apply(&site, plan, &mut tell))?)
        }
        What::GameDay { file, only } if both::is_one(file) => {
            both::game_day(&runtime, &site, file, &Wanted(only))
        }
        What::GameDay { file, only } if database::is_one(file) => {
            let (file, wanted) = (database::read(file)?, Wanted(only));
            wanted.check(database::faults(&file).iter().map(String::as_str))?;
            database::game_day(&runtime, &file, &wanted)
        }
        What::GameDay { file, only } => {
            let (file, wanted) = (File::read(file)?, Wanted(only));
            wanted.check(rehearse::names(&file).iter().map(String::as_str))?;
            both::is_free(root, &file.service, args.alone)?;
            runtime.block_on(rehearse::game_day(&site, &file, &wanted))
        }
        What::Status { service, .. } if schema::knows(root, service)? => {
            schema::status(&runtime, root, service)
        }
        What::Status { service, .. } if database::knows(root, service)? => {
            database::status(&runtime, root, service)
        }
        What::Status {
            service,
            edge,
            follow,
        } => {
            let known = both::known(root, service)?.filter(|_| !args.alone);
            let open = whole(service)?;
            if let Some(known) = &open {
                both::status(&runtime, &site, known)?;
                say!();
                say!("service  {service}");
            }
            past::status(root, service, edge.as_deref())?;
            if let Some(known) = &known {
                both::status_of_database(&runtime, root, known)?;
            }
            match (follow, &open) {
                (false, _) => Ok(()),
                (true, Some(known)) => both::follow(root, known),
                (true, None) => past::follow(root, service),
            }
        }
        What::Pause { service } => {
            let id = execute::pause(root, service, &by)?;
            say!(
                "rollout {id} waits before its next step; `everopen rollout resume {service}` lets it go on"
            );
            Ok(())
        }
        What::Resume { service } if whole(service)?.is_some_and(|known| known.is_under_way()) => {
            let known = whole(service)?.context("it was there")?;
            both::resume(&runtime, &site, &known, false)
        }
        What::Resume { service } if schema::knows(root, service)? => {
            schema::resume(&runtime, root, service, &by)
        }
        What::Resume { service } if database::knows(root, service)? => {
            both::is_free(root, service, args.alone)?;
            database::resume(&runtime, root, service, &by)
        }
        What::Finish { name, only } => match both::known(root, name)?.filter(|_| !args.alone) {
            Some(known) => both::finish(&runtime, &site, &known, &by),
            None if database::knows(root, name)? => {
                both::is_free(root, name, args.alone)?;
                database::finish(&runtime, root, name, &by)
            }
            None => {
                both::is_free(root, name, args.alone)?;
                let mut tell = |line: &Line| tell(line, 0);
                let finish = execute::finish(&site, name, only.as_deref(), &mut tell);
                say!("{}", runtime.block_on(finish)?);
                Ok(())
            }
        },
        What::Guard { database } => database::watch_over(&runtime, root, database, &by),
        What::Resume { service } => {
            if let Some(id) = past::running(root, service)? {
                // Its controller waits, and sees that the pause has ended.
                execute::unpause(root, service, &id, &by)?;
                say!("rollout {id} goes on");
                return Ok(());
            }
            let mut tell = |line: &Line| tell(line, 0);
            end(&runtime.block_on(execute::resume(&site, service, false, &mut tell))?)
        }
        What::Journey {
            service,
            at,
            every_ms,
            times,
            on_failure,
        } => {
            let schedule = rehearse::Schedule {
                every: every_ms.map(Duration::from_millis),
                times: times.or(every_ms.is_none().then_some(1)),
                on_failure: on_failure.as_deref(),
            };
            runtime.block_on(rehearse::journeys(root, service, at, &schedule))
        }
        What::Approve { service, gate } | What::Reject { service, gate } => {
            let decision = Decision {
                approved: matches!(args.what, What::Approve { .. }),
                who: by.who.clone(),
                why: by.why.clone(),
            };
            let gate = execute::decide(root, service, gate.as_deref(), &decision)?;
            match decision.approved {
                true => say!("gate {gate} is approved; the rollout goes on"),
                false => say!("gate {gate} is refused; the rollout comes back"),
            }
            Ok(())
        }
        What::Rollback { service } if whole(service)?.is_some() => {
            let known = whole(service)?.context("it was there")?;
            both::roll_back(&runtime, &site, known)
        }
        What::Rollback { service } if schema::knows(root, service)? => {
            schema::roll_back(&runtime, root, service, &by)
        }
        What::Rollback { service } if database::knows(root, service)? => {
            both::is_free(root, service, args.alone)?;
            database::turn_back(&runtime, root, service, &by)
        }
        What::Rollback { service } => {
            let mut tell = |line: &Line| tell(line, 0);
            let back = execute::rollback(&site, service, &mut tell);
            let ended = runtime.block_on(back)?;
            say!();
            say!("the version before serves again");
            if ended.outcome == Outcome::Back {
                say!("`everopen rollout rollback {service}` goes forth again, while both run");
            }
            Ok(())
        }
        What::History { service, steps } => {
            match both::known(root, service)?.filter(|_| !args.alone) {
                Some(known) => both::history(root, &known, *steps),
                None => past::history(root, service, *steps),
            }
        }
    }
}

/// Who does it, for the audit trail: the system's name of the process's user, and who became it by sudo.
pub fn user() -> String {
    let uid = rustix::process::getuid().as_raw();
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = known.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_string())
    });
    let name = name.unwrap_or_else(|| format!("uid {uid}"));
    match std::env::var("SUDO_USER") {
        Ok(before) => format!("{name}, by sudo of {before}"),
        Err(_) => name,
    }
}

fn make(root: &Path, file: &Path) -> Result<Plan> {
    let file = File::read(file)?;
    let inventory = execute::inventory(root, &file)?;
    let id = id::fresh(&file.version);
    Ok(plan(&file, &inventory, &id))
}

fn show(plan: &Plan) {
    let from = match (&plan.from, &plan.from_version) {
        (Some(group), Some(version)) => format!("version {version} in {group}"),
        (Some(group), None) => format!("{group}, whose version is not known"),
        _ => "nothing".to_string(),
    };
    say!("service  {}", plan.file.service);
    say!("now      {from}");
    say!("then     version {} in {}", plan.file.version, plan.to);
    say!();
    say!("{:>4}  {:<52}  what clients notice", "step", "what");
    for (at, step) in plan.steps.iter().enumerate() {
        say!("{:>4}  {:<52}  {}", at + 1, step.to_string(), step.effect());
    }
}

fn tell(line: &Line, count: usize) {
    if let Some(text) = text(line, count) {
        say!("{text}");
    }
}

/// A line of a journal for people, if it is one for them.
fn text(line: &Line, count: usize) -> Option<String> {
    let of = |step: usize| match count {
        0 => format!("{:>2}", step + 1),
        count => format!("{:>2}/{count}", step + 1),
    };
    Some(match &line.entry {
        Entry::Opened { .. } | Entry::Ended { .. } => return None,
        Entry::Begun { step, text } => format!("{}  {text} ...", of(*step)),
        Entry::Done { step, evidence } => format!("{}  done: {evidence}", of(*step)),
        Entry::Failed { step, reason } => format!("{}  FAILED: {reason}", of(*step)),
        Entry::Paused { who, why } => format!("paused by {who}: {why:?}"),
        Entry::Resumed { who, why } => format!("resumed by {who}: {why:?}"),
        Entry::Undoing { text } => format!("back   {text}"),
    })
}

fn end(ended: &Ended) -> Result<()> {
    say!();
    say!("noticed from outside: {}", ended.noticed);
    match (ended.outcome, &ended.reason) {
        (Outcome::New, _) => {
            say!("the new version serves");
            Ok(())
        }
        (_, reason) => bail!(
            "the old version serves, as before: {}",
            reason.as_deref().unwrap_or("it was taken back")
        ),
    }
}
