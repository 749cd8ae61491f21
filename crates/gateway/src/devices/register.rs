use std::sync::Arc;

use certward_pki::DeviceIdentity;
use certward_store::{DeploymentRef, Timestamp};
use parking_lot::Mutex;

use crate::{
    DevicesKept, Protocol,
    devices::{
        hourly_offers::{EndedHour, HourlyOffers, Uncounted},
        known_devices::{KnownDevices, Verified},
        shared_offers::SharedOffers,
        sightings::Sightings,
    },
    io::tls::Tls,
    observe::{metrics::Metrics, reason::Unrecorded},
    session::session_facts::{Newcomer, OfferCount, SessionFacts},
};

const HOUR_MILLIS: i64 = 3_600_000;
const HOURS_OF_A_DAY: i64 = 24;

/// What this node knows of devices, and what of it is to be recorded.
#[derive(Debug)]
pub(crate) struct DeviceRegister {
    pub(crate) kept: DevicesKept,
    pub(crate) known: KnownDevices,
    pub(crate) offers: SharedOffers,
    pub(crate) hours: Arc<HourlyOffers>,
    pub(crate) sightings: Sightings,
    hour: Mutex<CurrentHour>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct CurrentHour {
    /// Since 1970.
    number: i64,
    /// The day of the last hour, since 1970, and the deployments of which it is not gathered yet.
    ended: (i64, Vec<Arc<DeploymentRef>>),
}

/// How a device is served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServedBy {
    pub(crate) protocol: Protocol,
    pub(crate) identity: DeviceIdentity,
}

impl DeviceRegister {
    pub(crate) fn new(kept: DevicesKept, metrics: Arc<Metrics>, now: Timestamp) -> Self {
        Self {
            kept,
            known: KnownDevices::default(),
            offers: SharedOffers::default(),
            hours: Arc::default(),
            sightings: Sightings::new(Arc::clone(&metrics)),
            hour: Mutex::new(CurrentHour { number: hour(now), ended: (0, Vec::new()) }),
            metrics,
        }
    }

    /// A broker has accepted a device. With `counts` and `off` its certificate is known as long as
    /// it is connected, for the verification against other client CAs, and never recorded.
    pub(crate) fn accepted(
        &self,
        newcomer: Newcomer,
        by: ServedBy,
        tls: &Tls,
        now: Timestamp,
    ) -> SessionFacts {
        let Newcomer { deployment, address, host, offer, trust } = newcomer;
        let ServedBy { protocol, identity } = by;
        let device = trust.zip(tls.peer_certificates()).and_then(|((trust, scope), chain)| {
            let verified = Verified { deployment: &deployment.id, scope, trust: &trust, identity };
            self.known.identify(chain, verified, now)
        });
        let is_below_wildcard = host.as_ref().is_some_and(|host| host.is_below_wildcard);
        let facts = SessionFacts {
            deployment,
            device,
            address,
            host: host.map(|host| host.asked),
            is_below_wildcard,
            protocol,
            tls_version: tls.version().unwrap_or("other"),
            offer,
            since: now,
            count: OfferCount::default(),
        };
        if self.count(&facts) == Err(Uncounted) {
            self.metrics.not_recorded(Unrecorded::Session, 1);
        }
        self.note(&facts, now);
        facts
    }

    fn count(&self, facts: &SessionFacts) -> Result<(), Uncounted> {
        if self.kept == DevicesKept::Off { Ok(()) } else { self.hours.began(facts) }
    }

    /// Call it from time to time while the session lasts: it is noted once an hour, and counted
    /// once there is room.
    pub(crate) fn note_again(&self, facts: &SessionFacts, now: Timestamp) {
        if !facts.count.is_counted() {
            // It was counted as one that is left out when it began.
            let _ = self.count(facts);
        }
        self.note(facts, now);
    }

    fn note(&self, facts: &SessionFacts, now: Timestamp) {
        if let (DevicesKept::Full, Some(device)) = (self.kept, &facts.device) {
            self.sightings.note_device(device, facts, now);
        }
        if let (DevicesKept::Full | DevicesKept::Counts, Some(host)) = (self.kept, facts.host_in_use()) {
            self.sightings.note_host(&facts.deployment, &host, now);
        }
    }

    /// Call it every few seconds. While the store is away, an hour lasts until it is back.
    pub(crate) fn end_hour_if_over(&self, now: Timestamp) {
        let mut current = self.hour.lock();
        if current.number != hour(now) {
            current.end(&self.hours);
            current.number = hour(now);
        }
    }

    /// At the end of the process.
    pub(crate) fn end_this_hour(&self) {
        self.hour.lock().end(&self.hours);
    }

    /// Of the deployments whose hour is over, as many as may wait to be written.
    pub(crate) fn gather_offers(&self) {
        let (day, deployments) = &mut self.hour.lock().ended;
        while self.sightings.has_room_for_offers()
            && let Some(deployment) = deployments.pop()
        {
            let EndedHour { offers, sessions_left_out } = self.hours.end_hour(&deployment, *day);
            self.sightings.add_offers(offers);
            self.metrics.not_recorded(Unrecorded::Session, sessions_left_out);
        }
    }
}

impl CurrentHour {
    fn end(&mut self, hours: &HourlyOffers) {
        self.ended = (self.number.div_euclid(HOURS_OF_A_DAY), hours.deployments());
    }
}

fn hour(now: Timestamp) -> i64 {
    now.0.div_euclid(HOUR_MILLIS)
}
