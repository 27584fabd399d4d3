//! The gateway's settings. Every queue, cache and wait has its bound here.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::feed::FeedConfig;
use crate::limits::RateLimit;

/// Settings of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How far a request's timestamp may be from the gateway's clock, in seconds.
    pub timestamp_window_s: u32,
    /// Signatures remembered against replay; when full, requests that change something get 503.
    pub replay_signatures_max: u32,
    /// The longest request body.
    pub body_bytes_max: u32,
    /// How long a request's head may take to arrive; also how long a connection may idle.
    pub header_timeout_ms: u32,
    /// How long a request's body may take to arrive.
    pub body_timeout_ms: u32,
    /// How long a request may take once it has arrived; then 504.
    pub request_timeout_ms: u32,

    /// How long a client may leave sent bytes unacknowledged (for instance because it does not
    /// read) before its connection is given up. Linux only.
    pub send_timeout_ms: u32,
    /// How long requests may take to end at shutdown.
    pub drain_timeout_ms: u32,
    /// Connections at once; more are refused with 503.
    pub connections_max: u32,

    /// Connections at once from one address (IPv6: one /64 network); more are refused with 503.
    pub connections_per_address_max: u32,
    /// Requests at once; more are refused with 503.
    pub requests_in_flight_max: u32,
    /// Addresses whose rate is counted; when full, newcomers share one allowance.
    pub addresses_max: u32,
    /// Unsigned requests, and refused signatures, per address.
    pub public_rate: RateLimit,
    /// Signed requests per key.
    pub private_rate: RateLimit,
    /// Requests for fills per key.
    pub fills_rate: RateLimit,
    /// Proxies in front of this gateway. Of their requests the last address in `X-Forwarded-For` counts as
    /// the client's and `Everopen-Connection` as its connection; of nobody else's. They are not bound by
    /// the limit of connections from one address.
    pub proxies: Vec<IpAddr>,
    /// How often the keys' file is looked at for changes.
    pub keys_reload_ms: u32,
    /// Whether members may credit themselves by the deposit routes. Only for demonstrations.
    pub demo_deposits: bool,
    /// Whether withdrawals complete at once instead of waiting for an operator.
    pub demo_withdrawals: bool,
    /// The limits of the WebSocket feed.
    #[serde(skip)]
    pub feed: FeedConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timestamp_window_s: 30,
            replay_signatures_max: 1 << 20,
            body_bytes_max: 64 << 10,
            header_timeout_ms: 30_000,
            body_timeout_ms: 10_000,
            request_timeout_ms: 10_000,
            send_timeout_ms: 30_000,
            drain_timeout_ms: 10_000,
            connections_max: 4_096,
            connections_per_address_max: 1_024,
            requests_in_flight_max: 1_024,
            addresses_max: 65_536,
            public_rate: RateLimit {
                per_second: 10,
                burst: 15,
            },
            private_rate: RateLimit {
                per_second: 15,
                burst: 30,
            },
            fills_rate: RateLimit {
                per_second: 10,
                burst: 20,
            },
            proxies: Vec::new(),
            keys_reload_ms: 1_000,
            demo_deposits: false,
            demo_withdrawals: false,
            feed: FeedConfig::default(),
        }
    }
}

/// A setting is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be from {min} to {max}")]
pub struct ConfigError {
    /// The setting.
    pub name: &'static str,
    /// Its smallest value.
    pub min: u32,
    /// Its largest value.
    pub max: u32,
}

impl Config {
    /// Settings for a demonstration on one machine: money comes and goes by request, and the rates
    /// leave room for programs that try the venue out.
    pub fn demo() -> Self {
        let rate = RateLimit {
            per_second: 20_000,
            burst: 40_000,
        };
        Self {
            public_rate: rate,
            private_rate: rate,
            fills_rate: rate,
            demo_deposits: true,
            demo_withdrawals: true,
            ..Self::default()
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ConfigError`] names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const LONG: u32 = 3_600_000;
        for (name, value, min, max) in [
            ("timestamp_window_s", self.timestamp_window_s, 1, 3_600),
            (
                "replay_signatures_max",
                self.replay_signatures_max,
                1,
                1 << 26,
            ),
            ("body_bytes_max", self.body_bytes_max, 1_024, 16 << 20),
            ("header_timeout_ms", self.header_timeout_ms, 10, LONG),
            ("body_timeout_ms", self.body_timeout_ms, 10, LONG),
            ("request_timeout_ms", self.request_timeout_ms, 10, LONG),
            ("send_timeout_ms", self.send_timeout_ms, 10, LONG),
            ("drain_timeout_ms", self.drain_timeout_ms, 1, LONG),
            ("connections_max", self.connections_max, 1, 1 << 20),
            (
                "connections_per_address_max",
                self.connections_per_address_max,
                1,
                1 << 20,
            ),
            (
                "requests_in_flight_max",
                self.requests_in_flight_max,
                1,
                1 << 20,
            ),
            ("addresses_max", self.addresses_max, 1, 1 << 24),
            ("keys_reload_ms", self.keys_reload_ms, 10, LONG),
        ] {
            if !(min..=max).contains(&value) {
                return Err(ConfigError { name, min, max });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked_by_name() {
        assert_eq!(Config::default().validate(), Ok(()));
        assert_eq!(Config::demo().validate(), Ok(()));
        let config = Config {
            connections_max: 0,
            ..Config::default()
        };
        assert_eq!(config.validate().unwrap_err().name, "connections_max");
    }
}
