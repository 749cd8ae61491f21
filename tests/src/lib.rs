//! The stage of the end-to-end tests.
//!
//! Everything here is the world outside of certward: the program itself as a process ([`Certward`]), a broker
//! ([`Broker`]), devices ([`Device`] in this process, [`Command`](std::process::Command)s for the real tools), an
//! operator's program ([`Api`]), all of them on one [`Scene`], and certificates made on the spot ([`Authority`], [`recipe`]). Nothing of certward's
//! own code is used, so what these tests say is true for everybody else's programs too.
//!
//! Rules of the stage: ports are free ones, files live in a folder of the test, processes end with the value that
//! stands for them, and waiting is always for a condition with a deadline.

mod address;
mod api;
mod api_attack;
mod attack;
mod authority;
mod battlefield;
mod binary;
mod broker;
mod certward;
mod database;
mod detour;
mod device;
mod effort;
mod fleet;
mod mqtt;
mod process;
mod rabbitmq;
pub mod recipe;
mod resources;
mod rough_broker;
mod scene;
mod small_disk;
mod victim;
mod wait;
mod websocket;

pub use address::connect_from;
pub use api::{Answer, Api};
pub use api_attack::{API_ATTACKS, ApiAttack, ApiAttacker, ApiVictims};
pub use attack::{ATTACKS, Attack, Attacker, Stage, Tally, Target};
pub use authority::{Authority, Leaf};
pub use battlefield::Battlefield;
pub use binary::{certward_binary, workspace_root};
pub use broker::Broker;
pub use certward::{Certward, Setup};
pub use certward_test_support::{PostgresServer, free_port};
pub use database::EmbeddedDatabase;
pub use detour::Detour;
pub use device::{Device, Session};
pub use effort::{Effort, effort};
pub use fleet::{Fleet, Route, newcomers};
pub use mqtt::Packet;
pub use process::{Process, run};
pub use rabbitmq::RabbitMq;
pub use resources::Resources;
pub use rough_broker::RoughBroker;
pub use scene::Scene;
pub use small_disk::SmallDisk;
pub use victim::{Noticed, Victim};
pub use wait::{DEADLINE, came_within, wait_until, wait_within};
pub use websocket::WebSocket;
