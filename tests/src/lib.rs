//! The test bed of the end-to-end tests: certward as a process ([`Certward`]), a broker
//! ([`Broker`]), devices ([`Device`], or real tools), an API client ([`Api`]), together a
//! [`Scene`], and certificates ([`Authority`], [`recipe`]). None of certward's own code is used.
//!
//! Ports are free ones, files are in a folder of the test, processes end with their value, waits
//! have a condition and a deadline. A failure is a panic.

mod address;
mod api;
mod api_attack;
mod attack;
mod battlefield;
mod binary;
mod broker;
mod certward;
mod cluster;
mod database;
mod debian_machine;
mod detour;
mod device;
mod fault;
mod fleet;
mod haproxy;
pub mod ledger;
mod liar;
mod mixed_fleet;
mod mqtt;
mod pebble;
mod printed;
mod process;
mod python;
mod rabbitmq;
pub mod recipe;
mod resources;
mod rough_broker;
mod s_client;
mod scene;
mod seeded;
mod small_disk;
mod source_files;
mod verdict;
mod victim;
mod wait;
mod websocket;

pub use address::connect_from;
pub use api::{Answer, Api};
pub use api_attack::{API_ATTACKS, ApiAttack, ApiAttacker, ApiVictims};
pub use attack::{ATTACKS, Attack, Attacker, Stage, Tally, Target};
pub use battlefield::Battlefield;
pub use binary::{certward_binary, workspace_root};
pub use broker::Broker;
pub use certward::{Certward, Setup};
pub use certward_test_support::{Authority, Effort, Leaf, PostgresServer, effort, free_port};
pub use cluster::{Cluster, ClusterNode};
pub use database::EmbeddedDatabase;
pub use debian_machine::DebianMachine;
pub use detour::Detour;
pub use device::{Device, Session};
pub use fault::{Fault, FaultKind, Taken};
pub use fleet::{Fleet, Route, newcomers};
pub use haproxy::HaProxy;
pub use liar::Liar;
pub use mixed_fleet::{FleetTarget, MixedFleet};
pub use mqtt::Packet;
pub use pebble::Pebble;
pub use printed::printed;
pub use process::{Process, run};
pub use python::{PythonTools, write_openapi};
pub use rabbitmq::RabbitMq;
pub use resources::Resources;
pub use rough_broker::RoughBroker;
pub use s_client::reaches_broker;
pub use scene::Scene;
pub use seeded::Seeded;
pub use small_disk::SmallDisk;
pub use source_files::files_of;
pub use verdict::{Counts, Evidence, OPEN_AFTER_LOSS, Verdict, Violation};
pub use victim::{Noticed, Victim};
pub use wait::{DEADLINE, came_within, wait_until, wait_within};
pub use websocket::WebSocket;
