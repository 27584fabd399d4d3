//! TLS on listeners: keys and trust stores that are read again when their files change, and clients that
//! are looked at again when they did.
//!
//! Each listener has a [`Door`], the state of its keys and of its trust store. A change makes a new one:
//! new connections meet it, sessions of the old one are not resumed, and every open connection with a
//! client certificate is checked against it and cut if it does not hold any more.

mod accept;
mod guard;
mod log;
mod stamps;
mod stores;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use everopen_identity::clients::{self, Door, KeyFiles, Keys};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::config::{self, ClientMode, Config, Listener, Protocol, TlsVersion};

pub(crate) use accept::welcome;
use log::ConnectionLog;
pub(crate) use log::now_ms;
use stamps::Stamps;
pub use stores::StoreStatus;
use stores::{Store, Version};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// A door, and which version of which store it was made of.
#[derive(Debug)]
pub(crate) struct Hung {
    pub door: Door,
    pub store: Option<(String, u64)>,
}

/// One listener's TLS.
#[derive(Debug)]
pub(crate) struct ListenerTls {
    listener: Listener,
    store: Option<Arc<Store>>,
    /// The keys that were read last, and what their files were then.
    keys: Mutex<(Arc<Keys>, Stamps)>,
    door: watch::Sender<Arc<Hung>>,
}

impl ListenerTls {
    pub fn doors(&self) -> watch::Receiver<Arc<Hung>> {
        self.door.subscribe()
    }

    pub fn is_passed_through(&self) -> bool {
        self.clients() == ClientMode::Passthrough
    }

    fn clients(&self) -> ClientMode {
        let tls = self.listener.tls.as_ref();
        tls.map_or(ClientMode::Off, |tls| tls.clients.mode)
    }
}

/// The TLS of all listeners of an edge.
#[derive(Debug)]
pub(crate) struct Tls {
    stores: BTreeMap<String, Arc<Store>>,
    listeners: BTreeMap<String, Arc<ListenerTls>>,
    pub log: ConnectionLog,
    /// One reading of all files at a time.
    reading: Mutex<()>,
    /// What was wrong with files in the last reading, by what they are for.
    wrong: Mutex<BTreeMap<String, String>>,
}

/// What operators are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsStatus {
    /// The trust stores.
    pub stores: BTreeMap<String, StoreStatus>,
    /// What is wrong with files since their last change, by store or listener. What was read before is
    /// in force.
    pub wrong: BTreeMap<String, String>,
    /// Lines of the connection log that were lost since the edge's start, because it could not be written
    /// fast enough or at all.
    pub log_lost: u64,
}

fn read_keys(tls: &config::Tls) -> Result<Arc<Keys>, String> {
    let files: Vec<KeyFiles> = tls
        .certificates
        .iter()
        .map(|certificate| KeyFiles {
            chain: certificate.chain.clone(),
            key: certificate.key.clone(),
        })
        .collect();
    Keys::load(&files).map_err(|error| {
        let cause = std::error::Error::source(&error);
        cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
    })
}

fn hang(
    listener: &Listener,
    keys: Arc<Keys>,
    version: Option<(&str, &Version)>,
) -> Result<Hung, String> {
    let tls = listener.tls.as_ref().expect("invariant: it has TLS");
    let store = version.map(|(_, version)| Arc::clone(&version.store));
    let clients = match (tls.clients.mode, store) {
        (ClientMode::Optional, Some(store)) => clients::Clients::Optional(store),
        (ClientMode::Verify, Some(store)) => clients::Clients::Verify(store),
        (ClientMode::Passthrough, _) => clients::Clients::Passthrough,
        (ClientMode::Off, _) => clients::Clients::Off,
        (ClientMode::Optional | ClientMode::Verify, None) => {
            unreachable!("invariant: the configuration was checked")
        }
    };
    let versions: Vec<_> = tls
        .versions
        .iter()
        .map(|version| match version {
            TlsVersion::V12 => clients::TlsVersion::V12,
            TlsVersion::V13 => clients::TlsVersion::V13,
        })
        .collect();
    let protocols: &[&[u8]] = match (listener.protocol, listener.http2) {
        (Protocol::Tcp, _) => &[],
        (Protocol::Http, Some(false)) => &[b"http/1.1"],
        (Protocol::Http, _) => &[b"h2", b"http/1.1"],
    };
    let door = Door::new(keys, clients, tls.clients.advertise, &versions, protocols);
    Ok(Hung {
        door: door.map_err(|error| error.to_string())?,
        store: version.map(|(name, version)| (name.to_string(), version.number)),
    })
}

