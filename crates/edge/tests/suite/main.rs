//! The edge over real sockets, before servers that behave and servers that do not.

mod certificates;
mod clients;
mod failures;
mod handover;
mod http2;
mod revocation;
mod routing;
mod shadow;
mod support;
mod tunnels;
mod websockets;
