//! Devices: they connect to every node, all the time.

use std::{io, net::SocketAddr, thread};

use certward_tests::{
    Authority, Device, Liar, Packet, Seeded, Session,
    ledger::{Connection, End, Event, Span},
};

use crate::{PAUSE, Run, deployments::DEPLOYMENTS};

/// Devices of one CA, or without a certificate.
pub(crate) struct Devices {
    pub(crate) ca: Option<usize>,
    pub(crate) fresh: Device,
    pub(crate) resuming: Device,
}

/// A node that lies about the first deployment.
pub(crate) struct Lie {
    pub(crate) node: usize,
    pub(crate) liar: Liar,
}

impl Devices {
    /// Of each CA, and those without a certificate. Devices of the first CA know only TLS 1.2.
    pub(crate) fn of(cas: &[Authority], servers: &Authority) -> Vec<Self> {
        let device = Device::trusting(servers);
        let with = |(ca, authority): (usize, &Authority)| {
            let fresh = device.clone().with_identity(&authority.client("device"));
            Self { ca: Some(ca), ..Self::new(if ca == 0 { fresh.with_tls12() } else { fresh }) }
        };
        cas.iter().enumerate().map(with).chain([Self::new(device.clone())]).collect()
    }

    fn new(fresh: Device) -> Self {
        Self { ca: None, resuming: fresh.clone().with_resumption(), fresh }
    }
}

impl Run {
    /// Connects to a node until the end.
    pub(crate) fn watch(&self, node: usize, mut random: Seeded) {
        while !self.is_over() {
            let deployment = random.below(DEPLOYMENTS.len());
            let devices = &self.devices[random.below(self.devices.len())];
            let device = if random.one_in(2) { &devices.resuming } else { &devices.fresh };
            self.connect(device, devices.ca, deployment, node, &mut random);
            thread::sleep(PAUSE);
        }
    }

    pub(crate) fn connect(
        &self,
        device: &Device,
        ca: Option<usize>,
        deployment: usize,
        node: usize,
        random: &mut Seeded,
    ) {
        let name = DEPLOYMENTS[deployment].names[random.below(2)];
        let from = self.now();
        let (shown, end) = match device.handshake(self.address(deployment, node), name) {
            Ok(mut session) => {
                let shown = (!session.is_resumed()).then(|| self.leaves.lock().unwrap()[session.leaf()]);
                (shown, self.connect_mqtt(&mut session, random))
            }
            Err(error) => (None, self.end(&error)),
        };
        let span = Span { from, to: self.now() };
        self.note(Event::Connection(Connection { deployment, node, span, ca, shown, end }));
    }

    /// Only now is a client certificate judged, in TLS 1.3.
    fn connect_mqtt(&self, session: &mut Session, random: &mut Seeded) -> End {
        let client_id = format!("device-{}", random.below(usize::MAX));
        match session.exchange(&Packet::connect(&client_id), &Packet::CONNACK) {
            Ok(()) => End::Admitted,
            Err(error) => self.end(&error),
        }
    }

    fn end(&self, error: &io::Error) -> End {
        match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(rustls::Error::AlertReceived(_)) => End::Refused,
            // For example another deployment's certificate.
            Some(other) => {
                self.note(Event::Unexpected(format!("at {:?}: a device reports {other}", self.now())));
                End::Broken
            }
            None => End::Broken,
        }
    }

    fn address(&self, deployment: usize, node: usize) -> SocketAddr {
        match &self.lie {
            Some(lie) if (deployment, node) == (0, lie.node) => lie.liar.address(),
            _ => self.cluster.nodes()[node].mqtts(),
        }
    }
}
