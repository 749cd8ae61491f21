//! Proves a generation by handshakes through this node's listeners, as a device makes them.
//!
//! At every entry point, in TLS 1.2 and 1.3: the version's chain; a verified server signature; a
//! certificate request exactly in two-way, with the version's CA names; and the accepting side used
//! this generation, not the same leaf with another CA.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use certward_lifecycle::{Entropy, ProofFailure};
use certward_pki::ClientTrust;
use certward_store::{Deployment, Version};
use rustls::{
    SupportedProtocolVersion,
    crypto::CryptoProvider,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{IpAddr, Ipv4Addr, ServerName};
use tokio::{io::AsyncWriteExt, time::timeout};
use tokio_rustls::TlsConnector;

use crate::{
    Listener, Protocol,
    accept::incoming_proxy,
    proof::{
        entry_point::{EntryPoint, entry_points, reach},
        probes::{Probes, Used},
        recording_client::{HandshakeRecord, RecordingClient},
    },
    upstream::dial,
};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Prover {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) default: Option<certward_store::DeploymentId>,
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) probes: Arc<Probes>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

struct Expected {
    used: Used,
    chain: Vec<Vec<u8>>,
    asked_by: Option<BTreeSet<Vec<u8>>>,
}

impl Prover {
    pub(crate) async fn prove(&self, deployment: &Deployment, version: &Version) -> Result<(), ProofFailure> {
        let ways = entry_points(&self.listeners, self.default.as_ref(), deployment)
            .map_err(ProofFailure::NoEntryPoint)?;
        let expected = Expected::of(deployment, version).map_err(ProofFailure::NotProven)?;
        for way in &ways {
            for tls in [&TLS13, &TLS12] {
                self.handshake(way, tls, &expected).await.map_err(|reason| {
                    let Listener { protocol, .. } = &self.listeners[way.listener];
                    let name = way.host.as_ref().map_or("without a name", |host| host.as_str());
                    let address = self.addresses[way.listener];
                    ProofFailure::NotProven(format!(
                        "{protocol} {address} {name}, {:?}: {reason}",
                        tls.version
                    ))
                })?;
            }
        }
        Ok(())
    }

    async fn handshake(
        &self,
        way: &EntryPoint,
        tls: &'static SupportedProtocolVersion,
        expected: &Expected,
    ) -> Result<(), String> {
        let recorder = RecordingClient::new(Arc::clone(&self.provider));
        let alpn = match self.listeners[way.listener].protocol {
            Protocol::Mqtts => None,
            Protocol::Wss => Some(b"http/1.1".as_slice()),
        };
        let config = recorder.config(tls, alpn, way.host.is_some()).map_err(|error| error.to_string())?;
        let name = self.name(way)?;
        let connector = TlsConnector::from(Arc::new(config));

        let target = reach(self.addresses[way.listener]);
        let socket = dial::open(target, Some(target.ip())).map_err(io("no socket"))?;
        let registered = self.probes.begin(&socket, target).map_err(io("no connection"))?;
        let outcome = timeout(HANDSHAKE_TIMEOUT, async {
            let mut stream = dial::finish(socket, target).await?;
            if self.listeners[way.listener].awaits_header_from(registered.source().ip()) {
                stream.write_all(&incoming_proxy::LOCAL).await?;
            }
            connector.connect(name, stream).await
        })
        .await
        .map_err(|_| "the handshake does not end in time".to_owned())?;
        expected.compare(&recorder.record(), registered.used().as_ref(), outcome.err())
    }

    fn name(&self, way: &EntryPoint) -> Result<ServerName<'static>, String> {
        let Some(host) = &way.host else {
            // An IP address is not sent as SNI.
            return Ok(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1]))));
        };
        // Random, to match only the wildcard.
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        let label = format!("certward-proof-{:016x}", u64::from_be_bytes(random));
        ServerName::try_from(host.example(&label)).map_err(|_| format!("{host} cannot be sent as a name"))
    }
}

