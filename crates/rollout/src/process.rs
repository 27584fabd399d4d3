//! Processes of a version. They outlive the controller; it finds them again by a mark in their
//! environment, so none is ever started twice or forgotten.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};

use crate::file::{DrainSignal, Start};
use crate::journey::fill;
use crate::state::write;

/// The mark: rollout, instance and port.
const MARK: &str = "EVEROPEN_ROLLOUT";
/// Between two looks whether processes have ended.
const LOOK: Duration = Duration::from_millis(10);
/// How long one that is not seen may be in the middle of becoming another program.
const BECOMING: Duration = Duration::from_millis(200);
/// Looks in a row that find nobody before all have ended.
const QUIET: u32 = 3;
/// Ports are taken below those that the system gives to clients.
const PORTS: std::ops::Range<u16> = 15_000..20_000;

/// A process of a rollout that runs.
#[derive(Debug)]
pub(crate) struct Process {
    pub instance: u16,
    pub port: u16,
    pid: Pid,
    /// Names it beyond doubt, also when its number is used again.
    descriptor: std::os::fd::OwnedFd,
}

/// A variable of the environment by which the processes of something that is not a rollout are found again,
/// by [`end_processes`](crate::execute::end_processes) with the same name.
pub fn marking(owner: &str) -> (String, String) {
    (MARK.to_string(), mark(owner, 0, 0))
}

fn mark(rollout: &str, instance: u16, port: u16) -> String {
    format!("{rollout}/{instance}/{port}")
}

/// The processes of a rollout that run, those that lead their session: one for each instance.
pub(crate) fn find(rollout: &str) -> io::Result<Vec<Process>> {
    let mut all = marked(rollout)?;
    all.retain(|process| leads_session(process.pid));
    all.sort_by_key(|process| process.instance);
    Ok(all)
}

/// The same, and looked for again for a moment where one of these instances is not among them: what is in the
/// middle of becoming another program has no environment to be read, and is not seen though it runs. A script
/// in front of a program does that several times.
pub(crate) fn find_all(rollout: &str, wanted: &[u16]) -> io::Result<Vec<Process>> {
    let deadline = Instant::now() + BECOMING;
    loop {
        let found = find(rollout)?;
        let is_there = |wanted: &u16| found.iter().any(|process| process.instance == *wanted);
        if wanted.iter().all(is_there) || Instant::now() >= deadline {
            return Ok(found);
        }
        std::thread::sleep(LOOK);
    }
}

/// All processes with a rollout's mark, those included that its processes started.
fn marked(rollout: &str) -> io::Result<Vec<Process>> {
    let wanted = format!("{MARK}={rollout}/");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Some(pid) = Pid::from_raw(number) else {
            continue;
        };
        // First the descriptor, then the look: what is looked at is what it names.
        let Ok(descriptor) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        let Ok(environment) = fs::read(entry.path().join("environ")) else {
            continue;
        };
        let mark = environment
            .split(|byte| *byte == 0)
            .filter_map(|pair| std::str::from_utf8(pair).ok())
            .find_map(|pair| pair.strip_prefix(&wanted));
        let Some((instance, port)) = mark.and_then(|mark| mark.split_once('/')) else {
            continue;
        };
        if let (Ok(instance), Ok(port)) = (instance.parse(), port.parse()) {
            found.push(Process {
                instance,
                port,
                pid,
                descriptor,
            });
        }
    }
    Ok(found)
}

/// Fields of a process's `stat` after its name: state, parent, group, session and more (proc(5)).
fn stat(pid: Pid) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_string).collect())
}

fn leads_session(pid: Pid) -> bool {
    let session = stat(pid).and_then(|fields| fields.get(3)?.parse::<i32>().ok());
    session == Some(pid.as_raw_nonzero().get())
}

/// A port that nobody has, and none of those that were given to processes which have not taken theirs
/// yet. Where to begin is drawn, so that two controllers seldom choose the same.
fn free_port(given: &[u16]) -> io::Result<u16> {
    use std::hash::{BuildHasher, RandomState};
    let count = PORTS.len() as u16;
    let from = RandomState::new().hash_one(given) as u16 % count;
    (0..count)
        .map(|at| PORTS.start + (from + at) % count)
        .filter(|port| !given.contains(port))
        .find(|port| is_free(*port))
        .ok_or_else(|| io::Error::other("no port is free"))
}

