//! The server's side of TLS for clients from outside, in one state of its keys and its trust store.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
};
use rustls::{DistinguishedName, ServerConfig, SupportedProtocolVersion, version};

use super::keys::Keys;
use super::refusal::Refusal;
use super::store::TrustStore;
use super::verifier::{Shown, Verifier};

/// Sessions of TLS 1.2 that are kept for resumption without a ticket.
const SESSIONS_MAX: usize = 10_000;

/// What is asked of clients.
#[derive(Clone, Debug, Default)]
pub enum Clients {
    /// No certificate.
    #[default]
    Off,
    /// A certificate may be shown; one that is shown must be trusted.
    Optional(Arc<TrustStore>),
    /// A trusted certificate must be shown.
    Verify(Arc<TrustStore>),
    /// Any certificate may be shown; it is passed on and **nothing is checked** but that the client has
    /// its key.
    Passthrough,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), with ephemeral keys and authenticated ciphers only.
    V12,
    /// TLS 1.3 (RFC 8446), without early data.
    V13,
}

impl TlsVersion {
    const fn supported(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::V12 => &version::TLS12,
            Self::V13 => &version::TLS13,
        }
    }
}

/// One state of a listener's TLS. Tickets and sessions are its own: whoever comes with one of another
/// door makes a full handshake, and is looked at anew.
pub struct Door {
    keys: Arc<Keys>,
    clients: Clients,
    hints: Arc<[DistinguishedName]>,
    versions: Vec<&'static SupportedProtocolVersion>,
    protocols: Vec<Vec<u8>>,
    ticketer: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
    /// For clients that are asked for nothing: every connection's is the same.
    shared: Option<Arc<ServerConfig>>,
}

/// What is known of one connection's client.
#[derive(Clone, Debug, Default)]
pub struct Seen(Option<Arc<Mutex<Shown>>>);

impl Seen {
    /// The certificates that it showed, its own first; also when they were refused.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.look(|shown| shown.chain.clone()).unwrap_or_default()
    }

    /// Why it was refused, if for its certificate.
    pub fn refusal(&self) -> Option<Refusal> {
        self.look(|shown| shown.refusal).flatten()
    }

    fn look<T>(&self, at: impl FnOnce(&Shown) -> T) -> Option<T> {
        let shown = self.0.as_ref()?;
        Some(at(&shown.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Door {
    /// Makes one. `protocols` are those of ALPN (RFC 7301), the most wanted first; `advertise` names the
    /// store's authorities to clients.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(
        keys: Arc<Keys>,
        clients: Clients,
        advertise: bool,
        versions: &[TlsVersion],
        protocols: &[&[u8]],
    ) -> Result<Self, rustls::Error> {
        let hints = match &clients {
            Clients::Optional(store) | Clients::Verify(store) if advertise => store.hints(),
            _ => Vec::new(),
        };
        let is_off = matches!(clients, Clients::Off);
        let mut door = Self {
            keys,
            clients,
            hints: hints.into(),
            versions: versions.iter().map(|version| version.supported()).collect(),
            protocols: protocols.iter().map(|name| name.to_vec()).collect(),
            ticketer: ring::Ticketer::new()?,
            sessions: match versions.contains(&TlsVersion::V12) {
                true => ServerSessionMemoryCache::new(SESSIONS_MAX),
                false => Arc::new(NoServerSessionStorage {}),
            },
            shared: None,
        };
        door.shared = is_off.then(|| door.config(None));
        Ok(door)
    }

    /// For one connection: what it is served with, and what will be known of its client.
    pub fn open(&self) -> (Arc<ServerConfig>, Seen) {
        if let Some(shared) = &self.shared {
            return (Arc::clone(shared), Seen::default());
        }
        let shown = Arc::<Mutex<Shown>>::default();
        let config = self.config(Some(Arc::clone(&shown)));
        (config, Seen(Some(shown)))
    }

    fn config(&self, shown: Option<Arc<Mutex<Shown>>>) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .expect("invariant: the provider knows both versions");
        let builder = match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => builder.with_client_cert_verifier(Arc::new(Verifier {
                store: self.store().map(Arc::clone),
                is_needed: matches!(self.clients, Clients::Verify(_)),
                hints: Arc::clone(&self.hints),
                algorithms,
                shown,
            })),
        };
        let mut config = builder.with_cert_resolver(Arc::<Keys>::clone(&self.keys));
        config.alpn_protocols.clone_from(&self.protocols);
        config.ticketer = Arc::clone(&self.ticketer);
        config.session_storage = Arc::clone(&self.sessions);
        Arc::new(config)
    }

    /// The store that clients' chains are checked against.
    pub fn store(&self) -> Option<&Arc<TrustStore>> {
        match &self.clients {
            Clients::Optional(store) | Clients::Verify(store) => Some(store),
            Clients::Off | Clients::Passthrough => None,
        }
    }

    /// Whether a client with this chain, none if it showed none, would be let in now. A resumed session
    /// carries the chain of its first handshake, which nobody has looked at since.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        match &self.clients {
            Clients::Off | Clients::Passthrough => Ok(()),
            Clients::Optional(_) if chain.is_empty() => Ok(()),
            Clients::Optional(store) | Clients::Verify(store) => {
                store.verify(chain, UnixTime::now())
            }
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}
