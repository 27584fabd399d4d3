//! The bytes between the edge and a target, or a client, where one side stops before the other.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::shadow::Copied;

/// A connection to a target that may answer before it has read all of a request, and close: what is still
/// written then goes nowhere, and what the target said can be read.
#[derive(Debug)]
pub(crate) struct Forgiving {
    stream: TcpStream,
    /// The target reads no more.
    is_deaf: bool,
}

impl Forgiving {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            is_deaf: false,
        }
    }

    fn forgive<T>(&mut self, done: Poll<io::Result<T>>, instead: T) -> Poll<io::Result<T>> {
        match done {
            Poll::Ready(Err(error)) if is_of_a_reader_that_left(&error) => {
                self.is_deaf = true;
                Poll::Ready(Ok(instead))
            }
            done => done,
        }
    }
}

fn is_of_a_reader_that_left(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

impl AsyncRead for Forgiving {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Forgiving {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.forgive(done, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = parts.iter().map(|part| part.len()).sum();
        if self.is_deaf {
            return Poll::Ready(Ok(all));
        }
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.forgive(done, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_deaf {
            return Poll::Ready(Ok(()));
        }
        let done = Pin::new(&mut self.stream).poll_flush(context);
        self.forgive(done, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_shutdown(context);
        self.forgive(done, ())
    }
}

/// The body that a client sends. It notes when the client ends in the middle of it.
#[derive(Debug)]
pub(crate) struct FromClient {
    body: Incoming,
    /// The client broke off.
    is_cut: Arc<AtomicBool>,
    /// Somebody wants a copy.
    copied: Option<Copied>,
}

impl FromClient {
    pub fn new(body: Incoming, is_cut: &Arc<AtomicBool>, copied: Option<Copied>) -> Self {
        Self {
            body,
            is_cut: Arc::clone(is_cut),
            copied,
        }
    }
}

impl Body for FromClient {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Err(_))) => self.is_cut.store(true, Relaxed),
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(copied), Some(bytes)) = (&self.copied, frame.data_ref()) {
                    copied.add(bytes);
                }
            }
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
