//! What an operator can do to a venue: each action becomes commands in its log.
//!
//! A running venue is reached through a socket of its gateway in its data directory, which only
//! its owner can open.

mod client;
mod execute;
mod interpret;
mod server;
mod show;

pub use client::perform;
pub use execute::Operator;
pub use server::{Operators, serve};

use clap::Subcommand;
use serde::{Deserialize, Serialize};

/// An action, as typed and as sent to a running venue.
#[derive(Clone, Debug, Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Show where the venue stands
    Status,
    /// Change the phase of a market
    Phase {
        /// The product, for instance BTC-USD
        product: String,
        /// online, post-only, limit-only, cancel-only, auction or halted
        phase: String,
    },
    /// Set the reference price of a market's price band
    ReferencePrice {
        /// The product
        product: String,
        /// The price
        price: String,
    },
    /// Change the rules of a product; what is not given stays
    Product {
        /// The product
        product: String,
        /// Prices are multiples of this
        #[arg(long)]
        tick: Option<String>,
        /// Sizes are multiples of this
        #[arg(long)]
        lot: Option<String>,
        /// Smallest size of an order
        #[arg(long)]
        min_size: Option<String>,
        /// Largest size of an order
        #[arg(long)]
        max_size: Option<String>,
        /// Smallest notional of an order, in the quote currency
        #[arg(long)]
        min_notional: Option<String>,
        /// Largest notional of an order, in the quote currency; 0 for none
        #[arg(long)]
        max_notional: Option<String>,
        /// Price band in percent of the reference price; 0 for none
        #[arg(long)]
        price_band: Option<String>,
        /// Whether members may let their own orders trade with each other
        #[arg(long)]
        allow_self_trade: Option<bool>,
    },
    /// Add an asset
    AddAsset {
        /// Its code, for instance EUR
        code: String,
        /// Decimals of its smallest unit, 0 to 18
        decimals: u8,
    },
    /// Add a product; it begins in cancel-only
    AddProduct {
        /// Base and quote, for instance ETH-EUR
        product: String,
        /// Decimals of prices
        #[arg(long)]
        price_decimals: u8,
        /// Decimals of sizes
        #[arg(long)]
        size_decimals: u8,
        /// Smallest size of an order
        #[arg(long)]
        min_size: String,
        /// Largest size of an order
        #[arg(long)]
        max_size: String,
    },
    /// Engage a kill switch: cancel all orders and refuse new ones
    Kill {
        /// The member, or the whole venue if none is named
        member: Option<String>,
    },
    /// Release a kill switch
    Release {
        /// The member, or the whole venue if none is named
        member: Option<String>,
    },
    /// Set a member's limits; 0 for none
    MemberLimits {
        /// The member
        member: String,
        /// Open orders per product
        #[arg(long, default_value_t = 0)]
        max_open_orders: u32,
        /// Order messages per second
        #[arg(long, default_value_t = 0)]
        message_rate: u32,
        /// Order messages at once
        #[arg(long, default_value_t = 0)]
        message_burst: u32,
    },
    /// Set a member's limits on each order in one product; 0 for none
    OrderLimits {
        /// The member
        member: String,
        /// The product
        product: String,
        /// Largest size
        #[arg(long, default_value = "0")]
        max_size: String,
        /// Largest notional, in the quote currency
        #[arg(long, default_value = "0")]
        max_notional: String,
    },
    /// Replace the venue's fee schedule 0
    Fees {
        /// The currency that volume is counted in
        #[arg(long, default_value = "USD")]
        volume_asset: String,
        /// Steps as volume:maker:taker with rates in percent, the first from volume 0, for
        /// instance 0:0.40:0.60 10000:0.25:0.40
        #[arg(required = true)]
        tiers: Vec<String>,
    },
    /// Bring money in for a member
    Deposit {
        /// The member
        member: String,
        /// The currency
        asset: String,
        /// How much
        amount: String,
        /// An idempotency key: a second deposit with it is refused
        #[arg(long, default_value = "")]
        reference: String,
    },
    /// Move available money from one member to another
    Transfer {
        /// From whom
        from: String,
        /// To whom
        to: String,
        /// The currency
        asset: String,
        /// How much
        amount: String,
        /// An idempotency key
        #[arg(long, default_value = "")]
        reference: String,
    },
    /// Say what became of a pending withdrawal
    Withdrawal {
        /// complete or cancel
        what: String,
        /// The id that the API shows
        id: String,
    },
    /// Take a snapshot now
    Snapshot,
    /// Add a member if it is new, and an API key for it
    #[command(skip)]
    MemberAdd {
        /// The member's code
        name: String,
        /// view, trade, transfer
        permissions: Vec<String>,
        /// Addresses that may use the key; empty for all
        allow: Vec<everopen_gateway::AddressRange>,
    },
    /// Members and keys
    #[command(skip)]
    MemberList,
    /// Revoke a key
    #[command(skip)]
    KeyRevoke {
        /// The key
        key: String,
    },
    /// How the gateway is reached, once it is ready
    #[command(skip)]
    Endpoints,
    /// What a live summary shows
    #[command(skip)]
    Summary,
}
