//! Plain TCP: a connection goes to a target as a whole.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::group::Open;
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
    let (route, mut first) = service.enter(wish);
    let mut route: VecDeque<_> = route.into();
    loop {
        let Some((group, target)) = route.pop_front() else {
            if !service.wait_for_target(began).await {
                break;
            }
            let again = service.enter(wish);
            (route, first) = (again.0.into(), again.1);
            continue;
        };
        let connecting = TcpStream::connect(target.address);
        match tokio::time::timeout(service.connect, connecting).await {
            Ok(Ok(stream)) => {
                target.welcome();
                let _ = stream.set_nodelay(true);
                group.meter.ended(Outcome::Answered(200), began.elapsed());
                let _open = Open::of(first.take(), &group);
                target.busy.fetch_add(1, Relaxed);
                tunnel::carry(client, stream, group).await;
                target.busy.fetch_sub(1, Relaxed);
                return;
            }
            _ => {
                target.shun();
                group.meter.retried();
                last = Some(group);
            }
        }
    }
    if let Some(group) = last {
        group.meter.ended(Outcome::Unreachable, began.elapsed());
    }
    tracing::warn!(service = service.name, "no target takes connections");
}
