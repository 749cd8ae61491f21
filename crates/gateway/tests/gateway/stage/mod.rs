//! The test bed: a gateway, brokers, devices and certificates.

mod broker;
mod clock;
mod connection;
mod device;
mod node;
mod ticket_store;
mod wait;
mod world;

pub(crate) use broker::Broker;
pub(crate) use certward_test_support::{Authority, Leaf};
pub(crate) use clock::{ShiftedClock, from_now};
pub(crate) use connection::{CONNECT, Connection};
pub(crate) use device::{Device, TLS12, TLS13};
pub(crate) use node::RunningNode;
pub(crate) use wait::{TEST_TIMEOUT, eventually};
pub(crate) use world::{World, any, id, lifecycle_of, master_key, ready, settings};
