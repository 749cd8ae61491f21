use clap::{Args, Subcommand};

use super::config_args::ConfigArgs;

#[derive(Debug, Args)]
pub(crate) struct ConfigCommandArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration as serve would, without starting
    #[command(
        after_help = "It reads the file, the environment, and the API's certificate; certward doctor also looks at \
                            ports, files, store and brokers.\n\
                            Exit codes: 0 no error, 1 the API's certificate cannot be served, 2 the configuration is wrong.\n\
                            Example: certward config check --config /etc/certward/certward.toml"
    )]
    Check {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}
