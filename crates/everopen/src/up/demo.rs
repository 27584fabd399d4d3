//! The demo member's key and what the simulated market trades.

use anyhow::Result;
use everopen_domain::{InstrumentId, MemberId, Price};
use everopen_gateway::{KeyStore, NewKey, Permissions};
use everopen_orderflow::participants;
use everopen_views::decimal::Decimal;
use serde_json::{Map, Value};

use super::genesis::{ASSETS, DEMO_MEMBER, INSTRUMENTS};
use crate::cli;

/// The label that tells the demo key from others.
const LABEL: &str = "demo";

/// The demo member's key: the one that is there, or a new one.
///
/// # Errors
/// When the key file can't be read or written.
pub fn key(keys: &KeyStore) -> Result<NewKey> {
    let known = keys
        .list()
        .into_iter()
        .find(|key| key.member == DEMO_MEMBER && key.label == LABEL && !key.revoked)
        .and_then(|key| keys.reveal(&key.key));
    match known {
        Some(key) => Ok(key),
        None => Ok(keys.create(DEMO_MEMBER, LABEL, Permissions::ALL, Vec::new())?),
    }
}

/// What the demo member was given when the venue was new.
pub fn funded() -> Map<String, Value> {
    ASSETS
        .iter()
        .map(|asset| (asset.code.to_string(), Value::String(asset.demo_units.to_string())))
        .collect()
}
