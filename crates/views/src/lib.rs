//! Read models of the event log: market data and every member's own records.
//!
//! [`Views`] takes the events of the log one by one and answers questions about them. It is pure:
//! it does no I/O, asks no clock and takes no lock; time is the time of the last entry that it was
//! given. It holds nothing that the log does not, so it can be thrown away and rebuilt, from the
//! beginning or from a checkpoint.
//!
//! Invariants of this room:
//! - memory is bounded by [`Config`] and by what is open in the venue; nothing else grows;
//! - money, prices and sizes stay integers; [`decimal`] is the only way to and from text;
//! - the same events give the same views, whether or not a checkpoint lies between them.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod account;
mod apply;
mod book;
mod candle;
mod checkpoint;
pub mod clock_text;
mod config;
pub mod decimal;
mod fee;
mod market;
mod member;
mod money;
mod order;
mod reference;
pub mod uuid;
mod views;

pub use account::{
    AccountView, LedgerDetail, LedgerEntry, LedgerKind, TransferKind, TransferStatus, TransferView,
};
pub use book::{AuctionIndication, BookOrder, BookView, LevelView};
pub use candle::{Candle, Granularity};
pub use checkpoint::{Checkpoint, OwnedCheckpoint};
pub use config::{Config, ConfigError};
pub use decimal::Decimal;
pub use fee::FeesView;
pub use market::{Stats24h, Ticker, TradeView};
pub use member::{FillFilter, FillView, Liquidity, MemberView, Page};
pub use order::{OrderDoneView, OrderFilter, OrderStatus, OrderView, StatusSet};
pub use reference::{AssetView, Product};
pub use views::Views;
