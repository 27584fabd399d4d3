//! How much of the past the views remember.

use core::fmt;

/// The bounds of the views' memory. What is open (orders, accounts, withdrawals on their way) is
/// always kept; these limits are for what is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Recent trades kept per instrument.
    pub trades_per_instrument: u32,
    /// Ended orders kept per member; the one that ended first goes first.
    pub ended_orders_per_member: u32,
    /// Fills kept per member.
    pub fills_per_member: u32,
    /// Ledger entries kept per account.
    pub ledger_entries_per_account: u32,
    /// Deposits, withdrawals and transfers kept per member.
    pub transfers_per_member: u32,
    /// Candles of one minute kept per instrument, counted in candles that saw a trade. The 24-hour
    /// statistics need 1,440 and the 30-day volume 43,200.
    pub minute_candles: u32,
    /// Candles kept per instrument of each larger granularity.
    pub larger_candles: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            trades_per_instrument: 10_000,
            ended_orders_per_member: 10_000,
            fills_per_member: 50_000,
            ledger_entries_per_account: 10_000,
            transfers_per_member: 10_000,
            minute_candles: 43_200,
            larger_candles: 10_000,
        }
    }
}

impl Config {
    /// Checks that every limit lets at least one through.
    ///
    /// # Errors
    /// [`ConfigError`] with the name of the first limit that is zero.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fields = [
            ("trades_per_instrument", self.trades_per_instrument),
            ("ended_orders_per_member", self.ended_orders_per_member),
            ("fills_per_member", self.fills_per_member),
            (
                "ledger_entries_per_account",
                self.ledger_entries_per_account,
            ),
            ("transfers_per_member", self.transfers_per_member),
            ("minute_candles", self.minute_candles),
            ("larger_candles", self.larger_candles),
        ];
        match fields.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(ConfigError { name }),
            None => Ok(()),
        }
    }
}

/// A limit of [`Config`] is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The limit's name.
    pub name: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be at least 1", self.name)
    }
}

impl core::error::Error for ConfigError {}

/// Pushes to the back and drops from the front until `limit` is kept.
pub(crate) fn push_bounded<T>(
    queue: &mut std::collections::VecDeque<T>,
    value: T,
    limit: u32,
) -> u32 {
    queue.push_back(value);
    let mut dropped = 0;
    while queue.len() > limit as usize {
        queue.pop_front();
        dropped += 1;
    }
    dropped
}
