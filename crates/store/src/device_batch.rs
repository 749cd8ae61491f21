//! Records what nodes saw of devices: a batch every few seconds instead of a write for each
//! handshake.

use std::collections::{BTreeMap, BTreeSet};

use certward_pki::DeviceId;
use sqlx::AnyConnection;

use crate::{
    DeploymentId, DeploymentRef, DeviceBatch, DeviceSighting, Generation, Store, StoreError, Timestamp,
    repo::{
        device, device_total, host_use,
        offer_day::{self, BatchOffers},
    },
};

/// Of a transaction: changes of these deployments wait for it, on SQLite all changes.
const ROWS_AT_ONCE: usize = 1_000;
/// Of a transaction: each takes some statements.
const DEPLOYMENTS_AT_ONCE: usize = 50;

impl Store {
    /// Records a batch, up to 1,000 rows of 50 deployments in a transaction. Deployments that are
    /// gone, and what exceeds the bounds, are left out; the latter is counted
    /// ([`crate::DeviceTotal::over`]).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: a part may be recorded. Devices and hosts may be recorded
    /// again; offers would count twice.
    pub async fn record_devices(&self, batch: &DeviceBatch) -> Result<(), StoreError> {
        for parts in transactions(batch) {
            let mut tx = self.begin().await?;
            let now = tx.now();
            tx.step(async |conn| record(conn, &parts, now).await).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

/// What is recorded of one deployment in one transaction.
#[derive(Debug, Default)]
struct BatchPart<'a> {
    devices: Vec<&'a DeviceSighting>,
    offers: BatchOffers<'a>,
    hosts: BTreeMap<&'a str, Timestamp>,
}

/// By id and [`DeploymentRef::born`].
type Parts<'a> = BTreeMap<PartKey<'a>, BatchPart<'a>>;
type PartKey<'a> = (&'a DeploymentId, Generation);

fn key(deployment: &DeploymentRef) -> PartKey<'_> {
    (&deployment.id, deployment.born)
}

fn transactions(batch: &DeviceBatch) -> Vec<Parts<'_>> {
    let mut devices: BTreeMap<PartKey<'_>, BTreeMap<DeviceId, &DeviceSighting>> = BTreeMap::new();
    for sighting in &batch.devices {
        // A statement must not have a row twice.
        let newest = devices.entry(key(&sighting.deployment)).or_default().entry(sighting.device.id);
        let newest = newest.or_insert(sighting);
        if newest.at < sighting.at {
            *newest = sighting;
        }
    }
    let mut rest = Parts::new();
    for hour in &batch.offers {
        rest.entry(key(&hour.deployment)).or_default().offers.add(hour);
    }
    for sighting in &batch.hosts {
        let at = rest.entry(key(&sighting.deployment)).or_default().hosts.entry(&sighting.host);
        let at = at.or_insert(sighting.at);
        *at = sighting.at.max(*at);
    }
    let deployments: BTreeSet<PartKey<'_>> = devices.keys().chain(rest.keys()).copied().collect();
    let mut transactions = Vec::new();
    let (mut parts, mut rows) = (Parts::new(), 0);
    for deployment in deployments {
        let devices: Vec<_> = devices.remove(&deployment).unwrap_or_default().into_values().collect();
        let mut last = rest.remove(&deployment).unwrap_or_default();
        let chunks = devices.chunks_exact(ROWS_AT_ONCE);
        last.devices = chunks.remainder().to_vec();
        for chunk in chunks {
            let part = BatchPart { devices: chunk.to_vec(), ..BatchPart::default() };
            transactions.push(Parts::from([(deployment, part)]));
        }
        rows += last.devices.len() + last.offers.len() + last.hosts.len();
        parts.insert(deployment, last);
        if rows >= ROWS_AT_ONCE || parts.len() >= DEPLOYMENTS_AT_ONCE {
            transactions.push(std::mem::take(&mut parts));
            rows = 0;
        }
    }
    if rows > 0 {
        transactions.push(parts);
    }
    transactions
}

async fn record(conn: &mut AnyConnection, parts: &Parts<'_>, now: Timestamp) -> Result<(), StoreError> {
    let totals = device_total::lock(conn, &parts.keys().map(|(id, _)| *id).collect()).await?;
    let mut in_all = device_total::in_all(conn).await?;
    for total in totals {
        // Otherwise it is another deployment, perhaps of another project, that has the id by now.
        let Some(part) = parts.get(&(&total.deployment, total.born)) else { continue };
        let devices = device::record(conn, &total.deployment, &part.devices, total.room(in_all)).await?;
        let offers = offer_day::record(conn, &total.deployment, &part.offers).await?;
        let hosts = host_use::record(conn, &total.deployment, &part.hosts).await?;
        let over = devices.over + offers + hosts;
        device_total::add(conn, &total.deployment, devices.new, over, now).await?;
        in_all += devices.new;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HostSighting, ProjectId};

    #[test]
    fn a_transaction_is_bounded_by_rows_and_by_deployments() {
        let sighting = |deployment: usize, host: usize| HostSighting {
            deployment: DeploymentRef {
                id: DeploymentId::parse(&format!("d{deployment}")).unwrap(),
                project: ProjectId::default_project(),
                born: Generation(1),
            },
            host: format!("h{host}.test").into(),
            at: Timestamp(0),
        };
        for (deployments, hosts, expected) in [(0, 0, 0), (1, 1, 1), (50, 1, 1), (51, 1, 2), (10, 500, 5)] {
            let of = |deployment| (0..hosts).map(move |host| sighting(deployment, host));
            let batch = DeviceBatch { hosts: (0..deployments).flat_map(of).collect(), ..Default::default() };
            let transactions = transactions(&batch);
            assert_eq!(transactions.len(), expected, "{deployments} {hosts}");
            assert_eq!(transactions.iter().map(Parts::len).sum::<usize>(), deployments);
        }
    }
}
