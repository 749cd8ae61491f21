//! Command line, configuration, wiring, shutdown.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

mod api_key_pair;
mod api_time;
mod api_types;
mod backup_remedy;
mod base_url;
mod chain_tree;
mod cli;
mod client;
mod command_line;
mod commands;
mod config;
mod connection;
mod core_dumps;
mod csv;
mod duration_text;
mod file_limit;
mod findings;
mod impact;
mod input;
mod local_upload;
mod log;
mod login;
mod master_key_files;
mod node_id;
mod output;
mod panic_hook;
mod store_remedy;
mod style;
mod table;
mod terminal;
mod usage;
mod wording;

use std::process::ExitCode;

fn main() -> ExitCode {
    panic_hook::install();
    // Before the first secret is read.
    if let Err(error) = core_dumps::forbid() {
        output::note(&format!("certward: core dumps of this process cannot be ruled out: {error}"));
    }
    // With two providers in the tree rustls would panic.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match command_line::parse(std::env::args_os()) {
        Ok(cli) => cli,
        // Prints help and version to stdout, wrong usage to stderr.
        Err(error) => error.exit(),
    };
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            usage::exit_code(&error)
        }
    }
}
