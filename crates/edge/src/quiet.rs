//! Connections that bring no request.
//!
//! One look every half a minute, not a timer for each request that is set, found and taken back.

use std::pin::Pin;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Version;
use hyper::body::{Body, Frame, SizeHint};

use crate::clock;

/// Since when a connection has brought no request.
#[derive(Debug)]
pub(crate) struct Quiet {
    /// Requests that it is at.
    under_way: AtomicUsize,
    /// Since when it is at none, as [`clock::now`] counts.
    since: AtomicU64,
}

/// Of a connection that may be idle.
const FOREVER: u64 = u64::MAX;

impl Quiet {
    /// Of a connection that begins.
    pub fn new() -> Self {
        Self {
            under_way: AtomicUsize::new(0),
            since: AtomicU64::new(clock::now()),
        }
    }

    /// A request has come.
    pub fn begin(&self, version: Version) {
        self.under_way.fetch_add(1, SeqCst);
        // A client of HTTP/2 is asked whether it is still there, and may be idle.
        if version == Version::HTTP_2 {
            self.since.store(FOREVER, Relaxed);
        }
    }

    /// It was answered to the end.
    pub fn end(&self) {
        if self.since.load(Relaxed) != FOREVER {
            self.since.store(clock::now(), Relaxed);
        }
        self.under_way.fetch_sub(1, SeqCst);
    }

    /// Comes back when the connection has been at no request for so long, its head not yet complete or none
    /// on its way at all.
    pub async fn for_longer_than(&self, patience: Duration) {
        let mut until = Instant::now() + patience;
        loop {
            tokio::time::sleep_until(until.into()).await;
            // At one now: that this was idle for as long will not be seen before as long from now.
            until = Instant::now();
            if self.under_way.load(SeqCst) == 0 {
                match self.since.load(Relaxed) {
                    FOREVER => return std::future::pending().await,
                    since if clock::instant(since) + patience <= until => return,
                    since => until = clock::instant(since),
                }
            }
            until += patience;
        }
    }
}

/// Somebody who has a [`Quiet`].
pub(crate) trait Watched {
    fn quiet(&self) -> &Quiet;
}

/// A body, until whose end its connection is at a request.
#[derive(Debug)]
pub(crate) struct Until<B, W: Watched> {
    pub body: B,
    pub _busy: Busy<W>,
}

/// A connection is at a request.
#[derive(Debug)]
pub(crate) struct Busy<W: Watched>(pub W);

impl<W: Watched> Drop for Busy<W> {
    fn drop(&mut self) {
        self.0.quiet().end();
    }
}

impl<B: Body + Unpin, W: Watched + Unpin> Body for Until<B, W> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(40);

    #[tokio::test]
    async fn a_connection_is_silent_from_its_last_answer_on() {
        let quiet = Quiet::new();
        let began = Instant::now();
        quiet.for_longer_than(PATIENCE).await;
        assert!(began.elapsed() >= PATIENCE - Duration::from_millis(1));
        quiet.begin(Version::HTTP_11);
        // Not while it is at a request, however long that takes.
        let during = tokio::time::timeout(3 * PATIENCE, quiet.for_longer_than(PATIENCE));
        assert!(during.await.is_err());
        quiet.end();
        let ended = Instant::now();
        quiet.for_longer_than(PATIENCE).await;
        assert!(ended.elapsed() >= PATIENCE - Duration::from_millis(1));
    }

    #[tokio::test]
    async fn one_of_http_2_may_be_idle() {
        let quiet = Quiet::new();
        quiet.begin(Version::HTTP_2);
        quiet.end();
        let idle = tokio::time::timeout(3 * PATIENCE, quiet.for_longer_than(PATIENCE));
        assert!(idle.await.is_err());
    }
}
