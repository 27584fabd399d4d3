//! The port to whatever runs versions elsewhere than as processes of this machine. A cluster schedules,
//! restarts and balances by itself; a rollout says which version it is to run, how often, and looks.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;

/// What a cluster does takes a while; if it fails, a sentence says why.
pub type Waits<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// A group's instances in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// A kubeconfig file; without it what the environment says, or the account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; without it, the current one.
    pub context: Option<String>,
    /// The namespace.
    pub namespace: String,
    /// The Deployment that runs them.
    pub deployment: String,
    /// The Service by which they are reached.
    pub service: String,
    /// The container in the pods whose image is the version.
    pub container: String,
    /// The image.
    pub image: String,
    /// The port at which the container listens.
    pub port: u16,
    /// How many.
    pub replicas: u16,
    /// The rollout that they belong to.
    pub rollout: String,
    /// The version, for people.
    pub version: String,
}

/// What a cluster says of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The pods of this rollout that are ready.
    pub ready: Vec<SocketAddr>,
    /// Whether there are as many as wanted, and no others.
    pub is_settled: bool,
    /// Where the Service is reached.
    pub service: SocketAddr,
    /// It will not come to be: the cluster has given up, or a container of it ends again and again.
    pub failed: Option<String>,
    /// What keeps it from being settled, for people.
    pub trouble: String,
}

/// A cluster.
pub trait Cluster: Send + Sync + fmt::Debug {
    /// Has it run this version, as often as wanted.
    fn start<'a>(&'a self, set: &'a Set) -> Waits<'a, ()>;

    /// Looks at it.
    fn look<'a>(&'a self, set: &'a Set) -> Waits<'a, Seen>;

    /// Has it run nothing any more. How many there were.
    fn end<'a>(&'a self, set: &'a Set) -> Waits<'a, usize>;

    /// Takes one of its instances away, for a game day.
    fn kill_one<'a>(&'a self, set: &'a Set) -> Waits<'a, ()>;
}
