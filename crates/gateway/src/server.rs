//! The listener: connections, their bounds, and an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, WebSocketUpgrade};
use axum::http::header::UPGRADE;
use axum::http::{HeaderMap, Request};
use axum::routing::MethodRouter;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::auth::Origin;
use crate::dispatch::Connection;
use crate::errors::ApiError;
use crate::feed::serve_socket;
use crate::gateway::Gateway;
use crate::metrics::Counted;
use crate::routes::{self, Route};
use crate::slots::{Slot, Slots};

/// The longest head of a request, and how many header lines it may have.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;

/// All routes, ready to be served. Requests must come through [`serve`], which says from where.
pub fn router(gateway: &Arc<Gateway>) -> Router {
    let mut router = Router::new();
    for route in routes::all() {
        router = match route.path {
            "/" => router.route("/", root(gateway, route)),
            path => router.route(path, route.method_router(gateway)),
        };
    }

    let (missing, wrong) = (gateway.clone(), gateway.clone());
    router
        .fallback(move || async move {
            let error = ApiError::new(axum::http::StatusCode::NOT_FOUND, "Route not found");
            crate::dispatch::refuse(&missing, error)
        })
        .method_not_allowed_fallback(move || async move {
            let status = axum::http::StatusCode::METHOD_NOT_ALLOWED;
            crate::dispatch::refuse(&wrong, ApiError::new(status, "Method not allowed"))
        })
}

/// The root path: the feed for those who ask for a WebSocket, the usual answer for others.
fn root(gateway: &Arc<Gateway>, route: &'static Route) -> MethodRouter {
    let gateway = gateway.clone();
    axum::routing::get(move |request: Request<Body>| async move {
        let upgrade = request.headers().get(UPGRADE);
        let is_websocket =
            upgrade.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
        if !is_websocket {
            return crate::dispatch::dispatch(gateway, route, request).await;
        }
        let Connection(origin) = *request
            .extensions()
            .get::<Connection>()
            .expect("invariant: the server names the connection");
        if let Err(error) = crate::dispatch::limit_upgrade(&gateway, origin) {
            return crate::dispatch::refuse(&gateway, error);
        }
        let (mut parts, _) = request.into_parts();
        let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await else {
            return crate::dispatch::refuse(&gateway, ApiError::bad("not a WebSocket handshake"));
        };
        let (feed, bytes) = (
            gateway.feed.clone(),
            gateway.feed.config().inbound_bytes_max,
        );
        upgrade
            .max_message_size(bytes)
            .max_frame_size(bytes)
            .on_upgrade(move |socket| serve_socket(socket, feed, origin.address))
    })
}

/// Serves until `shutdown` ends; then takes no more connections, lets the requests in progress
/// end, and cuts off what has not ended after the drain time.
///
/// # Errors
/// Only when the listener itself fails in a way that waiting does not cure.
pub async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let router = router(&gateway);
    let slots = Slots::new(
        gateway.config.connections_max,
        gateway.config.connections_per_address_max,
    );
    let (stop, stopped) = watch::channel(false);
    let reload = tokio::spawn(reload_keys(gateway.clone(), stopped.clone()));
    let timers = tokio::spawn(gateway.feed.clone().run_timers());
    let mut connections = JoinSet::new();

    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_peer(&error) => continue,
            Err(error) => {
                // Out of descriptors, most likely: others must end before more can begin.
                tracing::error!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let is_proxy = gateway.config.proxies.contains(&address.ip());
        let slot = match is_proxy {
            true => slots.take_for_proxy(),
            false => slots.take(address.ip()),
        };
        match slot {
            Some(slot) => {
                let task = serve_connection(
                    gateway.clone(),
                    router.clone(),
                    stream,
                    address,
                    slot,
                    stopped.clone(),
                );
                connections.spawn(task);
            }
            None => turn_away(&gateway, &stream),
        }
    }
    drop(listener);
    let _ = stop.send(true);
    gateway.feed.shutdown();
    let drained = async {
        while connections.join_next().await.is_some() {}
        // Upgraded connections and their cancels are on their own.
        let mut poll = tokio::time::interval(Duration::from_millis(5));
        while gateway.feed.metrics().connections.load(Ordering::Relaxed) > 0
            || gateway.disconnects.pending() > 0
        {
            poll.tick().await;
        }
    };

    let limit = Duration::from_millis(gateway.config.drain_timeout_ms.into());
    if tokio::time::timeout(limit, drained).await.is_err() {
        tracing::warn!("requests were still in progress after the drain time and were cut off");
    }
    reload.abort();
    timers.abort();

    Ok(())
}

