//! Signed requests: who asks, proven against the raw bytes that came, before anything is parsed.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use everopen_domain::Timestamp;
use everopen_views::decimal;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::errors::ApiError;
use crate::feed::{AuthError, Session};
use crate::gateway::Clock;
use crate::keys::{ApiKey, KeyStore, Permission};
use crate::replay::{ReplayGuard, Seen, User};

/// What a signed request says about itself: `CB-ACCESS-*` headers, or the fields of a WebSocket
/// subscription.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The key.
    pub key: &'a str,
    /// The signature in base64.
    pub signature: &'a str,
    /// Seconds since 1970, whole or fractional, exactly as they were signed.
    pub timestamp: &'a str,
    /// The passphrase.
    pub passphrase: &'a str,
}

/// What was signed, besides the timestamp.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    /// The method in upper case.
    pub method: &'a str,
    /// The request target as it was sent, query included.
    pub target: &'a str,
    /// The body as it was sent.
    pub body: &'a [u8],
}

/// From where a request came.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The address at the other end of the connection.
    pub address: IpAddr,
    /// The connection's number, unique in this process.
    pub connection: u64,
}

/// Checks signed requests.
#[derive(Debug)]
pub struct Authenticator {
    keys: Arc<KeyStore>,
    replay: ReplayGuard,
    window_s: u32,
}

/// Said to a request whose signature was used before on another connection.
pub const REPLAYED: &str =
    "request replayed: this signature was used before; send a client_oid to tell orders apart";

impl Authenticator {
    /// Checks against `keys`; a timestamp may differ by `window_s` from the clock, and
    /// `replay_capacity` signatures are remembered.
    pub fn new(keys: Arc<KeyStore>, window_s: u32, replay_capacity: usize) -> Self {
        let replay = ReplayGuard::new(u64::from(window_s), replay_capacity);
        Self {
            keys,
            replay,
            window_s,
        }
    }

    /// Who sent a request that reads.
    ///
    /// # Errors
    /// [`ApiError`] of status 401, with the texts that clients know.
    pub fn check(
        &self,
        credentials: Credentials<'_>,
        signed: Signed<'_>,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Arc<ApiKey>, ApiError> {
        self.verify(credentials, signed, origin, now)
            .map(|(key, _, _)| key)
    }

    /// Who sent a request that changes something; each such signature works once, or on one
    /// connection.
    ///
    /// # Errors
    /// [`ApiError`]: also `request replayed`, or 503 when too many signatures are remembered.
    pub fn check_once(
        &self,
        credentials: Credentials<'_>,
        signed: Signed<'_>,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Arc<ApiKey>, ApiError> {
        let (key, signature, stamped) = self.verify(credentials, signed, origin, now)?;
        let now_s = now.0 / Timestamp::NANOS_PER_SECOND;
        let stamped_s = stamped / Timestamp::NANOS_PER_SECOND;
        // Two honest requests only sign alike when the timestamp is too coarse to tell them apart.
        let may_repeat = stamped.is_multiple_of(Timestamp::NANOS_PER_SECOND);
        let user = User {
            connection: origin.connection,
            member: key.member,
            may_repeat,
        };
        match self.replay.check(&signature, stamped_s, user, now_s) {
            Seen::Fresh => Ok(key),
            Seen::Replayed => Err(ApiError::unauthorized(REPLAYED)),
            Seen::Full => Err(ApiError::busy(1)),
        }
    }

