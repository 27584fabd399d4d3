//! One connection of a client that speaks HTTP.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::CONNECTION;
use ::http::{HeaderValue, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::headers::Peer;
use crate::proxy::{self, Front};
use crate::quiet::{Busy, Quiet, Until, Watched};
use crate::server::{Stopped, told};

/// How long the head of a request may take, from the answer to the one before on.
const HEAD: Duration = Duration::from_secs(30);
/// Requests under way on one connection of HTTP/2.
const STREAMS_MAX: u32 = 250;
/// Bytes of all headers of a request of HTTP/2.
const HEADERS_MAX: u32 = 64 << 10;
/// Bytes that wait here for a stream's client to make room, as with HTTP/1.1.
const UNSENT_MAX: usize = crate::server::UNSENT_MAX as usize;
/// A client of HTTP/2 from which nothing has come for so long is asked whether it is still there.
const ASK: Duration = Duration::from_secs(60);

/// Which HTTP a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
    /// Its first bytes tell.
    Either,
}

/// Comes back when idle connections are to end.
async fn idled(stopped: &mut Stopped) {
    told(stopped).await;
    let until = *stopped.borrow();
    if let Some(until) = until {
        tokio::time::sleep_until(until.into()).await;
    }
}

/// What all requests of one connection share.
struct Client {
    peer: Peer,
    front: Arc<Front>,
    stopped: Stopped,
    quiet: Quiet,
}

impl Watched for Arc<Client> {
    fn quiet(&self) -> &Quiet {
        &self.quiet
    }
}

/// Serves one connection; told to stop, it ends after what it is at.
pub(crate) async fn converse<S>(
    stream: S,
    speaks: Speaks,
    client: Peer,
    front: Arc<Front>,
    mut stopped: Stopped,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = client.address;
    let client = Arc::new(Client {
        peer: client,
        front,
        stopped: stopped.clone(),
        quiet: Quiet::new(),
    });
    let its = Arc::clone(&client);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let client = Arc::clone(&its);
        async move {
            let version = request.version();
            client.quiet.begin(version);
            let busy = Busy(Arc::clone(&client));
            let mut answer = proxy::serve(&client.front, &client.peer, request).await?;
            // HTTP/2 says of a whole connection that it ends.
            if version != Version::HTTP_2
                && client.stopped.has_changed().unwrap_or(true)
                && answer.status() != StatusCode::SWITCHING_PROTOCOLS
            {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(answer.map(|body| Until { body, _busy: busy }))
        }
    });
    // A connection of HTTP/1.1 that is idle may have a request on its way, which would be lost; HTTP/2
    // tells its client which requests it still takes.
    let is_told = async {
        match speaks {
            Speaks::Http2 => told(&mut stopped).await,
            Speaks::Http1 | Speaks::Either => idled(&mut stopped).await,
        }
    };
    let is_silent = client.quiet.for_longer_than(HEAD);
    let stream = TokioIo::new(stream);
    // The builder that tells by the first bytes can't be kept to one of both: with upgrades it looks at
    // them whatever it was told (hyper-util 0.1).
    let ended = match speaks {
        Speaks::Http1 => {
            let connection = http1::Builder::new()
                .serve_connection(stream, service)
                .with_upgrades();
            until_told(connection, |c| c.graceful_shutdown(), is_told, is_silent)
                .await
                .map_err(|error| error.to_string())
        }
        Speaks::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(HEADERS_MAX)
                .keep_alive_interval(ASK)
                .keep_alive_timeout(HEAD)
                .max_send_buf_size(UNSENT_MAX)
                .enable_connect_protocol();
            let connection = builder.serve_connection(stream, service);
            until_told(connection, |c| c.graceful_shutdown(), is_told, is_silent)
                .await
                .map_err(|error| error.to_string())
        }
        Speaks::Either => {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().header_read_timeout(None);
            builder
                .http2()
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(HEADERS_MAX)
                .keep_alive_interval(ASK)
                .keep_alive_timeout(HEAD)
                .max_send_buf_size(UNSENT_MAX)
                .enable_connect_protocol();
            let connection = builder.serve_connection_with_upgrades(stream, service);
            until_told(connection, |c| c.graceful_shutdown(), is_told, is_silent)
                .await
                .map_err(|error| error.to_string())
        }
    };
    if let Err(error) = ended {
        tracing::debug!(client = %address, %error, "a connection ended");
    }
}

/// Serves a connection to its end, or until it is silent; told to stop, it ends after what it is at.
async fn until_told<C, E>(
    connection: C,
    shut: impl FnOnce(Pin<&mut C>),
    is_told: impl Future<Output = ()>,
    is_silent: impl Future<Output = ()>,
) -> Result<(), E>
where
    C: Future<Output = Result<(), E>>,
{
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = is_silent => Ok(()),
        () = is_told => {
            shut(connection.as_mut());
            connection.await
        }
    }
}
