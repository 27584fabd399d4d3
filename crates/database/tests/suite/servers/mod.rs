//! Servers of a test, and clients of them. They run as a user who is not root, on loopback ports.

mod disks;
mod load;
mod session;

pub use disks::{SharingDisk, SmallDisk};
pub use load::Load;
pub use session::Session;

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use everopen_testkit::free_address;

const PATIENCE: Duration = Duration::from_secs(60);

/// Where Debian puts the server of a major version.
pub const OLD: &str = "/usr/lib/postgresql/15/bin";

/// Where `cargo xtask test` puts the newer ones, which Debian does not have.
fn brought(version: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("everopen-postgres-{version}/native/bin"));
    assert!(
        folder.join("postgres").exists(),
        "PostgreSQL {version} is not in {}: `cargo xtask test` installs it",
        folder.display()
    );
    folder
}

/// PostgreSQL 18.
pub fn new() -> PathBuf {
    brought("18.4.0-beta.17")
}

/// PostgreSQL 17.
pub fn middle() -> PathBuf {
    brought("17.10.0-beta.17")
}

pub fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Whether this is the long suite (`cargo xtask test --long`).
pub fn is_long() -> bool {
    std::env::var_os("EVEROPEN_LONG").is_some()
}

/// All of them in the long suite, else those at these places.
pub fn some<T>(all: impl IntoIterator<Item = T>, few: &[usize]) -> Vec<T> {
    let all = all.into_iter().enumerate();
    let wanted = all.filter(|(at, _)| is_long() || few.contains(at));
    wanted.map(|(_, one)| one).collect()
}

/// A program as the user for whom servers run: they refuse to be root.
pub fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(path)
        // Root's own can't be read by others, where libpq looks for certificates.
        .env("HOME", "/nonexistent");
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
    bin: PathBuf,
    data: PathBuf,
}

fn run(bin: &Path, data: &Path) -> Child {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(data.with_extension("log"));
    program(bin.join("postgres"))
        .arg("-D")
        .arg(data)
        .stdout(Stdio::null())
        .stderr(log.expect("a log"))
        .spawn()
        .expect("it starts")
}

fn ready(port: u16) {
    let port = port.to_string();
    until("the server takes connections", || {
        let ready = Command::new(format!("{OLD}/pg_isready"))
            .args(["--host", "127.0.0.1", "--port", &port, "--quiet"])
            .status();
        ready.is_ok_and(|status| status.success())
    });
}

fn append(data: &Path, settings: &str) {
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(data.join("postgresql.conf"))
        .expect("settings");
    file.write_all(settings.as_bytes()).expect("written");
}

/// A subscriber that was told to leave begins again in half a second, not in five as by default: tests are shorter.
const SETTINGS: &str = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nwal_level = logical\nmax_wal_senders = 20\nmax_replication_slots = 20\nshared_buffers = 64MB\nlogging_collector = off\nfsync = on\nwal_retrieve_retry_interval = 500ms\n";

