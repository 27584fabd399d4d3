//! How a cluster is loaded, whichever it is.

use std::fmt;

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

/// How commands come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// One client that waits for each answer.
    One,
    /// So many clients that each wait for their answers.
    Clients(usize),
    /// One client with so many commands under way.
    Pipelined(usize),
    /// The same, of commands that cost the system's own machine as little as any does.
    Bare(usize),
    /// So many a second, whatever the answers do.
    Open(u64),
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Self::One => "1 outstanding".into(),
            Self::Clients(clients) => format!("{clients} clients, closed loop"),
            Self::Pipelined(window) => format!("orders, window {window}"),
            Self::Bare(window) => format!("bare, window {window}"),
            Self::Open(rate) => format!("open loop, {rate}/s"),
        })
    }
}

/// A running cluster of three processes. They end when it is dropped.
pub trait Driver {
    /// Opens client sessions to the leader that have so many commands of [`COMMAND_BYTES`] under
    /// way together. A closed loop's token names the session; other tokens are shared out.
    fn connect(&mut self, sessions: usize, outstanding: usize) -> Result<Box<dyn Target>>;

    /// One command at a time: latency without queues.
    fn one_outstanding(&mut self, span: Span) -> Result<Outcome> {
        self.closed_loop(1, span)
    }

    /// Clients that each wait for their answers.
    fn closed_loop(&mut self, clients: usize, span: Span) -> Result<Outcome> {
        let mut target = self.connect(clients, clients)?;
        Ok(keep_outstanding(&mut *target, clients, span)?)
    }

    /// One client with a window: throughput.
    fn pipelined(&mut self, window: usize, span: Span) -> Result<Outcome> {
        let mut target = self.connect(1, window)?;
        Ok(keep_outstanding(&mut *target, window, span)?)
    }

    /// As [`Driver::pipelined`], of commands that are refused at the door: the cost of the log alone.
    fn bare(&mut self, window: usize, span: Span) -> Result<Outcome> {
        self.pipelined(window, span)
    }

    /// A fixed rate, latency from the intended send time.
    fn open_loop(&mut self, rate: u64, span: Span) -> Result<Outcome> {
        let mut target = self.connect(1, OPEN_LOOP_MOST)?;
        Ok(open_loop(&mut *target, rate, span)?)
    }

    /// Puts it under this load.
    fn measure(&mut self, load: Load, span: Span) -> Result<Outcome> {
        match load {
            Load::One => self.one_outstanding(span),
            Load::Clients(clients) => self.closed_loop(clients, span),
            Load::Pipelined(window) => self.pipelined(window, span),
            Load::Bare(window) => self.bare(window, span),
            Load::Open(rate) => self.open_loop(rate, span),
        }
    }
}
