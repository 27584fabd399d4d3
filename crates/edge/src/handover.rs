//! An edge's sockets go to its next version.
//!
//! The next version asks on a unix socket beside the admin socket and is sent the listening sockets
//! themselves (`SCM_RIGHTS`). From the moment it says that it takes connections, both could; then the old
//! one stops to. The sockets are never closed, so no connection is refused, and what waits in their
//! queues is served by the next version. If that one dies before it is ready, the old one goes on.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use crate::server::{Shared, Stopped, told};
use crate::socket;

/// Sockets in one message at most: what Linux lets through is more.
pub(crate) const SOCKETS_MAX: usize = 64;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);
const READY: &[u8] = b"ready\n";

/// Where the next version asks.
pub(crate) fn path(admin: &Path) -> PathBuf {
    admin.with_extension("handover")
}

/// The listening sockets of this edge, for its next version.
#[derive(Debug)]
pub(crate) struct Sockets(Mutex<BTreeMap<String, TcpListener>>);

impl Sockets {
    pub fn new(sockets: BTreeMap<String, TcpListener>) -> Self {
        Self(Mutex::new(sockets))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, TcpListener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of them: an address is free only when nobody has its socket any more.
    pub fn close(&self) {
        self.lock().clear();
    }

    fn send(&self, to: &UnixStream) -> io::Result<()> {
        let all = self.lock();
        let names: Vec<&String> = all.keys().take(SOCKETS_MAX).collect();
        let text = serde_json::to_vec(&names)?;
        let sockets: Vec<BorrowedFd<'_>> =
            all.values().take(SOCKETS_MAX).map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(io::Error::other("too many sockets"));
        }
        let length = (text.len() as u32).to_le_bytes();
        let parts = [IoSlice::new(&length), IoSlice::new(&text)];
        let sent = rustix::net::sendmsg(to, &parts, &mut control, SendFlags::empty())?;
        if sent != length.len() + text.len() {
            return Err(io::Error::other("the message with the sockets was cut"));
        }
        Ok(())
    }
}

/// Hands the sockets to whoever asks, until one has taken them.
pub(crate) async fn serve(
    socket: UnixListener,
    shared: Arc<Shared>,
    handed: mpsc::Sender<()>,
    mut stopped: Stopped,
) {
    loop {
        let accepted = tokio::select! {
            () = told(&mut stopped) => return,
            accepted = socket.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let Ok(stream) = stream.into_std() else {
            continue;
        };
        let shared = Arc::clone(&shared);
        let given = tokio::task::spawn_blocking(move || give(&stream, &shared.sockets)).await;
        match given {
            Ok(Ok(())) => {
                tracing::info!("the sockets have gone to the next version");
                let _ = handed.send(()).await;
                return;
            }
            Ok(Err(error)) => tracing::warn!(%error, "the next version did not take over"),
            Err(error) => tracing::warn!(%error, "handing over failed"),
        }
    }
}

fn give(stream: &UnixStream, sockets: &Sockets) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    sockets.send(stream)?;
    let mut said = [0; READY.len()];
    let mut stream = stream;
    stream.read_exact(&mut said)?;
    match said == READY {
        true => Ok(()),
        false => Err(io::Error::other("it did not say that it is ready")),
    }
}

/// The edge that ran until now.
#[derive(Debug)]
pub(crate) struct Predecessor {
    pub listeners: BTreeMap<String, TcpListener>,
    stream: UnixStream,
}

/// Takes the sockets of the edge that runs with this admin socket.
pub(crate) async fn take(admin: &Path) -> io::Result<Predecessor> {
    let path = path(admin);
    let taken = tokio::task::spawn_blocking(move || receive(&path)).await;
    taken.map_err(io::Error::other)?
}

fn receive(path: &Path) -> io::Result<Predecessor> {
    let stream = socket::within(path, |socket| UnixStream::connect(socket))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; 64 << 10];
    let received = rustix::net::recvmsg(
        &stream,
        &mut [IoSliceMut::new(&mut text)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut sockets: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            sockets.extend(received);
        }
    }
    let wrong = || io::Error::other("what the running edge sent is not understood");
    let text = text.get(4..received.bytes).ok_or_else(wrong)?;
    let names: Vec<String> = serde_json::from_slice(text)?;
    if names.len() != sockets.len() {
        return Err(wrong());
    }
    let listeners = names
        .into_iter()
        .zip(sockets.into_iter().map(TcpListener::from));
    Ok(Predecessor {
        listeners: listeners.collect(),
        stream,
    })
}

impl Predecessor {
    /// This edge takes connections: the old one need not any more.
    pub async fn release(self) -> io::Result<()> {
        let mut stream = self.stream;
        let told = tokio::task::spawn_blocking(move || stream.write_all(READY)).await;
        told.map_err(io::Error::other)?
    }
}
