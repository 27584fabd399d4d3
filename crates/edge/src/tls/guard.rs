//! A socket that can be cut from outside, whatever it has become meanwhile: a connection of HTTP, or the
//! tunnel of a WebSocket.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Cuts a socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knife(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Knife {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing is read or written any more.
    pub fn cut(&self) {
        let mut state = self.state();
        state.is_cut = true;
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn check(
        &self,
        waiting: fn(&mut State) -> &mut Option<Waker>,
        waker: &Waker,
    ) -> io::Result<()> {
        let mut state = self.state();
        if state.is_cut {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let slot = waiting(&mut state);
        if !slot.as_ref().is_some_and(|slot| slot.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
        Ok(())
    }
}

/// A socket under a knife, or a free one.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    socket: S,
    knife: Option<Knife>,
    /// Tells whoever holds the knife that the socket is gone.
    _gone: Option<oneshot::Sender<()>>,
}

impl<S> Guarded<S> {
    /// One that nobody will cut.
    pub fn free(socket: S) -> Self {
        Self {
            socket,
            knife: None,
            _gone: None,
        }
    }

    /// Puts it under a knife; what comes with it ends when the socket is gone.
    pub fn guard(&mut self) -> (Knife, oneshot::Receiver<()>) {
        let knife = Knife::default();
        let (gone, is_gone) = oneshot::channel();
        self.knife = Some(knife.clone());
        self._gone = Some(gone);
        (knife, is_gone)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(knife) = &self.knife {
            knife.check(|state| &mut state.reader, context.waker())?;
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(knife) = &self.knife {
            knife.check(|state| &mut state.writer, context.waker())?;
        }
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(knife) = &self.knife {
            knife.check(|state| &mut state.writer, context.waker())?;
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(knife) = &self.knife {
            knife.check(|state| &mut state.writer, context.waker())?;
        }
        Pin::new(&mut self.socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