impl Expected {
    fn of(deployment: &Deployment, version: &Version) -> Result<Self, String> {
        let asked_by = if version.client_cas.is_empty() {
            None
        } else {
            let cas = version.client_cas.iter().map(|der| der.clone().into()).collect();
            let trust = ClientTrust::new(cas).map_err(|error| error.to_string())?;
            Some(trust.subjects().into_iter().collect())
        };
        let used = Used {
            deployment: deployment.id.clone(),
            generation: deployment.generation,
            version: version.version,
        };
        Ok(Self { used, chain: version.chain.clone(), asked_by })
    }

    fn compare(
        &self,
        seen: &HandshakeRecord,
        used: Option<&Used>,
        error: Option<std::io::Error>,
    ) -> Result<(), String> {
        // Two-way fails without a client certificate, but after the server's signature.
        let shown = !seen.chain.is_empty() && seen.signature_verified;
        match error {
            Some(error) if !shown || self.asked_by.is_none() => {
                return Err(format!("the handshake fails: {error}"));
            }
            _ if !shown => return Err("the server did not show that it has the key".to_owned()),
            _ => {}
        }
        if seen.chain != self.chain {
            return Err("another certificate is presented".to_owned());
        }
        let asked_by = seen.asked_by.as_ref().map(|names| names.iter().cloned().collect::<BTreeSet<_>>());
        if asked_by != self.asked_by {
            return Err(match (&asked_by, &self.asked_by) {
                (None, _) => "no client certificate is asked for",
                (_, None) => "a client certificate is asked for",
                _ => "a client certificate is asked for by other CA names",
            }
            .to_owned());
        }
        match used {
            Some(used) if *used == self.used => Ok(()),
            Some(_) => Err("another generation is served".to_owned()),
            None => Err("the connection was not taken for a proof".to_owned()),
        }
    }
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}

#[cfg(test)]
mod tests {
    use certward_store::{DeploymentId, Generation};

    use super::*;

    fn used(generation: i64) -> Used {
        Used {
            deployment: DeploymentId::parse("d").unwrap(),
            generation: Generation(generation),
            version: certward_store::VersionId(1),
        }
    }

    fn seen(leaf: u8, verified: bool, asked_by: Option<&[u8]>) -> HandshakeRecord {
        HandshakeRecord {
            chain: vec![vec![leaf]],
            signature_verified: verified,
            asked_by: asked_by.map(|names| names.iter().map(|name| vec![*name]).collect()),
        }
    }

    #[test]
    fn only_the_very_generation_is_proven() {
        let one_way = Expected { used: used(2), chain: vec![vec![1]], asked_by: None };
        let two_way =
            Expected { used: used(2), chain: vec![vec![1]], asked_by: Some([vec![7], vec![8]].into()) };
        let alert = || Some(std::io::Error::other("certificate required"));
        let two = Some([8, 7].as_slice());
        let cases = [
            ("one-way", one_way.compare(&seen(1, true, None), Some(&used(2)), None), true),
            ("it failed", one_way.compare(&seen(1, true, None), Some(&used(2)), alert()), false),
            ("another leaf", one_way.compare(&seen(9, true, None), Some(&used(2)), None), false),
            ("no signature", one_way.compare(&seen(1, false, None), Some(&used(2)), None), false),
            ("asked", one_way.compare(&seen(1, true, two), Some(&used(2)), None), false),
            ("generation", one_way.compare(&seen(1, true, None), Some(&used(1)), None), false),
            ("unclaimed", one_way.compare(&seen(1, true, None), None, None), false),
            (
                "two-way, ends with an alert",
                two_way.compare(&seen(1, true, two), Some(&used(2)), alert()),
                true,
            ),
            (
                "two-way, alert still to come",
                two_way.compare(&seen(1, true, two), Some(&used(2)), None),
                true,
            ),
            ("not asked", two_way.compare(&seen(1, true, None), Some(&used(2)), None), false),
            ("other CAs", two_way.compare(&seen(1, true, Some(&[7])), Some(&used(2)), None), false),
            (
                "two-way, nothing shown",
                two_way.compare(&HandshakeRecord::default(), Some(&used(2)), alert()),
                false,
            ),
        ];
        for (case, result, proven) in cases {
            assert_eq!(result.is_ok(), proven, "{case}: {result:?}");
        }
    }
}
