//! The log: on stderr, our own crates at the configured level, what we lean on from warnings up.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry, filter::Targets, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::config::{Format, Level, LogSection};

/// Changes the level of the running log.
#[derive(Debug, Clone)]
pub(crate) struct LogLevel(reload::Handle<Targets, Registry>);

/// Opens the log.
///
/// # Errors
/// When a log is open already.
pub(crate) fn start(section: &LogSection) -> anyhow::Result<LogLevel> {
    let (filter, handle) = reload::Layer::new(targets(section.level));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match section.format {
        Format::Text => Box::new(lines.with_ansi(false).with_filter(filter)),
        Format::Json => Box::new(lines.json().flatten_event(true).with_filter(filter)),
    };
    tracing_subscriber::registry().with(lines).try_init()?;
    Ok(LogLevel(handle))
}

impl LogLevel {
    /// From now on.
    ///
    /// # Errors
    /// When the log is gone.
    pub(crate) fn set(&self, level: Level) -> anyhow::Result<()> {
        Ok(self.0.reload(targets(level))?)
    }
}

/// `certward` is a prefix of the names of all our crates. Others are never let below warnings, for what an HTTP or TLS
/// library writes at trace holds what it was given: keys, secrets.
fn targets(level: Level) -> Targets {
    let ours = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_target("certward", ours).with_default(ours.min(LevelFilter::WARN))
}
