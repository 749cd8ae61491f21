use certward_store::Role;
use serde::Deserialize;
use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    Config, ConfigError, ConfigSource, LogFormat, LogLevel, LogSection, MasterKeyText,
    error::Origin,
    example,
    key::{self, ConfigKey, ValueKind},
    role,
};

#[derive(Debug)]
pub(crate) struct LoadedConfig {
    pub(crate) config: Config,
    pub(crate) warnings: Vec<String>,
}

impl ConfigSource {
    /// Opens no other file and no socket.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    pub(crate) fn load(&self) -> Result<LoadedConfig, ConfigError> {
        let mut table = self.parse_file()?;
        let mut warnings = Vec::new();
        let (mut master_key, mut next_master_key) = (None, None);
        for (name, value) in self.variables.iter().filter(|(name, _)| !key::is_foreign(name)) {
            let wrong = |message: String| ConfigError::new(Origin::Variable(name.clone()), message);
            if name == key::MASTER_KEY {
                master_key = Some(MasterKeyText::new(value.clone()));
            } else if name == key::NEXT_MASTER_KEY {
                next_master_key = Some(MasterKeyText::new(value.clone()));
            } else if let Some(key) = key::find(name) {
                overlay(&mut table, key, value).map_err(wrong)?;
            } else if key::LISTS.contains(&name.as_str()) {
                return Err(wrong("it is a list, and lists stand in the file only".into()));
            } else if name.contains("__") {
                return Err(wrong(format!("there is no such key; the nearest is {}", key::nearest(name))));
            } else {
                // Kubernetes sets `CERTWARD_PORT` and others for a service named certward.
                warnings.push(format!(
                    "the environment variable {name} is no key of the configuration and is ignored; the nearest is {}",
                    key::nearest(name)
                ));
            }
        }
        // Each part was parsed with its place; the whole has none.
        let mut config = Config::deserialize(Value::Table(table))
            .map_err(|e| ConfigError::new(self.origin(""), e.message().to_owned()))?;
        config.master_key = master_key;
        config.next_master_key = next_master_key;
        let credentials = self.variables.iter().find(|(name, _)| name == key::CREDENTIALS);
        config.credentials = credentials.map(|(_, folder)| folder.into());
        config.role = self.role.unwrap_or(config.role);
        self.check(&config)?;
        let ignored = role::ignored_keys(&config);
        if !ignored.is_empty() {
            warnings.push(format!("a node of the role {} ignores {}", config.role, ignored.join(", ")));
        }
        Ok(LoadedConfig { config, warnings })
    }

    /// `[log]` alone, as far as it can be read.
    pub(crate) fn log_section(&self) -> LogSection {
        let file = self.file.as_ref().and_then(|(_, text)| toml::from_str::<Table>(text).ok());
        let table = file.unwrap_or_default();
        let text = |key: &str| {
            let path = format!("log.{key}");
            let variable =
                self.variables.iter().find(|(name, _)| key::find(name).is_some_and(|key| key.path == path));
            let in_file = || table.get("log")?.get(key)?.as_str();
            variable.map(|(_, value)| value.as_str()).or_else(in_file)
        };
        let value = |key| Value::String(text(key).unwrap_or_default().to_owned());
        LogSection {
            level: LogLevel::deserialize(value("level")).unwrap_or_default(),
            format: LogFormat::deserialize(value("format")).unwrap_or_default(),
        }
    }

    fn parse_file(&self) -> Result<Table, ConfigError> {
        let Some((path, text)) = &self.file else { return Ok(Table::new()) };
        let wrong = |e: toml::de::Error| {
            let at = e.span().map(|span| span.start);
            let mut message = e.message().trim().replace('\n', ", ");
            let is_of_type =
                ["invalid type", "wanted string or table"].iter().any(|it| message.starts_with(it));
            if is_of_type && let Some(right) = at.and_then(|at| example::for_key_at(text, at)) {
                message = format!("{message}; write {right}");
            }
            let line = at.map(|at| line_of(text, at));
            ConfigError::new(Origin::File { path: path.clone(), line }, message)
        };
        toml::from_str::<Config>(text).map_err(wrong)?;
        toml::from_str(text).map_err(wrong)
    }

    /// Rules between keys.
    fn check(&self, config: &Config) -> Result<(), ConfigError> {
        let wrong = |path: &str, message: &str| Err(ConfigError::new(self.origin(path), message));
        if config.master_key.is_some() && config.master_key_file.is_some() {
            return wrong(
                "master_key_file",
                "the master key is given by CERTWARD_MASTER_KEY as well; only one of them is allowed",
            );
        }
        if config.next_master_key.is_some() && config.master_key_next_file.is_some() {
            return wrong(
                "master_key_next_file",
                "the next master key is given by CERTWARD_MASTER_KEY_NEXT as well; only one of them is allowed",
            );
        }
        if config.role != Role::All && config.store.is_none() {
            return wrong(
                "role",
                "the embedded store is that of one process, which does everything; set store to share a PostgreSQL database, or leave the \
                 role at all",
            );
        }
        let api = &config.api;
        match (&api.cert, &api.key) {
            (Some(_), None) => return wrong("api.cert", "api.cert needs api.key beside it"),
            (None, Some(_)) => return wrong("api.key", "api.key needs api.cert beside it"),
            (Some(_), Some(_)) => {}
            (None, None) if api.listen.ip().to_canonical().is_loopback() || api.allow_plain_http => {}
            (None, None) => {
                return wrong(
                    "api.listen",
                    "plain HTTP is allowed on loopback only; set api.cert and api.key for HTTPS, or api.allow_plain_http = true where \
                     something else encrypts",
                );
            }
        }
        let Some(listeners) = &config.gateway.listener else { return Ok(()) };
        if listeners.is_empty() {
            return wrong("gateway.listener", "the list is empty; leave it out for the default");
        }
        for (i, listener) in listeners.iter().enumerate().filter(|(_, listener)| listener.listen.port() != 0)
        {
            let path = format!("gateway.listener.{i}.listen");
            if listener.listen == api.listen {
                return wrong(&path, "this address is the API's already");
            }
            if listeners[..i].iter().any(|before| before.listen == listener.listen) {
                return wrong(&path, "this address is another listener's already");
            }
        }
        Ok(())
    }

    fn origin(&self, path: &str) -> Origin {
        if path == "role" && self.role.is_some() {
            return Origin::Option("--role");
        }
        if let Some((name, _)) =
            self.variables.iter().find(|(name, _)| key::find(name).is_some_and(|key| key.path == path))
        {
            return Origin::Variable(name.clone());
        }
        match &self.file {
            Some((file, text)) => {
                let line = locate(text, path).map(|at| line_of(text, at));
                if line.is_none() && !path.is_empty() {
                    return Origin::Default(path.to_owned());
                }
                Origin::File { path: file.clone(), line }
            }
            None => Origin::Default(path.to_owned()),
        }
    }
}

