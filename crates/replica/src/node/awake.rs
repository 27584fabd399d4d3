//! Processors that do not fall asleep between two commands.
//!
//! A command waits a few times for somebody to be woken: the leader for the others' word, they for their
//! disks. A processor that has nothing to do in between sleeps, and being woken takes it tens of microseconds
//! each time, on a virtual machine more, since the host has to give it back first. Linux lets a process ask
//! for less (PM QoS, `Documentation/power/pm_qos_interface.rst` of its sources): whoever has
//! `/dev/cpu_dma_latency` open says by four bytes how many microseconds a processor may take to be woken,
//! until it says otherwise or ends in whatever way.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

const DEVICE: &str = "/dev/cpu_dma_latency";
/// None at all: processors look for work instead of sleeping.
const AWAKE_US: i32 = 0;
/// What the system takes for nobody's wish (`PM_QOS_CPU_LATENCY_DEFAULT_VALUE`).
const ASLEEP_US: i32 = 2_000_000_000;
/// Commands from one look to the next, a tenth of a second, that are worth it.
const TRAFFIC: u64 = 10;
/// Looks without them after which processors may sleep again: a second.
const QUIET_MAX: u32 = 10;

/// When a replica keeps its machine's processors from sleeping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepAwake {
    /// While commands come: a hundred a second or more, and for a second after that.
    #[default]
    Traffic,
    /// As long as it runs.
    Always,
    /// Not at all.
    Never,
}

#[derive(Debug)]
pub(super) struct Awake {
    when: KeepAwake,
    /// None where it is not wanted, or not possible.
    device: Option<File>,
    /// Why it is not possible.
    fault: Option<String>,
    is_held: bool,
    /// Commands when it was last looked.
    seen: u64,
    /// Looks in a row with too few of them.
    quiet: u32,
}

impl Awake {
    /// Takes hold of the system's device. Where that can't be done, processors sleep as they will.
    pub fn new(when: KeepAwake) -> Self {
        let awake = Self::at(Path::new(DEVICE), when);
        match (&awake.fault, when) {
            (Some(fault), _) => tracing::info!(
                "processors may sleep while commands are under way ({fault}); docs/operating/cluster.md says what to change"
            ),
            (None, KeepAwake::Never) => {}
            (None, KeepAwake::Traffic) => {
                tracing::info!(
                    "while commands come it keeps the machine's processors from sleeping"
                );
            }
            (None, KeepAwake::Always) => {
                tracing::info!("it keeps the machine's processors from sleeping");
            }
        }
        awake
    }

    fn at(path: &Path, when: KeepAwake) -> Self {
        let mut awake = Self {
            when,
            device: None,
            fault: None,
            is_held: false,
            seen: 0,
            quiet: 0,
        };
        if when == KeepAwake::Never {
            return awake;
        }
        match OpenOptions::new().write(true).open(path) {
            Ok(device) => awake.device = Some(device),
            Err(error) => awake.fault = Some(format!("{}: {error}", path.display())),
        }
        if when == KeepAwake::Always {
            awake.hold(true);
        }
        awake
    }

    /// Looks ten times a second how many commands there were in all.
    pub fn pass(&mut self, commands: u64) {
        let new = commands.saturating_sub(self.seen);
        self.seen = commands;
        if self.when != KeepAwake::Traffic {
            return;
        }
        if new >= TRAFFIC {
            self.quiet = 0;
            self.hold(true);
        } else if self.is_held {
            self.quiet += 1;
            if self.quiet >= QUIET_MAX {
                self.hold(false);
            }
        }
    }

    fn hold(&mut self, hold: bool) {
        let Some(device) = &mut self.device else {
            return;
        };
        if self.is_held == hold {
            return;
        }
        match say(device, if hold { AWAKE_US } else { ASLEEP_US }) {
            Ok(()) => self.is_held = hold,
            Err(error) => {
                tracing::warn!("{DEVICE}: {error}; processors may sleep from here on");
                self.fault = Some(format!("{DEVICE}: {error}"));
                // Closing it takes back what was said.
                self.device = None;
                self.is_held = false;
            }
        }
    }

