//! The operators' socket: HTTP with JSON on a unix socket that only the edge's own user may open.
//!
//! | Request | What it does |
//! |---|---|
//! | `GET /status` | every service: weights, targets, what is under way, counts and latencies |
//! | `PUT /services/{service}/weights` | `{"blue": 90, "green": 10}`: all at once |
//! | `PUT /services/{service}/groups/{group}/targets` | `["127.0.0.1:9001"]` |
//! | `POST /services/{service}/groups/{group}/drain` | `{"ms": 30000}`: waits; answers `{"left": 0}` |
//! | `POST /services/{service}/groups/{group}/empty` | no weight and no targets, even if nobody is left |
//! | `POST /services/{service}/hold` | `{"ms": 500}`: new requests wait, at most so long |
//! | `POST /services/{service}/resume` | they are served |
//! | `PUT /services/{service}/shadow` | what [`Shadowing`] says: requests are put to another group as well |
//! | `DELETE /services/{service}/shadow` | they no longer are |
//! | `POST /tls/reload` | keys and trust stores are read again, changed or not |
//! | `PUT /trust/{store}/version` | `{"version": 3}` goes back to that; `{"version": null}` follows the files |
//!
//! Weights and targets are kept in a file beside the socket: an edge that was killed goes on with them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use crate::server::{Shared, Stopped, told};
use crate::shadow::Shadowing;
use crate::socket;
use crate::table::{ServiceStatus, Table};
use crate::tls::TlsStatus;

/// Bytes of a request's body at most.
const BODY_MAX: usize = 1 << 20;

/// Binds a unix socket in the place of one that nobody answers any more, or whose edge hands over.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // The new one is in its place at once: there is no moment without a socket.
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let _ = fs::remove_file(&fresh);
    let listener = socket::within(&fresh, |fresh| UnixListener::bind(fresh))?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    fs::rename(&fresh, path)?;
    Ok(listener)
}

/// Weights and targets as they are kept.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept(BTreeMap<String, BTreeMap<String, KeptGroup>>);

#[derive(Debug, Serialize, Deserialize)]
struct KeptGroup {
    weight: u32,
    targets: Vec<SocketAddr>,
}

