//! A test in namespaces of its own: network, mounts and process ids that end with it, whatever
//! becomes of it, and that nobody else sees. Needs no root where users may make namespaces.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const INSIDE: &str = "EVEROPEN_TEST_INSIDE";

/// What a test needs of its sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Networks between namespaces.
    Network,
    /// File systems of a chosen size.
    Mounts,
    /// File systems that can be made to hang.
    Freezing,
    /// Networks between namespaces, and the users that the system has: not one who is root inside only.
    Users,
}

/// Whether this is the inside. Outside, the test `name` is run again inside; where the system does
/// not allow that, it is left out with a line that says so.
pub fn is_inside(name: &str, needs: Needs) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let Some(flags) = allowed(needs) else {
        let what = match needs {
            Needs::Network => {
                "may not make networks between namespaces, or has no `ip` (Debian: iproute2)"
            }
            Needs::Mounts => "may not mount a tmpfs",
            Needs::Users => "is not root, or has no `ip` (Debian: iproute2)",
            Needs::Freezing => {
                "may not mount an ext4 from a file and freeze it, or has no `mkfs.ext4` (Debian: e2fsprogs)"
            }
        };
        say(&format!("left out: {name} (this user {what})"));
        return false;
    };
    let this = std::env::current_exe().expect("this program");
    let status = unshare(needs, flags)
        .arg(this)
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("run the test inside");
    assert!(
        status.success(),
        "{name} failed inside its namespaces: {status}"
    );
    false
}

/// The flags with which a sandbox can be made here.
fn allowed(needs: Needs) -> Option<&'static [&'static str]> {
    let script = match needs {
        Needs::Network | Needs::Users => {
            "mount -t tmpfs tmpfs /run && ip netns add probe && ip link add probe type bridge \
             && ip link add probe0 type veth peer name probe1 netns probe"
        }
        Needs::Mounts => "mount -t tmpfs tmpfs /mnt",
        Needs::Freezing => {
            "mount -t tmpfs tmpfs /mnt && cd /mnt && mkdir disk && truncate -s 8M image \
             && mkfs.ext4 -q image && mount -o loop image disk \
             && fsfreeze --freeze disk && fsfreeze --unfreeze disk && umount disk"
        }
    };
    let ways: &[&[&str]] = match needs {
        Needs::Users => &[&[]],
        _ => &[&["--user", "--map-root-user"], &[]],
    };
    ways.iter().copied().find(|flags| {
        let mut command = unshare(needs, flags);
        command.args(["sh", "-c", script]);
        let tried = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

fn unshare(needs: Needs, flags: &[&str]) -> Command {
    // All of it ends when the test does, in whatever way.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", "unshare"])
        .args(flags)
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .env("PATH", path())
        .stdin(Stdio::null());
    if matches!(needs, Needs::Network | Needs::Users) {
        command.arg("--net");
    }
    command
}

/// Where `ip` is, also for users whose path leaves it out.
fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin")
}

/// Runs a command inside that must succeed.
pub fn run(words: &str) {
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().expect("a command"));
    let output = command.args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Inside: loopback, and a place for names of further networks.
pub fn begin_network() {
    run("mount -t tmpfs tmpfs /run");
    run("ip link set lo up");
}

/// A file system of that many MiB in a new folder.
pub fn small_disk(folder: PathBuf, mib: u32) -> PathBuf {
    std::fs::create_dir_all(&folder).expect("a folder");
    run(&format!(
        "mount -t tmpfs -o size={mib}m tmpfs {}",
        folder.display()
    ));
    folder
}

/// An ext4 of that many MiB, in a file beside the new folder.
pub fn own_disk(folder: PathBuf, mib: u32) -> PathBuf {
    std::fs::create_dir_all(&folder).expect("a folder");
    let image = folder.with_extension("image");
    run(&format!("truncate -s {mib}M {}", image.display()));
    run(&format!("mkfs.ext4 -q {}", image.display()));
    run(&format!(
        "mount -o loop {} {}",
        image.display(),
        folder.display()
    ));
    folder
}

/// A file system on which every write and sync hangs.
pub struct Frozen<'a>(&'a Path);

impl<'a> Frozen<'a> {
    /// Until this is dropped.
    pub fn new(disk: &'a Path) -> Self {
        run(&format!("fsfreeze --freeze {}", disk.display()));
        Self(disk)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run(&format!("fsfreeze --unfreeze {}", self.0.display()));
    }
}

/// Says something even where the test runner keeps what tests print to itself.
pub fn say(line: &str) {
    // One write: tests run beside each other.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
