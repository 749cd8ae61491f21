use std::path::Path;

use super::check::{Check, CheckKind};
use crate::config::{Config, ConfigSource};

/// The configuration as `serve` reads it, with what its warnings say.
///
/// # Errors
/// The only check then: all others need it.
pub(super) fn load(named: Option<&Path>) -> Result<(Config, Vec<Check>), Check> {
    let source = ConfigSource::gather(named, std::env::vars_os()).map_err(|error| wrong(&error))?;
    let place = match &source.file {
        Some((file, _)) => file.clone(),
        None => "the default (there is no ./certward.toml; --config names a file)".to_owned(),
    };
    let loaded = source.load().map_err(|error| wrong(&error))?;
    let mut checks = vec![Check::ok(CheckKind::Configuration, format!("{place} is read"))];
    let of_store = loaded.config.store.iter().flat_map(|store| store.servers().warnings());
    checks.extend(
        loaded
            .warnings
            .iter()
            .cloned()
            .chain(of_store)
            .map(|text| Check::unknown(CheckKind::Configuration, text)),
    );
    if let Some((file, _)) = &source.file {
        checks.extend(super::files::of_configuration(Path::new(file), &loaded.config));
    }
    Ok((loaded.config, checks))
}

fn wrong(error: &crate::config::ConfigError) -> Check {
    Check::error(
        CheckKind::Configuration,
        format!("the configuration cannot be used, and nothing else is checked: {error}"),
        "correct it, then run certward doctor again; docs/configuration.md has all keys",
    )
}
