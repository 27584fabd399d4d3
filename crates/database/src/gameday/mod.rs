//! A game day: the plan is carried out again and again on a clone of production, each time with another fault. What
//! must come of it is one side that serves, all rows that were acknowledged, and nothing left behind.

mod load;
mod stage;

use std::fmt;
use std::time::{Duration, Instant};

use everopen_rollout::execute::By;
use everopen_rollout::journal::{Entry, Line, Outcome};
use tokio::sync::Notify;
use tokio::task::block_in_place;

use crate::cutover::is_fenced;
use crate::dsn::Dsn;
use crate::file::File;
use crate::plan::{Plan, Step};
use crate::run::{self, Ended, Fault as Broken, Site};
use crate::server::{Side, connect, query};
use load::Load;
use stage::Stage;

/// How long clients may take to go on when everything is over.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
/// For how long somebody stands still, or keeps a transaction open.
const WHILE: Duration = Duration::from_secs(4);
/// How long a guard may take to act.
const GUARD: Duration = Duration::from_secs(5);
/// Transactions that show that clients go on.
const SOME: u64 = 20;

/// Who or what it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    Nobody,
    Controller,
    Blue,
    Green,
    GreenStandsStill,
    Pooler,
    Transaction,
}

/// What is done to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    whom: Whom,
    at: Step,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.whom {
            Whom::Nobody => return f.write_str("none"),
            Whom::Controller => "the controller is killed",
            Whom::Blue => "blue dies",
            Whom::Green => "green dies",
            Whom::GreenStandsStill => "green stands still for 4 s",
            Whom::Pooler => "the first pooler dies, and comes back",
            Whom::Transaction => "a transaction stays open for 4 s",
        };
        write!(f, "{what} at: {}", self.at)
    }
}

/// All faults for a plan: none first; then each where it can do something.
pub fn faults(file: &File) -> Vec<Fault> {
    let steps = Plan::forth(file).steps;
    let long = [Step::Clone, Step::Copy, Step::Follow];
    let mut all = vec![Fault {
        whom: Whom::Nobody,
        at: steps[0],
    }];
    for at in steps {
        let moments = [Step::Hold, Step::HoldWrites, Step::Switch];
        let is_moment = moments.contains(&at);
        let mut add = |whom, is_of_use| {
            if is_of_use {
                all.push(Fault { whom, at });
            }
        };
        add(Whom::Controller, at != Step::Preflight);
        add(
            Whom::Green,
            is_moment && at != Step::HoldWrites || long[1..].contains(&at),
        );
        add(Whom::Blue, is_moment || long.contains(&at));
        add(Whom::GreenStandsStill, at == Step::Hold);
        add(Whom::Pooler, is_moment);
        add(Whom::Transaction, is_moment && at != Step::Switch);
    }
    all
}

/// What came of one fault.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which.
    pub fault: Fault,
    /// How the rollout ended.
    pub ended: Ended,
    /// For how long clients were held, as the rollout says; none if it did not come to that.
    pub held: Option<String>,
    /// Transactions of clients that were done, refused with 25006, and failed.
    pub transactions: [u64; 3],
    /// What the last of those met that failed.
    pub last_failure: Option<String>,
    /// The longest that a client waited for one that was done.
    pub longest: Duration,
    /// What is not as it must be; nothing if all is well.
    pub wrong: Vec<String>,
}

/// A clone of production, and what belongs to it. [`Day::end`] removes it.
pub struct Day {
    stage: Stage,
    sql: String,
    guard: Vec<String>,
    clients: i32,
}

impl Day {
    /// Makes it. `guard` is as of [`Site`].
    ///
    /// # Errors
    /// The file does not say where, or it can't be made; then nothing of it is left.
    pub async fn begin(
        file: &File,
        guard: &dyn Fn(&std::path::Path) -> Vec<String>,
    ) -> Result<Self, String> {
        let sql = match file
            .database
            .game_day
            .as_ref()
            .and_then(|day| day.load.as_ref())
        {
            None => "SELECT 1".to_string(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("{}: {error}", path.display()))?,
        };
        let stage = Stage::set(file).await?;
        let guard = guard(&stage.root);
        Ok(Self {
            stage,
            sql: sql.trim().trim_end_matches(';').to_string(),
            guard,
            clients: 0,
        })
    }

    /// Ends and removes everything.
    ///
    /// # Errors
    /// Something of it can't be removed.
    pub fn end(self) -> Result<(), String> {
        self.stage.remove()
    }

