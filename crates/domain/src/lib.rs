//! The shared vocabulary of Everopen: money, price, quantity, ids, instruments, orders, and the
//! commands and events that make up the log, as plain types.
//!
//! Invariants of this room:
//! - it encodes nothing, rounds nothing silently and knows no floating point;
//! - every type that reaches the log is `Copy` and has a fixed size, so that the machine that
//!   applies commands needs no allocation to carry them;
//! - commands are imperative, events are past tense, and a released variant is never renamed.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod command;
pub mod event;
pub mod ids;
pub mod instrument;
pub mod member;
pub mod money;
pub mod order;
pub mod reason;
pub mod snapshot;
pub mod text;
pub mod time;

pub use command::{AmendOrder, Command, OrderTarget};
pub use event::{CancelReason, DoneReason, Event, EventSink};
pub use ids::{
    AssetId, FeeScheduleId, InstrumentId, LogIndex, MemberId, OrderId, TradeId, TransferId,
};
pub use instrument::{Instrument, InstrumentLimits, TradingPhase};
pub use member::{FeeTier, FeeTiers, MemberLimits, OrderLimits};
pub use money::{Amount, Price, Quantity, Rate};
pub use order::{NewOrder, OrderType, SelfTradePrevention, Side, Stop, StopDirection, TimeInForce};
pub use reason::RejectReason;
pub use text::{AssetCode, ClientOrderId, Destination, MemberCode, Reference, Text};
pub use time::Timestamp;
