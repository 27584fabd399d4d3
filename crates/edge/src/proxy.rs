//! One HTTP request: where it goes, what is done when that fails, and what the client is told.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, SET_COOKIE, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::group::{Group, Open, Target};
use crate::headers::{self, Peer};
use crate::meter::Outcome;
use crate::pool::{Outgoing, Sender};
use crate::service::{Route, Service, Wish};
use crate::shadow::Answered;
use crate::stream::FromClient;
use crate::tunnel;
use crate::websocket::{Extended, Refused};

/// Targets that are tried for one request at most.
const ATTEMPTS_MAX: usize = 6;
/// The cookie that keeps a client with a group.
const COOKIE: &str = "everopen-group";

/// What a client is sent.
pub(crate) type Answer = Either<Carried, Full<Bytes>>;

/// A listener's part in what becomes of a request.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub service: Arc<Service>,
    pub group: Option<String>,
    pub test: bool,
    pub group_header: bool,
}

/// The body of an answer, which is under way until its end.
#[derive(Debug)]
pub(crate) struct Carried {
    body: Incoming,
    _at_work: AtWork,
    /// The connection that it comes over, until all of it has come.
    over: Option<(Arc<Target>, Sender)>,
    /// What the shadow's answer is compared with.
    answered: Option<Answered>,
}

impl Carried {
    /// Keeps the connection for the next request, if it is fit for one.
    fn give_back(&mut self) {
        let Some((target, mut sender)) = self.over.take() else {
            return;
        };
        if sender.is_ready() {
            return target.pool.put(sender);
        }
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                target.pool.put(sender);
            }
        });
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        // A body of a known length is not asked for its end. One that has not come to its end takes its
        // connection with it.
        if self.body.is_end_stream() {
            self.give_back();
            if let Some(answered) = self.answered.take() {
                answered.ask_the_shadow();
            }
        }
    }
}

