//! `config check`: the configuration, read as `serve` reads it.

use std::{env, path::Path, process::ExitCode};

use certward_api::CertificateFiles;
use serde::Serialize;

use crate::{
    cli::ConfigCommand,
    config::{Config, ConfigSource, LoadedConfig},
    output,
    table::TextTable,
};

/// What `serve` would do with it; nothing secret, and no URL.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReadConfig {
    /// Absent: there is none, and all is default or from the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    warnings: Vec<String>,
    role: &'static str,
    data_dir: String,
    store: &'static str,
    /// Of a node without the API: where its health and metrics are.
    api: String,
    listeners: Vec<String>,
}

pub(super) fn run(command: ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check { config, json } => check(config.config.as_deref(), json),
    }
}

fn check(named: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let source = ConfigSource::gather(named, env::vars_os())?;
    let LoadedConfig { config, mut warnings } = source.load()?;
    warnings.extend(config.store.iter().flat_map(|store| store.servers().warnings()));
    if let Some((cert, key)) = config.api.cert.clone().zip(config.api.key.clone()) {
        CertificateFiles { cert, key }.leaf()?;
    }
    let read = ReadConfig::of(&config, source.file.map(|(file, _)| file), warnings);
    if json {
        output::say_json(&read)?;
    } else {
        output::say(&read.text())?;
    }
    Ok(ExitCode::SUCCESS)
}

impl ReadConfig {
    fn of(config: &Config, file: Option<String>, warnings: Vec<String>) -> Self {
        let scheme = if config.api.cert.is_some() { "https" } else { "http" };
        let listeners = match config.role.has_gateway() {
            true => config.gateway.listeners(),
            false => Vec::new(),
        };
        Self {
            file,
            warnings,
            role: config.role.as_str(),
            data_dir: config.data_dir.display().to_string(),
            store: if config.store.is_some() { "PostgreSQL" } else { "embedded" },
            api: format!("{scheme}://{}", config.api.listen),
            listeners: listeners
                .iter()
                .map(|listener| format!("{} {}", listener.protocol, listener.listen))
                .collect(),
        }
    }

    fn text(&self) -> String {
        let file =
            self.file.as_deref().unwrap_or("no file (there is no ./certward.toml; --config names one)");
        let mut lines = vec![format!("{}: no errors", output::plain(file))];
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {}", output::plain(warning))));
        let mut table = TextTable::new(["role", self.role]);
        table.row(["data_dir", &self.data_dir]);
        table.row(["store", self.store]);
        table.row(["API", &self.api]);
        for listener in &self.listeners {
            table.row(["devices", listener]);
        }
        lines.push(table.text());
        lines.join("\n")
    }
}
