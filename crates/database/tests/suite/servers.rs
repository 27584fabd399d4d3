//! Servers of a test, and clients of them. They run as a user who is not root, on loopback ports.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use everopen_database::file::File;
use everopen_database::run::{self, Ended, Fault, Site};
use everopen_rollout::execute::By;
use everopen_rollout::journal::{Entry, Line};
use everopen_testkit::free_address;

const PATIENCE: Duration = Duration::from_secs(60);

/// Where Debian puts the server of a major version.
const OLD: &str = "/usr/lib/postgresql/15/bin";

/// Where `cargo xtask test` puts the newer one, which Debian does not have.
fn new() -> PathBuf {
    let folder = std::env::temp_dir().join("everopen-postgres-18.4.0-beta.17/native/bin");
    assert!(
        folder.join("postgres").exists(),
        "PostgreSQL 18 is not in {}: `cargo xtask test` installs it",
        folder.display()
    );
    folder
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// A program as the user for whom servers run: they refuse to be root.
pub fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(path);
    command
}

#[track_caller]
pub fn good(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    said(command, &output)
}

#[track_caller]
fn said(command: &Command, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}{errors}");
    text
}

#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A PostgreSQL server.
pub struct Postgres {
    pub port: u16,
    process: Child,
}

impl Postgres {
    fn start(bin: &Path, data: &Path) -> Self {
        let port = free_address().port();
        let path = data.display().to_string();
        good(program(bin.join("initdb")).args([
            "--pgdata",
            &path,
            "--username",
            "postgres",
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--locale",
            "C.UTF-8",
            "--no-sync",
        ]));
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nwal_level = logical\nmax_wal_senders = 20\nmax_replication_slots = 20\nshared_buffers = 64MB\nlogging_collector = off\nfsync = on\n"
        );
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(data.join("postgresql.conf"))
            .expect("settings");
        file.write_all(settings.as_bytes()).expect("written");
        let log = fs::File::create(data.with_extension("log")).expect("a log");
        let process = program(bin.join("postgres"))
            .args(["-D", &path])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        let server = Self { port, process };
        until("the server takes connections", || {
            let ready = Command::new(format!("{OLD}/pg_isready"))
                .args([
                    "--host",
                    "127.0.0.1",
                    "--port",
                    &port.to_string(),
                    "--quiet",
                ])
                .status();
            ready.is_ok_and(|status| status.success())
        });
        server
    }

    pub fn sql(&self, sql: &str) -> String {
        sql_at(self.port, "shop", sql)
    }

    fn end(&mut self, signal: &str) {
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args([signal, &pid]).status();
        let _ = self.process.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, with all its processes.
        self.end("-QUIT");
    }
}

#[track_caller]
pub fn sql_at(port: u16, database: &str, sql: &str) -> String {
    let port = port.to_string();
    let text = good(Command::new("psql").args([
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--quiet",
        "--set",
        "ON_ERROR_STOP=1",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--username",
        "postgres",
        "--dbname",
        database,
        "--command",
        sql,
    ]));
    text.trim().to_string()
}

