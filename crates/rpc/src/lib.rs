//! Framed, bounded connections between processes over mutual TLS.
//!
//! A [`Hub`] is one event loop's network: it listens, dials, and moves frames. A frame is bytes
//! that mean nothing here. One thread owns a hub and calls, in turns:
//!
//! - [`Hub::turn`]: waits for the network (or for a [`Waker`]), and tells what came;
//! - [`Hub::send`]: queues frames;
//! - [`Hub::flush`]: writes what is queued, so that all frames of a turn leave in few writes.
//!
//! Everything is bounded by [`Limits`] and has an answer when full: a peer that reads slowly makes
//! [`Hub::send`] say [`SendError::Full`], one that sends a frame above the limit is cut off before
//! any of it is kept, one that sends more than its share of a turn waits for the next, and one that
//! does not finish its handshake in time is cut off.
//!
//! A peer whose machine vanishes says nothing of it. Who expects to hear from a peer must notice its
//! silence and [`Hub::close`] the connection.
//!
//! On the wire a frame is its length as `u32`, little-endian, and its bytes.
#![forbid(unsafe_code)]

mod connection;
mod event;
mod frames;
mod hub;
mod limits;
mod listener;
mod slots;
mod spin;
mod waker;

pub use event::{CloseReason, ConnId, Event, SendError};
pub use hub::Hub;
pub use limits::{Limits, Security};
pub use waker::Waker;

pub use everopen_identity::Name;
