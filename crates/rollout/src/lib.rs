//! Rollout of a service behind an edge: what is running is replaced while clients keep working.
//!
//! A [`file`] says what the new version is, how it is started, how it is looked at before it gets
//! traffic, how traffic goes over to it, and what makes it come back. [`plan`] makes steps of that, a
//! pure function of the file and of what is in service. [`execute`] carries them out: each is written
//! into a [`journal`] before it is begun, so a controller that was killed goes on where it was, or takes
//! back what was done, and traffic is never left on a version that was not to have it.
//!
//! What is old and what is new are two groups of targets of one service at the edge. The old one is kept
//! running for the rollback window; to go back is a change of two weights.
//!
//! [`parts`] makes one plan of a service and what belongs to it.

mod alarm;
pub mod cluster;
mod controller;
pub mod execute;
pub mod file;
pub mod gameday;
mod health;
mod host;
pub mod http;
pub mod id;
pub mod journal;
mod journey;
pub mod keep;
mod meter;
mod metrics;
mod moments;
pub mod parts;
pub mod plan;
mod process;
pub mod program;
mod shadow;
pub mod state;
mod steps;
pub mod watch;
