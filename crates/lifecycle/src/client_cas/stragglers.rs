use std::collections::BTreeSet;

use certward_pki::DeviceId;
use certward_store::{ApiKey, DeploymentRef, SeenDevice, Version};

use super::{listing::position, need::CaNeed, usage::CasByAuthority};
use crate::{ConnectedDevices, Lifecycle, SilentNodes, TlsError, judge_pool::TooMany};

/// A known device that needs a client CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Straggler {
    /// As stored.
    pub device: SeenDevice,
    /// Whether it has a session now. `None`: a node identifies no devices.
    pub connected: Option<bool>,
}

/// A page of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stragglers {
    /// By id. They may be fewer than wanted before the last page, too.
    pub devices: Vec<Straggler>,
    /// After which the next page begins.
    pub next: Option<DeviceId>,
    /// Nodes that have not answered whether devices are connected.
    pub silent: SilentNodes,
}

impl Lifecycle {
    /// Known devices, by id after `after`, that are accepted today and would be refused without the
    /// client CA of this fingerprint. A device that was seen since with another certificate of its
    /// name, which would be accepted, is none unless it is connected.
    ///
    /// # Errors
    /// [`TlsError::NoClientCa`].
    pub async fn stragglers(
        &self,
        actor: &ApiKey,
        wanted: &DeploymentRef,
        fingerprint: &str,
        (after, limit): (Option<DeviceId>, u32),
    ) -> Result<Stragglers, TlsError> {
        let Version { client_cas, .. } = self.newest_version(wanted).await?;
        let index = position(&client_cas, fingerprint)?;
        let (id, store, now) = (&wanted.id, self.store.read(), self.store.clock().now());
        let paths = store.known_paths(id, now).await?;
        let judged = move || CaNeed::of(&CasByAuthority::new(client_cas), index, &paths, now);
        let need = self.judge_pool.run(actor, judged).await.map_err(|TooMany| TlsError::TooManyUploads)?;
        let devices = store.devices_in_need(id, &need.needy, (now, after), limit).await?;
        let next = devices.last().filter(|_| devices.len() == limit as usize).map(|last| last.id);
        let names: BTreeSet<&str> = devices.iter().map(|device| device.name.as_str()).collect();
        let uses = store.name_uses(id, &names, now).await?;
        let ids: Vec<DeviceId> = devices.iter().map(|device| device.id).collect();
        let live = if ids.is_empty() { None } else { self.connected_devices(id, &ids).await? };
        let silent = live.as_ref().map(|live| live.silent.clone());
        let stragglers = devices.into_iter().filter_map(|device| {
            let connected = live.as_ref().map_or(Some(false), |live| is_connected(live, device.id));
            let has_moved = uses.get(&device.name).is_some_and(|uses| need.has_moved(uses));
            (!has_moved || connected == Some(true)).then_some(Straggler { device, connected })
        });
        Ok(Stragglers {
            devices: stragglers.collect(),
            next,
            silent: silent.unwrap_or_else(|| SilentNodes::These(Vec::new())),
        })
    }
}

fn is_connected(live: &ConnectedDevices, device: DeviceId) -> Option<bool> {
    match live.connected.contains(&device) {
        false if live.is_partial => None,
        known => Some(known),
    }
}
