//! Whose processors do not sleep while something is measured.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use clap::ValueEnum;

/// What replicas use as well while commands come (`keep_awake` in `node.toml`).
const DEVICE: &str = "/dev/cpu_dma_latency";

/// Whom processors are kept awake for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Awake {
    /// Replicas keep them awake as their default settings have it; nobody does for anything else
    Ours,
    /// The benchmark keeps them awake for everything
    All,
    /// Nobody, and replicas are told not to
    None,
}

impl Awake {
    /// What stands in a replica's settings.
    pub fn as_config(self) -> &'static str {
        match self {
            Self::Ours | Self::All => "traffic",
            Self::None => "never",
        }
    }
}

impl fmt::Display for Awake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => {
                "replicas keep processors from sleeping while commands come, nobody else does"
            }
            Self::All => "processors are kept from sleeping for all that is measured",
            Self::None => "processors may sleep whenever they have nothing to do",
        })
    }
}

/// Keeps processors awake until it is dropped.
pub struct Held {
    _device: File,
}

impl Held {
    pub fn new() -> io::Result<Self> {
        let mut device = OpenOptions::new().write(true).open(DEVICE)?;
        device.write_all(&0_i32.to_ne_bytes())?;
        Ok(Self { _device: device })
    }
}
