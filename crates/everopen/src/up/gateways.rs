//! The gateways behind the edge: brought into service by a rollout, kept running, ended.
//!
//! A thread of its own does it, since a rollout may take minutes and the supervisor must not wait.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use everopen_edge::admin::Client;
use everopen_rollout::execute::{self, By, Site};
use everopen_rollout::file::File;
use everopen_rollout::id;
use everopen_rollout::journal::{self, Entry, Line, Outcome};
use everopen_rollout::keep::{self, Instance, Keeper};
use everopen_rollout::plan::{Plan, plan};
use everopen_rollout::state::{Folder, State};

use super::access;
use super::front::{Front, SERVICE, settings};
use super::process::is_program;
use super::supervisor::News;

/// Between two looks whether all of them run. Each reads of every process of the machine what it is: not
/// often, since replicas and members need the processor more.
const KEEP: Duration = Duration::from_millis(200);
/// Between two looks at the start, and at the end.
const LOOK: Duration = Duration::from_millis(50);
/// Between two lines that say that nobody answers.
const REMIND: Duration = Duration::from_secs(10);
/// Who did it, in the journals of rollouts. No user of a system is called that.
const WHO: &str = "everopen up";
/// A new venue's first gateway waits for replicas that read a long log.
const FIRST_READY_MS: u64 = 3_600_000;

/// The gateways of a venue, behind its edge.
pub struct Gateways {
    front: Front,
    stop: Arc<AtomicBool>,
    running: Arc<Mutex<Vec<Instance>>>,
    thread: Option<JoinHandle<()>>,
}

impl Gateways {
    /// Begins to bring them up, as `file` says.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn start(front: &Front, file: File, tell: Sender<News>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let running = Arc::default();
        let work = Work {
            front: front.clone(),
            file,
            stop: Arc::clone(&stop),
            running: Arc::clone(&running),
            keeper: Keeper::new(&front.rollouts(), SERVICE),
            tell,
        };
        let thread = std::thread::Builder::new()
            .name("everopen-gateways".into())
            .spawn(move || work.run())
            .context("start a thread")?;
        Ok(Self {
            front: front.clone(),
            stop,
            running,
            thread: Some(thread),
        })
    }

    /// Those that run, the one in service first.
    pub fn running(&self) -> Vec<Instance> {
        let running = self.running.lock();
        running.expect("invariant: nothing panics under it").clone()
    }

    /// Keeps them no longer. They go on.
    pub fn leave(&mut self) {
        self.stop.store(true, Relaxed);
    }

    /// Ends all of them.
    pub fn end(&mut self) {
        self.leave();
        // A rollout that the thread is in the middle of fails then, and comes back.
        let root: PathBuf = self.front.rollouts();
        let is_done = |thread: &JoinHandle<()>| thread.is_finished();
        loop {
            if let Err(error) = keep::end(&root, SERVICE) {
                tracing::error!(%error, "gateways may be left running");
            }
            match &self.thread {
                Some(thread) if !is_done(thread) => std::thread::sleep(LOOK),
                _ => break,
            }
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = keep::end(&root, SERVICE);
    }
}

struct Work {
    front: Front,
    file: File,
    stop: Arc<AtomicBool>,
    running: Arc<Mutex<Vec<Instance>>>,
    keeper: Keeper,
    tell: Sender<News>,
}

impl Work {
    fn run(mut self) {
        if let Err(error) = self.bring_up()
            && !self.stop.load(Relaxed)
        {
            let _ = self.tell.send(News::Failed(format!("{error:#}")));
            return;
        }
        let mut complained = false;
        while !self.stop.load(Relaxed) {
            match self.keep() {
                Ok(()) => complained = false,
                Err(error) if !complained => {
                    complained = true;
                    tracing::error!("the gateways can't be kept running: {error:#}");
                }
                Err(_) => {}
            }
            std::thread::sleep(KEEP);
        }
    }

    fn state(&self) -> Result<State> {
        Folder::peek(&self.front.rollouts(), SERVICE).context("read the gateway's rollouts")
    }

