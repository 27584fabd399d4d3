//! The body of a target's answer on its way to the client, and what is let go at its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::group::AtWork;
use crate::pool::Sender;
use crate::shadow::Answered;

/// What a client is sent.
pub(crate) type Answer = Either<Carried, Full<Bytes>>;

/// The body of an answer, which is under way until its end.
#[derive(Debug)]
pub(crate) struct Carried {
    body: Incoming,
    at_work: AtWork,
    /// The connection that it comes over, until all of it has come.
    over: Option<Sender>,
    /// What the shadow's answer is compared with.
    answered: Option<Answered>,
}

impl Carried {
    pub fn new(body: Incoming, at_work: AtWork, over: Sender, answered: Option<Answered>) -> Self {
        Self {
            body,
            at_work,
            over: Some(over),
            answered,
        }
    }

    /// Keeps the connection for the next request, if it is fit for one.
    fn give_back(&mut self) {
        let Some(mut sender) = self.over.take() else {
            return;
        };
        let target = self.at_work.target();
        if sender.is_ready() {
            return target.pool.put(sender);
        }
        let target = Arc::clone(target);
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
