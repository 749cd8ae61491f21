use anyhow::{Context, Result};
use certward_tests::{Certward, certward_binary};

use super::{
    CertwardFleet, FleetServer, Peer, Testbed, certward, forwarder, haproxy, hitch, mosquitto, nginx,
    site::{Ports, Site, output_line},
    stunnel,
};
use crate::{
    load::{Endpoint, Workload},
    process::{Meter, Program},
};

/// A running server, in a process of its own with one worker on its own core.
pub(crate) struct Server {
    pub(crate) peer: Peer,
    ports: Ports,
    meter: Meter,
    running: Running,
}

enum Running {
    Program(Program),
    Certward(Box<Certward>),
}

impl Server {
    /// Again if the port was taken before its bind.
    pub(crate) fn start(peer: Peer, testbed: &Testbed) -> Result<Self> {
        const TRIES: usize = 3;
        for _ in 1..TRIES {
            match Self::try_start(peer, testbed) {
                Ok(server) => return Ok(server),
                Err(error) => eprintln!("{error:#}"),
            }
        }
        Self::try_start(peer, testbed)
    }

    fn try_start(peer: Peer, testbed: &Testbed) -> Result<Self> {
        let site = Site::new(testbed, &peer.title().replace(' ', "-"))?;
        let started = match peer {
            Peer::Certward => return Ok(Self::certward(testbed, None)),
            Peer::Rustls => forwarder::start(&site, true),
            Peer::Plain => forwarder::start(&site, false),
            Peer::Nginx | Peer::NginxTuned => nginx::start(&site, peer.is_tuned()),
            Peer::Haproxy | Peer::HaproxyTuned => haproxy::start(&site, peer.is_tuned()),
            Peer::Stunnel => stunnel::start(&site),
            Peer::Hitch => hitch::start(&site),
            Peer::Mosquitto => mosquitto::start(&site),
        };
        let mut program = started.with_context(|| format!("{} does not start", peer.title()))?;
        for address in site.ports.0 {
            program.wait_listening(address)?;
        }
        let meter = Meter::of(program.id());
        Ok(Self { peer, ports: site.ports, meter, running: Running::Program(program) })
    }

    /// With this setting of `devices`, or the usual one.
    pub(crate) fn certward(testbed: &Testbed, devices: Option<&'static str>) -> Self {
        let (mut certward, ports) = certward::start(testbed, devices);
        let meter = Meter::of(certward.process().id());
        Self { peer: Peer::Certward, ports, meter, running: Running::Certward(Box::new(certward)) }
    }

    pub(crate) fn endpoint(&self, workload: Workload, testbed: &Testbed) -> Endpoint {
        let listener = workload.listener();
        Endpoint {
            address: self.ports.of(listener),
            sni: listener.host().to_owned(),
            leaf: Some(testbed.credentials.of(listener).leaf.der.clone()),
            tls: self.peer != Peer::Plain,
        }
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(crate) fn log(&self) -> String {
        match &self.running {
            Running::Program(program) => program.output(),
            Running::Certward(certward) => certward.log(),
        }
    }
}

/// `None` for a peer that does not choose among many certificates by SNI.
pub(crate) fn fleet_server(peer: Peer, testbed: &Testbed) -> Result<Option<Box<dyn FleetServer>>> {
    Ok(Some(match peer {
        Peer::Certward => Box::new(CertwardFleet::new(testbed.broker())),
        Peer::Haproxy => Box::new(haproxy::fleet(testbed)?),
        Peer::Hitch => Box::new(hitch::fleet(testbed)?),
        Peer::Nginx => Box::new(nginx::fleet(testbed)?),
        _ => return Ok(None),
    }))
}

pub(crate) fn version(peer: Peer) -> String {
    match peer {
        Peer::Certward => output_line(certward_binary(), "--version", ""),
        Peer::Nginx | Peer::NginxTuned => nginx::version(),
        Peer::Haproxy | Peer::HaproxyTuned => haproxy::version(),
        Peer::Stunnel => stunnel::version(),
        Peer::Hitch => hitch::version(),
        Peer::Mosquitto => mosquitto::version(),
        Peer::Rustls | Peer::Plain => forwarder::version(),
    }
}
