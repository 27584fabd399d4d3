//! Shadow traffic: requests that a group has answered are put to another group, too, and the answers are
//! compared. Clients never see that, and never wait for it.

mod compare;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Either, Full, Limited};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::headers;
use crate::meter::{Meter, Outcome, Reading};
use crate::send;
use crate::service::{Service, Wish, spread};

/// Requests that the shadow works on at the same time; what comes beyond is not put to it.
const AT_WORK: usize = 64;
/// Differences that are kept to be looked at.
const SAMPLES: usize = 20;
/// The longest bodies that can be compared.
const BODY_MAX: usize = 4 << 20;

/// What is put to the shadow, and what of its answers is compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shadowing {
    /// The group that is asked as well. It needs no weight.
    pub group: String,
    /// Percent of the requests that are put to it.
    #[serde(default = "all")]
    pub percent: u32,
    /// Only requests with these methods. Those that change something change it twice.
    #[serde(default = "reads")]
    pub methods: Vec<String>,
    /// Headers of answers that are compared, besides the status and the body.
    #[serde(default = "content_type")]
    pub headers: Vec<String>,
    /// Places in JSON bodies that may differ: RFC 6901 pointers, in which `*` is any name or number.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Bytes of a body, of requests and of answers, that are compared; with more it is passed over.
    #[serde(default = "quarter_mebibyte")]
    pub body_max: usize,
}

const fn all() -> u32 {
    100
}

fn reads() -> Vec<String> {
    vec!["GET".into(), "HEAD".into()]
}

fn content_type() -> Vec<String> {
    vec!["content-type".into()]
}

const fn quarter_mebibyte() -> usize {
    256 << 10
}

impl Shadowing {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if !(1..=100).contains(&self.percent) {
            return Err(("percent", format!("{} is not from 1 to 100", self.percent)));
        }
        if self.body_max > BODY_MAX {
            return Err(("body_max", format!("{} is above {BODY_MAX}", self.body_max)));
        }
        if self.methods.is_empty() {
            return Err(("methods", "there is none".into()));
        }
        for method in &self.methods {
            if Method::from_bytes(method.as_bytes()).is_err() {
                return Err(("methods", format!("{method:?} is no method")));
            }
        }
        if let Some(wrong) = self.ignore.iter().find(|place| !place.starts_with('/')) {
            return Err(("ignore", format!("{wrong:?} is no RFC 6901 pointer")));
        }
        Ok(())
    }
}

/// What became of it so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShadowStatus {
    /// What is done.
    pub shadowing: Shadowing,
    /// Answers that were the same.
    pub same: u64,
    /// Answers that were not.
    pub different: u64,
    /// Requests that the shadow did not answer.
    pub unanswered: u64,
    /// Requests that were not put to it, since it was at work on too many.
    pub dropped: u64,
    /// Requests that were not compared, since a body was too long.
    pub too_long: u64,
    /// How long its answers took.
    pub reading: Reading,
    /// The last differences.
    pub samples: Vec<Difference>,
}

impl ShadowStatus {
    /// How many were compared, those included that it did not answer.
    pub fn compared(&self) -> u64 {
        self.same + self.different + self.unanswered
    }
}

/// A request that was answered otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// What differed.
    pub what: String,
}

/// The shadow of a service.
#[derive(Debug)]
pub(crate) struct Shadow {
    shadowing: Shadowing,
    drawn: AtomicU64,
    same: AtomicU64,
    different: AtomicU64,
    unanswered: AtomicU64,
    dropped: AtomicU64,
    too_long: AtomicU64,
    meter: Meter,
    samples: Mutex<VecDeque<Difference>>,
    room: Arc<Semaphore>,
    /// Somebody has ended it; what is under way is not counted any more.
    pub is_over: AtomicBool,
}

impl Shadow {
    pub fn new(shadowing: Shadowing) -> Arc<Self> {
        Arc::new(Self {
            shadowing,
            drawn: AtomicU64::new(0),
            same: AtomicU64::new(0),
            different: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            too_long: AtomicU64::new(0),
            meter: Meter::default(),
            samples: Mutex::default(),
            room: Arc::new(Semaphore::new(AT_WORK)),
            is_over: AtomicBool::new(false),
        })
    }

    pub fn status(&self) -> ShadowStatus {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        ShadowStatus {
            shadowing: self.shadowing.clone(),
            same: self.same.load(Relaxed),
            different: self.different.load(Relaxed),
            unanswered: self.unanswered.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            too_long: self.too_long.load(Relaxed),
            reading: self.meter.read(),
            samples: samples.iter().cloned().collect(),
        }
    }

    /// Begins to copy a request, if it is one of those that are put to the shadow.
    pub fn copy<B>(
        self: &Arc<Self>,
        service: &Arc<Service>,
        request: &Request<B>,
    ) -> Option<Original> {
        let method = request.method().as_str();
        let wanted = self.shadowing.methods.iter().any(|one| one == method);
        let percent = u64::from(self.shadowing.percent);
        if !wanted || spread(self.drawn.fetch_add(1, Relaxed), 100) >= percent {
            return None;
        }
        Some(Original {
            shadow: Arc::clone(self),
            service: Arc::clone(service),
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            asked: Copied::new(self.shadowing.body_max),
        })
    }

