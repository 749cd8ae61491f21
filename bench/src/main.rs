//! Measures the program, and its gateway beside peers; `bench/run` builds and runs it.

mod judge;
mod load;
mod measure;
mod peers;
mod process;
mod render;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::measure::{
    api_attacks, attacks, change, comparison, connack, crowd, growth, intake, logins, million, nodes,
    profile, reads, single, soak,
};

#[derive(Debug, Parser)]
#[command(name = "bench/run", bin_name = "bench/run", about = "Measures certward, built for release")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The gateway beside nginx, HAProxy, stunnel, hitch, Mosquitto: writes docs/lab/performance.md
    Peers(comparison::Peers),
    /// All that docs/lab/performance.md shows: peers, connack, growth and profile
    All {
        /// Fewer rounds, each shorter
        #[arg(long)]
        quick: bool,
    },
    /// One server and some tests, to try things out
    Single(single::Single),
    /// A load on a server that runs already
    Load(single::Load),
    /// How soon after a PUT the new certificate is met and proven
    Change,
    /// How soon after its handshake a device with Nagle's algorithm has its CONNACK: writes
    /// docs/lab/performance.md
    Connack(connack::Connack),
    /// How many GETs of a certificate a second are answered
    Reads,
    /// Whether the time of a refused login tells that its key exists: fails if it does
    Logins(logins::Logins),
    /// Start, memory and handshakes with a growing number of deployments, to 10,000
    Growth,
    /// The same to 100,000
    #[command(name = "growth-100k")]
    Growth100k,
    /// A million deployments in one store: writes docs/scale.md
    Million(million::Million),
    /// How soon after a PUT eight nodes have proven it: writes docs/scale.md
    Nodes(nodes::Nodes),
    /// Where certward's CPU time goes under load
    Profile(profile::Profile),
    /// What judging an upload costs
    Intake,
    /// What one address can do to a device at another: writes docs/lab/worst-day.md
    Attacks {
        #[command(flatten)]
        gateway: attacks::Attacks,
        #[command(flatten)]
        api: api_attacks::ApiAttacks,
    },
    /// The part of it that is about the API
    ApiAttacks(api_attacks::ApiAttacks),
    /// Two certwards full of silent devices, and new ones beside them: writes docs/lab/worst-day.md
    Crowd(crowd::Crowd),
    /// The silent devices of one certward
    #[command(hide = true)]
    Devices(crowd::Devices),
    /// Mixed load for an hour, and whether memory stays flat: writes docs/lab/worst-day.md
    Hour {
        /// How many minutes instead
        #[arg(default_value_t = 60)]
        minutes: u64,
    },
    /// The plainest gateway of the same parts, which certward is compared with
    #[command(hide = true)]
    Forward(peers::Forward),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Peers(peers) => comparison::measure(&peers)?,
        Command::All { quick } => {
            comparison::measure(&comparison::Peers::all(quick))?;
            connack::measure(&connack::Connack::usual(quick))?;
            growth::measure(if quick { growth::COUNTS } else { growth::COUNTS_TO_100K })?;
            profile::measure(&profile::Profile::usual())?;
        }
        Command::Single(single) => single::single(&single)?,
        Command::Load(load) => single::load(&load)?,
        Command::Change => change::measure(),
        Command::Connack(connack) => connack::measure(&connack)?,
        Command::Reads => reads::measure(),
        Command::Logins(logins) => logins::measure(&logins)?,
        Command::Growth => growth::measure(growth::COUNTS)?,
        Command::Growth100k => growth::measure(growth::COUNTS_TO_100K)?,
        Command::Million(million) => million::measure(&million)?,
        Command::Nodes(nodes) => nodes::measure(&nodes)?,
        Command::Profile(profile) => profile::measure(&profile)?,
        Command::Intake => intake::measure(),
        Command::Attacks { gateway, api } => {
            attacks::measure(&gateway);
            if gateway.measures_all() {
                api_attacks::measure(&api);
            }
        }
        Command::ApiAttacks(attacks) => api_attacks::measure(&attacks),
        Command::Crowd(crowd) => crowd::measure(&crowd),
        Command::Devices(devices) => crowd::devices(&devices),
        Command::Hour { minutes } => soak::measure(minutes),
        Command::Forward(forward) => peers::forward(&forward)?,
    }
    Ok(())
}
