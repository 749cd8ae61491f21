//! Devices that are revoked, by the deny-list or by CRLs. Others notice nothing.

mod cost;
mod crls;
mod deny_list;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use certward_lifecycle::{NewCrl, NewRevocation, RevocationTarget, SilentNodes};
use certward_pki::StalePolicy;
use certward_store::{CloseRate, CrlId, DeploymentId, Generation, RevocationId};
use rustls::SupportedProtocolVersion;

use crate::stage::{Authority, Broker, CONNECT, Connection, Device, Leaf, TLS13, World, eventually};

const HOST: &str = "d.test";
const UPGRADE: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: d.test\r\n\r\n";

/// A two-way deployment with its devices.
struct Fleet {
    world: World,
    deployment: DeploymentId,
    servers: Authority,
    clients: Authority,
    /// Trusted too.
    others: Vec<Authority>,
    version: &'static SupportedProtocolVersion,
    is_wss: bool,
    broker: Broker,
}

impl Fleet {
    async fn new() -> Self {
        Self::of(TLS13, false).await
    }

    async fn of(version: &'static SupportedProtocolVersion, is_wss: bool) -> Self {
        Self::in_world(World::new().await, version, is_wss).await
    }

    async fn in_world(world: World, version: &'static SupportedProtocolVersion, is_wss: bool) -> Self {
        let (servers, clients, broker) =
            (Authority::new("servers"), Authority::new("clients"), Broker::echo().await);
        let deployment = world.deploy_with("d", broker.address, Some(broker.address), &[HOST]).await;
        world.run(&deployment, &servers.server(&[HOST]), &[&clients]).await;
        let others = Vec::new();
        Self { world, deployment, servers, clients, others, version, is_wss, broker }
    }

    async fn trust(&mut self, other: Authority) {
        self.others.push(other);
        let cas: Vec<_> = std::iter::once(&self.clients).chain(&self.others).collect();
        self.world.run(&self.deployment, &self.servers.server(&[HOST]), &cas).await;
    }

    fn device(&self, leaf: &Leaf) -> Device {
        Device::new(&self.servers, Some(leaf), &[self.version])
    }

    async fn talk(&self, device: &Device) -> std::io::Result<Connection> {
        let (to, first) = match self.is_wss {
            true => (self.world.wss(), UPGRADE),
            false => (self.world.mqtts(), CONNECT),
        };
        device.talk_as(to, HOST, first).await
    }

    /// As `certificate_revoked`.
    async fn is_refused(&self, device: &Device) {
        self.is_refused_as(device, "CertificateRevoked", "revoked").await;
    }

    async fn is_refused_as(&self, device: &Device, alert: &str, cause: &str) {
        let refused = self.talk(device).await.err().expect("it is refused").to_string();
        assert!(refused.contains(alert), "{refused}");
        assert_eq!(self.world.failures(&self.deployment)[0], cause);
    }

    async fn revoke(&self, targets: Vec<RevocationTarget>) -> Vec<RevocationId> {
        self.revoke_at(targets, None).await
    }

    async fn revoke_at(&self, targets: Vec<RevocationTarget>, rate: Option<CloseRate>) -> Vec<RevocationId> {
        let new: Vec<_> =
            targets.into_iter().map(|target| NewRevocation { target, reason: String::new() }).collect();
        let this = self.world.this(&self.deployment).await;
        let revoked = self.world.lifecycle.revoke(&self.world.admin, &this, &new, rate).await.unwrap();
        self.is_acknowledged(revoked.generation).await;
        revoked.entries.iter().map(|entry| entry.revocation.id).collect()
    }

    async fn withdraw(&self, id: RevocationId) {
        let this = self.world.this(&self.deployment).await;
        let generation = self.world.lifecycle.remove_revocation(&self.world.admin, &this, id).await.unwrap();
        self.is_acknowledged(generation).await;
    }

    async fn is_acknowledged(&self, change: Generation) {
        eventually("it is acknowledged", || async {
            let without = self.world.lifecycle.nodes_without(&self.deployment, change).await.unwrap();
            without == Some(SilentNodes::These(vec![]))
        })
        .await;
    }

    fn closed(&self, reason: &str) -> u64 {
        self.world.metric(&format!(r#"certward_gateway_closed_total{{reason="{reason}"}}"#))
    }

    /// DER, or PEM with its issuer. In place of one with this id.
    async fn set_crl(&self, id: &str, crl: impl Into<Vec<u8>>, stale: StalePolicy) {
        self.set_crl_timed(id, crl.into(), stale).await;
    }

    /// How long it took until it was stored, and from then until it was acknowledged.
    async fn set_crl_timed(&self, id: &str, crl: Vec<u8>, stale: StalePolicy) -> (Duration, Duration) {
        let began = Instant::now();
        let this = self.world.this(&self.deployment).await;
        let (id, new) = (CrlId::parse(id).unwrap(), NewCrl::Upload(Arc::new(crl)));
        let set = self.world.lifecycle.set_crl(&self.world.admin, &this, &id, new, Some(stale), None);
        let generation = set.await.unwrap().generation;
        let stored = began.elapsed();
        self.is_acknowledged(generation).await;
        (stored, began.elapsed() - stored)
    }

    async fn remove_crl(&self, id: &str) {
        let this = self.world.this(&self.deployment).await;
        let id = CrlId::parse(id).unwrap();
        let removed = self.world.lifecycle.remove_crl(&self.world.admin, &this, &id);
        self.is_acknowledged(removed.await.unwrap()).await;
    }
}

fn certificate(leaf: &Leaf) -> RevocationTarget {
    RevocationTarget::Certificate(leaf.der.clone())
}

/// The keys of later uploads cannot be read.
const DAMAGE: &str = "CREATE TRIGGER damage AFTER INSERT ON version BEGIN \
     UPDATE version SET sealed_key = x'00' WHERE deployment = NEW.deployment AND version = NEW.version; END";
