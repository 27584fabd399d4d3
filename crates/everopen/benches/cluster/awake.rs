//! Processors that do not sleep meanwhile, whoever is measured.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;

/// What replicas use as well while commands come (`keep_awake` in `node.toml`).
const DEVICE: &str = "/dev/cpu_dma_latency";

/// They may sleep again when it is dropped.
pub enum Awake {
    Held(#[allow(dead_code, reason = "held by being open")] File),
    Unwanted,
    Impossible(std::io::Error),
}

impl Awake {
    pub fn hold(wanted: bool) -> Self {
        if !wanted {
            return Self::Unwanted;
        }
        let held = OpenOptions::new().write(true).open(DEVICE);
        let held = held.and_then(|mut device| {
            device.write_all(&0_i32.to_ne_bytes())?;
            Ok(device)
        });
        held.map_or_else(Self::Impossible, Self::Held)
    }

    /// What stands in a replica's settings.
    pub fn as_config(&self) -> &'static str {
        match self {
            Self::Held(_) | Self::Impossible(_) => "traffic",
            Self::Unwanted => "never",
        }
    }
}

impl fmt::Display for Awake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(_) => write!(
                f,
                "processors are kept from sleeping, for all that is measured"
            ),
            Self::Unwanted => write!(f, "processors may sleep, as was asked for"),
            Self::Impossible(error) => write!(f, "processors may sleep ({DEVICE}: {error})"),
        }
    }
}
