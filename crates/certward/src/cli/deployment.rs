use std::time::Duration;

use certward_store::SessionAge;
use clap::{ArgGroup, Args, Id, Subcommand};
use serde::Serialize;

use super::connect::ConnectArgs;
use crate::duration_text;

#[derive(Debug, Args)]
pub(crate) struct DeploymentArgs {
    #[command(subcommand)]
    pub(crate) command: DeploymentCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentCommand {
    /// Add a deployment
    #[command(visible_alias = "create")]
    #[command(
        after_help = "Example: certward deployment add ge6a1a75 --upstream 127.0.0.1:1883 --host mqtt.example.com"
    )]
    Add {
        /// Its id: 1 to 63 of a-z, 0-9 and -; chosen at random if left out
        id: Option<String>,
        /// The broker's plain MQTT address; or up to 8, separated by commas, tried in this order
        #[arg(long, value_name = "HOST:PORT[,...]")]
        upstream: String,
        /// The broker's plain WebSocket address, or several
        #[arg(long, value_name = "HOST:PORT[,...]")]
        ws_upstream: Option<String>,
        /// A name that leads to it, or a wildcard; may be repeated
        #[arg(long = "host", value_name = "NAME")]
        hosts: Vec<String>,
        #[command(flatten)]
        settings: DeploymentSettingArgs,
        /// The project it belongs to
        #[arg(long, value_name = "ID")]
        project: Option<String>,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Change a deployment; what is not named stays
    #[command(
        after_help = "Example: certward deployment set ge6a1a75 --upstream 10.0.0.7:1883,10.0.0.8:1883"
    )]
    #[command(group(ArgGroup::new("change").required(true).multiple(true)
        .args(["upstream", "ws_upstream", "no_ws_upstream", "hosts", "no_hosts"])
        .args(ids::<DeploymentSettingArgs>())))]
    #[command(mut_arg("profile", |profile| profile
        .help("How strictly its certificates are judged from now on: default or emqx-cloud")))]
    Set {
        /// Its id
        id: String,
        /// The broker's plain MQTT address; or up to 8, separated by commas, tried in this order
        #[arg(long, value_name = "HOST:PORT[,...]")]
        upstream: Option<String>,
        /// The broker's plain WebSocket address, or several
        #[arg(long, value_name = "HOST:PORT[,...]")]
        ws_upstream: Option<String>,
        /// Remove the WebSocket addresses
        #[arg(long, conflicts_with = "ws_upstream")]
        no_ws_upstream: bool,
        /// A name that leads to it; repeated: the whole new list
        #[arg(long = "host", value_name = "NAME")]
        hosts: Vec<String>,
        /// Remove all names
        #[arg(long, conflicts_with = "hosts")]
        no_hosts: bool,
        #[command(flatten)]
        settings: DeploymentSettingArgs,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// List the deployments
    #[command(visible_alias = "ls")]
    #[command(after_help = "Example: certward deployment list")]
    List {
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Show a deployment
    #[command(visible_alias = "get")]
    #[command(after_help = "Example: certward deployment show ge6a1a75")]
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Remove a deployment with its certificate, keys, hosts and connections
    #[command(visible_aliases = ["rm", "delete"])]
    #[command(after_help = "On a terminal it asks first; in a script it does not.\n\
                            Example: certward deployment remove ge6a1a75 --yes")]
    Remove {
        /// Its id
        id: String,
        /// Do not ask, on a terminal either
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}

/// The settings that `add` and `set` take alike, serialised as the API takes them.
#[derive(Debug, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeploymentSettingArgs {
    /// How strictly its certificates are judged: default or emqx-cloud
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    /// The PROXY header that its broker receives: none, v2, emqx or mosquitto
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) proxy_protocol: Option<String>,
    /// The part of a client certificate sent as the device's name: cn, dn, san or fingerprint
    #[arg(long, value_name = "IDENTITY")]
    pub(crate) proxy_identity: Option<String>,
    /// How many connections each node accepts at once; 0 for no limit
    #[arg(long, value_name = "NUMBER")]
    pub(crate) connections: Option<u32>,
    /// How many new connections each node accepts a second; 0 for no limit
    #[arg(long, value_name = "NUMBER")]
    pub(crate) connection_rate: Option<u32>,
    /// The largest TLS record that devices are sent, in bytes: 512 to 16384
    #[arg(long, value_name = "NUMBER")]
    pub(crate) record_bytes: Option<u32>,
    /// How long a session may last, such as 7d, 12h, 30m or 90s; 0 for no limit
    #[arg(long, value_name = "TIME", value_parser = max_session_age)]
    pub(crate) max_session_age: Option<u64>,
    /// Its name, for people
    #[arg(long, value_name = "TEXT")]
    #[serde(rename = "deploymentName")]
    pub(crate) name: Option<String>,
}

/// In seconds, as the API takes it.
fn max_session_age(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let age = duration_text::parse(text, &(seconds(SessionAge::MIN)..=seconds(SessionAge::MAX)));
    age.map(|age| age.as_secs()).map_err(|fault| format!("{fault}; or 0 for no limit"))
}

fn ids<T: Args>() -> Vec<Id> {
    let command = T::augment_args(clap::Command::default());
    command.get_arguments().map(|argument| argument.get_id().clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_duration_from_ten_seconds_to_a_year_or_none() {
        for (text, seconds) in [
            ("0", Some(0)),
            ("10s", Some(10)),
            ("7d", Some(604_800)),
            ("365d", Some(31_536_000)),
            ("9s", None),
            ("366d", None),
            ("0s", None),
            ("7", None),
            ("-1d", None),
            ("off", None),
        ] {
            assert_eq!(max_session_age(text).ok(), seconds, "{text}");
        }
    }
}