/// Parsed alone first.
fn overlay(table: &mut Table, key: ConfigKey, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("it is empty; leave it out for what the file or the default says".into());
    }
    let value = match key.kind {
        ValueKind::Text => Value::String(text.to_owned()),
        ValueKind::Integer => {
            text.parse().map(Value::Integer).map_err(|_| format!("{text:?} is no whole number"))?
        }
        ValueKind::Bool => text
            .parse()
            .map(Value::Boolean)
            .map_err(|_| format!("{text:?} is not allowed; allowed are true and false"))?,
    };
    let mut alone = Table::new();
    insert(&mut alone, key.path, value.clone());
    Config::deserialize(Value::Table(alone)).map_err(|e| e.message().trim().to_owned())?;
    insert(table, key.path, value);
    Ok(())
}

fn insert(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            // Otherwise refused while parsing.
            if let Value::Table(section) = section {
                insert(section, rest, value);
            }
        }
    }
}

/// Numbers in `path` are indices of a list.
fn locate(text: &str, path: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut parts = path.split('.');
    let mut at = document.get_ref().get(parts.next()?)?;
    for part in parts {
        at = match at.get_ref() {
            DeValue::Table(table) => table.get(part)?,
            DeValue::Array(array) => array.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(at.span().start)
}

/// Counts from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|&&b| b == b'\n').count() + 1
}
