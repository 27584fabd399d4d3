//! Replicas in one process, over real sockets and real disks.

mod basics;
mod lost_log;
mod memory;
mod rescue;
mod support;
