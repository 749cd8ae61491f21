//! Measures the program, and its gateway beside peers; `bench/run` builds and runs it. A command
//! [measures](mod@measure), keeps its [results] as JSON and prints it; [`render`] turns reports
//! into Markdown, and writes them into the documents when it is asked to.

mod judge;
mod load;
mod measure;
mod peers;
mod process;
mod render;
mod results;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

use crate::{
    measure::{
        api_attacks, attacks, change, comparison, connack, costly_uploads, crowd, device_records, expiry,
        growth, intake, logins, million, nodes, profile, reads, single, soak,
    },
    results::Report,
};

#[derive(Debug, Parser)]
#[command(name = "bench/run", bin_name = "bench/run", about = "Measures certward, built for release")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Measure(Measurement),
    /// All of docs/lab/performance.md, which it writes: peers, connack, growth-100k and profile
    All {
        /// Fewer rounds, each shorter, growth to 10,000; of these only profile is rendered
        #[arg(long)]
        quick: bool,
    },
    /// Writes what was measured into the documents, without measuring again
    Render {
        /// Of these measurements: the names of the files in target/bench, without `.json`; all if
        /// none is given. Partial ones, and those that no document shows, are named and left out
        names: Vec<String>,
    },
    /// The silent devices of one certward
    #[command(hide = true)]
    Devices(crowd::Devices),
    /// The plainest gateway of the same parts, which certward is compared with
    #[command(hide = true)]
    Forward(peers::Forward),
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// The gateway beside nginx, HAProxy, stunnel, hitch, Mosquitto
    Peers(comparison::ComparisonOptions),
    /// One server and some tests, to try things out
    Single(single::SingleOptions),
    /// A load on a server that runs already
    Load(single::LoadOptions),
    /// How soon after a PUT the new certificate is served and proven
    Change,
    /// How soon after its handshake a device with Nagle's algorithm has its CONNACK
    Connack(connack::ConnackOptions),
    /// How many GETs of a certificate a second are answered
    Reads,
    /// Whether the time of a refused login shows that its key exists: fails if it does
    Logins(logins::LoginsOptions),
    /// Start, memory and handshakes with a growing number of deployments, to 10,000
    Growth,
    /// The same to 100,000, kept as `growth`
    #[command(name = "growth-100k")]
    Growth100k,
    /// A million deployments in one store
    Million(million::MillionOptions),
    /// A day of the expiry task with a million deployments
    Expiry(expiry::ExpiryOptions),
    /// How soon after a PUT eight nodes have proven it
    Nodes(nodes::NodesOptions),
    /// Where certward's CPU time goes under load
    Profile(profile::ProfileOptions),
    /// What knowing devices costs a handshake, with each setting of `devices`
    DeviceRecords(device_records::DeviceRecordsOptions),
    /// What judging an upload costs
    Intake,
    /// What one address can do to a device at another
    Attacks(attacks::AttacksOptions),
    /// What attacks on the API do to its other clients
    ApiAttacks(api_attacks::ApiAttacksOptions),
    /// A PUT beside costly uploads of another key
    CostlyUploads,
    /// Two certwards full of silent devices, and new ones beside them
    Crowd(crowd::CrowdOptions),
    /// Mixed load for an hour, and whether memory stays flat
    Hour {
        /// How many minutes instead; fewer are not rendered into a document
        #[arg(default_value_t = 60)]
        minutes: u64,
    },
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
        Command::Devices(devices) => crowd::devices(&devices),
        Command::Forward(forward) => peers::forward(&forward)?,
        Command::Render { names } => Report::load(&names)?.iter().try_for_each(render::publish)?,
        Command::All { quick } => {
            for command in all(quick) {
                render::publish(&report(command)?)?;
            }
        }
        Command::Measure(command) => {
            let is_test = matches!(command, Measurement::Logins(_));
            let exceeded = report(command)?.exceeds_limit();
            ensure!(!is_test || !exceeded, "the time of a refused login shows what was wrong with it");
        }
    }
    Ok(())
}

fn all(quick: bool) -> [Measurement; 4] {
    [
        Measurement::Peers(comparison::ComparisonOptions { quick, ..Default::default() }),
        Measurement::Connack(connack::ConnackOptions { count: if quick { 100 } else { 500 } }),
        if quick { Measurement::Growth } else { Measurement::Growth100k },
        Measurement::Profile(profile::ProfileOptions::default()),
    ]
}

/// Measures, prints and keeps.
fn report(command: Measurement) -> Result<Report> {
    let report = measure(command)?;
    println!("{}", render::markdown(&report));
    eprintln!("kept in {}", report.save()?.display());
    Ok(report)
}

fn measure(command: Measurement) -> Result<Report> {
    Ok(match command {
        Measurement::Peers(options) => comparison::measure(&options)?,
        Measurement::Single(options) => single::single(&options)?,
        Measurement::Load(options) => single::load(&options)?,
        Measurement::Change => change::measure(),
        Measurement::Connack(options) => connack::measure(&options)?,
        Measurement::Reads => reads::measure(),
        Measurement::Logins(options) => logins::measure(&options)?,
        Measurement::Growth => growth::measure(growth::COUNTS)?,
        Measurement::Growth100k => growth::measure(growth::COUNTS_TO_100K)?,
        Measurement::Million(options) => million::measure(&options)?,
        Measurement::Expiry(options) => expiry::measure(&options)?,
        Measurement::Nodes(options) => nodes::measure(&options)?,
        Measurement::Profile(options) => profile::measure(&options)?,
        Measurement::DeviceRecords(options) => device_records::measure(&options)?,
        Measurement::Intake => intake::measure(),
        Measurement::Attacks(options) => attacks::measure(&options),
        Measurement::ApiAttacks(options) => api_attacks::measure(&options),
        Measurement::CostlyUploads => costly_uploads::measure(),
        Measurement::Crowd(options) => crowd::measure(&options),
        Measurement::Hour { minutes } => soak::measure(minutes),
    })
}
