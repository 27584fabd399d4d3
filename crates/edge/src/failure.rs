//! The edge's own answers, where no target gave one.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};

use crate::carried::Answer;
use crate::meter::Outcome;

/// Why there is no answer of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No group has a weight and a target.
    NoTarget,
    /// No target could be reached.
    Unreachable,
    /// One had taken the request and broke off.
    BrokenOff,
    /// One had taken the request and did not answer in time.
    TooLate,
    /// Too many requests wait while the service is held.
    HeldFull,
    /// The client ended before its request did.
    Cut,
    /// A tunnel to anywhere is not what this is for.
    Method,
    /// A stream of HTTP/2 can't become what it wants to be.
    Protocol,
    /// The target did not become the WebSocket that it was asked to be.
    NotWebSocket,
}

impl Failure {
    pub fn answer(self) -> Response<Answer> {
        let (status, code, message) = match self {
            Self::NoTarget => (503, "no_target", "No target is in service"),
            Self::Unreachable => (503, "unreachable", "No target could be reached"),
            Self::BrokenOff => (
                502,
                "broken_off",
                "The target broke off; the outcome is not known",
            ),
            Self::TooLate => (
                504,
                "too_late",
                "The target did not answer in time; the outcome is not known",
            ),
            Self::HeldFull => (503, "held_full", "Too many requests wait"),
            Self::Cut => (400, "cut", "The request ended before its body did"),
            Self::Method => (405, "method", "CONNECT is not for here"),
            Self::Protocol => (501, "protocol", "CONNECT is for WebSockets only"),
            Self::NotWebSocket => (502, "not_websocket", "The target did not open a WebSocket"),
        };
        let body = format!(r#"{{"message":"{message}","reason":"edge_{code}"}}"#);
        let mut answer = Response::new(Either::Right(Full::from(body)));
        *answer.status_mut() = StatusCode::from_u16(status).expect("invariant: a status");
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(CONTENT_TYPE, json);
        if self == Self::Method {
            let none = HeaderValue::from_static("");
            answer.headers_mut().insert(http::header::ALLOW, none);
        } else if status == 503 {
            answer
                .headers_mut()
                .insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }

    pub fn outcome(self) -> Outcome {
        match self {
            Self::BrokenOff | Self::TooLate => Outcome::Unanswered,
            Self::Cut => Outcome::Answered(400),
            Self::NotWebSocket => Outcome::Answered(502),
            Self::NoTarget | Self::Unreachable | Self::HeldFull | Self::Method | Self::Protocol => {
                Outcome::Unreachable
            }
        }
    }
}
