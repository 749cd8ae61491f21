//! Devices by their certificates: a known chain costs one hash.
//!
//! Keyed by the SHA-256 of trust scope, identity setting and chain as sent, like the cache of
//! verified chains. Devices of one path share its value, which holds an example of a chain.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{Context, SHA256};
use certward_pki::{ClientTrust, DeviceCertificate, DeviceIdentity, IssuerPath, IssuerPathId};
use certward_store::{DeploymentId, Timestamp, TrustScope};
use quick_cache::sync::Cache;
use rustls_pki_types::CertificateDer;

/// About 0.4 KiB each: a fleet reconnecting after an outage.
const DEVICES_MAX: usize = 20_000;
/// About 2 KiB each, for deployments with up to 200 paths.
const PATHS_MAX: usize = 5_000;
/// An example is replaced by one that ends later by this part of the time that it has left. By any
/// later one, each device of a fleet whose certificates are renewed in turn would hold its own.
const TIME_LEFT_PARTS: u32 = 32;

#[derive(Debug)]
pub(crate) struct KnownDevices {
    devices: Cache<[u8; 32], Arc<DeviceCertificate>>,
    /// Of one deployment: another's must not see the example.
    paths: Cache<(DeploymentId, IssuerPathId), Arc<IssuerPath>>,
}

/// What a device's certificate was verified against, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verified<'a> {
    pub(crate) deployment: &'a DeploymentId,
    pub(crate) scope: TrustScope,
    pub(crate) trust: &'a ClientTrust,
    pub(crate) identity: DeviceIdentity,
}

impl Default for KnownDevices {
    fn default() -> Self {
        Self { devices: Cache::new(DEVICES_MAX), paths: Cache::new(PATHS_MAX) }
    }
}

impl KnownDevices {
    pub(crate) fn len(&self) -> usize {
        self.devices.len()
    }

    /// `chain`: as a verifier has accepted it. `None`: it does not lead to the client CAs.
    pub(crate) fn identify(
        &self,
        chain: &[CertificateDer<'_>],
        verified: Verified<'_>,
        now: Timestamp,
    ) -> Option<Arc<DeviceCertificate>> {
        let hash = hash(chain, verified);
        if let Some(known) = self.devices.get(&hash) {
            return Some(known);
        }
        let mut device = DeviceCertificate::read(chain, verified.trust, verified.identity)?;
        device.path = self.shared_path(verified.deployment, device.path, now);
        let device = Arc::new(device);
        self.devices.insert(hash, Arc::clone(&device));
        Some(device)
    }

    fn shared_path(
        &self,
        deployment: &DeploymentId,
        path: Arc<IssuerPath>,
        now: Timestamp,
    ) -> Arc<IssuerPath> {
        let key = (deployment.clone(), path.id);
        match self.paths.get(&key) {
            Some(known) if !is_much_later(&path, &known, now) => known,
            _ => {
                self.paths.insert(key, Arc::clone(&path));
                path
            }
        }
    }
}

fn is_much_later(path: &IssuerPath, known: &IssuerPath, now: Timestamp) -> bool {
    let left = Duration::try_from(known.example_not_after - now.to_time()).unwrap_or_default();
    path.example_not_after > known.example_not_after + left / TIME_LEFT_PARTS
}

fn hash(chain: &[CertificateDer<'_>], Verified { scope, identity, .. }: Verified<'_>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&scope.0);
    context.update(identity.as_str().as_bytes());
    for certificate in chain {
        // Length-prefixed: no two chains hash the same bytes.
        context.update(&(certificate.len() as u64).to_be_bytes());
        context.update(certificate);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use certward_store::{Clock, SystemClock};
    use certward_test_support::{Authority, Leaf};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> Timestamp {
        SystemClock.now()
    }

    struct Stage {
        devices: KnownDevices,
        ca: Authority,
        trust: ClientTrust,
    }

    impl Stage {
        fn new() -> Self {
            let ca = Authority::new("clients");
            let trust = ClientTrust::new(vec![ca.der().to_vec().into()]).unwrap();
            Self { devices: KnownDevices::default(), ca, trust }
        }

        fn client(&self, name: &str, valid: Duration) -> Leaf {
            self.ca.client_with(name, |params| params.not_after = now().after(valid).to_time())
        }

        fn identify(&self, leaf: &Leaf, deployment: &str, scope: u8) -> Option<Arc<DeviceCertificate>> {
            let deployment = DeploymentId::parse(deployment).unwrap();
            let verified = Verified {
                deployment: &deployment,
                scope: TrustScope([scope; 16]),
                trust: &self.trust,
                identity: DeviceIdentity::Cn,
            };
            self.devices.identify(&[leaf.der.clone().into()], verified, now())
        }
    }

    #[test]
    fn a_chain_is_read_once_for_each_trust_scope() {
        let stage = Stage::new();
        let leaf = stage.client("thermometer", DAY);
        let first = stage.identify(&leaf, "d", 1).unwrap();
        assert_eq!(&*first.name, "thermometer");
        assert!(Arc::ptr_eq(&first, &stage.identify(&leaf, "d", 1).unwrap()));
        let other = stage.identify(&leaf, "d", 2).unwrap();
        assert!(!Arc::ptr_eq(&first, &other) && first.id == other.id);
        assert_eq!(stage.devices.len(), 2);
        let stranger = Authority::new("others").client("thermometer");
        assert_eq!(stage.identify(&stranger, "d", 1), None, "it does not lead to the client CAs");
    }

    #[test]
    fn devices_of_a_path_share_an_example_that_ends_about_as_late_as_any() {
        let stage = Stage::new();
        let path = |name, days, deployment| {
            let leaf = stage.client(name, DAY * days);
            (leaf.der.clone(), stage.identify(&leaf, deployment, 1).unwrap().path.clone())
        };
        let (_, first) = path("a", 100, "d");
        let (_, same) = path("b", 101, "d");
        assert!(Arc::ptr_eq(&first, &same), "later by less than a part of what is left");
        let (later, second) = path("c", 110, "d");
        assert_eq!((&second.id, &second.example), (&first.id, &vec![later]));
        let (_, sooner) = path("e", 5, "d");
        assert!(Arc::ptr_eq(&second, &sooner));
        let (own, other) = path("f", 5, "other");
        assert_eq!((&other.id, &other.example), (&first.id, &vec![own]), "not another deployment's device");
    }
}
