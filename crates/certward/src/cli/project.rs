use clap::{ArgGroup, Args, Subcommand};

use super::connect::ConnectArgs;

#[derive(Debug, Args)]
pub(crate) struct ProjectArgs {
    #[command(subcommand)]
    pub(crate) command: ProjectCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Add a project
    #[command(visible_alias = "create")]
    #[command(after_help = "Example: certward project add factory --name Factory")]
    Add {
        /// Its id: 1 to 63 of a-z, 0-9 and -
        id: String,
        /// Its name, for people
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Change a project; what is not named stays
    #[command(
        after_help = "Example: certward project set factory --upstream-allow 10.0.0.0/8 --host-suffix factory.example"
    )]
    #[command(group(ArgGroup::new("change").required(true).multiple(true)
        .args(["name", "description", "upstream_allow", "no_upstream_allow", "host_suffixes", "no_host_suffixes"])))]
    Set {
        /// Its id
        id: String,
        /// Its name, for people
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// What it is, for people
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Where its deployments may relay to: a network, an address, or a name or address with a
        /// port; repeated: the whole list
        #[arg(long, value_name = "NETWORK|HOST:PORT")]
        upstream_allow: Vec<String>,
        /// Let its deployments relay wherever the nodes may
        #[arg(long, conflicts_with = "upstream_allow")]
        no_upstream_allow: bool,
        /// A name that it alone may claim, with all names under it, and none else; repeated: the
        /// whole list
        #[arg(long = "host-suffix", value_name = "NAME")]
        host_suffixes: Vec<String>,
        /// Let it claim any name that no project has
        #[arg(long, conflicts_with = "host_suffixes")]
        no_host_suffixes: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Show a project
    #[command(visible_alias = "get")]
    #[command(after_help = "Example: certward project show factory")]
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// List the projects
    #[command(visible_alias = "ls")]
    #[command(after_help = "Example: certward project list")]
    List {
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Remove a project that has no deployments
    #[command(visible_aliases = ["rm", "delete"])]
    #[command(after_help = "Example: certward project remove factory")]
    Remove {
        /// Its id
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}