    /// For who asks: whether it could, and why not.
    pub fn show(&self) -> Value {
        json!({
            "when": match self.when {
                KeepAwake::Traffic => "traffic",
                KeepAwake::Always => "always",
                KeepAwake::Never => "never",
            },
            "is_held": self.is_held,
            "error": self.fault,
        })
    }
}

fn say(device: &mut File, microseconds: i32) -> io::Result<()> {
    // One write: the system takes four bytes for the number, and others for its digits.
    device.write_all(&microseconds.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was said to a file that stands for the device.
    fn said(path: &Path) -> Vec<i32> {
        let bytes = std::fs::read(path).expect("is there");
        let (numbers, rest) = bytes.as_chunks::<4>();
        assert!(rest.is_empty(), "not numbers of four bytes");
        numbers
            .iter()
            .map(|four| i32::from_ne_bytes(*four))
            .collect()
    }

    fn device() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("device");
        std::fs::write(&path, []).expect("can be made");
        (dir, path)
    }

    #[test]
    fn processors_are_kept_awake_while_commands_come() {
        let (_dir, path) = device();
        let mut awake = Awake::at(&path, KeepAwake::Traffic);
        let mut commands = 0;
        for _ in 0..20 {
            commands += TRAFFIC - 1;
            awake.pass(commands);
        }
        assert!(said(&path).is_empty(), "too few are not worth it");
        for _ in 0..3 {
            commands += TRAFFIC;
            awake.pass(commands);
        }
        assert_eq!(said(&path), [AWAKE_US], "said once");
        assert_eq!(awake.show()["is_held"], true);
        // A moment of quiet, and again.
        for _ in 0..QUIET_MAX - 1 {
            awake.pass(commands);
        }
        commands += TRAFFIC;
        awake.pass(commands);
        for _ in 0..QUIET_MAX - 1 {
            awake.pass(commands);
        }
        assert_eq!(said(&path), [AWAKE_US], "quiet for less than a second");
        awake.pass(commands);
        assert_eq!(said(&path), [AWAKE_US, ASLEEP_US]);
        awake.pass(commands + TRAFFIC);
        assert_eq!(said(&path), [AWAKE_US, ASLEEP_US, AWAKE_US]);
    }

    #[test]
    fn the_system_hears_it() {
        let mut awake = Awake::new(KeepAwake::Always);
        if let Some(fault) = &awake.fault {
            everopen_testkit::sandbox::say(&format!("left out: the_system_hears_it ({fault})"));
            return;
        }
        let told = || {
            let bytes = std::fs::read(DEVICE).expect("whoever writes there may read");
            i32::from_ne_bytes(bytes.try_into().expect("four bytes"))
        };
        assert_eq!(told(), AWAKE_US);
        // Another process may ask for as much meanwhile: what is looked at is that it is taken.
        awake.hold(false);
        awake.hold(true);
        assert!(awake.is_held && awake.fault.is_none());
    }

    #[test]
    fn always_and_never_ask_for_no_commands() {
        let (_dir, path) = device();
        let mut never = Awake::at(&path, KeepAwake::Never);
        never.pass(1_000);
        assert!(said(&path).is_empty());
        assert_eq!(never.show()["error"], Value::Null);
        let mut always = Awake::at(&path, KeepAwake::Always);
        for _ in 0..2 * QUIET_MAX {
            always.pass(0);
        }
        assert_eq!(said(&path), [AWAKE_US]);
    }

    #[test]
    fn a_device_that_is_not_there_or_takes_nothing_is_said_and_left() {
        let (dir, _) = device();
        let mut awake = Awake::at(&dir.path().join("none"), KeepAwake::Always);
        awake.pass(1_000);
        let shown = awake.show();
        assert_eq!(shown["is_held"], false);
        let error = shown["error"].as_str().expect("says why");
        assert!(error.contains("none: No such file"), "{error}");

        let mut full = Awake::at(Path::new("/dev/full"), KeepAwake::Traffic);
        full.pass(1_000);
        assert_eq!(full.show()["is_held"], false);
        assert!(full.device.is_none(), "not tried again ten times a second");
        assert!(full.show()["error"].is_string());
    }
}
