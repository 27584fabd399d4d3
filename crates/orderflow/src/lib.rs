//! Where orders come from when no member types them: generated workloads, recorded feeds and
//! simulated participants.
//!
//! Nothing here decides what a trade is. Every module ends in records, messages or commands that
//! the venue judges like those of any member.
#![forbid(unsafe_code)]

pub mod bitstamp;
pub mod feed;
pub mod itch;
pub mod lobster;
pub mod obw1;
pub mod participants;
mod random;
pub mod replay;
pub mod samples;