/// Gives a table the weights and targets of the last run, for the groups that there still are.
pub(crate) fn restore(table: &Table, path: &Path) -> Result<(), String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let Kept(services) = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    for (service, groups) in services {
        let known: BTreeMap<&String, &KeptGroup> = groups
            .iter()
            .filter(|(group, _)| table.group(&service, group).is_ok())
            .collect();
        // Both before either is looked at: a group may have a weight by the one and targets by the other.
        for (group, kept) in &known {
            if !kept.targets.is_empty() {
                table
                    .set_targets(&service, group, &kept.targets)
                    .map_err(|e| e.to_string())?;
            }
        }
        let weights = known
            .iter()
            .map(|(group, kept)| ((*group).clone(), kept.weight))
            .collect();
        if !known.is_empty() {
            table
                .set_weights(&service, &weights)
                .map_err(|e| e.to_string())?;
        }
        for (group, kept) in &known {
            table
                .set_targets(&service, group, &kept.targets)
                .map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn keep(table: &Table, path: &Path) -> io::Result<()> {
    let services = table.status().into_iter().map(|(service, status)| {
        let groups = status.groups.into_iter().map(|(group, status)| {
            let kept = KeptGroup {
                weight: status.weight,
                targets: status.targets,
            };
            (group, kept)
        });
        (service, groups.collect())
    });
    let text = serde_json::to_vec_pretty(&Kept(services.collect()))?;
    let fresh = path.with_extension("new");
    let mut file = fs::File::create(&fresh)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

/// Answers operators until the edge stops.
pub(crate) async fn serve(socket: UnixListener, shared: Arc<Shared>, mut stopped: Stopped) {
    let mut operators = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = told(&mut stopped) => break,
            Some(_) = operators.join_next() => continue,
            accepted = socket.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let shared = Arc::clone(&shared);
        operators.spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&shared), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.await;
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, value) = match act(&shared, request).await {
        Ok(value) => (StatusCode::OK, value),
        Err((status, message)) => (status, json!({ "message": message })),
    };
    let mut response = Response::new(Full::from(value.to_string()));
    *response.status_mut() = status;
    Ok(response)
}

type Refusal = (StatusCode, String);

async fn act(shared: &Shared, request: Request<Incoming>) -> Result<Value, Refusal> {
    let method = request.method().clone();
    let path = request.uri().path().to_string();
    let body = Limited::new(request.into_body(), BODY_MAX).collect().await;
    let body = body
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?
        .to_bytes();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let table = &shared.table;
    let refused = |error: crate::TableError| (StatusCode::CONFLICT, error.to_string());
    match (&method, parts.as_slice()) {
        (&Method::GET, ["status"]) => {
            let status = Status {
                pid: std::process::id(),
                services: table.status(),
                tls: shared.tls.status(),
            };
            Ok(json!(status))
        }
        (&Method::PUT, ["services", service, "weights"]) => {
            let weights: BTreeMap<String, u32> = read(&body)?;
            let _one = shared.keeping.lock().await;
            table.set_weights(service, &weights).map_err(refused)?;
            tracing::info!(service, ?weights, "weights");
            keep_all(shared)
        }
        (&Method::PUT, ["services", service, "groups", group, "targets"]) => {
            let targets: Vec<SocketAddr> = read(&body)?;
            let _one = shared.keeping.lock().await;
            table
                .set_targets(service, group, &targets)
                .map_err(refused)?;
            tracing::info!(service, group, ?targets, "targets");
            keep_all(shared)
        }
        (&Method::POST, ["services", service, "groups", group, "empty"]) => {
            let _one = shared.keeping.lock().await;
            table.empty(service, group).map_err(refused)?;
            tracing::info!(service, group, "is empty");
            keep_all(shared)
        }
        (&Method::POST, ["services", service, "groups", group, "drain"]) => {
            let Span { ms } = read(&body)?;
            let drained = table.drain(service, group, Duration::from_millis(ms)).await;
            Ok(json!({ "left": drained.map_err(refused)? }))
        }
        (&Method::POST, ["services", service, "hold"]) => {
            let Span { ms } = read(&body)?;
            table
                .hold(service, Duration::from_millis(ms))
                .map_err(refused)?;
            Ok(json!({}))
        }
        (&Method::POST, ["services", service, "resume"]) => {
            table.resume(service).map_err(refused)?;
            Ok(json!({}))
        }
        (&Method::PUT, ["services", service, "shadow"]) => {
            let shadowing: Shadowing = read(&body)?;
            tracing::info!(service, ?shadowing, "shadow");
            table.shadow(service, Some(shadowing)).map_err(refused)?;
            Ok(json!({}))
        }
        (&Method::DELETE, ["services", service, "shadow"]) => {
            tracing::info!(service, "no shadow");
            table.shadow(service, None).map_err(refused)?;
            Ok(json!({}))
        }
        (&Method::POST, ["tls", "reload"]) => {
            let tls = Arc::clone(&shared.tls);
            let wrong = blocking(move || tls.reload(true)).await?;
            match wrong.is_empty() {
                true => Ok(json!({})),
                false => {
                    let all = wrong.iter().map(|(place, what)| format!("{place}: {what}"));
                    Err((StatusCode::CONFLICT, all.collect::<Vec<_>>().join("; ")))
                }
            }
        }
        (&Method::PUT, ["trust", store, "version"]) => {
            let Choice { version } = read(&body)?;
            let (tls, store) = (Arc::clone(&shared.tls), (*store).to_string());
            let chosen = blocking(move || tls.choose(&store, version)).await?;
            let refused = |error: io::Error| (StatusCode::CONFLICT, error.to_string());
            let chosen = chosen.map_err(|error| refused(error.into()))?;
            Ok(json!({ "version": chosen }))
        }
        _ => Err((
            StatusCode::NOT_FOUND,
            format!("there is no {method} {path}"),
        )),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    version: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Span {
    ms: u64,
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

fn keep_all(shared: &Shared) -> Result<Value, Refusal> {
    match keep(&shared.table, &shared.kept) {
        Ok(()) => Ok(json!({})),
        Err(error) => Err((
            StatusCode::INSUFFICIENT_STORAGE,
            format!(
                "it is in force, but can't be kept in {}: {error}",
                shared.kept.display()
            ),
        )),
    }
}

/// What an edge says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// Its services.
    pub services: BTreeMap<String, ServiceStatus>,
    /// Its trust stores and what is wrong with files of TLS.
    #[serde(default)]
    pub tls: TlsStatus,
}

/// An operator's side of the socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// For the edge with that admin socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// Makes one request. `patience` is for the whole of it.
    ///
    /// # Errors
    /// When the edge can't be reached, or its refusal in words.
    pub fn call(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        patience: Duration,
    ) -> io::Result<Value> {
        let mut stream = socket::within(&self.socket, |socket| StdStream::connect(socket))?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: edge\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or_else(|| io::Error::other("the edge broke off"))?;
        let value: Value = serde_json::from_str(body)?;
        if head.split(' ').nth(1) == Some("200") {
            return Ok(value);
        }
        let message = value["message"].as_str().unwrap_or("refused");
        Err(io::Error::other(message.to_string()))
    }

    /// The edge's status.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn status(&self) -> io::Result<Status> {
        let value = self.call("GET", "/status", &Value::Null, Duration::from_secs(5))?;
        Ok(serde_json::from_value(value)?)
    }
}