    fn verify(
        &self,
        credentials: Credentials<'_>,
        signed: Signed<'_>,
        origin: Origin,
        now: Timestamp,
    ) -> Result<(Arc<ApiKey>, [u8; 32], u64), ApiError> {
        let key = self
            .keys
            .find(credentials.key)
            .ok_or(ApiError::unauthorized("Invalid API Key"))?;
        let stamped = stamp(credentials.timestamp)
            .filter(|stamped| {
                let window = u64::from(self.window_s) * Timestamp::NANOS_PER_SECOND;
                stamped.abs_diff(now.0) <= window
            })
            .ok_or(ApiError::unauthorized("request timestamp expired"))?;
        let signature = signature(key.secret.expose(), credentials.timestamp, signed);
        let given = STANDARD.decode(credentials.signature).unwrap_or_default();
        let signature_fits = given.as_slice().ct_eq(&signature);
        // Hashes, so that the comparison takes the same time whatever the lengths.
        let passphrase_fits = Sha256::digest(credentials.passphrase.as_bytes())
            .ct_eq(&Sha256::digest(key.passphrase.expose()));
        if !bool::from(signature_fits) {
            return Err(ApiError::unauthorized("invalid signature"));
        }
        if !bool::from(passphrase_fits) {
            return Err(ApiError::unauthorized("Invalid Passphrase"));
        }
        if !key.allows_address(origin.address) {
            return Err(ApiError::forbidden(
                "Forbidden: this key may not be used from this address",
            ));
        }
        Ok((key, signature, stamped))
    }
}

/// Checks the signed subscribes of the WebSocket feed, which sign a fixed request.
pub struct FeedAuthenticator {
    keys: Authenticator,
    clock: Clock,
}

impl FeedAuthenticator {
    /// Checks against `keys` as [`Authenticator`] does.
    pub fn new(keys: Arc<KeyStore>, window_s: u32, clock: Clock) -> Self {
        // A subscribe changes nothing, so no signature is remembered.
        let keys = Authenticator::new(keys, window_s, 0);
        Self { keys, clock }
    }
}

impl crate::feed::Authenticator for FeedAuthenticator {
    fn verify_ws(
        &self,
        key: &str,
        passphrase: &str,
        timestamp: &str,
        signature: &str,
        address: IpAddr,
    ) -> Result<Session, AuthError> {
        let credentials = Credentials {
            key,
            signature,
            timestamp,
            passphrase,
        };
        let signed = Signed {
            method: "GET",
            target: "/users/self/verify",
            body: b"",
        };
        let origin = Origin {
            address,
            connection: 0,
        };
        let key = self.keys.check(credentials, signed, origin, (self.clock)());
        let key = key.map_err(|error| AuthError {
            message: error.message.into_owned(),
        })?;
        Ok(Session {
            key: key.id.as_str().into(),
            member: key.member,
            can_view: key.permissions.view,
            can_trade: key.permissions.trade,
        })
    }

    fn holds(&self, key: &str, address: IpAddr) -> bool {
        let key = self.keys.keys.find(key);
        key.is_some_and(|key| key.allows_address(address))
    }
}

/// Refuses what the key may not do.
///
/// # Errors
/// [`ApiError`] of status 403.
pub fn permit(key: &ApiKey, permission: Permission) -> Result<(), ApiError> {
    if key.permissions.allows(permission) {
        return Ok(());
    }
    Err(ApiError::forbidden(match permission {
        Permission::View => "Forbidden: this key lacks the view permission",
        Permission::Trade => "Forbidden: this key lacks the trade permission",
        Permission::Transfer => "Forbidden: this key lacks the transfer permission",
    }))
}

/// Nanoseconds since 1970 of a timestamp in seconds.
fn stamp(text: &str) -> Option<u64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    (plain && text.len() <= 32).then(|| decimal::parse(text, 9).ok())?
}