    /// Carries the plan out once, with this fault.
    ///
    /// # Errors
    /// It could not be tried: what would be seen is not known.
    pub async fn play(
        &mut self,
        fault: Fault,
        tell: &mut (dyn FnMut(&Line) + Send),
    ) -> Result<Seen, String> {
        self.stage.fresh_green().await?;
        let poolers: Vec<String> = (0..self.stage.file.database.poolers.len())
            .map(|at| self.stage.pooler(at))
            .collect();
        let day = self.stage.file.database.game_day.as_ref();
        let (clients, rate) = day.map_or((1, 1), |day| (day.clients, day.rate));
        let load = Load::start(&poolers, clients, rate, &self.sql, self.clients);
        self.clients += clients as i32;
        go_on(&load)
            .await
            .map_err(|()| "clients can't write on the clone".to_string())?;

        let mut wrong = vec![format!(
            "the fault was not thrown in: no rollout came to {}",
            fault.at
        )];
        let ended = self.carry(fault, &mut wrong, tell).await;
        if go_on(&load).await.is_err() {
            wrong.push("clients do not go on".into());
        }
        let held = self.held();
        let load = load.end().await;
        let ended = ended?;
        if fault.whom == Whom::Nobody && (ended.serving != Side::Green || load.failed > 0) {
            // What is seen of faults says nothing then.
            let reason = ended.reason.as_deref().unwrap_or("clients failed");
            wrong.push(format!(
                "without a fault the plan does not go well: {reason}"
            ));
        }
        self.verify(&ended, &load.acknowledged, &mut wrong).await?;
        Ok(Seen {
            fault,
            ended,
            held,
            transactions: [load.done, load.refused, load.failed],
            last_failure: load.last_failure,
            longest: load.longest,
            wrong,
        })
    }

    async fn carry(
        &self,
        fault: Fault,
        wrong: &mut Vec<String>,
        tell: &mut (dyn FnMut(&Line) + Send),
    ) -> Result<Ended, String> {
        let by = By {
            who: "game day".into(),
            why: fault.to_string(),
        };
        let site = Site {
            root: &self.stage.root,
            by: &by,
            guard: &self.guard,
        };
        let gone = Notify::new();
        let applied = {
            let mut watch = |line: &Line| {
                tell(line);
                let at = Plan::forth(&self.stage.file)
                    .steps
                    .iter()
                    .position(|step| *step == fault.at);
                if matches!(line.entry, Entry::Begun { step, .. } if Some(step) == at) {
                    wrong.clear();
                    if fault.whom == Whom::Controller {
                        gone.notify_one();
                    } else if let Err(error) = block_in_place(|| self.throw(fault)) {
                        wrong.push(format!("the fault can't be thrown in: {error}"));
                    }
                }
            };
            let applied = run::apply(&site, &self.stage.file, &mut watch);
            tokio::select! {
                biased;
                // Dropped where it stands, with its lock: nothing of it goes on.
                () = gone.notified() => None,
                applied = applied => Some(applied),
            }
        };
        // Whoever died is started again, as a service manager does.
        self.stage.start(Side::Blue)?;
        match self.stage.start(Side::Green) {
            Err(error) if self.stage.has_own_green() => return Err(error),
            // It may not be whole yet.
            _ => {}
        }
        let name = &self.stage.file.database.name;
        match applied {
            Some(Ok(ended)) => return Ok(ended),
            Some(Err(Broken::Stuck(_))) => {}
            Some(Err(error)) => return Err(error.to_string()),
            None => self.wait_for_guard().await?,
        }
        self.stage.up(Side::Blue).await?;
        match run::resume(&site, name, tell).await {
            // Its guard has done it.
            Err(Broken::Refused(_)) => self.ended(),
            ended => ended.map_err(|error| error.to_string()),
        }
    }