impl Tls {
    /// Reads all files of a configuration. Versions of stores are kept in `folder`.
    ///
    /// # Errors
    /// Names the listener or the store, the file, and what is wrong with it.
    pub fn new(config: &Config, folder: &Path) -> Result<Self, (String, String)> {
        let mut stores = BTreeMap::new();
        for (name, trust) in &config.stores {
            let store = Store::open(trust.clone(), &folder.join(name));
            let store = store.map_err(|what| (format!("trust.{name}"), what))?;
            stores.insert(name.clone(), Arc::new(store));
        }
        let mut listeners = BTreeMap::new();
        for listener in &config.listeners {
            let Some(tls) = &listener.tls else { continue };
            let named = tls.clients.trust.as_ref();
            let store = named.map(|name| (name, Arc::clone(&stores[name])));
            let wrong = |what| (format!("listener {:?}: tls", listener.name), what);
            let stamps = Stamps::of_keys(tls);
            let keys = read_keys(tls).map_err(wrong)?;
            let version = store.as_ref().map(|(name, store)| (*name, store.current()));
            let version = version.as_ref();
            let version = version.map(|(name, version)| (name.as_str(), &**version));
            let hung = hang(listener, Arc::clone(&keys), version).map_err(wrong)?;
            let made = ListenerTls {
                listener: listener.clone(),
                store: store.map(|(_, store)| store),
                keys: Mutex::new((keys, stamps)),
                door: watch::Sender::new(Arc::new(hung)),
            };
            listeners.insert(listener.name.clone(), Arc::new(made));
        }
        let log = ConnectionLog::open(config.connection_log.as_deref())
            .map_err(|error| ("connection_log".to_string(), error.to_string()))?;
        Ok(Self {
            stores,
            listeners,
            log,
            reading: Mutex::new(()),
            wrong: Mutex::default(),
        })
    }

    pub fn listener(&self, name: &str) -> Option<&Arc<ListenerTls>> {
        self.listeners.get(name)
    }

    fn wrong(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what has changed, or everything if `all`; what can't be read stays as it was. What is wrong,
    /// by store or listener.
    pub fn reload(&self, all: bool) -> BTreeMap<String, String> {
        let _one = self.reading.lock();
        for (name, store) in &self.stores {
            let place = format!("trust.{name}");
            match store.reload(all) {
                Ok(None) => {}
                Ok(Some(version)) => {
                    self.wrong().remove(&place);
                    tracing::info!(store = name, version, "the trust store has changed");
                }
                Err(what) => self.complain(place, what),
            }
        }
        for (name, tls) in &self.listeners {
            let place = format!("listener {name:?}: tls");
            let settings = tls.listener.tls.as_ref().expect("invariant: it has TLS");
            let now = Stamps::of_keys(settings);
            let mut keys = tls.keys.lock().unwrap_or_else(PoisonError::into_inner);
            let version = tls.store.as_ref().map(|store| store.current());
            let hung = tls.door.borrow().store.as_ref().map(|(_, number)| *number);
            let has_new_store = hung != version.as_ref().map(|version| version.number);
            let mut has_new_keys = false;
            if all || keys.1 != now {
                keys.1 = now;
                match read_keys(settings) {
                    Ok(read) => {
                        keys.0 = read;
                        has_new_keys = true;
                        self.wrong().remove(&place);
                    }
                    // The store's change is not to wait for the keys.
                    Err(what) => self.complain(place.clone(), what),
                }
            }
            if !has_new_keys && !has_new_store {
                continue;
            }
            let named = settings.clients.trust.as_deref();
            let version = named.zip(version.as_deref());
            match hang(&tls.listener, Arc::clone(&keys.0), version) {
                Ok(hung) => {
                    tls.door.send_replace(Arc::new(hung));
                    tracing::info!(
                        listener = name,
                        has_new_keys,
                        "new TLS connections meet new settings"
                    );
                }
                Err(what) => self.complain(place, what),
            }
        }
        self.wrong().clone()
    }

    fn complain(&self, place: String, what: String) {
        tracing::error!(place, what, "what was read before stays in force");
        self.wrong().insert(place, what);
    }

    /// Goes back to an earlier version of a store, or with none follows its files again.
    pub fn choose(&self, name: &str, version: Option<u64>) -> Result<u64, ChoiceError> {
        let store = self.stores.get(name).ok_or(ChoiceError::Unknown)?;
        let chosen = {
            let _one = self.reading.lock();
            store.choose(version).map_err(ChoiceError::Store)?
        };
        tracing::info!(
            store = name,
            version = chosen,
            "the trust store's version was chosen"
        );
        self.reload(false);
        Ok(chosen)
    }

    pub fn status(&self) -> TlsStatus {
        let stores = self.stores.iter();
        TlsStatus {
            stores: stores
                .map(|(name, store)| (name.clone(), store.status()))
                .collect(),
            wrong: self.wrong().clone(),
            log_lost: self.log.lost(),
        }
    }

    fn has_files(&self) -> bool {
        !self.listeners.is_empty() || !self.stores.is_empty()
    }
}

/// Why a version can't be chosen.
#[derive(Debug)]
pub(crate) enum ChoiceError {
    /// No such store.
    Unknown,
    /// The store says why.
    Store(String),
}

/// Looks after the files for as long as the edge has connections: also while it drains.
pub(crate) async fn look_after(tls: Arc<Tls>) {
    if !tls.has_files() {
        return;
    }
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let tls = Arc::clone(&tls);
        let _ = tokio::task::spawn_blocking(move || tls.reload(false)).await;
    }
}

impl From<ChoiceError> for io::Error {
    fn from(error: ChoiceError) -> Self {
        match error {
            ChoiceError::Unknown => Self::other("there is no such trust store"),
            ChoiceError::Store(what) => Self::other(what),
        }
    }
}
