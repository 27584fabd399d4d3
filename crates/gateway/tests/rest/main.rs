//! The REST side of the gateway, asked over real sockets, with a real venue behind it.

mod auth;
mod consistency;
mod limits;
mod market;
mod money;
mod openapi;
mod orders;
mod support;
mod websocket;
mod wrong_input;
