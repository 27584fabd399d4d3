//! Bytes in both directions, after an upgrade or on a plain TCP listener.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::group::Group;

/// Bytes that are read at once.
const CHUNK: usize = 16 << 10;

thread_local! {
    /// Where a thread's tunnels read. Ten thousand idle ones have no buffers of their own, which would be
    /// most of what they take.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// Carries bytes until both sides have ended, or until the group's tunnels are cut.
pub(crate) async fn carry<A, B>(client: A, target: B, group: &Group)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut cut = group.cut.subscribe();
    cut.mark_unchanged();
    tokio::select! {
        carried = both_ways(client, target) => {
            if let Err(error) = carried {
                tracing::debug!(group = group.name, %error, "a tunnel broke");
            }
        }
        _ = cut.changed() => tracing::debug!(group = group.name, "a tunnel was cut"),
    }
}

/// Until both sides have said their last, or one of them breaks.
async fn both_ways<A, B>(mut a: A, mut b: B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut forth, mut back) = (Way::default(), Way::default());
    std::future::poll_fn(|context| {
        let forth = forth.go_on(context, Pin::new(&mut a), Pin::new(&mut b))?;
        let back = back.go_on(context, Pin::new(&mut b), Pin::new(&mut a))?;
        match (forth, back) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    })
    .await
}

/// One of the two directions.
#[derive(Debug, Default)]
struct Way {
    /// What was read and has no room yet on the other side, from `written` on.
    left: Box<[u8]>,
    written: usize,
    is_flushed: bool,
    has_ended: bool,
    is_shut: bool,
}

impl Way {
    /// Carries what there is. Ready when the reader's end has been passed on.
    fn go_on<R, W>(
        &mut self,
        context: &mut Context<'_>,
        mut from: Pin<&mut R>,
        mut to: Pin<&mut W>,
    ) -> io::Result<Poll<()>>
    where
        R: AsyncRead,
        W: AsyncWrite,
    {
        loop {
            if self.is_shut {
                return Ok(Poll::Ready(()));
            }
            let progress = self.step(context, from.as_mut(), to.as_mut());
            match progress {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
    }

    fn step<R, W>(
        &mut self,
        context: &mut Context<'_>,
        from: Pin<&mut R>,
        mut to: Pin<&mut W>,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead,
        W: AsyncWrite,
    {
        if self.written < self.left.len() {
            let some = ready!(to.as_mut().poll_write(context, &self.left[self.written..]))?;
            if some == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += some;
            if self.written == self.left.len() {
                (self.left, self.written) = (Box::default(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        if self.has_ended {
            ready!(to.poll_shutdown(context))?;
            self.is_shut = true;
            return Poll::Ready(Ok(()));
        }
        let is_read = BUFFER.with_borrow_mut(|buffer| {
            let mut some = ReadBuf::new(buffer);
            ready!(from.poll_read(context, &mut some))?;
            let filled = some.filled();
            if filled.is_empty() {
                self.has_ended = true;
                return Poll::Ready(Ok(()));
            }
            self.is_flushed = false;
            // Mostly there is room for all of it at once; what there is none for is kept.
            let written = match to.as_mut().poll_write(context, filled) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            self.left = filled[written..].into();
            Poll::Ready(Ok(()))
        });
        if is_read.is_pending() && !self.is_flushed {
            ready!(to.poll_flush(context))?;
            self.is_flushed = true;
        }
        is_read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn everything_arrives_in_order_through_narrow_pipes_and_ends_one_after_the_other() {
        // Wider than a chunk on one side, and some bytes only on the other.
        let (mut client, near) = duplex(3 * CHUNK);
        let (far, mut target) = duplex(7);
        let carried = tokio::spawn(both_ways(near, far));
        let sent: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let (forth, back) = (sent.clone(), sent.clone());
        let asks = async {
            client.write_all(&forth).await.expect("sent");
            client.shutdown().await.expect("ended");
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.expect("read");
            all
        };
        let answers = async {
            let mut all = Vec::new();
            target.read_to_end(&mut all).await.expect("read");
            // The other side has said its last and still hears.
            target.write_all(&back).await.expect("sent");
            target.shutdown().await.expect("ended");
            all
        };
        let (heard, asked) = tokio::join!(asks, answers);
        assert!(asked == sent && heard == sent);
        carried.await.expect("a task").expect("carried");
    }

    #[tokio::test]
    async fn a_side_that_breaks_ends_both() {
        let (client, near) = duplex(64);
        let (far, mut target) = duplex(64);
        let carried = tokio::spawn(both_ways(near, far));
        drop(client);
        assert_eq!(target.read(&mut [0; 8]).await.expect("an end"), 0);
        target.write_all(b"to nobody").await.expect("on its way");
        carried.await.expect("a task").expect_err("it broke");
    }
}
