use std::{collections::HashMap, io, net::SocketAddr, sync::Arc};

use certward_store::{DeploymentId, Generation, VersionId};
use parking_lot::{Mutex, MutexGuard};
use socket2::Socket;

use crate::upstream::dial;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) deployment: DeploymentId,
    pub(crate) generation: Generation,
    pub(crate) version: VersionId,
}

/// Source addresses of proofs in progress; these connections skip broker, limits and failure list.
/// The node holds the address, so no client can use it. Different listeners may see the same
/// source.
#[derive(Debug, Default)]
pub(crate) struct Probes(Mutex<HashMap<ProbeSource, Arc<Probe>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ProbeSource {
    source: SocketAddr,
    port: u16,
}

#[derive(Debug, Default)]
pub(crate) struct Probe(Mutex<Option<Used>>);

/// A source address, until dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    probes: Arc<Probes>,
    line: ProbeSource,
    probe: Arc<Probe>,
}

impl Probes {
    /// Registered before it can be accepted.
    pub(crate) fn begin(self: &Arc<Self>, socket: &Socket, to: SocketAddr) -> io::Result<Registered> {
        // Held throughout: the source is known only after the connect, and the listener looks here.
        let mut map = self.map();
        dial::begin(socket, to)?;
        let source = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let (line, probe) = (ProbeSource { source, port: to.port() }, Arc::<Probe>::default());
        map.insert(line, Arc::clone(&probe));
        Ok(Registered { probes: Arc::clone(self), line, probe })
    }

    pub(crate) fn len(&self) -> usize {
        self.map().len()
    }

    pub(crate) fn of(&self, peer: SocketAddr, port: u16) -> Option<Arc<Probe>> {
        self.map().get(&ProbeSource { source: peer, port }).cloned()
    }

    fn map(&self) -> MutexGuard<'_, HashMap<ProbeSource, Arc<Probe>>> {
        self.0.lock()
    }
}

impl Probe {
    pub(crate) fn report(&self, used: Used) {
        *self.0.lock() = Some(used);
    }
}

impl Registered {
    pub(crate) fn source(&self) -> SocketAddr {
        self.line.source
    }

    pub(crate) fn used(&self) -> Option<Used> {
        self.probe.0.lock().clone()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.probes.map().remove(&self.line);
    }
}
