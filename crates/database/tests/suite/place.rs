//! Both servers, a pooler before them, and rollouts between them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use everopen_database::file::File;
use everopen_database::run::{self, Ended, Fault, Site};
use everopen_rollout::execute::By;
use everopen_rollout::journal::{Entry, Line};

use crate::servers::{Bouncer, OLD, Postgres, SmallDisk, forget, good, is_root, key, new, sql_at};

/// Tests share the machine; one that measures for how long clients are held has it for itself.
static MACHINE: RwLock<()> = RwLock::new(());

/// What a test has of the machine. One that panicked has left nothing half done.
enum Share {
    Some(#[allow(dead_code, reason = "it is let go with the value")] RwLockReadGuard<'static, ()>),
    All(#[allow(dead_code, reason = "it is let go with the value")] RwLockWriteGuard<'static, ()>),
}

/// Blue, green, a pooler, and a folder of rollouts.
pub struct Place {
    pub blue: Postgres,
    pub green: Postgres,
    pub pooler: u16,
    pub bouncer: Bouncer,
    small: Option<SmallDisk>,
    pub folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    _share: Share,
}

impl Place {
    pub fn new() -> Self {
        Self::within(&std::env::temp_dir(), 2)
    }

    /// While no other test has one.
    pub fn alone() -> Self {
        let share = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().expect("a folder");
        Self::of(folder, ("green", &new()), 2, Share::All(share))
    }

    fn share() -> Share {
        Share::Some(MACHINE.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// With a green whose programs are there.
    pub fn to(green: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::of(folder, ("green", green), 2, Self::share())
    }

    /// With so many hundred thousand accounts, somewhere.
    pub fn within(parent: &Path, scale: u32) -> Self {
        let folder = tempfile::tempdir_in(parent).expect("a folder");
        Self::of(folder, ("green", &new()), scale, Self::share())
    }

    /// With a green whose disk, the folder `small`, has room for little more than itself; not where one may
    /// not mount.
    pub fn with_small_green() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let small = folder.path().join("small");
        fs::create_dir(&small).expect("made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=300m,mode=777", "everopen-test"])
            .arg(&small)
            .stderr(Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            return None;
        }
        let mut place = Self::of(folder, ("small/green", &new()), 2, Self::share());
        place.small = Some(SmallDisk(small));
        Some(place)
    }

    fn of(folder: tempfile::TempDir, green: (&str, &Path), scale: u32, share: Share) -> Self {
        if is_root() {
            let open = fs::Permissions::from_mode(0o755);
            fs::set_permissions(folder.path(), open).expect("set");
            good(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let path = |name: &str| folder.path().join(name);
        let name = format!("shop-{scale}-{:x}", key(SHOP));
        let blue = Postgres::start(Path::new(OLD), &path("blue"), &name, |server| {
            fill(server.port, scale);
        });
        if scale > 2 {
            // A large one is for one test.
            forget(Path::new(OLD), &name);
        }
        let green = Postgres::start(green.1, &path(green.0), "empty", |server| {
            sql_at(server.port, "postgres", "CREATE DATABASE shop");
        });
        let bouncer = Bouncer::start(folder.path(), "shop.ini", blue.port);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            blue,
            green,
            pooler: bouncer.port,
            bouncer,
            small: None,
            folder,
            runtime,
            _share: share,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn file(&self, more: &str) -> File {
        self.write(&self.text(more))
    }

    pub fn write(&self, text: &str) -> File {
        let path = self.path("rollout.toml");
        fs::write(&path, text).expect("written");
        File::read(&path).expect("a good file")
    }

    /// What stands in a file.
    pub fn text(&self, more: &str) -> String {
        let (blue, green, pooler) = (self.blue.port, self.green.port, self.pooler);
        format!(
            r#"
[database]
name = "shop"
blue = "host=127.0.0.1 port={blue} user=postgres dbname=shop"
green = "host=127.0.0.1 port={green} user=postgres dbname=shop"
retry_ms = 300
{more}

[[database.pgbouncer]]
admin = "host=127.0.0.1 port={pooler} user=postgres dbname=pgbouncer"
database = "shop"
file = "shop.ini"
blue = "host=127.0.0.1 port={blue} dbname=shop"
green = "host=127.0.0.1 port={green} dbname=shop"
"#
        )
    }

    /// A second pooler before the same database.
    pub fn second_pooler(&self) -> Bouncer {
        Bouncer::start(self.folder.path(), "second.ini", self.blue.port)
    }

    /// The file with a second pooler in it.
    pub fn file_of_two(&self, second: &Bouncer) -> File {
        let mut text = self.text("");
        let (_, first) = text
            .split_once("[[database.pgbouncer]]")
            .expect("it has one");
        let again = first
            .replace(
                &format!("port={} user", self.pooler),
                &format!("port={} user", second.port),
            )
            .replace("shop.ini", "second.ini");
        text += &format!("\n[[database.pgbouncer]]{again}");
        self.write(&text)
    }

    /// Puts the folder of rollouts on a small disk of its own; not where that is not allowed. It goes with
    /// the value.
    pub fn small_disk(&self) -> Option<SmallDisk> {
        let root = self.root();
        fs::create_dir_all(&root).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k", "everopen-test"])
            .arg(&root)
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(SmallDisk(root))
    }

    fn root(&self) -> PathBuf {
        self.path("rollouts")
    }

    /// Runs something of a rollout; `tell` may be where its controller dies.
    pub fn carry<T>(
        &self,
        work: impl AsyncFnOnce(&Site<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let (root, by) = (self.root(), By::default());
        let site = Site {
            root: &root,
            by: &by,
            guard: &[],
        };
        self.runtime.block_on(work(&site))
    }

    #[track_caller]
    pub fn apply(&self, file: &File) -> Ended {
        let applied = self.carry(async |site| run::apply(site, file, &mut |_| {}).await);
        applied.unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    #[track_caller]
    pub fn turn_back(&self) -> Ended {
        let back = self.carry(async |site| run::turn_back(site, "shop", &mut |_| {}).await);
        back.unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    #[track_caller]
    pub fn resume(&self) -> Ended {
        let ended = self.carry(async |site| run::resume(site, "shop", &mut |_| {}).await);
        ended.unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    #[track_caller]
    pub fn finish(&self) {
        let told = self.carry(async |site| run::finish(site, "shop").await);
        told.unwrap_or_else(|fault| panic!("{fault:?}"));
    }

    /// Carries a rollout out until something is in its journal; then the controller is gone, as a kill
    /// leaves it.
    pub fn cut_off(&self, file: &File, at: impl Fn(&Entry) -> bool + Send + Sync) {
        let cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut tell = |line: &Line| assert!(!at(&line.entry), "the controller is killed");
            let _ = self.carry(async |site| run::apply(site, file, &mut tell).await);
        }));
        assert!(cut.is_err(), "it was to be cut off");
    }

    pub fn way_back(&self) -> String {
        let known = run::state(&self.root(), "shop")
            .expect("readable")
            .expect("known");
        self.runtime
            .block_on(run::way_back(&known))
            .expect("both can be asked")
    }

    /// What the last rollout's steps said.
    pub fn evidence(&self) -> Vec<String> {
        evidence(self.rollouts().last().expect("one"))
    }

    /// What the last rollout counted in its proof.
    pub fn proof(&self) -> serde_json::Value {
        let last = self.rollouts().pop().expect("one");
        let text = fs::read(last.join("proof.json")).expect("it is kept");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// What the steps of all of them said.
    pub fn all_evidence(&self) -> Vec<String> {
        self.rollouts()
            .iter()
            .flat_map(|path| evidence(path))
            .collect()
    }

    fn rollouts(&self) -> Vec<PathBuf> {
        everopen_rollout::state::Folder::rollouts(&self.root(), "shop").expect("some")
    }

    /// How the last rollout ended, as its journal says.
    pub fn evidence_of_the_end(&self) -> String {
        let rollouts = everopen_rollout::state::Folder::rollouts(&self.root(), "shop");
        let rollouts = rollouts.expect("some");
        let path = rollouts.last().expect("one").join("journal.jsonl");
        let lines: Vec<Line> = everopen_rollout::journal::read(&path).expect("a journal");
        format!("{:?}", lines.last().map(|line| line.entry.clone()))
    }

    /// For how many milliseconds the last rollout held clients.
    pub fn held_ms(&self) -> f64 {
        let told = self
            .evidence()
            .into_iter()
            .find(|told| told.contains("held for"));
        let told = told.expect("clients were held");
        let ms = told
            .split("held for ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        ms.and_then(|ms| ms.parse().ok()).expect("milliseconds")
    }

    /// Green as it was at first: there, and empty.
    pub fn empty_green(&self) {
        let green = self.green.port;
        sql_at(green, "postgres", "DROP DATABASE shop WITH (FORCE)");
        sql_at(green, "postgres", "CREATE DATABASE shop");
    }

    /// Through the pooler.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        sql_at(self.pooler, "shop", sql)
    }

    /// The major version that answers clients.
    pub fn version(&self) -> String {
        self.sql("SELECT current_setting('server_version_num')::int / 10000")
    }

    /// Slots, publications, subscriptions and schemas of ours on both sides.
    pub fn left(&self) -> String {
        let sql = "SELECT 'slot ' || slot_name FROM pg_replication_slots UNION ALL SELECT 'publication ' || pubname FROM pg_publication UNION ALL SELECT 'subscription ' || subname FROM pg_subscription UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'everopen'";
        format!("{}{}", self.blue.sql(sql), self.green.sql(sql))
    }
}

/// What it has beside pgbench's tables.
const SHOP: &str = "ALTER TABLE pgbench_history ADD COLUMN id bigserial PRIMARY KEY;
    CREATE TABLE orders (id bigserial PRIMARY KEY, account int NOT NULL, price numeric(12,2), at timestamptz DEFAULT now(), note text);
    CREATE INDEX ON orders (account);
    CREATE VIEW dear AS SELECT * FROM orders WHERE price > 100;";

/// The database of a shop, with so many hundred thousand accounts.
fn fill(port: u16, scale: u32) {
    sql_at(port, "postgres", "CREATE DATABASE shop");
    let (port_text, scale) = (port.to_string(), scale.to_string());
    good(
        Command::new(format!("{OLD}/pgbench"))
            .args(["--initialize", "--scale", &scale, "--quiet"])
            .args(["--host", "127.0.0.1", "--port", &port_text])
            .args(["--username", "postgres", "shop"]),
    );
    sql_at(port, "shop", SHOP);
}

fn evidence(rollout: &Path) -> Vec<String> {
    let lines = everopen_rollout::journal::read(&rollout.join("journal.jsonl"));
    let lines: Vec<Line> = lines.expect("a journal");
    let evidence = lines.into_iter().filter_map(|line| match line.entry {
        Entry::Done { evidence, .. } => Some(evidence),
        _ => None,
    });
    evidence.collect()
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["blue.log", "green.log", "shop.ini.log"] {
                let text = fs::read_to_string(self.path(name)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().rev().take(160).collect();
                let lines: Vec<&str> = lines.into_iter().rev().collect();
                println!("{name} ends with:\n{}", lines.join("\n"));
            }
        }
    }
}
