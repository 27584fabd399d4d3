//! WebSockets that clients open over HTTP/2 (RFC 8441): a stream of their connection here, and a
//! connection of HTTP/1.1 to the target, which need not know.

use http::header::{HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::{Method, Request, Response, StatusCode};
use hyper::ext::Protocol;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What such a request wants its stream to become.
const WEBSOCKET: &str = "websocket";

/// Why a CONNECT is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is one to a host and port (RFC 9110, 9.3.6).
    Tunnel,
    /// It names a protocol that is not WebSocket.
    Protocol,
}

/// A WebSocket that is opened over HTTP/2.
#[derive(Debug)]
pub(crate) struct Extended {
    /// What only a WebSocket server answers (RFC 6455, 4.2.2). The edge is its client.
    accept: String,
}

impl Extended {
    /// Makes a CONNECT the GET that a target of HTTP/1.1 knows. What the connection is to become is not
    /// among its headers: that is said to a target behind all others.
    pub fn of<B>(request: &mut Request<B>) -> Result<Self, Refused> {
        let protocol = request.extensions_mut().remove::<Protocol>();
        let protocol = protocol.ok_or(Refused::Tunnel)?;
        if !protocol.as_str().eq_ignore_ascii_case(WEBSOCKET) {
            return Err(Refused::Protocol);
        }
        *request.method_mut() = Method::GET;
        let key = generate_key();
        let accept = derive_accept_key(key.as_bytes());
        let key = HeaderValue::try_from(key).expect("invariant: base64 is ASCII");
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, key);
        Ok(Self { accept })
    }

    pub fn upgrade() -> HeaderValue {
        HeaderValue::from_static(WEBSOCKET)
    }

    /// Whether a client can be told what a target said. A success means to it that there is a WebSocket
    /// (RFC 8441, 5), so a target that says 200 and one that switched to something else can't be passed on.
    pub fn may_answer<B>(&self, answer: &Response<B>) -> bool {
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let said = answer.headers().get(SEC_WEBSOCKET_ACCEPT);
            return said.is_some_and(|said| said.as_bytes() == self.accept.as_bytes());
        }
        !answer.status().is_success()
    }

    /// Makes the head of a target's switch that of a stream that is a WebSocket now.
    pub fn switched<B>(answer: &mut Response<B>) {
        *answer.status_mut() = StatusCode::OK;
        answer.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(protocol: Option<&'static str>) -> Request<()> {
        let mut request = Request::connect("https://api.example/feed")
            .body(())
            .expect("a request");
        if let Some(protocol) = protocol {
            let protocol = Protocol::from_static(protocol);
            request.extensions_mut().insert(protocol);
        }
        request
    }

    #[test]
    fn only_a_websocket_is_passed_on() {
        let refused = |protocol| Extended::of(&mut connect(protocol)).expect_err("refused");
        assert_eq!(refused(None), Refused::Tunnel);
        assert_eq!(refused(Some("connect-udp")), Refused::Protocol);
        let mut request = connect(Some("websocket"));
        let extended = Extended::of(&mut request).expect("passed on");
        assert_eq!(request.method(), Method::GET);
        let key = request.headers()[SEC_WEBSOCKET_KEY].as_bytes();
        assert_eq!(extended.accept, derive_accept_key(key));
    }

    #[test]
    fn only_the_answer_of_a_websocket_server_opens_it() {
        let extended = Extended::of(&mut connect(Some("websocket"))).expect("passed on");
        let mut answer = Response::new(());
        for (status, may) in [(200, false), (101, false), (403, true), (302, true)] {
            *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
            assert_eq!(extended.may_answer(&answer), may, "{status}");
        }
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        for (accept, may) in [("dGhl", false), (extended.accept.as_str(), true)] {
            let accept = accept.parse().expect("a value");
            answer.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
            assert_eq!(extended.may_answer(&answer), may);
        }
        Extended::switched(&mut answer);
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers().is_empty());
    }
}
