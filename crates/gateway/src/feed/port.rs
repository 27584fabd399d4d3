//! What the feed needs from the rest of the gateway.

use core::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use everopen_domain::MemberId;

/// Who a signed subscribe is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The key that signed it.
    pub key: Arc<str>,
    /// The member.
    pub member: MemberId,
    /// Whether the key may see the member's records: `user` and `balance`.
    pub can_view: bool,
    /// Whether the key may trade: needed to ask for cancel on disconnect.
    pub can_trade: bool,
}

/// Why a signed subscribe is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthError {
    /// For the client, for instance `invalid signature`.
    pub message: String,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for AuthError {}

/// Checks the signature of a subscribe: that of `timestamp` + `GET` + `/users/self/verify`.
pub trait Authenticator: Send + Sync + 'static {
    /// Whose `key` it is, if passphrase, time and signature hold. `timestamp` is as the client
    /// wrote it; `address` is where the connection comes from, since a key may be bound to some.
    ///
    /// # Errors
    /// [`AuthError`] with a text for the client.
    fn verify_ws(
        &self,
        key: &str,
        passphrase: &str,
        timestamp: &str,
        signature: &str,
        address: IpAddr,
    ) -> Result<Session, AuthError>;

    /// Whether a session of this key may go on from `address`: a key can be revoked while its
    /// connection is open.
    fn holds(&self, key: &str, address: IpAddr) -> bool;
}

/// Told when a connection has ended whose member had asked for cancel on disconnect.
pub trait DisconnectPort: Send + Sync + 'static {
    /// Submits `CancelOrders` with reason `Disconnected` for all of the member's orders. Must not
    /// block: it is called from the connection's task.
    fn disconnected(&self, member: MemberId);
}
