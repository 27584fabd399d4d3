//! Bytes in both directions, after an upgrade or on a plain TCP listener.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};

use crate::group::Group;

/// Carries bytes until both sides have ended, or until the group's tunnels are cut.
pub(crate) async fn carry<A, B>(mut client: A, mut target: B, group: Arc<Group>)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut cut = group.cut.subscribe();
    cut.mark_unchanged();
    tokio::select! {
        carried = copy_bidirectional(&mut client, &mut target) => {
            if let Err(error) = carried {
                tracing::debug!(group = group.name, %error, "a tunnel broke");
            }
        }
        _ = cut.changed() => tracing::debug!(group = group.name, "a tunnel was cut"),
    }
}
