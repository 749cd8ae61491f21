//! The sessions of a deployment on this node, by the client CA that admits their devices.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use certward_lifecycle::SessionsByClientCa;
use certward_pki::{IssuerPath, IssuerPathId};
use certward_store::DeploymentId;

use crate::{DevicesKept, session::registry::Registry};

/// Verifies once for each path of issuers, for `verify_for` at most: paths of many sessions first.
pub(crate) fn sessions_by_client_ca(
    registry: &Registry,
    kept: DevicesKept,
    deployment: &DeploymentId,
    client_cas: &[Vec<u8>],
    verify_for: Duration,
) -> SessionsByClientCa {
    let mut paths = HashMap::<IssuerPathId, (Arc<IssuerPath>, u64)>::new();
    registry.visit(deployment, |live| {
        if let Some(device) = live.facts().and_then(|facts| facts.device.as_ref()) {
            let new = || (Arc::clone(&device.path), 0);
            paths.entry(device.path.id).or_insert_with(new).1 += 1;
        }
    });
    let sessions = counted(paths.into_values().collect(), client_cas, verify_for);
    SessionsByClientCa { sessions, records_devices: kept == DevicesKept::Full }
}

fn counted(mut paths: Vec<(Arc<IssuerPath>, u64)>, client_cas: &[Vec<u8>], verify_for: Duration) -> Vec<u64> {
    paths.sort_by_key(|(_, sessions)| Reverse(*sessions));
    let mut counts = vec![0; client_cas.len()];
    let until = Instant::now() + verify_for;
    for (path, sessions) in paths {
        if Instant::now() >= until {
            break;
        }
        if let Some(count) = path.client_ca_among(client_cas).and_then(|index| counts.get_mut(index)) {
            *count += sessions;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use certward_pki::{ClientTrust, DeviceCertificate, DeviceIdentity};
    use certward_test_support::{Authority, Leaf};

    use super::*;

    fn path(leaf: &Leaf, ca: &Authority) -> Arc<IssuerPath> {
        let trust = ClientTrust::new(vec![ca.der().to_vec().into()]).unwrap();
        DeviceCertificate::read(&[leaf.der.clone().into()], &trust, DeviceIdentity::Cn).unwrap().path
    }

    #[test]
    fn each_path_counts_for_the_ca_of_its_key() {
        let (ca, namesake) = (Authority::new("Devices"), Authority::new("Devices"));
        let renewed = ca.renewed("Devices");
        let paths = || vec![(path(&ca.client("a"), &ca), 3), (path(&namesake.client("b"), &namesake), 4)];
        let count = |cas: &[&Authority], verify_for| {
            let cas: Vec<_> = cas.iter().map(|ca| ca.der().to_vec()).collect();
            counted(paths(), &cas, verify_for)
        };
        let long = Duration::from_secs(600);
        assert_eq!(count(&[&ca, &namesake], long), [3, 4]);
        assert_eq!(count(&[&namesake, &renewed], long), [4, 3]);
        assert_eq!(count(&[&renewed, &ca], long), [3, 0]);
        assert_eq!(count(&[&ca], long), [3]);
        assert_eq!(count(&[], long), [0; 0]);
        assert_eq!(count(&[&ca, &namesake], Duration::ZERO), [0, 0]);
    }
}
