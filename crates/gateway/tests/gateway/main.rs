//! The gateway with a real store and real loopback sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod away;
mod balancer;
mod boundaries;
mod causes;
mod change;
mod churn;
mod deadlines;
mod devices;
mod drain;
mod faults;
mod filling;
mod gated;
mod hello;
mod limits;
mod lines;
mod nodes;
mod proxy;
mod records;
mod relay;
mod revocation;
mod routing;
mod session_ends;
mod stage;
mod strangers;
mod trust;
mod upstream;