impl Body for Carried {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Ready(None) => self.give_back(),
            Poll::Ready(Some(Err(_))) => self.over = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        if self.answered.is_some() {
            match &frame {
                Poll::Ready(Some(Ok(frame))) => {
                    if let (Some(answered), Some(bytes)) = (&self.answered, frame.data_ref()) {
                        answered.body.add(bytes);
                    }
                }
                Poll::Ready(Some(Err(_))) => self.answered = None,
                Poll::Ready(None) => {
                    if let Some(answered) = self.answered.take() {
                        answered.ask_the_shadow();
                    }
                }
                Poll::Pending => {}
            }
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

/// A request is under way in a group, at a target.
#[derive(Debug)]
struct AtWork {
    _open: Open,
    _busy: Busy,
}

impl AtWork {
    fn new(first: Option<Open>, group: &Arc<Group>, target: &Arc<Target>) -> Self {
        Self {
            _open: Open::of(first, group),
            _busy: Busy::new(target),
        }
    }
}

/// A request that a target works on.
#[derive(Debug)]
struct Busy(Arc<Target>);

impl Busy {
    fn new(target: &Arc<Target>) -> Self {
        target.busy.fetch_add(1, Relaxed);
        Self(Arc::clone(target))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Relaxed);
    }
}

/// Why there is no answer of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
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
    fn answer(self) -> Response<Answer> {
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

    fn outcome(self) -> Outcome {
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

/// Answers a request.
pub(crate) async fn serve(
    front: Arc<Front>,
    client: Peer,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let began = Instant::now();
    let service = &front.service;
    let extended = match request.method() == Method::CONNECT {
        true => match Extended::of(&mut request) {
            Ok(extended) => Some(extended),
            Err(Refused::Tunnel) => return Ok(Failure::Method.answer()),
            Err(Refused::Protocol) => return Ok(Failure::Protocol.answer()),
        },
        false => None,
    };
    if !service.wait_while_held().await {
        return Ok(Failure::HeldFull.answer());
    }
    let asked = request.headers().get(headers::GROUP).cloned();
    let asked = asked.filter(|_| front.group_header);
    let only = front
        .group
        .as_deref()
        .or(asked.as_ref().and_then(|group| group.to_str().ok()));
    let cookie = headers::cookie(request.headers(), COOKIE).map(str::to_string);
    let wish = Wish {
        only,
        least: front.test && only.is_none(),
        rather: cookie.as_deref().filter(|_| service.affinity),
    };
    let upgrade = match extended {
        Some(_) => Some(Extended::upgrade()),
        None => headers::upgrade(request.headers()),
    };
    let from_client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let uri = request.uri().clone();
    headers::towards_target(request.headers_mut(), &uri, &client);
    if let Some(to) = upgrade {
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, to);
    }
    *request.version_mut() = Version::HTTP_11;
    let path = uri.path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    let is_cut = Arc::new(AtomicBool::new(false));
    // Only what any client may get by the weights.
    let shadow = service
        .shadow()
        .filter(|_| only.is_none() && !front.test && from_client.is_none());
    let original = shadow.and_then(|shadow| shadow.copy(service, &request));
    let copied = original.as_ref().map(|original| original.asked.clone());
    let mut request = request.map(|body| Either::Left(FromClient::new(body, &is_cut, copied)));
    let sent = loop {
        let failed = match send(service, service.enter(wish), request).await {
            Ok(sent) => break Ok(sent),
            Err(failed) => failed,
        };
        match failed.again {
            Some(again) if service.wait_for_target(began).await => request = again,
            _ => break Err((failed.failure, failed.group)),
        }
    };
    let sent = match (sent, &extended) {
        (Ok(sent), Some(extended)) if !extended.may_answer(&sent.response) => {
            Err((Failure::NotWebSocket, Some(sent.group)))
        }
        (sent, _) => sent,
    };
    let sent = match sent {
        Ok(sent) => sent,
        Err((failure, group)) => {
            // Not the target's fault, whatever it made of half a request.
            let failure = match is_cut.load(Relaxed) {
                true => Failure::Cut,
                false => failure,
            };
            if let Some(group) = group {
                group.meter.ended(failure.outcome(), began.elapsed());
            }
            let client = client.address;
            tracing::debug!(service = service.name, ?failure, %client, "a request failed");
            return Ok(failure.answer());
        }
    };
    let group = Arc::clone(&sent.group);
    let outcome = Outcome::Answered(sent.response.status().as_u16());
    group.meter.ended(outcome, began.elapsed());
    let answered = original.and_then(|original| original.answered(&group.name, &sent.response));
    let mut answer = pass_on(sent, from_client, extended.is_some(), answered);
    if only.is_some() || front.test {
        let name = HeaderValue::from_str(&group.name);
        name.map(|name| answer.headers_mut().insert(headers::GROUP, name))
            .ok();
    }
    if service.affinity && cookie.as_deref() != Some(group.name.as_str()) {
        let set = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Lax", group.name);
        if let Ok(set) = HeaderValue::from_str(&set) {
            answer.headers_mut().append(SET_COOKIE, set);
        }
    }
    Ok(answer)
}

/// A target's answer, and who gave it.
pub(crate) struct Sent {
    response: Response<Incoming>,
    group: Arc<Group>,
    target: Arc<Target>,
    sender: Sender,
    at_work: AtWork,
}

impl Sent {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Headers and body.
    pub fn into_parts(self) -> (http::HeaderMap, Carried) {
        let (head, body) = self.response.into_parts();
        let carried = Carried {
            body,
            _at_work: self.at_work,
            over: Some((self.target, self.sender)),
            answered: None,
        };
        (head.headers, carried)
    }
}

/// A request that nobody has answered.
pub(crate) struct Failed {
    failure: Failure,
    group: Option<Arc<Group>>,
    /// The request, if no target has seen it or it may be repeated.
    again: Option<Request<Outgoing>>,
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
    let seen = |(failure, group)| Failed {
        failure,
        group,
        again: None,
    };
    for (group, target) in route.into_iter().take(ATTEMPTS_MAX) {
        loop {
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
                    failure = (Failure::Unreachable, Some(group));
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
            let at_work = AtWork::new(first.take(), &group, &target);
            let sending = sender.try_send_request(this);
            let error = match tokio::time::timeout(service.answer, sending).await {
                Ok(Ok(response)) => {
                    target.welcome();
                    return Ok(Sent {
                        response,
                        group,
                        target,
                        sender,
                        at_work,
                    });
                }
                // It may still be at work: nobody else is asked to do the same.
                Err(_) => return Err(seen((Failure::TooLate, Some(group)))),
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
                failure = (Failure::BrokenOff, Some(Arc::clone(&group)));
                if is_unseen || repeat.is_some() {
                    continue;
                }
                return Err(seen(failure));
            }
            target.shun();
            failure = (Failure::BrokenOff, Some(group));
            if !is_unseen && repeat.is_none() {
                return Err(seen(failure));
            }
            break;
        }
    }
    let (failure, group) = failure;
    Err(Failed {
        failure,
        group,
        again: request.or_else(|| repeat.map(|repeat| repeat.request())),
    })
}

/// Makes a target's answer the client's.
fn pass_on(
    sent: Sent,
    from_client: Option<OnUpgrade>,
    is_extended: bool,
    answered: Option<Answered>,
) -> Response<Answer> {
    let Sent {
        mut response,
        group,
        target,
        sender,
        at_work,
    } = sent;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(from_client) = from_client
    {
        let to_target = hyper::upgrade::on(&mut response);
        let to = response.headers().get(UPGRADE).cloned();
        headers::strip_hop(response.headers_mut());
        if is_extended {
            Extended::switched(&mut response);
        } else {
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            if let Some(to) = to {
                headers.insert(UPGRADE, to);
            }
        }
        tokio::spawn(async move {
            let _at_work = at_work;
            match tokio::try_join!(from_client, to_target) {
                Ok((client, target)) => {
                    tunnel::carry(TokioIo::new(client), TokioIo::new(target), group).await;
                }
                Err(error) => tracing::debug!(%error, "an upgrade failed"),
            }
        });
        return response.map(|_| Either::Right(Full::default()));
    }
    headers::strip_hop(response.headers_mut());
    let carried = |body| {
        Either::Left(Carried {
            body,
            _at_work: at_work,
            over: Some((target, sender)),
            answered,
        })
    };
    response.map(carried)
}