/// Which port each instance of a rollout was given: so one that ended can be started again where the edge
/// looks for it.
pub(crate) fn ports(folder: &Path) -> io::Result<BTreeMap<u16, u16>> {
    match fs::read(folder.join("ports.json")) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// Whether nobody has a port.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Another port for an instance, in the place of one that somebody else has now.
pub(crate) fn another_port(ports: &BTreeMap<u16, u16>) -> io::Result<u16> {
    let given: Vec<u16> = ports.values().copied().collect();
    free_port(&given)
}

/// Notes which port each instance has.
pub(crate) fn note_ports(folder: &Path, ports: &BTreeMap<u16, u16>) -> io::Result<()> {
    write(&folder.join("ports.json"), &serde_json::to_vec(ports)?)
}

/// Starts an instance on a free port, which is noted before.
pub(crate) fn start(
    start: &Start,
    version: &str,
    rollout: &str,
    instance: u16,
    given: &[u16],
    folder: &Path,
) -> io::Result<u16> {
    let port = free_port(given)?;
    let mut ports = ports(folder)?;
    ports.insert(instance, port);
    note_ports(folder, &ports)?;
    start_at(start, version, rollout, (instance, port), folder)?;
    Ok(port)
}

/// Starts an instance on a port. Its output goes to a file in the rollout's folder.
pub(crate) fn start_at(
    start: &Start,
    version: &str,
    rollout: &str,
    (instance, port): (u16, u16),
    folder: &Path,
) -> io::Result<()> {
    let values = BTreeMap::from([
        ("port".to_string(), port.to_string()),
        ("version".to_string(), version.to_string()),
        ("instance".to_string(), instance.to_string()),
    ]);
    let log = folder.join(format!("instance-{instance}.log"));
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let arguments: Vec<String> = start
        .command
        .iter()
        .map(|part| fill(part, &values))
        .collect();
    let (program, arguments) = arguments
        .split_first()
        .ok_or_else(|| io::Error::other("no program"))?;
    // It leads a session of its own: a terminal's Ctrl-C for the controller is not meant for it.
    let mut command = Command::new("setsid");
    command
        .arg(program)
        .args(arguments)
        .current_dir(&start.dir)
        .env(MARK, mark(rollout, instance, port))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    for (name, value) in &start.env {
        command.env(name, fill(value, &values));
    }
    let mut child = command
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("start {program:?}: {error}")))?;
    // Nobody else waits for it as long as this controller lives.
    std::thread::spawn(move || child.wait());
    Ok(())
}

impl Process {
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    pub fn stand_still(&self) {
        self.signal(Signal::STOP);
    }

    pub fn tell(&self, signal: DrainSignal) {
        self.signal(match signal {
            DrainSignal::Usr1 => Signal::USR1,
            DrainSignal::Usr2 => Signal::USR2,
            DrainSignal::Hup => Signal::HUP,
        });
    }

    fn signal(&self, signal: Signal) {
        // It may have ended meanwhile.
        let _ = rustix::process::pidfd_send_signal(&self.descriptor, signal);
    }
}

/// Ends all processes of a rollout: SIGTERM to those that lead, and after `patience` SIGKILL to all. How
/// many led.
pub(crate) fn end(rollout: &str, patience: Duration) -> io::Result<usize> {
    let deadline = Instant::now() + patience;
    let mut asked: Vec<Pid> = Vec::new();
    let mut quiet = 0;
    // One that was started a moment ago may be in the middle of becoming another program, and is then
    // not seen; and what leads may leave others behind.
    while quiet < QUIET {
        let all = marked(rollout)?;
        quiet = if all.is_empty() { quiet + 1 } else { 0 };
        let is_late = Instant::now() >= deadline;
        let someone_leads = all.iter().any(|process| leads_session(process.pid));
        for process in &all {
            if is_late {
                tracing::warn!(instance = process.instance, "does not end and is killed");
                process.signal(Signal::KILL);
            } else if (leads_session(process.pid) || !someone_leads)
                && !asked.contains(&process.pid)
            {
                asked.push(process.pid);
                process.signal(Signal::TERM);
            }
        }
        std::thread::sleep(LOOK);
    }
    Ok(asked.len())
}