    /// If clients are held its guard acts first, and then nothing is left to do.
    async fn wait_for_guard(&self) -> Result<(), String> {
        let began = Instant::now();
        let (root, name) = (&self.stage.root, &self.stage.file.database.name);
        loop {
            let is_held = run::is_within(root, name).map_err(|error| error.to_string())?;
            let is_at_work = run::is_at_work(root, name);
            // One that has begun is waited for.
            let patience = if is_at_work { PATIENCE } else { GUARD };
            if !(is_held || is_at_work) || began.elapsed() > patience {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How it ended that a guard has brought to its end.
    fn ended(&self) -> Result<Ended, String> {
        let state = run::state(&self.stage.root, &self.stage.file.database.name);
        let state = state
            .map_err(|error| error.to_string())?
            .ok_or("nothing is known of it")?;
        Ok(Ended {
            outcome: match state.serving {
                Side::Blue => Outcome::Old,
                Side::Green => Outcome::New,
            },
            serving: state.serving,
            reason: Some("its guard has brought it to an end".into()),
        })
    }

    fn throw(&self, fault: Fault) -> Result<(), String> {
        match fault.whom {
            Whom::Nobody | Whom::Controller => Ok(()),
            Whom::Blue => self.stage.stop(Side::Blue),
            Whom::Green => self.stage.stop(Side::Green),
            Whom::GreenStandsStill => {
                self.stage.signal_green("STOP")?;
                let stage = self.stage.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(WHILE).await;
                    if let Err(error) = block_in_place(|| stage.signal_green("CONT")) {
                        tracing::error!(error, "green goes on standing still");
                    }
                });
                Ok(())
            }
            Whom::Pooler => {
                self.stage.kill_pooler(0)?;
                let stage = self.stage.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(WHILE / 4).await;
                    if let Err(error) = block_in_place(|| stage.start_pooler(0)) {
                        tracing::error!(error, "the pooler does not come back");
                    }
                });
                Ok(())
            }
            Whom::Transaction => {
                let dsn = self.stage.pooler(0);
                let handle = tokio::runtime::Handle::current();
                let dsn = Dsn::parse(&dsn)?;
                handle.block_on(async {
                    let client = connect(&dsn, "a pooler").await?;
                    query(&client, "BEGIN; SELECT 1").await?;
                    tokio::spawn(async move {
                        tokio::time::sleep(WHILE).await;
                        let _ = query(&client, "COMMIT").await;
                    });
                    Ok(())
                })
            }
        }
    }

    /// What the last rollout said of how long clients were held.
    fn held(&self) -> Option<String> {
        let rollouts = everopen_rollout::state::Folder::rollouts(
            &self.stage.root,
            &self.stage.file.database.name,
        );
        let last = rollouts.ok()?.pop()?;
        let lines: Vec<Line> = everopen_rollout::journal::read(&last.join("journal.jsonl")).ok()?;
        lines.into_iter().rev().find_map(|line| match line.entry {
            Entry::Done { evidence, .. } => {
                let (_, rest) = evidence
                    .split_once(" for ")
                    .filter(|(before, _)| before.contains("held") || before.contains("refused"))?;
                Some(rest.split(" (").next()?.to_string())
            }
            _ => None,
        })
    }

    /// One side serves, and has all rows that were acknowledged; the other takes none; nothing is left when the
    /// way back is over. Blue serves again afterwards.
    async fn verify(
        &self,
        ended: &Ended,
        acknowledged: &[(i32, Vec<i64>)],
        wrong: &mut Vec<String>,
    ) -> Result<(), String> {
        self.serves(ended.serving, acknowledged, wrong).await?;
        let by = By {
            who: "game day".into(),
            why: "back to where it began".into(),
        };
        let site = Site {
            root: &self.stage.root,
            by: &by,
            guard: &[],
        };
        let name = &self.stage.file.database.name;
        if ended.serving == Side::Green {
            let blue = self.stage.up(Side::Blue).await?;
            if blue.value("SHOW default_transaction_read_only").await? != "on"
                && !is_fenced(&blue).await?
            {
                wrong.push("blue takes writes beside green".into());
            }
            match run::turn_back(&site, name, &mut |_| {}).await {
                Ok(back) if back.serving == Side::Blue && back.reason.is_none() => {}
                Ok(back) => wrong.push(format!("the way back: {back:?}")),
                Err(error) => wrong.push(format!("the way back: {error}")),
            }
            self.serves(Side::Blue, acknowledged, wrong).await?;
        }
        run::finish(&site, name)
            .await
            .map_err(|error| error.to_string())?;
        let blue = self.stage.up(Side::Blue).await?;
        let left = blue.column("SELECT 'slot ' || slot_name FROM pg_replication_slots UNION ALL SELECT 'publication ' || pubname FROM pg_publication WHERE pubname LIKE 'everopen%' UNION ALL SELECT 'subscription ' || subname FROM pg_subscription UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'everopen'").await?;
        if !left.is_empty() {
            wrong.push(format!("left on blue: {}", left.join(", ")));
        }
        Ok(())
    }

    async fn serves(
        &self,
        side: Side,
        acknowledged: &[(i32, Vec<i64>)],
        wrong: &mut Vec<String>,
    ) -> Result<(), String> {
        for at in 0..self.stage.file.database.poolers.len() {
            match self.stage.serving(at).await {
                Ok(Some(led)) if led == side => {}
                other => wrong.push(format!(
                    "pooler {} leads to {other:?}, not to {}",
                    at + 1,
                    side.name()
                )),
            }
        }
        let server = self.stage.up(side).await?;
        let mut lost = 0;
        for (client, numbers) in acknowledged {
            let there = server
                .column(&format!(
                    "SELECT number FROM public.everopen_game_day WHERE client = {client}"
                ))
                .await?;
            let there: std::collections::HashSet<i64> = there
                .iter()
                .filter_map(|number| number.parse().ok())
                .collect();
            lost += numbers
                .iter()
                .filter(|number| !there.contains(number))
                .count();
        }
        if lost > 0 {
            wrong.push(format!(
                "{lost} transactions that were acknowledged are not on {}",
                side.name()
            ));
        }
        Ok(())
    }
}

/// Waits until some more transactions are done.
async fn go_on(load: &Load) -> Result<(), ()> {
    let (before, began) = (load.done(), Instant::now());
    while load.done() < before + SOME {
        if began.elapsed() > PATIENCE {
            return Err(());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
