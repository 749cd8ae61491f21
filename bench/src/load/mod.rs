//! What drives a server: workloads, clients, their broker, and the certificates of both sides.

mod broker;
mod client;
mod credentials;
mod generator;
mod swap;
mod workload;

pub(crate) use self::{
    broker::EchoBroker,
    client::{Client, Endpoint, Session},
    credentials::{Credential, Credentials},
    generator::{Generator, Measured, connect_all, end_all},
    swap::Swap,
    workload::{Handshake, Listener, Workload},
};
