//! What the node knows of devices: who they are, what they offer, and which hosts they ask for.

pub(crate) mod client_ca_sessions;
pub(crate) mod fair_room;
pub(crate) mod hourly_offers;
pub(crate) mod known_devices;
pub(crate) mod live_evidence;
pub(crate) mod live_sessions;
pub(crate) mod network;
pub(crate) mod offer_weight;
pub(crate) mod recorder;
pub(crate) mod register;
pub(crate) mod shared_offers;
pub(crate) mod sightings;
