//! Order entry and market data for members: REST and WebSocket.
#![forbid(unsafe_code)]

pub mod feed;