/// A number for a text, so that what was made by another text is not taken for what this one makes.
pub fn key(text: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Where the template of a name is.
fn place_of(bin: &Path, name: &str) -> PathBuf {
    let version = good(Command::new(bin.join("postgres")).arg("--version"));
    let name = format!("{}-{:x}-{name}", version.trim(), key(SETTINGS));
    let plain = |letter: char| match letter.is_ascii_alphanumeric() {
        true => letter,
        false => '-',
    };
    let name: String = name.chars().map(plain).collect();
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres");
    fs::create_dir_all(&all).expect("a folder");
    all.join(name)
}

/// Removes a template.
pub fn forget(bin: &Path, name: &str) {
    fs::remove_dir_all(place_of(bin, name)).expect("it was there");
}

/// The folder of a server that was made once and filled, for all tests of this build: to copy it is much quicker.
fn template(bin: &Path, name: &str, fill: impl FnOnce(&Postgres)) -> PathBuf {
    let there = place_of(bin, name);
    let lock = fs::File::create(there.with_extension("lock")).expect("a lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    if there.exists() {
        return there;
    }
    let folder = tempfile::tempdir().expect("a folder");
    if is_root() {
        good(Command::new("chown").arg("postgres").arg(folder.path()));
    }
    let data = folder.path().join("data");
    good(
        program(bin.join("initdb"))
            .args(["--username", "postgres", "--auth", "trust"])
            .args(["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"])
            .arg("--pgdata")
            .arg(&data),
    );
    append(&data, SETTINGS);
    let mut server = Postgres::at(bin, &data);
    fill(&server);
    // With all that it holds on the disk.
    server.end("-INT");
    let part = there.with_extension("part");
    let _ = fs::remove_dir_all(&part);
    good(Command::new("cp").arg("-a").args([&data, &part]));
    fs::rename(&part, &there).expect("there is none yet");
    there
}

impl Postgres {
    /// One as it is when it has been made and filled, under this name, by any test of this build.
    pub fn start(bin: &Path, data: &Path, name: &str, fill: impl FnOnce(&Self)) -> Self {
        let template = template(bin, name, fill);
        good(Command::new("cp").arg("-a").args([&template, data]));
        Self::at(bin, data)
    }

    fn at(bin: &Path, data: &Path) -> Self {
        let port = free_address().port();
        // The last line is the one that counts.
        append(data, &format!("port = {port}\n"));
        let process = run(bin, data);
        ready(port);
        Self {
            port,
            process,
            bin: bin.to_path_buf(),
            data: data.to_path_buf(),
        }
    }

    pub fn sql(&self, sql: &str) -> String {
        sql_at(self.port, "shop", sql)
    }

    /// A standby of it, that takes its log from it.
    pub fn standby(&self, data: &Path) -> Self {
        let from = format!("host=127.0.0.1 port={} user=postgres", self.port);
        let backup = self.bin.join("pg_basebackup");
        good(
            program(backup)
                .args(["--checkpoint", "fast", "--write-recovery-conf"])
                .args(["--dbname", &from, "--pgdata", &data.display().to_string()]),
        );
        Self::at(&self.bin, data)
    }

    /// It is gone at once, with all its processes; it can be started again.
    pub fn kill(&self) {
        let pid = self.process.id().to_string();
        good(Command::new("kill").args(["-QUIT", &pid]));
        until("it is gone", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_err()
        });
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self) {
        let _ = self.process.wait();
        self.process = run(&self.bin, &self.data);
        ready(self.port);
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

/// The line of a file that says whose servers are, where they may not be this user's.
pub fn run_by() -> &'static str {
    match is_root() {
        true => {
            "run_by = [\"setpriv\", \"--reuid=postgres\", \"--regid=postgres\", \"--clear-groups\"]"
        }
        false => "",
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

/// A PgBouncer.
pub struct Bouncer {
    pub port: u16,
    process: Mutex<Child>,
    settings: PathBuf,
}

impl Bouncer {
    /// Leads to blue, by a file of this name.
    pub fn start(folder: &Path, include: &str, blue: u16) -> Self {
        let port = free_address().port();
        let line = format!(
            "[databases]\nshop = host=127.0.0.1 port={blue} dbname=shop\nshop_reads = host=127.0.0.1 port={blue} dbname=shop\n"
        );
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
        Self {
            port,
            process: Mutex::new(Self::run(&settings, port)),
            settings,
        }
    }

    /// Writes its settings anew, with a difference; it reads them when it is told to.
    pub fn change(&self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(&self.settings).expect("settings");
        fs::write(&self.settings, change(text)).expect("written");
    }

    fn run(settings: &Path, port: u16) -> Child {
        let process = program("pgbouncer")
            .arg(settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pgbouncer starts");
        until("the pooler takes connections", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        process
    }

    /// It is gone at once, with all its connections.
    pub fn kill(&self) {
        let mut process = self.process.lock().expect("whole");
        let _ = process.kill();
        let _ = process.wait();
    }

    /// Starts it again where it was, if it was killed.
    pub fn start_again(&self) {
        let mut process = self.process.lock().expect("whole");
        if process.try_wait().expect("it can be asked").is_some() {
            *process = Self::run(&self.settings, self.port);
        }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let process = self.process.get_mut().expect("whole");
        if matches!(process.try_wait(), Ok(Some(_))) {
            return;
        }
        let pid = process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = process.wait();
    }
}
