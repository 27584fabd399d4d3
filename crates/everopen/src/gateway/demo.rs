//! The demo member's key and what the simulated market trades.

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use everopen_domain::{MemberId, Price, Quantity};
use everopen_gateway::{KeyStore, NewKey, Permissions};
use everopen_orderflow::participants::{Config, Market, Participants};
use everopen_views::Views;
use serde_json::{Map, Value};

use super::genesis::{ASSETS, DEMO_MEMBER, INSTRUMENTS, MARKET_MEMBERS};
use crate::config::gateway::Market as Wanted;

/// The label that tells the demo key from others.
const LABEL: &str = "demo";

/// The demo member's key: the one that is there, or a new one.
///
/// # Errors
/// When the key file can't be read or written.
pub fn key(keys: &KeyStore) -> Result<NewKey> {
    let known = keys.list().into_iter().find(|key| {
        key.member == DEMO_MEMBER && key.label == LABEL && key.permissions == Permissions::ALL
    });
    match known {
        Some(key) => Ok(NewKey {
            key: key.id.clone(),
            secret: BASE64_STANDARD.encode(key.secret.expose()),
            passphrase: String::from_utf8(key.passphrase.expose().to_vec())
                .context("the demo key's passphrase is not text")?,
        }),
        None => Ok(keys.create(DEMO_MEMBER, LABEL, Permissions::ALL, Vec::new())?),
    }
}

/// The simulated market's participants, who go on from the last prices.
pub fn participants(wanted: Wanted, views: &Views) -> Participants {
    let markets: Vec<Market> = views
        .products()
        .zip(&INSTRUMENTS)
        .map(|(product, demo)| Market {
            id: product.id,
            instrument: product.instrument,
            base_decimals: product.base.decimals,
            quote_decimals: product.quote.decimals,
            phase: product.phase,
            start_price: views
                .last_price(product.id)
                .map_or(Price(demo.start_price), |(_, price)| price),
            typical_size: Quantity(demo.typical_size),
        })
        .collect();
    let members: Vec<MemberId> = (1..=MARKET_MEMBERS).map(MemberId).collect();
    let config = Config {
        commands_per_second: wanted.rate,
        ..Config::default()
    };
    Participants::new(wanted.seed, &markets, &members, config)
}

/// What the demo member was given when the venue was new.
pub fn funded() -> Map<String, Value> {
    ASSETS
        .iter()
        .map(|asset| {
            (
                asset.code.to_string(),
                Value::String(asset.demo_units.to_string()),
            )
        })
        .collect()
}
