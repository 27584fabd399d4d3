//! A request on its way to a target, and to another when that fails.

use http::{Method, Request, Response, Uri};
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};

use crate::carried::Carried;
use crate::failure::Failure;
use crate::group::{AtWork, Open, Place};
use crate::meter::Outcome;
use crate::pool::{Outgoing, Sender};
use crate::service::{Route, Service};

/// Targets that are tried for one request at most.
const ATTEMPTS_MAX: usize = 6;
/// What is needed to send a request again that a target may have seen.
struct Repeat {
    method: Method,
    uri: Uri,
    headers: http::HeaderMap,
}

impl Repeat {
    /// Only of a request that does the same when it is done twice (RFC 9110, 9.2.2), and that has no
    /// body, which is gone once it was sent.
    fn of(request: &Request<Outgoing>) -> Option<Self> {
        let is_idempotent = request.method().is_idempotent();
        (is_idempotent && request.body().is_end_stream()).then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    fn request(&self) -> Request<Outgoing> {
        let mut request = Request::new(Either::Right(Full::default()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// A target's answer, and who gave it.
pub(crate) struct Sent {
    pub response: Response<Incoming>,
    pub sender: Sender,
    pub at_work: AtWork,
}

impl Sent {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Headers and body.
    pub fn into_parts(self) -> (http::HeaderMap, Carried) {
        let (head, body) = self.response.into_parts();
        let carried = Carried::new(body, self.at_work, self.sender, None);
        (head.headers, carried)
    }
}

/// A request that nobody has answered.
pub(crate) struct Failed {
    pub failure: Failure,
    /// The last that was tried.
    pub at: Option<Place>,
    /// The request, if no target has seen it or it may be repeated.
    pub again: Option<Request<Outgoing>>,
}

impl Failed {
    pub fn outcome(&self) -> Outcome {
        self.failure.outcome()
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.failure {
            Failure::NoTarget => "it has no target",
            Failure::Unreachable => "no target could be reached",
            Failure::BrokenOff => "the target broke off",
            Failure::TooLate => "the target did not answer in time",
            Failure::NotWebSocket => "it did not open a WebSocket",
            Failure::HeldFull | Failure::Cut | Failure::Method | Failure::Protocol => {
                "it was not sent"
            }
        })
    }
}

/// Sends a request to the first target that takes it.
pub(crate) async fn send(
    service: &Service,
    (route, mut first): (Route, Option<Open>),
    request: Request<Outgoing>,
) -> Result<Sent, Failed> {
    let repeat = Repeat::of(&request);
    let mut request = Some(request);
    let mut failure = (Failure::NoTarget, None);
    let seen = |(failure, at)| Failed {
        failure,
        at,
        again: None,
    };
    for place in route.into_iter().take(ATTEMPTS_MAX) {
        loop {
            let (group, target) = (place.group(), place.target());
            let kept = target.pool.take();
            let is_kept = kept.is_some();
            let connected = match kept {
                Some(sender) => Ok(sender),
                // Rare, and large: it would make every request's future large, which is moved.
                None => Box::pin(target.pool.connect(service.connect)).await,
            };
            let mut sender = match connected {
                Ok(sender) => sender,
                Err(error) => {
                    tracing::debug!(target = %target.address, %error, "a target can't be reached");
                    target.shun();
                    group.meter.retried();
                    failure = (Failure::Unreachable, Some(place));
                    break;
                }
            };
            let this = match request.take() {
                Some(request) => request,
                None => match &repeat {
                    Some(repeat) => repeat.request(),
                    None => return Err(seen(failure)),
                },
            };
            let at_work = AtWork::new(first.take(), place.clone());
            let sending = sender.try_send_request(this);
            let error = match tokio::time::timeout(service.answer, sending).await {
                Ok(Ok(response)) => {
                    target.welcome();
                    return Ok(Sent {
                        response,
                        sender,
                        at_work,
                    });
                }
                // It may still be at work: nobody else is asked to do the same.
                Err(_) => return Err(seen((Failure::TooLate, Some(place)))),
                Ok(Err(error)) => error,
            };
            let mut error = error;
            let unseen = error.take_message();
            let is_unseen = unseen.is_some();
            request = unseen;
            tracing::debug!(target = %target.address, error = %error.error(), is_unseen, "a target broke off");
            group.meter.retried();
            if is_kept {
                // The connection had been closed meanwhile: the target itself may be well.
                failure = (Failure::BrokenOff, Some(place.clone()));
                if is_unseen || repeat.is_some() {
                    continue;
                }
                return Err(seen(failure));
            }
            target.shun();
            failure = (Failure::BrokenOff, Some(place));
            if !is_unseen && repeat.is_none() {
                return Err(seen(failure));
            }
            break;
        }
    }
    let (failure, at) = failure;
    Err(Failed {
        failure,
        at,
        again: request.or_else(|| repeat.map(|repeat| repeat.request())),
    })
}