/// Blue, green, a pooler, and a folder of rollouts.
pub struct Place {
    pub blue: Postgres,
    pub green: Postgres,
    pub pooler: u16,
    bouncer: Child,
    pub folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if is_root() {
            let open = fs::Permissions::from_mode(0o755);
            fs::set_permissions(folder.path(), open).expect("set");
            good(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let blue = Postgres::start(Path::new(OLD), &folder.path().join("blue"));
        let green = Postgres::start(&new(), &folder.path().join("green"));
        for server in [&blue, &green] {
            sql_at(server.port, "postgres", "CREATE DATABASE shop");
        }
        let port = blue.port.to_string();
        good(Command::new(format!("{OLD}/pgbench")).args([
            "--initialize",
            "--scale",
            "2",
            "--quiet",
            "--host",
            "127.0.0.1",
            "--port",
            &port,
            "--username",
            "postgres",
            "shop",
        ]));
        blue.sql(
            "ALTER TABLE pgbench_history ADD COLUMN id bigserial PRIMARY KEY;
             CREATE TABLE orders (id bigserial PRIMARY KEY, account int NOT NULL, price numeric(12,2), at timestamptz DEFAULT now(), note text);
             CREATE INDEX ON orders (account);
             CREATE VIEW dear AS SELECT * FROM orders WHERE price > 100;",
        );
        let (bouncer, pooler) = start_bouncer(folder.path(), "shop.ini", blue.port);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            blue,
            green,
            pooler,
            bouncer,
            folder,
            runtime,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn file(&self, more: &str) -> File {
        let (blue, green, pooler) = (self.blue.port, self.green.port, self.pooler);
        let text = format!(
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
        );
        let path = self.path("rollout.toml");
        fs::write(&path, text).expect("written");
        File::read(&path).expect("a good file")
    }

    /// A second pooler before the same database: its process, and its port.
    pub fn second_pooler(&self) -> Second {
        let (process, port) = start_bouncer(self.folder.path(), "second.ini", self.blue.port);
        Second { process, port }
    }

    /// The file with a second pooler in it.
    pub fn file_of_two(&self, second: &Second) -> File {
        self.file("");
        let path = self.path("rollout.toml");
        let mut text = fs::read_to_string(&path).expect("written");
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
        fs::write(&path, text).expect("written");
        File::read(&path).expect("a good file")
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
        let rollouts =
            everopen_rollout::state::Folder::rollouts(&self.root(), "shop").expect("some");
        let path = rollouts.last().expect("one").join("journal.jsonl");
        let lines: Vec<Line> = everopen_rollout::journal::read(&path).expect("a journal");
        lines
            .into_iter()
            .filter_map(|line| match line.entry {
                Entry::Done { evidence, .. } => Some(evidence),
                _ => None,
            })
            .collect()
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

    pub fn kill_pooler(&mut self) {
        let _ = self.bouncer.kill();
        let _ = self.bouncer.wait();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["blue.log", "green.log", "shop.ini.log"] {
                let text = fs::read_to_string(self.path(name)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().rev().take(15).collect();
                let lines: Vec<&str> = lines.into_iter().rev().collect();
                println!("{name} ends with:\n{}", lines.join("\n"));
            }
        }
        let pid = self.bouncer.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.bouncer.wait();
    }
}

fn start_bouncer(folder: &Path, include: &str, blue: u16) -> (Child, u16) {
    let port = free_address().port();
    let line = format!("[databases]\nshop = host=127.0.0.1 port={blue} dbname=shop\n");
    fs::write(folder.join(include), line).expect("written");
    let users = folder.join("users.txt");
    fs::write(&users, "\"postgres\" \"\"\n").expect("written");
    let settings = folder.join(format!("{include}-bouncer"));
    let text = format!(
        "[databases]\n%include {include}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\nadmin_users = postgres\npool_mode = transaction\nmax_client_conn = 200\ndefault_pool_size = 20\nignore_startup_parameters = extra_float_digits,options\nlogfile = {log}\n",
        include = folder.join(include).display(),
        users = users.display(),
        log = folder.join(format!("{include}.log")).display(),
    );
    fs::write(&settings, text).expect("written");
    let mut command = program("pgbouncer");
    let process = command
        .arg(&settings)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("pgbouncer starts");
    until("the pooler takes connections", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    (process, port)
}

/// A disk that is soon full.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Not a line more of the journal fits, though the beginning of one does.
    pub fn fill(&self) {
        // As much as there is room for.
        let _ = fs::write(self.0.join("filling"), vec![0; 1 << 20]);
        let rollouts = everopen_rollout::state::Folder::rollouts(&self.0, "shop");
        let path = rollouts
            .expect("some")
            .pop()
            .expect("one")
            .join("journal.jsonl");
        let mut journal = fs::OpenOptions::new()
            .append(true)
            .open(path)
            .expect("a journal");
        // The last page of the file still has room; spaces before a line mean nothing.
        let page = 4096 - journal.metadata().expect("its size").len() as usize % 4096;
        journal
            .write_all(&vec![b' '; page.saturating_sub(20)])
            .expect("there is room");
    }

    pub fn empty(&self) {
        fs::remove_file(self.0.join("filling")).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Another pooler.
pub struct Second {
    process: Child,
    pub port: u16,
}

impl Drop for Second {
    fn drop(&mut self) {
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.process.wait();
    }
}

/// pgbench through the pooler: eight clients, two hundred transactions a second, each with an order.
pub struct Load(Child);

impl Load {
    pub fn start(place: &Place, seconds: u32) -> Self {
        Self::start_at(place, place.pooler, seconds)
    }

    pub fn start_at(place: &Place, port: u16, seconds: u32) -> Self {
        let script = place.path("load.sql");
        fs::write(
            &script,
            "\\set aid random(1, 200000)\n\\set delta random(-5000, 5000)\nBEGIN;\nUPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;\nINSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, :delta, CURRENT_TIMESTAMP);\nINSERT INTO orders (account, price, note) VALUES (:aid, :delta / 100.0, 'of ' || :aid);\nEND;\n",
        )
        .expect("written");
        let child = Command::new(format!("{OLD}/pgbench"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args([
                "--username",
                "postgres",
                "--no-vacuum",
                "--client",
                "8",
                "--jobs",
                "2",
            ])
            .args([
                "--rate",
                "200",
                "--time",
                &seconds.to_string(),
                "--protocol",
                "simple",
            ])
            .arg("--file")
            .arg(&script)
            .arg("shop")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.expect("pgbench starts"))
    }

    /// Transactions that were committed; none may have failed.
    #[track_caller]
    pub fn end_without_failure(self) -> u64 {
        let output = self.0.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !errors.contains("abort"),
            "{text}{errors}"
        );
        assert!(
            text.contains("number of failed transactions: 0 "),
            "{text}{errors}"
        );
        let line = text
            .lines()
            .find(|line| line.starts_with("number of transactions actually processed"));
        let count = line.and_then(|line| line.rsplit(' ').next()?.split('/').next()?.parse().ok());
        count.expect("a count")
    }

    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("it can be asked").is_none()
    }
}
