use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use certward_store::{DeploymentId, Generation, VersionId};
use socket2::Socket;

use crate::upstream::dial;

/// What the accepting side of a proof's connection used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) deployment: DeploymentId,
    /// The deployment's generation.
    pub(crate) generation: Generation,
    /// The upload's version.
    pub(crate) version: VersionId,
}

/// The source addresses of proofs under way. A connection from one of them reaches no broker, no limit and no list of failures; the
/// node itself holds the address while it stands here, so nobody else can come from it.
///
/// Of two connections to different listeners the source may be the same.
#[derive(Debug, Default)]
pub(crate) struct Probes(Mutex<HashMap<Line, Arc<Probe>>>);

/// A connection of this node to itself: from where, and to which port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Line {
    source: SocketAddr,
    port: u16,
}

/// One proof's connection, as its accepting side sees it.
#[derive(Debug, Default)]
pub(crate) struct Probe(Mutex<Option<Used>>);

/// That a source address is registered; until dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    probes: Arc<Probes>,
    line: Line,
    probe: Arc<Probe>,
}

impl Probes {
    /// Begins a proof's connection, which is registered before anybody can accept it.
    pub(crate) fn begin(self: &Arc<Self>, socket: &Socket, to: SocketAddr) -> io::Result<Registered> {
        // Held meanwhile: from where it comes is known only once it is under way, and the listener looks here first.
        let mut map = self.map();
        dial::begin(socket, to)?;
        let source = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let (line, probe) = (Line { source, port: to.port() }, Arc::<Probe>::default());
        map.insert(line, Arc::clone(&probe));
        Ok(Registered { probes: Arc::clone(self), line, probe })
    }

    /// How many proofs' connections are under way.
    pub(crate) fn len(&self) -> usize {
        self.map().len()
    }

    /// The probe that comes from this address to the listener with this port, if it is one.
    pub(crate) fn of(&self, peer: SocketAddr, port: u16) -> Option<Arc<Probe>> {
        self.map().get(&Line { source: peer, port }).cloned()
    }

    fn map(&self) -> MutexGuard<'_, HashMap<Line, Arc<Probe>>> {
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
        self.line.source
    }

    /// What the accepting side said, so far.
    pub(crate) fn used(&self) -> Option<Used> {
        self.probe.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.probes.map().remove(&self.line);
    }
}
