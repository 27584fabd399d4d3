//! The edge over real sockets, before servers that behave and servers that do not.

mod failures;
mod handover;
mod routing;
mod support;
mod tunnels;
