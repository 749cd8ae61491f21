//! The device's address: the peer, or the source in the PROXY header.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use crate::{
    Listener,
    accept::{
        admission::{Displaced, UnfinishedConnection, unless_displaced},
        incoming_proxy::{Stated, read},
    },
    context::NodeContext,
    observe::{cause::Cause, failures::Seen},
    proof::probes::Probe,
};

pub(crate) struct Arrival {
    pub(crate) client: TcpStream,
    /// The device, or the load balancer in front of it.
    pub(crate) peer: SocketAddr,
    /// The peer is a load balancer and must send a PROXY header.
    pub(crate) header_first: bool,
    pub(crate) listener: Arc<Listener>,
    /// Set for this node's own probes.
    pub(crate) probe: Option<Arc<Probe>>,
    /// `None` for probes.
    pub(crate) entrant: Option<UnfinishedConnection>,
}

pub(crate) struct ResolvedClient {
    pub(crate) client: TcpStream,
    pub(crate) peer: SocketAddr,
    /// Stated by the load balancer.
    pub(crate) to: Option<SocketAddr>,
    pub(crate) listener: Arc<Listener>,
    pub(crate) probe: Option<Arc<Probe>>,
    pub(crate) entrant: Option<UnfinishedConnection>,
}

/// Reads a due PROXY header and counts the connection to its address. `None`: the connection is
/// over and recorded. Probes are recognised by their TCP peer: no header makes one.
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
                context.metrics.proxy_header("address");
                (peer, to) = (from, Some(stated));
            }
            Ok(stated) => {
                if probe.is_none() {
                    context.metrics.proxy_header("nothing");
                }
                // A health check is not recorded: it would evict failures of devices.
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
        if let Some(Err(reason)) = entrant.as_mut().map(|entrant| entrant.set_device(peer.ip())) {
            context.metrics.refused(reason);
            return None;
        }
    }
    Some(ResolvedClient { client, peer, to, listener, probe, entrant })
}
