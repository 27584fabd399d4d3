//! `cargo xtask bench`: says what machine this is, runs the measurements, shows the files they wrote.
//!
//! Each bench program prints its own table and writes one JSON file; what is counted and how stands there.

use crate::packages::{self, ETCD, HAPROXY, NGINX};
use crate::{process, workspace};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to measure.
#[derive(Args)]
pub struct Options {
    /// One measurement; all of them when none is named.
    which: Option<Which>,
    /// Further arguments for the bench programs, after `--`.
    #[arg(last = true)]
    rest: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
enum Which {
    /// The book and the whole venue on the OBW1 workload.
    Engine,
    /// Group commit, and the machine's own cost of making bytes durable.
    Journal,
    /// REST order round trips against the real program.
    Gateway,
    /// The edge beside HAProxy and nginx.
    Edge,
    /// Three replicas beside the machine's floor and three members of etcd.
    Cluster,
}

/// Runs the measurements asked for; whether all of them ended well.
pub fn run(options: &Options) -> Result<bool> {
    // An absolute path: `cargo bench` starts programs in their package's folder.
    let folder = workspace::root().join("target/bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let machine = machine(&folder);
    println!("machine");
    for (name, value) in machine.as_object().into_iter().flatten() {
        println!("  {name:<12} {}", value.as_str().unwrap_or("unknown"));
    }
    fs::write(folder.join("machine.json"), format!("{machine:#}\n"))
        .context("cannot write machine.json")?;

    let mut ok = true;
    for which in [
        Which::Engine,
        Which::Journal,
        Which::Gateway,
        Which::Edge,
        Which::Cluster,
    ] {
        if options.which.is_some_and(|wanted| wanted != which) {
            continue;
        }
        let (name, path) = match which {
            Which::Engine => ("engine", folder.join("engine.json")),
            Which::Journal => ("journal", folder.join("journal.json")),
            Which::Gateway => ("gateway", folder.join("gateway.json")),
            Which::Edge => ("edge", folder.join("edge.json")),
            Which::Cluster => ("cluster", folder.join("cluster.json")),
        };
        // A file of an earlier run must not pass for this one's.
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        println!("\n==> {name}");
        let peers: &[_] = match which {
            Which::Cluster => &[ETCD],
            Which::Edge => &[HAPROXY, NGINX],
            _ => &[],
        };
        if let Err(error) = packages::ensure(peers) {
            // The rest is still worth measuring; the program marks what it could not compare with.
            println!("    peers: {error:#}");
        }
        let mut command = command(which, &path)?;
        command.args(&options.rest);
        println!("    {}", shown(&command));
        let success = command
            .status()
            .with_context(|| format!("cannot start {name}"))?
            .success();
        if !success {
            println!("    {name}: FAILED");
            ok = false;
        } else if serde_json::from_str::<Value>(&fs::read_to_string(&path).unwrap_or_default())
            .is_err()
        {
            println!(
                "    {name}: FAILED: it wrote no readable {}",
                path.display()
            );
            ok = false;
        } else {
            println!("    wrote {}", path.display());
        }
    }
    Ok(ok)
}

/// How each measurement is started.
fn command(which: Which, json: &Path) -> Result<Command> {
    let mut command = match which {
        Which::Engine => workspace::cargo([
            "bench",
            "-p",
            "everopen-venue",
            "--bench",
            "engine",
            "--",
            "--json",
        ])?,
        Which::Journal => workspace::cargo([
            "bench",
            "-p",
            "everopen-journal",
            "--bench",
            "journal",
            "--",
            "--json",
        ])?,
        // Against the real program in a process of its own, so that what is measured is what is shipped.
        Which::Gateway => workspace::cargo([
            "bench", "-p", "everopen", "--bench", "gateway", "--", "--json",
        ])?,
        Which::Edge => {
            workspace::cargo(["bench", "-p", "everopen", "--bench", "edge", "--", "--json"])?
        }
        Which::Cluster => workspace::cargo([
            "bench", "-p", "everopen", "--bench", "cluster", "--", "--json",
        ])?,
    };
    command.arg(json);
    Ok(command)
}

fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let args = command
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(name)
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

/// What a reader needs to judge a figure.
fn machine(folder: &Path) -> Value {
    let read = |path: &str| {
        fs::read_to_string(path)
            .ok()
            .map(|text| text.trim().to_owned())
    };
    let cpu = read("/proc/cpuinfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cores = std::thread::available_parallelism()
        .ok()
        .map(|n| n.to_string());
    let memory = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(format!("{} MiB", kib / 1024))
    });
    let filesystem = process::capture(
        Command::new("findmnt")
            .args(["-no", "FSTYPE,SOURCE", "--target"])
            .arg(folder),
    )
    .or_else(|| process::capture(Command::new("stat").args(["-f", "-c", "%T"]).arg(folder)));
    json!({
        "cpu": cpu,
        "cores": cores,
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
            .unwrap_or_else(|| "not visible (virtual machine?)".into()),
        "memory": memory,
        "load average": read("/proc/loadavg"),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "filesystem": filesystem,
        "rustc": process::capture(Command::new("rustc").arg("--version")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_without_the_path_of_its_program() {
        let mut command = Command::new("/somewhere/bin/cargo");
        command.args(["bench", "-p", "x"]);
        assert_eq!(shown(&command), "cargo bench -p x");
    }

    #[test]
    fn the_machine_is_described() {
        let machine = machine(&workspace::root());
        assert!(machine["cores"].is_string());
        assert!(machine["governor"].is_string());
    }
}
