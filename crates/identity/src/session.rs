//! TLS over bytes: what a connection needs, without its socket.

use std::fmt;
use std::io::{self, BufRead, Write};

use rustls::{ClientConnection, Connection, ServerConnection};

use crate::load::Identity;
use crate::name::{Name, NameError, peer_name};

/// Plaintext that a session takes before what it sealed was written.
const SEALED_BYTES_MAX: usize = 64 << 10;

/// One side of a mutually authenticated connection. It does no input or output of its own: bytes
/// of the peer are fed in, and what is sealed is written where the caller says.
pub struct Session {
    connection: Connection,
    /// Whom we dialed; none when the peer dialed us.
    dialed: Option<Name>,
}

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The peer broke the protocol, or one of both did not trust the other.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The peer's certificate is of our authority and names no process.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The peer is another process than the one that was dialed.
    #[error("dialed {dialed}, but {peer} answered")]
    OtherPeer {
        /// Whom we wanted.
        dialed: Name,
        /// Who it is.
        peer: Name,
    },
}

impl Session {
    /// The side that dials; the peer must show the certificate of `expect`.
    pub fn dial(identity: &Identity, expect: Name) -> Self {
        let connection = ClientConnection::new(identity.client_config(), expect.server_name())
            .expect("invariant: the configuration was checked when it was loaded");
        Self::new(Connection::Client(connection), Some(expect))
    }

    /// The side that accepts; the peer must show a certificate of the authority.
    pub fn accept(identity: &Identity) -> Self {
        let connection = ServerConnection::new(identity.server_config())
            .expect("invariant: the configuration was checked when it was loaded");
        Self::new(Connection::Server(connection), None)
    }

    fn new(mut connection: Connection, dialed: Option<Name>) -> Self {
        connection.set_buffer_limit(Some(SEALED_BYTES_MAX));
        Self { connection, dialed }
    }

    /// Whether keys are still being agreed on; nothing of the peer is known before.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Who the peer is, by its verified certificate.
    ///
    /// # Errors
    /// When it has shown none yet, or one that is not right for whom we dialed.
    pub fn peer(&self) -> Result<Name, SessionError> {
        let certificates = self.connection.peer_certificates().unwrap_or_default();
        let peer = peer_name(certificates)?;
        match self.dialed {
            Some(dialed) if dialed != peer => Err(SessionError::OtherPeer { dialed, peer }),
            _ => Ok(peer),
        }
    }

    /// Takes some of the peer's bytes off the front of `input` and works on them. What they hold
    /// is then in [`Session::plaintext`], which must be emptied before more is fed.
    /// Returns whether the peer may send more; after its goodbye the rest of `input` is left.
    ///
    /// # Errors
    /// When the peer broke the protocol or is not trusted; a last alert may wait to be written.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<bool, SessionError> {
        let taken = self
            .connection
            .read_tls(input)
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let state = self.connection.process_new_packets()?;
        Ok(taken > 0 && !state.peer_has_closed())
    }

    /// The next piece of what the peer said; empty when there is none now.
    pub fn plaintext(&mut self) -> &[u8] {
        self.connection
            .reader()
            .into_first_chunk()
            .unwrap_or_default()
    }

    /// Marks that many bytes of [`Session::plaintext`] as read.
    pub fn consume(&mut self, bytes: usize) {
        self.connection.reader().consume(bytes);
    }

    /// Seals as much of `plaintext` as there is room for, and says how much that was. Before the
    /// handshake is done it only waits here.
    pub fn seal(&mut self, plaintext: &[u8]) -> usize {
        self.connection.writer().write(plaintext).unwrap_or(0)
    }

    /// Seals the goodbye that tells the peer that nothing was cut off.
    pub fn seal_goodbye(&mut self) {
        self.connection.send_close_notify();
    }

    /// Whether something is sealed and not written.
    pub fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Writes some of what is sealed, in one call.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn write_to(&mut self, output: &mut impl Write) -> io::Result<usize> {
        self.connection.write_tls(output)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("dialed", &self.dialed)
            .field("handshaking", &self.is_handshaking())
            .finish_non_exhaustive()
    }
}
