//! The servers under measurement: one file for each, with its configuration for one certificate a
//! listener and for a fleet of certificates.

mod certward;
mod fleet;
mod forwarder;
mod haproxy;
mod hitch;
mod mosquitto;
mod nginx;
mod peer;
mod seed;
mod server;
mod site;
mod stunnel;
mod testbed;

pub(crate) use self::{
    certward::CertwardFleet,
    fleet::{FleetServer, Member},
    forwarder::{Forward, forward},
    peer::Peer,
    server::{Server, fleet_server, version},
    testbed::Testbed,
};