    /// Until a gateway is in service.
    fn bring_up(&mut self) -> Result<()> {
        let edge = Client::new(self.front.edge_socket());
        while edge.status().is_err() {
            if self.stop.load(Relaxed) {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        let state = self.state()?;
        let serves = state
            .groups
            .keys()
            .any(|group| state.back.as_ref().is_none_or(|(back, _)| back != group));
        if serves {
            self.announce();
            return self.replace_if_outdated();
        }
        // A first rollout that was cut off has served nobody.
        if state.under_way.is_some() {
            self.carry_out(None)?;
        }
        let mut file = self.file.clone();
        file.start.ready_ms = FIRST_READY_MS;
        let plan = self.plan(&file)?;
        self.carry_out(Some(plan))?;
        self.announce();
        Ok(())
    }

    /// Tells how the venue is reached, once it is.
    fn announce(&mut self) {
        let mut remind = Instant::now() + REMIND;
        while !self.stop.load(Relaxed) {
            if let Err(error) = self.keep() {
                tracing::warn!("{error:#}");
            }
            if Instant::now() > remind {
                remind += REMIND;
                let log = self.front.dir().join("gateway/gateway.log");
                tracing::warn!(log = %log.display(), "no gateway answers yet");
            }
            if let Ok(access) = access(self.front.dir()) {
                let _ = self.tell.send(News::Ready(Box::new(access)));
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn plan(&self, file: &File) -> Result<Plan> {
        let inventory = execute::inventory(&self.front.rollouts(), file)?;
        let id = id::fresh(&file.version);
        Ok(plan(file, &inventory, &id))
    }

    /// Carries a plan out; without one, takes back what was cut off.
    fn carry_out(&self, plan: Option<Plan>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start the controller's threads")?;
        let by = By {
            who: WHO.into(),
            why: "this program, with these settings".into(),
        };
        let root = self.front.rollouts();
        let site = Site {
            root: &root,
            by: &by,
            cluster: None,
        };
        let is_back = plan.is_none();
        let mut tell = |line: &Line| match &line.entry {
            Entry::Done { step, evidence } => tracing::info!(step = step + 1, evidence, "gateway"),
            Entry::Failed { reason, .. } => tracing::error!(reason, "gateway"),
            Entry::Undoing { text } => tracing::warn!(text, "gateway"),
            _ => {}
        };
        let ended = match plan {
            Some(plan) => runtime.block_on(execute::apply(&site, plan, &mut tell))?,
            None => runtime.block_on(execute::resume(&site, SERVICE, true, &mut tell))?,
        };
        match ended.outcome {
            Outcome::New => Ok(()),
            _ if is_back => Ok(()),
            _ => bail!(
                "the gateway does not come up: {}",
                ended.reason.as_deref().unwrap_or("it was taken back")
            ),
        }
    }

    /// Takes back what an earlier one of these programs had begun when it was killed, or when another took over.
    /// Which rollout stands in the way all the same: an operator's, or one that can't be taken back now.
    fn take_back_own(&mut self) -> Result<Option<String>> {
        while let Some(id) = self.state()?.under_way {
            if self.stop.load(Relaxed) || !self.is_own(&id)? {
                return Ok(Some(id));
            }
            // The earlier program may still be at it.
            if !Folder::is_held(&self.front.rollouts(), SERVICE) {
                tracing::warn!("rollout {id} of the gateway was cut off: it is taken back");
                if let Err(error) = self.carry_out(None)
                    && self.state()?.under_way.as_ref() == Some(&id)
                {
                    tracing::error!("it can't be taken back: {error:#}");
                    return Ok(Some(id));
                }
                continue;
            }
            if let Err(error) = self.keep() {
                tracing::warn!("{error:#}");
            }
            std::thread::sleep(LOOK);
        }
        Ok(None)
    }

    /// Whether nobody but these programs had a part in a rollout.
    fn is_own(&self, id: &str) -> Result<bool> {
        let path = self.front.rollouts().join(SERVICE).join(id);
        let path = path.join("journal.jsonl");
        let lines = match journal::read::<Entry>(&path) {
            // Cut off before anything was begun.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            lines => lines.with_context(|| format!("read {}", path.display()))?,
        };
        Ok(lines.iter().all(|line| match &line.entry {
            Entry::Opened { who, .. } => who == WHO,
            Entry::Paused { .. } | Entry::Resumed { .. } => false,
            _ => true,
        }))
    }

    /// Rolls this program's gateway out if one of another program, or of other settings, serves.
    fn replace_if_outdated(&mut self) -> Result<()> {
        if let Some(id) = self.take_back_own()? {
            tracing::warn!(
                "rollout {id} of the gateway was cut off or is under way: `everopen rollout resume gateway --root {}` goes on with it",
                self.front.rollouts().display()
            );
            return Ok(());
        }
        let state = self.state()?;
        let running = self.keeper.running().context("look for gateways")?;
        let Some(serving) = running.iter().find(|instance| instance.serves) else {
            return Ok(());
        };
        let rollout = state.groups.get(&serving.group);
        let rollout = rollout.context("the group has no rollout")?;
        let path = Folder::plan_of(&self.front.rollouts(), SERVICE, &rollout.rollout);
        let serving_file = Plan::read(&path)
            .with_context(|| format!("read {}", path.display()))?
            .file;
        if settings(&serving_file) == settings(&self.file) && is_program(serving.pid) {
            return Ok(());
        }
        let plan = self.plan(&self.file)?;
        if let Err(error) = self.carry_out(Some(plan)) {
            tracing::error!("the gateway that runs goes on: {error:#}");
        }
        Ok(())
    }

    fn keep(&mut self) -> Result<()> {
        self.keeper.look().context("start what has ended")?;
        let now = self.keeper.running().context("look for gateways")?;
        let mut running = self
            .running
            .lock()
            .expect("invariant: nothing panics under it");
        if *running != now {
            *running = now;
            drop(running);
            let _ = self.tell.send(News::Gateways);
        }
        Ok(())
    }
}
