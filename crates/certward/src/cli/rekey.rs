use std::path::PathBuf;

use certward_store::NodeId;
use clap::Args;

use super::config_args::ConfigArgs;

#[derive(Debug, Args)]
pub(crate) struct RekeyArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The new master key, 64 hexadecimal digits, to be copied to master.key.next; without it and
    /// without that file one is made
    #[arg(long, value_name = "FILE")]
    pub(crate) new_key_file: Option<PathBuf>,
    /// Do not wait for this node, which is lost; may be repeated
    #[arg(long, value_name = "NODE", value_parser = parse_node)]
    pub(crate) without: Vec<NodeId>,
    /// How many seconds to wait for the nodes
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub(crate) wait: u64,
    /// Change nothing: say how far it is, and which nodes lack a key
    #[arg(long, conflicts_with_all = ["new_key_file", "without", "wait"])]
    pub(crate) status: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_node(text: &str) -> Result<NodeId, String> {
    NodeId::parse(text).map_err(|rule| format!("it is not a node id: {rule}"))
}
