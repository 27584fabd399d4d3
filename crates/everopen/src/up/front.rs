//! The edge before the gateway: its file, and the file by which the gateway is rolled out behind it.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use everopen_edge::Config;
use everopen_rollout::file::File;
use everopen_rollout::plan::Plan;
use everopen_rollout::state::Folder;
use serde_json::json;

use super::layout::{Layout, make_dir};
use super::ports;
use crate::cli;
use crate::config::gateway::Gateway;

/// The service's name at the edge and in rollouts.
pub const SERVICE: &str = "gateway";
/// In the environment of a gateway: of what settings it is. A gateway of others is replaced.
const SETTINGS: &str = "EVEROPEN_SETTINGS";

const EDGE_HEAD: &str = "\
# The edge before the gateway: `everopen edge --config` this file.
# `everopen up` writes it again at each start; docs/operating/edge.md explains every key.
";
const ROLLOUT_HEAD: &str = "\
# How a version of the gateway comes into service: `everopen rollout apply` this file.
# `everopen up` writes it again at each start; copy it to roll out another version.
# docs/operating/rollout.md explains every key.
";

/// Where the edge's things are in a data directory.
#[derive(Clone, Debug)]
pub struct Front {
    dir: PathBuf,
}

impl Front {
    /// The front of a data directory.
    pub fn of(layout: &Layout) -> Self {
        Self {
            dir: layout.dir().to_path_buf(),
        }
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The edge's file.
    pub fn edge_file(&self) -> PathBuf {
        self.dir.join("edge").join("edge.toml")
    }

    /// Where the edge logs what it does.
    pub fn edge_log(&self) -> PathBuf {
        self.dir.join("edge").join("edge.log")
    }

    /// The edge's admin socket.
    pub fn edge_socket(&self) -> PathBuf {
        self.dir.join("edge").join("edge.sock")
    }

    /// The file of the gateway's version that this program is.
    pub fn rollout_file(&self) -> PathBuf {
        self.dir.join("gateway").join("rollout.toml")
    }

    /// Where rollouts keep their plans and journals.
    pub fn rollouts(&self) -> PathBuf {
        self.dir.join("rollouts")
    }

    /// Writes the edge's file; the test listener's port stays what it was. Returns that, and whether the
    /// file has changed.
    ///
    /// # Errors
    /// When it can't be written, or no port is free.
    pub fn write_edge(&self, listen: SocketAddr) -> Result<(SocketAddr, bool)> {
        make_dir(&self.dir.join("edge"))?;
        let path = self.edge_file();
        let before = Config::read(&path).ok();
        let kept = before.and_then(|config| {
            let test = config.listeners.iter().find(|listener| listener.test)?;
            Some(test.address)
        });
        let test = match kept {
            Some(address) => address,
            None => ports::take()?.0,
        };
        let text = format!(
            "{EDGE_HEAD}
admin = \"edge.sock\"

# Where members come in.
[[listener]]
name = \"public\"
address = \"{listen}\"
service = \"{SERVICE}\"

# Leads to the version that has no traffic yet.
[[listener]]
name = \"test\"
address = \"{test}\"
service = \"{SERVICE}\"
test = true

[service.{SERVICE}]
# A gateway that is started again just now is waited for.
wait_ms = 5000

[service.{SERVICE}.group.blue]

[service.{SERVICE}.group.green]
"
        );
        let has_changed = fs::read_to_string(&path).is_ok_and(|before| before != text);
        write(&path, &text)?;
        Config::read(&path).context("read what was just written")?;
        Ok((test, has_changed))
    }

    /// Writes the rollout's file for the gateway that this program is, with those settings.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_rollout(
        &self,
        layout: &Layout,
        gateway: &Gateway,
        test: SocketAddr,
        args: &cli::Up,
    ) -> Result<File> {
        let program = std::env::current_exe().context("find this program")?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut hasher = DefaultHasher::new();
        toml::to_string(gateway)
            .context("write down the gateway's settings")?
            .hash(&mut hasher);
        let settings = format!("{:016x}", hasher.finish());
        // Of its own, so that who goes back has the settings of before as well as the program.
        let own = layout.gateway_file_of(&settings);
        gateway.write(&own)?;
        self.forget_settings(layout, &own);
        let mut command = vec![
            text(&program),
            "gateway".into(),
            "--config".into(),
            text(&own),
            "--listen".into(),
            "127.0.0.1:{port}".into(),
            "--log-file".into(),
            text(&layout.gateway_log()),
            "--log-format".into(),
            args.log_format.name().into(),
        ];
        if args.tied {
            command.extend(["--ends-with".into(), text(&layout.lock_file())]);
        }
        let journey = vec![
            text(&program),
            "journey".into(),
            "--dir".into(),
            text(layout.dir()),
            "--at".into(),
            test.to_string(),
        ];
        let file = json!({
            "service": SERVICE,
            "version": env!("CARGO_PKG_VERSION"),
            "edge": text(&self.edge_socket()),
            "start": {
                "command": command,
                "env": { SETTINGS: settings },
                "ready": "/health/ready",
                "ready_ms": 60_000,
            },
            "check": [{ "name": "journey", "command": journey, "within_ms": 30_000 }],
            "strategy": { "bake_ms": 1_000 },
            "budget": { "at": public(gateway).to_string(), "path": "/health/live" },
            "after": { "warm_ms": 3_600_000, "drain_ms": 5_000, "drain_signal": "USR1" },
        });
        let file = toml::to_string(&file).context("write down the rollout")?;
        write(&self.rollout_file(), &format!("{ROLLOUT_HEAD}\n{file}"))?;
        Ok(File::read(&self.rollout_file())?)
    }
}

impl Front {
    /// Removes settings that no gateway uses which serves or can be gone back to.
    fn forget_settings(&self, layout: &Layout, current: &Path) {
        let Ok(state) = Folder::peek(&self.rollouts(), SERVICE) else {
            return;
        };
        let rollouts = state.groups.values().map(|running| &running.rollout);
        let plans = rollouts.chain(&state.under_way).map(|rollout| {
            let path = Folder::plan_of(&self.rollouts(), SERVICE, rollout);
            Plan::read(&path)
        });
        let Ok(plans) = plans.collect::<io::Result<Vec<Plan>>>() else {
            return;
        };
        for path in layout.gateway_files() {
            let name = path.to_string_lossy();
            let is_used = plans
                .iter()
                .any(|plan| plan.file.start.command.iter().any(|word| *word == name));
            if !is_used && path != current {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

/// Where members come in, as a host of the same machine reaches it.
fn public(gateway: &Gateway) -> SocketAddr {
    let mut address = gateway.public.unwrap_or(gateway.listen);
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}

/// Of what settings a file's gateways are.
pub fn settings(file: &File) -> Option<&String> {
    file.start.env.get(SETTINGS)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    let write = || {
        fs::write(&fresh, text)?;
        fs::rename(&fresh, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}
