//! Plain TCP: a connection goes to a target as a whole.

use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::group::AtWork;
use crate::meter::Outcome;
use crate::proxy::Front;
use crate::service::Wish;
use crate::tunnel;

/// Connects a client with the first target that takes it.
pub(crate) async fn serve<S>(client: S, front: &Front)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = &front.service;
    let began = Instant::now();
    if !service.wait_while_held().await {
        return;
    }
    let wish = Wish {
        only: front.group.as_deref(),
        least: front.test,
        rather: None,
    };
    let mut last = None;
    let (mut route, mut first) = service.enter(wish);
    loop {
        let Some(place) = route.next() else {
            if !service.wait_for_target(began).await {
                break;
            }
            (route, first) = service.enter(wish);
            continue;
        };
        let (group, target) = (place.group(), place.target());
        let connecting = TcpStream::connect(target.address);
        match tokio::time::timeout(service.connect, connecting).await {
            Ok(Ok(stream)) => {
                target.welcome();
                let _ = stream.set_nodelay(true);
                group.meter.ended(Outcome::Answered(200), began.elapsed());
                let at_work = AtWork::new(first.take(), place);
                tunnel::carry(client, stream, at_work.group()).await;
                return;
            }
            _ => {
                target.shun();
                group.meter.retried();
                last = Some(place);
            }
        }
    }
    if let Some(place) = last {
        let meter = &place.group().meter;
        meter.ended(Outcome::Unreachable, began.elapsed());
    }
    tracing::warn!(service = service.name, "no target takes connections");
}
