//! The client against replicas that lose answers, close connections, change leaders and lie.

mod call;
mod faults;
mod follow;
mod session;
mod submit;
mod support;
