use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use certward_store::{DeploymentId, Generation};
use socket2::Socket;

use crate::outgoing;

/// What the accepting side of a proof's connection used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) deployment: DeploymentId,
    /// The deployment's generation.
    pub(crate) generation: Generation,
    /// The upload's version.
    pub(crate) version: Generation,
}

/// The source addresses of proofs under way. A connection from one of them reaches no broker, no limit and no list of failures; the
/// node itself holds the address while it stands here, so nobody else can come from it.
#[derive(Debug, Default)]
pub(crate) struct Probes(Mutex<HashMap<SocketAddr, Arc<Probe>>>);

/// One proof's connection, as its accepting side sees it.
#[derive(Debug, Default)]
pub(crate) struct Probe(Mutex<Option<Used>>);

/// That a source address is registered; until dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    probes: Arc<Probes>,
    source: SocketAddr,
    probe: Arc<Probe>,
}

impl Probes {
    /// Begins a proof's connection, which is registered before anybody can accept it.
    pub(crate) fn begin(self: &Arc<Self>, socket: &Socket, to: SocketAddr) -> io::Result<Registered> {
        // Held meanwhile: from where it comes is known only once it is under way, and the listener looks here first.
        let mut map = self.map();
        outgoing::begin(socket, to)?;
        let source = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let probe = Arc::<Probe>::default();
        map.insert(source, Arc::clone(&probe));
        Ok(Registered { probes: Arc::clone(self), source, probe })
    }

    /// How many proofs' connections are under way.
    pub(crate) fn len(&self) -> usize {
        self.map().len()
    }

    /// The probe that comes from this address, if it is one.
    pub(crate) fn of(&self, peer: SocketAddr) -> Option<Arc<Probe>> {
        self.map().get(&peer).cloned()
    }

    fn map(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Probe>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe {
    pub(crate) fn report(&self, used: Used) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(used);
    }
}

impl Registered {
    /// Where the connection comes from.
    pub(crate) fn source(&self) -> SocketAddr {
        self.source
    }

    /// What the accepting side said, so far.
    pub(crate) fn used(&self) -> Option<Used> {
        self.probe.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.probes.map().remove(&self.source);
    }
}