/// Whether only the connection that was about to be accepted failed.
fn is_of_the_peer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::Interrupted
    )
}

/// Refuses a connection that there is no room for, without waiting for it.
fn turn_away(gateway: &Gateway, stream: &TcpStream) {
    gateway.metrics.connections_refused.inc();
    let body = r#"{"message":"too many connections"}"#;
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.try_write(text.as_bytes());
}

async fn serve_connection(
    gateway: Arc<Gateway>,
    router: Router,
    stream: TcpStream,
    address: SocketAddr,
    _slot: Slot,
    mut stopped: watch::Receiver<bool>,
) {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
    let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let origin = Origin {
        address: address.ip(),
        connection: number,
    };
    // Small replies must not wait for acknowledgments of earlier ones.
    let _ = stream.set_nodelay(true);
    // A client that never reads would hold its connection for ever; the kernel ends it.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, gateway.config.send_timeout_ms);
    let _counted = Counted::new(&gateway.metrics.connections);
    let router = TowerToHyperService::new(router);
    let is_proxy = gateway.config.proxies.contains(&origin.address);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        let origin = match is_proxy {
            true => forwarded(request.headers(), origin),
            false => origin,
        };
        request.extensions_mut().insert(Connection(origin));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(
            gateway.config.header_timeout_ms.into(),
        ))
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = until(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, connection = number, "connection ended early");
    }
}

/// From where a proxy says that a request came. What it does not say, or not so that it can be read, is
/// the proxy's own.
fn forwarded(headers: &HeaderMap, proxy: Origin) -> Origin {
    let text = |name: &str| headers.get_all(name).iter().next_back()?.to_str().ok();
    let address = text("x-forwarded-for")
        .and_then(|all| all.rsplit(',').next())
        .and_then(|last| last.trim().parse().ok());
    let connection = text("everopen-connection").and_then(|number| number.parse().ok());
    Origin {
        address: address.unwrap_or(proxy.address),
        connection: connection.unwrap_or(proxy.connection),
    }
}

/// Waits for the stop; also when whoever was to say it is gone.
async fn until(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Takes up keys that another process made or revoked.
async fn reload_keys(gateway: Arc<Gateway>, mut stopped: watch::Receiver<bool>) {
    let period = Duration::from_millis(gateway.config.keys_reload_ms.into());
    let mut failing = false;
    while tokio::time::timeout(period, until(&mut stopped))
        .await
        .is_err()
    {
        let keys = gateway.keys.clone();
        let result = tokio::task::spawn_blocking(move || keys.reload()).await;
        match result {
            Ok(Ok(changed)) => {
                failing = false;
                if changed {
                    tracing::info!(keys = gateway.keys.list().len(), "api keys reloaded");
                }
            }
            // Said once, not every period.
            Ok(Err(error)) if !failing => {
                failing = true;
                tracing::error!(%error, "api keys not reloaded, the ones read before stay");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_address_of_a_proxy_counts() {
        let proxy = Origin {
            address: [127, 0, 0, 1].into(),
            connection: 7,
        };
        let of = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().unwrap());
            }
            let origin = forwarded(&headers, proxy);
            (origin.address.to_string(), origin.connection)
        };
        assert_eq!(of(&[]), ("127.0.0.1".into(), 7));
        let both = [
            ("x-forwarded-for", "10.0.0.1, 192.0.2.9"),
            ("everopen-connection", "42"),
        ];
        assert_eq!(of(&both), ("192.0.2.9".into(), 42));
        let twice = [
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "2001:db8::1"),
        ];
        assert_eq!(of(&twice), ("2001:db8::1".into(), 7));
        let wrong = [
            ("x-forwarded-for", "somebody"),
            ("everopen-connection", "-1"),
        ];
        assert_eq!(of(&wrong), ("127.0.0.1".into(), 7));
    }
}