/// HMAC-SHA256 of timestamp, method, target and body.
fn signature(secret: &[u8], timestamp: &str, signed: Signed<'_>) -> [u8; 32] {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret).expect("invariant: a key of any length is fine");
    mac.update(timestamp.as_bytes());
    mac.update(signed.method.as_bytes());
    mac.update(signed.target.as_bytes());
    mac.update(signed.body);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Permissions;
    use everopen_domain::MemberId;

    fn request<'a>(method: &'a str, target: &'a str, body: &'a str) -> Signed<'a> {
        Signed {
            method,
            target,
            body: body.as_bytes(),
        }
    }

    /// Made by ccxt 4.5.90 on the wire.
    #[test]
    fn signatures_are_those_of_existing_clients() {
        let secret = [b'x'; 32];
        for (timestamp, signed, expected) in [
            (
                "1795451063",
                request("GET", "/accounts", ""),
                "DGNMrDFGL9ghdz7XZJS1/4H1MOS5GmMvDO5Cl2x4+s8=",
            ),
            (
                "1795451064",
                request("GET", "/orders?product_id=BTC-USD&limit=10", ""),
                "mSEebuDNfQbAXLtzSj7nyjkdheYPYCBYTHpAo30NMsw=",
            ),
            (
                "1795451064",
                request("DELETE", "/orders/d0c5340b", "{\"product_id\":\"BTC/USD\"}"),
                "3iHWN7iP+HSOTcD7z57HpFDz8dXdzp0/nb9ueWWDWCI=",
            ),
            (
                "1795451067",
                request("GET", "/users/self/verify", ""),
                "Qh8jkyNzr5ABCfwwxPcV40yaPz8msGnKP7u2toZnj0M=",
            ),
        ] {
            assert_eq!(
                STANDARD.encode(signature(&secret, timestamp, signed)),
                expected
            );
        }
    }

    #[test]
    fn each_thing_that_is_wrong_has_its_own_message() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(KeyStore::open(dir.path()).unwrap());
        let member = MemberId(3);
        let new = store.create(member, "", Permissions::ALL, vec![]).unwrap();
        let allow = vec!["192.0.2.0/24".parse().unwrap()];
        let fenced = store.create(member, "", Permissions::ALL, allow).unwrap();
        let auth = Authenticator::new(store, 30, 100);
        let now = Timestamp(1_795_451_063_500_000_000);
        let origin = |connection| Origin {
            address: [127, 0, 0, 1].into(),
            connection,
        };
        let signed = request("POST", "/orders", "{}");
        let sign = |secret: &str, timestamp| {
            STANDARD.encode(signature(
                &STANDARD.decode(secret).unwrap(),
                timestamp,
                signed,
            ))
        };
        let good = sign(&new.secret, "1795451063");
        let credentials = Credentials {
            key: &new.key,
            signature: &good,
            timestamp: "1795451063",
            passphrase: &new.passphrase,
        };
        let ask = |credentials: Credentials<'_>, signed: Signed<'_>| {
            auth.check(credentials, signed, origin(1), now)
                .map(|key| key.member)
                .map_err(|error| error.message.into_owned())
        };
        assert_eq!(ask(credentials, signed), Ok(member));
        let fractional = sign(&new.secret, "1795451040.25");
        let fractional = Credentials {
            timestamp: "1795451040.25",
            signature: &fractional,
            ..credentials
        };
        assert_eq!(ask(fractional, signed), Ok(member));

        let refused = |message: &str| Err(message.to_owned());
        let unknown = Credentials {
            key: "nobody",
            ..credentials
        };
        assert_eq!(ask(unknown, signed), refused("Invalid API Key"));
        let passphrase = Credentials {
            passphrase: "guess",
            ..credentials
        };
        assert_eq!(ask(passphrase, signed), refused("Invalid Passphrase"));
        for (method, target, body) in [
            ("PUT", "/orders", "{}"),
            ("POST", "/orders?x", "{}"),
            ("POST", "/orders", "{ }"),
        ] {
            let other = request(method, target, body);
            assert_eq!(ask(credentials, other), refused("invalid signature"));
        }
        for broken in ["", "?", &good[1..]] {
            let broken = Credentials {
                signature: broken,
                ..credentials
            };
            assert_eq!(ask(broken, signed), refused("invalid signature"));
        }
        for old in [
            "1795451033",
            "1795451094",
            "",
            "now",
            "-1795451063",
            "1e9",
            "NaN",
        ] {
            let signature = sign(&new.secret, old);
            let old = Credentials {
                key: &new.key,
                passphrase: &new.passphrase,
                timestamp: old,
                signature: &signature,
            };
            assert_eq!(ask(old, signed), refused("request timestamp expired"));
        }
        let signature = sign(&fenced.secret, "1795451063");
        let fenced = Credentials {
            key: &fenced.key,
            signature: &signature,
            passphrase: &fenced.passphrase,
            ..credentials
        };
        assert!(ask(fenced, signed).unwrap_err().starts_with("Forbidden"));

        let once = |connection| auth.check_once(credentials, signed, origin(connection), now);
        assert!(once(1).is_ok() && once(1).is_ok());
        assert_eq!(once(2).unwrap_err().message, REPLAYED);
    }
}
