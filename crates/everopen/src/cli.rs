//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A financial market which never closes.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a market on this machine: replicas, gateway and a demo member
    Up(Up),
    /// Run one replica
    Node(Process),
    /// Run one gateway
    Gateway(GatewayProcess),
    /// Run the front of services: routes to blue and green groups of targets
    Edge(crate::edge::Arguments),
    /// Replace a service behind an edge while its clients keep working
    Rollout(crate::rollout::Arguments),
    /// Do what a document says, step by step; undo it when a step fails
    Runbook(crate::runbook::Arguments),
    /// Do what a member does: sign in, place an order, see it, cancel it
    Journey(crate::journey::Arguments),
    /// Look at a cluster of replicas and change it
    Cluster(crate::cluster::Cluster),
    /// Run this program's rules over a live log, beside the replicas, and report the first event
    /// that differs
    Shadow(crate::shadow::Arguments),
    /// Run a simulated cluster through the faults of a seed and audit it
    Sim(crate::sim::Arguments),
    /// Drive recorded order flow (ITCH 5.0, LOBSTER, Bitstamp CSV; gz, xz or plain) through a venue
    Replay(Replay),
    /// Members and their API keys
    #[command(subcommand)]
    Member(Member),
    /// Operate a venue: phases, kill switches, limits, money (see `everopen admin help`)
    Admin(Admin),
    /// Read and check a stopped venue's log
    #[command(subcommand)]
    Log(Log),
}

/// Where a venue keeps everything.
#[derive(Clone, Debug, Args)]
pub struct DataDir {
    /// The venue's data directory
    #[arg(
        long,
        value_name = "DIR",
        default_value = "everopen-data",
        env = "EVEROPEN_DIR"
    )]
    pub dir: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl LogFormat {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    pub data: DataDir,
    /// Replicas: 1, 3 or 5; by default those that are there, 3 in a new directory
    #[arg(long, value_name = "N", value_parser = replicas)]
    pub replicas: Option<usize>,
    /// Where REST and WebSocket are served; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Don't run the simulated market
    #[arg(long)]
    pub no_market: bool,
    /// Seed of the simulated market
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Commands per second of the simulated market
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub market_rate: u32,
    /// What an acknowledgment means
    #[arg(long, value_enum, default_value_t = crate::config::Durability::Fsync)]
    pub durability: crate::config::Durability,
    /// When replicas keep the processors from sleeping; by default they don't: all of `up` shares a machine
    #[arg(long, value_enum, default_value_t = crate::config::KeepAwake::Never)]
    pub keep_awake: crate::config::KeepAwake,
    /// Keep the whole log, not only what the kept snapshots need
    #[arg(long)]
    pub keep_log: bool,
    /// Size of a log segment in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=1024))]
    pub segment_mib: u32,
    /// Signed requests per second and API key (burst: twice as many)
    #[arg(long, value_name = "RATE", default_value_t = 10_000)]
    pub private_rate: u32,
    /// Unsigned requests per second and address (burst: twice as many)
    #[arg(long, value_name = "RATE", default_value_t = 5_000)]
    pub public_rate: u32,
    /// Leave withdrawals pending until `everopen admin withdrawal` completes or cancels them
    #[arg(long)]
    pub manual_withdrawals: bool,
    /// Refuse deposits by members; only `everopen admin deposit` brings money in
    #[arg(long)]
    pub no_demo_deposits: bool,
    /// Form of the log lines on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// No live summary, even on a terminal
    #[arg(long)]
    pub quiet: bool,
    /// End the replicas and the gateway when this process ends, however it ends; without it they
    /// trade on when it is killed, and the next `up` takes them over
    #[arg(long)]
    pub tied: bool,
    /// No edge in front: clients reach the gateway itself, which then can't be rolled out
    #[arg(long)]
    pub no_edge: bool,
    /// Take a running venue over from the `up` that runs it now, which ends without it; processes
    /// of another release or with other settings are then replaced one by one, while trading goes
    /// on
    #[arg(long)]
    pub take_over: bool,
    /// The newest version of the venue's rules that replicas may switch to
    #[arg(long, value_name = "VERSION", hide = true)]
    pub logic_max: Option<u16>,
}

/// An even number of replicas needs one more for a majority and survives no more failures.
fn replicas(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("1, 3 or 5".into()),
    }
}

/// A process with a file of its own.
#[derive(Debug, Args)]
pub struct Process {
    /// Its settings
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    #[command(flatten)]
    pub tether: crate::tether::Tether,
    /// Take the listening socket from standard input
    #[arg(long, hide = true)]
    pub listener_on_stdin: bool,
}

/// A gateway, of which several may have one file.
#[derive(Debug, Args)]
pub struct GatewayProcess {
    #[command(flatten)]
    pub process: Process,
    /// Listen here instead of where the file says
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FeedFormat {
    Itch,
    Lobster,
    Bitstamp,
}

#[derive(Debug, Args)]
pub struct Replay {
    /// The recorded order flow
    pub file: PathBuf,
    /// The format, if the content does not tell
    #[arg(long, value_enum)]
    pub format: Option<FeedFormat>,
    /// The symbol of a file that names none in its content; by default from the file's name
    #[arg(long)]
    pub symbol: Option<String>,
    /// Show the books of at most so many symbols, busiest first
    #[arg(long, default_value_t = 20)]
    pub books: usize,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Member {
    /// Add a member (if it is new) and make an API key for it
    Add(MemberAdd),
    /// List members and keys; secrets are never shown again
    List {
        #[command(flatten)]
        data: DataDir,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke an API key
    Revoke {
        /// The key
        key: String,
        #[command(flatten)]
        data: DataDir,
    },
}

#[derive(Clone, Debug, Args)]
pub struct MemberAdd {
    /// The member's code, unique in the venue
    pub name: String,
    #[command(flatten)]
    pub data: DataDir,
    /// What the key may do: view, trade, transfer, separated by commas
    #[arg(long, default_value = "view,trade,transfer", value_delimiter = ',')]
    pub permissions: Vec<String>,
    /// Only take the key from these addresses
    #[arg(long, value_name = "ADDRESS")]
    pub allow: Vec<everopen_gateway::AddressRange>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Admin {
    #[command(flatten)]
    pub data: DataDir,
    #[command(subcommand)]
    pub action: crate::admin::Action,
}

#[derive(Debug, Subcommand)]
pub enum Log {
    /// Check every record of the replicas' logs and print the state hash at the end of each
    Verify {
        #[command(flatten)]
        data: DataDir,
        /// Only this replica
        #[arg(long, value_name = "ID")]
        node: Option<u64>,
    },
}