    fn sample(&self, original: &Original, what: String) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(Difference {
            method: original.method.to_string(),
            path: original.uri.to_string().chars().take(200).collect(),
            what,
        });
    }
}

/// A body as it goes by.
#[derive(Clone, Debug)]
pub(crate) struct Copied(Arc<Mutex<Part>>);

#[derive(Debug)]
struct Part {
    bytes: BytesMut,
    most: usize,
    is_too_long: bool,
}

impl Copied {
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Part {
            bytes: BytesMut::new(),
            most,
            is_too_long: false,
        })))
    }

    pub fn add(&self, bytes: &Bytes) {
        let mut part = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if part.is_too_long || part.bytes.len() + bytes.len() > part.most {
            part.is_too_long = true;
            part.bytes = BytesMut::new();
            return;
        }
        part.bytes.extend_from_slice(bytes);
    }

    /// All of it; none if it was too long.
    fn take(&self) -> Option<Bytes> {
        let mut part = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!part.is_too_long).then(|| std::mem::take(&mut part.bytes).freeze())
    }
}

/// A request on its way to a target that a client waits for.
#[derive(Debug)]
pub(crate) struct Original {
    shadow: Arc<Shadow>,
    service: Arc<Service>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// Its body.
    pub asked: Copied,
}

impl Original {
    /// A target has begun to answer: what the answer is compared with, unless that was the shadow's own
    /// group.
    pub fn answered<B>(self, by: &str, answer: &http::Response<B>) -> Option<Answered> {
        if by == self.shadow.shadowing.group {
            return None;
        }
        Some(Answered {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: Copied::new(self.shadow.shadowing.body_max),
            original: self,
        })
    }
}

/// An answer on its way to a client.
#[derive(Debug)]
pub(crate) struct Answered {
    original: Original,
    status: u16,
    headers: HeaderMap,
    /// Its body.
    pub body: Copied,
}

impl Answered {
    /// The client has all of it: now the shadow is asked.
    pub fn ask_the_shadow(self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let shadow = Arc::clone(&self.original.shadow);
        if shadow.is_over.load(Relaxed) {
            return;
        }
        let (Some(asked), Some(body)) = (self.original.asked.take(), self.body.take()) else {
            shadow.too_long.fetch_add(1, Relaxed);
            return;
        };
        let Ok(room) = Arc::clone(&shadow.room).try_acquire_owned() else {
            shadow.dropped.fetch_add(1, Relaxed);
            return;
        };
        runtime.spawn(async move {
            let _room = room;
            self.ask(&shadow, asked, &body).await;
        });
    }

    async fn ask(self, shadow: &Shadow, asked: Bytes, body: &Bytes) {
        let original = &self.original;
        let mut request = Request::new(Either::Right(Full::from(asked)));
        *request.method_mut() = original.method.clone();
        *request.uri_mut() = original.uri.clone();
        *request.headers_mut() = original.headers.clone();
        let headers = request.headers_mut();
        headers.insert(headers::SHADOW, HeaderValue::from_static("1"));
        // The body is here whole, however it came.
        headers.remove(http::header::TRANSFER_ENCODING);
        headers.remove(http::header::EXPECT);
        let wish = Wish {
            only: Some(&shadow.shadowing.group),
            ..Wish::default()
        };
        let began = Instant::now();
        let route = original.service.enter(wish);
        let (outcome, found) = match send::send(&original.service, route, request).await {
            Err(failed) => (failed.outcome(), Err(failed.to_string())),
            Ok(sent) => {
                let status = sent.status();
                let (headers, came) = sent.into_parts();
                let came = Limited::new(came, shadow.shadowing.body_max);
                let patience = original.service.answer;
                let whole = match tokio::time::timeout(patience, came.collect()).await {
                    Ok(Ok(whole)) => Ok(whole.to_bytes()),
                    Ok(Err(error)) => Err(format!("its body: {error}")),
                    Err(_) => Err("its body did not come in time".to_string()),
                };
                let outcome = match &whole {
                    Ok(_) => Outcome::Answered(status),
                    Err(_) => Outcome::Unanswered,
                };
                (outcome, whole.map(|whole| (status, headers, whole)))
            }
        };
        if shadow.is_over.load(Relaxed) {
            return;
        }
        shadow.meter.ended(outcome, began.elapsed());
        let what = match found {
            Err(why) => {
                shadow.unanswered.fetch_add(1, Relaxed);
                why
            }
            Ok((status, headers, came)) => {
                let old = (self.status, &self.headers, body);
                let new = (status, &headers, &came);
                match compare::answers(&shadow.shadowing, old, new) {
                    None => {
                        shadow.same.fetch_add(1, Relaxed);
                        return;
                    }
                    Some(what) => {
                        shadow.different.fetch_add(1, Relaxed);
                        what
                    }
                }
            }
        };
        shadow.sample(original, what);
    }
}
