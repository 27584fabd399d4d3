//! A connection's handshake, what is told of it, and the eye that is kept on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use everopen_identity::clients::{ClientCertificate, Refusal};
use http::{HeaderName, HeaderValue};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{self, HandshakeKind, ProtocolVersion};
use tokio_rustls::server::TlsStream;

use super::guard::{Guarded, Knife};
use super::log::{Event, Line, Told, now_ms};
use super::{Hung, ListenerTls, Tls};
use crate::headers::{self, Vouched};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The longest value of a header that tells a certificate.
const HEADER_MAX: usize = 16 << 10;
/// An expired certificate's connection is looked at this long after.
const EXPIRY_SLACK: Duration = Duration::from_secs(1);

/// A connection whose handshake is done.
pub(crate) struct Welcome {
    pub stream: TlsStream<Guarded<TcpStream>>,
    /// It was agreed to speak HTTP/2.
    pub is_http2: bool,
    /// What its client's certificate says, as headers for targets.
    pub vouched: Vouched,
}

/// What a line of the log says of a connection, beside its outcome.
struct Facts<'a> {
    listener: &'a str,
    client: SocketAddr,
    began: Instant,
    hung: &'a Hung,
}

impl Facts<'_> {
    fn line(&self, event: Event, failed: Option<&str>) -> Line<'_> {
        let store = self.hung.store.as_ref();
        Line {
            time_ms: now_ms(),
            listener: self.listener,
            client: self.client,
            event,
            verify: match failed {
                None => "Success".into(),
                Some(code) => format!("Failed:{code}"),
            },
            detail: None,
            tls: None,
            cipher: None,
            protocol: None,
            resumed: false,
            handshake_us: self.began.elapsed().as_micros() as u64,
            store: store.map(|(name, _)| name.as_str()),
            store_version: store.map(|(_, version)| *version),
            certificate: None,
        }
    }
}

