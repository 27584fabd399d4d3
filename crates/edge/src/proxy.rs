//! One HTTP request: where it goes, what is done when that fails, and what the client is told.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use http::header::{CONNECTION, SET_COOKIE, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::carried::{Answer, Carried};
use crate::failure::Failure;
use crate::headers::{self, Peer};
use crate::meter::Outcome;
use crate::send::{Sent, send};
use crate::service::{Service, Wish};
use crate::shadow::Answered;
use crate::stream::FromClient;
use crate::tunnel;
use crate::websocket::{Extended, Refused};

/// The cookie that keeps a client with a group.
const COOKIE: &str = "everopen-group";

/// A listener's part in what becomes of a request.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub service: Arc<Service>,
    pub group: Option<String>,
    pub test: bool,
    pub group_header: bool,
}

/// Answers a request.
pub(crate) async fn serve(
    front: &Front,
    client: &Peer,
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
    let asked = match front.group_header {
        true => request.headers().get(headers::GROUP).cloned(),
        false => None,
    };
    let only = front
        .group
        .as_deref()
        .or(asked.as_ref().and_then(|group| group.to_str().ok()));
    let cookie = match service.affinity {
        true => headers::cookie(request.headers(), COOKIE).map(str::to_string),
        false => None,
    };
    let wish = Wish {
        only,
        least: front.test && only.is_none(),
        rather: cookie.as_deref(),
    };
    let upgrade = match extended {
        Some(_) => Some(Extended::upgrade()),
        None => headers::upgrade(request.headers()),
    };
    let from_client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let uri = request.uri().clone();
    headers::towards_target(request.headers_mut(), &uri, client);
    if let Some(to) = upgrade {
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, to);
    }
    *request.version_mut() = Version::HTTP_11;
    let path = uri.path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    // Only what any client may get by the weights.
    let shadow = service
        .shadow()
        .filter(|_| only.is_none() && !front.test && from_client.is_none());
    let original = shadow.and_then(|shadow| shadow.copy(service, &request));
    let copied = original.as_ref().map(|original| original.asked.clone());
    // Most requests have no body, of which nothing needs to be noted.
    let is_cut = (!request.body().is_end_stream()).then(<Arc<AtomicBool>>::default);
    let mut request = request.map(|body| match &is_cut {
        Some(is_cut) => Either::Left(FromClient::new(body, is_cut, copied)),
        None => Either::Right(Full::default()),
    });
    let sent = loop {
        let failed = match send(service, service.enter(wish), request).await {
            Ok(sent) => break Ok(sent),
            Err(failed) => failed,
        };
        match failed.again {
            Some(again) if service.wait_for_target(began).await => request = again,
            _ => break Err((failed.failure, failed.at)),
        }
    };
    let sent = match (sent, &extended) {
        (Ok(sent), Some(extended)) if !extended.may_answer(&sent.response) => {
            Err((Failure::NotWebSocket, Some(sent.at_work.place().clone())))
        }
        (sent, _) => sent,
    };
    let sent = match sent {
        Ok(sent) => sent,
        Err((failure, at)) => {
            // Not the target's fault, whatever it made of half a request.
            let failure = match is_cut {
                Some(is_cut) if is_cut.load(Relaxed) => Failure::Cut,
                _ => failure,
            };
            if let Some(at) = at {
                at.group().meter.ended(failure.outcome(), began.elapsed());
            }
            let client = client.address;
            tracing::debug!(service = service.name, ?failure, %client, "a request failed");
            return Ok(failure.answer());
        }
    };
    let place = sent.at_work.place().clone();
    let group = place.group();
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

/// Makes a target's answer the client's.
fn pass_on(
    sent: Sent,
    from_client: Option<OnUpgrade>,
    is_extended: bool,
    answered: Option<Answered>,
) -> Response<Answer> {
    let Sent {
        mut response,
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
            match tokio::try_join!(from_client, to_target) {
                Ok((client, target)) => {
                    tunnel::carry(TokioIo::new(client), TokioIo::new(target), at_work.group())
                        .await;
                }
                Err(error) => tracing::debug!(%error, "an upgrade failed"),
            }
        });
        return response.map(|_| Either::Right(Full::default()));
    }
    headers::strip_hop(response.headers_mut());
    response.map(|body| Either::Left(Carried::new(body, at_work, sender, answered)))
}
