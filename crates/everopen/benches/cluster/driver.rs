//! How a cluster is loaded, whichever it is.

use std::fmt;

use crate::session::Plan;
use anyhow::Result;
use clap::ValueEnum;
use everopen_testkit::load::{Outcome, Span, Target, keep_outstanding, open_loop};

/// Bytes of one command.
pub const COMMAND_BYTES: usize = 64;
/// Commands that may be under way in an open loop; one more waits, and its wait is latency.
const OPEN_LOOP_MOST: usize = 65_536;

/// What a command's acknowledgment means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// On the disks of a majority.
    Fsync,
    /// In the memory of a majority.
    Memory,
}

impl Mode {
    /// The word that stands beside every figure.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Memory => "memory",
        }
    }
}

/// What commands do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// As little as a command can do: the peer puts one value, the venue refuses an order of
    /// nobody. What it costs is the log.
    Bare,
    /// A limit order that is checked, held for, finds nobody and is canceled. The peer has none.
    Order,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Order => "orders",
        }
    }
}

/// How commands come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// One client that waits for each answer.
    One(Work),
    /// So many clients that each wait for their answers, over so many connections.
    Clients(Work, usize, usize),
    /// One client with so many commands under way, and so many in one request at most.
    Pipelined(Work, usize, usize),
    /// So many a second, whatever the answers do.
    Open(Work, u64),
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Self::One(work) => format!("{}, 1 outstanding", work.name()),
            Self::Clients(work, clients, 1) => {
                format!("{}, {clients} clients, 1 connection", work.name())
            }
            Self::Clients(work, clients, connections) => {
                format!(
                    "{}, {clients} clients, {connections} connections",
                    work.name()
                )
            }
            Self::Pipelined(work, window, 1) => format!("{}, window {window}", work.name()),
            Self::Pipelined(work, window, most) => {
                format!("{}, window {window}, {most} a request", work.name())
            }
            Self::Open(work, rate) => format!("{}, open loop, {rate}/s", work.name()),
        })
    }
}

/// A running cluster of three processes. They end when it is dropped.
pub trait Driver {
    /// Opens client sessions to the leader for commands of [`COMMAND_BYTES`]. A command's token
    /// names its session.
    fn connect(&mut self, plan: Plan) -> Result<Box<dyn Target>>;

    /// Puts it under this load.
    fn measure(&mut self, load: Load, span: Span) -> Result<Outcome> {
        let plan = |work, outstanding, per_request| Plan {
            sessions: 1,
            connections: 1,
            outstanding,
            work,
            per_request,
        };
        Ok(match load {
            Load::One(work) => {
                let mut target = self.connect(plan(work, 1, 1))?;
                keep_outstanding(&mut *target, 1, span)?
            }
            Load::Clients(work, clients, connections) => {
                let mut target = self.connect(Plan {
                    sessions: clients,
                    connections,
                    ..plan(work, clients, 1)
                })?;
                keep_outstanding(&mut *target, clients, span)?
            }
            Load::Pipelined(work, window, per_request) => {
                let mut target = self.connect(plan(work, window, per_request))?;
                keep_outstanding(&mut *target, window, span)?
            }
            Load::Open(work, rate) => {
                let mut target = self.connect(plan(work, OPEN_LOOP_MOST, 1))?;
                open_loop(&mut *target, rate, span)?
            }
        })
    }
}
