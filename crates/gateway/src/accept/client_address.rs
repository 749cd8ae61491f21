//! Who a new connection is from: its peer, or whom the load balancer before it names.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use crate::{
    Listener,
    accept::{
        admission::{Displaced, Entrant, unless_displaced},
        incoming_proxy::{Stated, read},
    },
    context::NodeContext,
    observe::{cause::Cause, failures::Seen},
    proof::probes::Probe,
};

/// A connection as it was accepted.
pub(crate) struct Arrival {
    pub(crate) client: TcpStream,
    /// Who is at the other end: the device, or the load balancer before it.
    pub(crate) peer: SocketAddr,
    /// It comes from a load balancer, which says by a header who the device is.
    pub(crate) header_first: bool,
    pub(crate) listener: Arc<Listener>,
    /// It is one of this node's own proofs.
    pub(crate) probe: Option<Arc<Probe>>,
    /// A proof is none.
    pub(crate) entrant: Option<Entrant>,
}

/// A connection of which it is known who is at its other end.
pub(crate) struct ResolvedClient {
    pub(crate) client: TcpStream,
    /// The device.
    pub(crate) peer: SocketAddr,
    /// What the device connected to, where a load balancer says so.
    pub(crate) to: Option<SocketAddr>,
    pub(crate) listener: Arc<Listener>,
    pub(crate) probe: Option<Arc<Probe>>,
    pub(crate) entrant: Option<Entrant>,
}

/// Reads the load balancer's header where there must be one, and counts the connection to the device that it names. `None`: the
/// connection is over, and counted.
///
/// Whether it is a proof of our own was decided by the peer of the connection, before: no header makes anybody one.
pub(crate) async fn resolve(
    context: &NodeContext,
    arrival: Arrival,
    deadline: Instant,
) -> Option<ResolvedClient> {
    let Arrival { mut client, mut peer, header_first, listener, probe, mut entrant } = arrival;
    let mut to = None;
    if header_first {
        let reading = timeout_at(deadline, read(&mut client));
        let stated = match unless_displaced(entrant.as_ref(), reading).await {
            Ok(in_time) => in_time.unwrap_or(Err(Cause::Timeout)),
            Err(Displaced) => Err(Cause::Displaced),
        };
        match stated {
            Ok(Some(Stated::Addresses { from, to: stated })) => {
                context.metrics.introduced("address");
                (peer, to) = (from, Some(stated));
            }
            Ok(stated) => {
                if probe.is_none() {
                    context.metrics.introduced("nothing");
                }
                // A health check is no failure: it would push those of devices out of the list.
                stated?;
            }
            Err(cause) => {
                if probe.is_none() {
                    let seen = Seen { deployment: listener.deployment.clone(), ..Seen::default() };
                    context.handshake_failed(&seen, peer, cause);
                }
                return None;
            }
        }
        if let Some(Err(reason)) = entrant.as_mut().map(|entrant| entrant.is_from(peer.ip())) {
            context.metrics.refused(reason);
            return None;
        }
    }
    Some(ResolvedClient { client, peer, to, listener, probe, entrant })
}
