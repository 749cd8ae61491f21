use serde::Deserialize;

/// `[log]`: what is told, on stderr.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogSection {
    /// The least important line that is still written: `info`. SIGHUP reads it anew.
    pub(crate) level: Level,
    /// For people or for programs: `text`.
    pub(crate) format: Format,
}

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// What needs a hand.
    Error,
    /// And what may need one.
    Warn,
    /// And what happened.
    #[default]
    Info,
    /// And why.
    Debug,
    /// And every step.
    Trace,
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// One line of text.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
