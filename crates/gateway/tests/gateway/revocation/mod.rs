//! Devices that are revoked, by the deny-list or by CRLs. Others notice nothing.

mod crls;
mod deny_list;

use certward_lifecycle::{Entropy as _, NewRevocation, RevocationTarget, SilentNodes, SystemEntropy};
use certward_pki::{Crl, CrlCircumstances, StalePolicy, judge_crl};
use certward_store::{
    Clock as _, CloseRate, CrlContent, CrlId, CrlRevision, DeploymentCrl, DeploymentId, Generation,
    RevocationId, SystemClock, Timestamp,
};
use rustls::SupportedProtocolVersion;

use crate::stage::{Authority, Broker, CONNECT, Connection, Device, Leaf, TLS13, World};

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
    _broker: Broker,
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
        Self { world, deployment, servers, clients, others, version, is_wss, _broker: broker }
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
        let without = self.world.lifecycle.nodes_without(&self.deployment, change).await.unwrap();
        assert_eq!(without, Some(SilentNodes::These(vec![])));
    }

    fn closed(&self, reason: &str) -> u64 {
        self.world.metric(&format!(r#"certward_gateway_closed_total{{reason="{reason}"}}"#))
    }

    /// PEM, with its issuer if that is no client CA. In place of one with this id.
    async fn set_crl(&self, id: &str, pem: &str, stale: StalePolicy) {
        let cas = std::iter::once(&self.clients).chain(&self.others);
        let cas: Vec<_> = cas.map(|ca| ca.der().to_vec()).collect();
        let circumstances =
            CrlCircumstances { now: SystemClock.now().to_time(), client_cas: &cas, in_service: None, stale };
        let judgement = judge_crl(pem.as_bytes(), &circumstances);
        let crl = judgement.crl.unwrap_or_else(|| panic!("{:?}", judgement.findings));
        let mut tx = self.world.lifecycle.store().begin().await.unwrap();
        let deployment = tx.deployment(&self.deployment).await.unwrap().unwrap();
        let generation = tx.draw_generation(&deployment.id).await.unwrap();
        let row = self.row(id, generation, &crl, stale);
        tx.put_crl(&deployment.id, &row, Some(&crl.der)).await.unwrap();
        tx.set_tls(&deployment.id, generation, &deployment.tls).await.unwrap();
        tx.commit().await.unwrap();
        self.is_acknowledged(generation).await;
    }

    fn row(&self, id: &str, generation: Generation, crl: &Crl, stale_policy: StalePolicy) -> DeploymentCrl {
        let mut revision = [0; 16];
        SystemEntropy.fill(&mut revision);
        let content = CrlContent {
            revision: CrlRevision(revision),
            bytes: crl.der.len() as u64,
            fingerprint: "00".repeat(32),
            signer_spki: crl.signer_spki.clone(),
            issuer: crl.issuer.to_string(),
            number: crl.number.as_ref().map(ToString::to_string),
            entries: crl.entries as u64,
            this_update: Timestamp::from_time(crl.this_update),
            next_update: crl.next_update.map(Timestamp::from_time),
        };
        DeploymentCrl {
            id: CrlId::parse(id).unwrap(),
            generation,
            content: Some(content),
            stale_policy,
            fetching: None,
            put_by: self.world.admin.clone(),
            put_at: SystemClock.now(),
        }
    }

    async fn remove_crl(&self, id: &str) {
        let mut tx = self.world.lifecycle.store().begin().await.unwrap();
        let deployment = tx.deployment(&self.deployment).await.unwrap().unwrap();
        let generation = tx.draw_generation(&deployment.id).await.unwrap();
        assert!(tx.remove_crl(&deployment.id, &CrlId::parse(id).unwrap()).await.unwrap());
        tx.set_tls(&deployment.id, generation, &deployment.tls).await.unwrap();
        tx.commit().await.unwrap();
        self.is_acknowledged(generation).await;
    }
}

fn certificate(leaf: &Leaf) -> RevocationTarget {
    RevocationTarget::Certificate(leaf.der.clone())
}

/// The keys of later uploads cannot be read.
const DAMAGE: &str = "CREATE TRIGGER damage AFTER INSERT ON version BEGIN \
     UPDATE version SET sealed_key = x'00' WHERE deployment = NEW.deployment AND version = NEW.version; END";
