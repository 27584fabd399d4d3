//! `gateway.toml`: one gateway on its host.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use everopen_gateway::limits::RateLimit;
use serde::{Deserialize, Serialize};

use super::{ClusterId, Durability, Peer, Tls};

/// The settings of a gateway. Paths are taken from the folder of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// The cluster's id, the same in all its files.
    pub cluster: ClusterId,
    /// Where REST and WebSocket are served.
    pub listen: SocketAddr,
    /// Where members reach it, if that is an edge in front of it; else where it listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<SocketAddr>,
    /// Addresses of proxies in front of it: what they say in `X-Forwarded-For` is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<IpAddr>,
    /// The folder of the API keys.
    #[serde(default = "here")]
    pub keys: PathBuf,
    /// The folder in which `admin.sock` is made, for `everopen admin` and `everopen member`.
    #[serde(default = "here")]
    pub admin: PathBuf,
    /// What the replicas' acknowledgment means; only shown.
    #[serde(default)]
    pub durability: Durability,
    /// Signed requests per second and API key (burst: twice as many).
    #[serde(default = "private_rate")]
    pub private_rate: u32,
    /// Unsigned requests per second and address (burst: twice as many).
    #[serde(default = "public_rate")]
    pub public_rate: u32,
    /// Leave withdrawals pending until an operator completes or cancels them.
    #[serde(default)]
    pub manual_withdrawals: bool,
    /// Whether members may credit themselves. Only for demonstrations.
    #[serde(default)]
    pub demo_deposits: bool,
    /// The folder of a `cluster.toml`, as `everopen up` keeps one: its replicas are asked, too, also those
    /// that come later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_dir: Option<PathBuf>,
    /// This gateway's certificate.
    pub tls: Tls,
    /// The simulated market, if this gateway runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub market: Option<Market>,
    /// Replicas to ask first; it learns of others from them.
    pub nodes: Vec<Peer>,
}

/// The simulated market.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Market {
    /// Its seed.
    pub seed: u64,
    /// Commands per second.
    pub rate: u32,
}

fn here() -> PathBuf {
    ".".into()
}

const fn private_rate() -> u32 {
    10_000
}

const fn public_rate() -> u32 {
    5_000
}

const HEAD: &str = "\
# The gateway of an Everopen venue: `everopen gateway --config` this file.
# `everopen up` writes it again at each start; docs/operating/cluster.md explains every key.
";

/// A gateway's settings, and the folder that its paths are taken from.
pub struct GatewayFile {
    pub gateway: Gateway,
    base: PathBuf,
}

impl Gateway {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Names the file, the line where there is one, and the reason.
    pub fn read(path: &Path) -> Result<GatewayFile> {
        let gateway: Self = super::read(path)?;
        gateway
            .check()
            .with_context(|| format!("in {}", path.display()))?;
        Ok(GatewayFile {
            gateway,
            base: super::base(path),
        })
    }

    /// Writes it; returns whether that changed the file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, path: &Path) -> Result<bool> {
        super::write(path, HEAD, self)
    }

    fn check(&self) -> Result<()> {
        if self.nodes.is_empty() {
            bail!("nodes: at least one replica to ask");
        }
        if let Some(market) = self.market
            && !(1..=20_000).contains(&market.rate)
        {
            bail!("market.rate: {} is not from 1 to 20000", market.rate);
        }
        super::check_peers(&self.nodes).context("nodes")
    }
}

impl GatewayFile {
    /// The folder that paths are taken from.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The folder of the API keys.
    pub fn keys(&self) -> PathBuf {
        self.base.join(&self.gateway.keys)
    }

    /// The folder of `cluster.toml`.
    pub fn cluster_dir(&self) -> Option<PathBuf> {
        let dir = self.gateway.cluster_dir.as_ref()?;
        Some(self.base.join(dir))
    }

    /// The folder of the admin socket.
    pub fn admin(&self) -> PathBuf {
        self.base.join(&self.gateway.admin)
    }

    /// The gateway room's own settings.
    pub fn limits(&self) -> everopen_gateway::Config {
        let rate = |per_second: u32| RateLimit {
            per_second,
            burst: per_second.saturating_mul(2),
        };
        everopen_gateway::Config {
            private_rate: rate(self.gateway.private_rate),
            fills_rate: rate(self.gateway.private_rate),
            public_rate: rate(self.gateway.public_rate),
            proxies: self.gateway.proxies.clone(),
            demo_deposits: self.gateway.demo_deposits,
            demo_withdrawals: !self.gateway.manual_withdrawals,
            ..everopen_gateway::Config::demo()
        }
    }
}