fn told(chain: &[CertificateDer<'_>]) -> Option<Told> {
    let read = ClientCertificate::read(chain.first()?)?;
    Some(Told::from(&read))
}

/// Makes the handshake. None when it failed; the log says why.
pub(crate) async fn welcome(
    stream: TcpStream,
    client: SocketAddr,
    name: &str,
    listener: &Arc<ListenerTls>,
    tls: &Arc<Tls>,
) -> Option<Welcome> {
    let mut doors = listener.doors();
    let hung = Arc::clone(&doors.borrow_and_update());
    let facts = Facts {
        listener: name,
        client,
        began: Instant::now(),
        hung: &hung,
    };
    let (config, seen) = hung.door.open();
    let accepting = TlsAcceptor::from(config).accept(Guarded::free(stream));
    let accepted = match tokio::time::timeout(HANDSHAKE, accepting).await {
        Ok(accepted) => accepted,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    };
    let mut stream = match accepted {
        Ok(stream) => stream,
        Err(error) => {
            let rustls = error
                .get_ref()
                .and_then(|e| e.downcast_ref::<rustls::Error>());
            let refusal = seen.refusal().or(match rustls {
                Some(rustls::Error::NoCertificatesPresented) => Some(Refusal::Missing),
                _ => None,
            });
            // AWS's name for all that has nothing to do with the client's certificate.
            let code = refusal.map_or("UnmappedConnectionError", Refusal::code);
            let mut line = facts.line(Event::Refused, Some(code));
            line.detail = refusal.is_none().then(|| error.to_string());
            line.certificate = told(&seen.chain());
            tls.log.write(&line);
            return None;
        }
    };
    let (_, session) = stream.get_ref();
    let chain: Vec<CertificateDer<'static>> = session
        .peer_certificates()
        .map(|chain| chain.iter().map(|c| c.clone().into_owned()).collect())
        .unwrap_or_default();
    let protocol = session.alpn_protocol();
    let is_http2 = protocol == Some(b"h2");
    let version = session.protocol_version();
    let cipher = session.negotiated_cipher_suite();
    let cipher = cipher.and_then(|suite| suite.suite().as_str());
    let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    // A resumed session's certificate was looked at when the session was new.
    let verified = match is_resumed {
        true => hung.door.verify(&chain),
        false => Ok(()),
    };
    let vouched = verified.and_then(|()| vouch(listener, &chain));
    let event = match &vouched {
        Ok(_) => Event::Accepted,
        Err(_) => Event::Refused,
    };
    let refusal = vouched.as_ref().err().map(|refusal| refusal.code());
    let mut line = facts.line(event, refusal);
    line.tls = Some(match version {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    });
    line.cipher = cipher;
    line.protocol = protocol.and_then(|name| std::str::from_utf8(name).ok());
    line.resumed = is_resumed;
    line.certificate = told(&chain);
    tls.log.write(&line);
    let vouched = vouched.ok()?;
    if hung.door.store().is_some() && !chain.is_empty() {
        let (knife, is_gone) = stream.get_mut().0.guard();
        let watched = Watched {
            listener: name.to_string(),
            client,
            chain,
            tls: Arc::clone(tls),
            knife,
        };
        tokio::spawn(watched.watch(doors, is_gone));
    }
    Some(Welcome {
        stream,
        is_http2,
        vouched,
    })
}

/// A client's certificate as headers for targets.
fn vouch(listener: &ListenerTls, chain: &[CertificateDer<'_>]) -> Result<Vouched, Refusal> {
    let Some(leaf) = chain.first() else {
        return Ok(Vouched::default());
    };
    let value = |text: String| {
        let value = (text.len() <= HEADER_MAX).then(|| HeaderValue::from_str(&text).ok());
        value.flatten().ok_or(Refusal::TooLong)
    };
    if listener.is_passed_through() {
        let all = value(ClientCertificate::pem(chain))?;
        return Ok(vec![(headers::CLIENT_CHAIN, all)].into());
    }
    let read = ClientCertificate::read(leaf).ok_or(Refusal::Invalid)?;
    let leaf = ClientCertificate::pem(std::slice::from_ref(leaf));
    let all: [(HeaderName, String); 6] = [
        (headers::CLIENT_SERIAL, read.serial.clone()),
        (headers::CLIENT_ISSUER, read.issuer.clone()),
        (headers::CLIENT_SUBJECT, read.subject.clone()),
        (headers::CLIENT_VALIDITY, read.validity()),
        (headers::CLIENT_LEAF, leaf),
        (headers::FORWARDED_CERT, read.forwarded()),
    ];
    let all = all.into_iter().map(|(name, text)| Ok((name, value(text)?)));
    Ok(all.collect::<Result<Vec<_>, _>>()?.into())
}

/// An open connection whose client showed a certificate.
struct Watched {
    listener: String,
    client: SocketAddr,
    chain: Vec<CertificateDer<'static>>,
    tls: Arc<Tls>,
    knife: Knife,
}

impl Watched {
    /// Looks at the certificate again at each change of the door and when it expires; cuts the connection
    /// when it does not hold any more.
    async fn watch(
        self,
        mut doors: watch::Receiver<Arc<Hung>>,
        mut is_gone: oneshot::Receiver<()>,
    ) {
        loop {
            let expires = self.expires();
            tokio::select! {
                _ = &mut is_gone => return,
                changed = doors.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(expires) => {}
            }
            let hung = Arc::clone(&doors.borrow_and_update());
            let Err(refusal) = hung.door.verify(&self.chain) else {
                continue;
            };
            let facts = Facts {
                listener: &self.listener,
                client: self.client,
                began: Instant::now(),
                hung: &hung,
            };
            let mut line = facts.line(Event::Cut, Some(refusal.code()));
            line.certificate = told(&self.chain);
            self.tls.log.write(&line);
            self.knife.cut();
            return;
        }
    }

    /// How long until the first certificate of the chain expires that has not yet.
    fn expires(&self) -> Duration {
        let now = now_ms() as i64 / 1_000;
        let all = self.chain.iter().filter_map(ClientCertificate::read);
        let left = all.map(|certificate| certificate.expires - now);
        let left = left.filter(|left| *left >= 0).min().unwrap_or(i64::MAX);
        // The longest that a timer takes.
        Duration::from_secs(left.min(1 << 30) as u64) + EXPIRY_SLACK
    }
}
