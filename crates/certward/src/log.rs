//! The log on stderr: our crates at the configured level, others from warnings.

use std::io::{self, Write};

use certward_pki::is_control;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry, filter::Targets, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::config::{LogFormat, LogLevel, LogSection};

#[derive(Debug, Clone)]
pub(crate) struct LogHandle(reload::Handle<Targets, Registry>);

/// Starts the log.
///
/// # Errors
/// If a log is open already.
pub(crate) fn start(section: &LogSection) -> anyhow::Result<LogHandle> {
    let (filter, handle) = reload::Layer::new(targets(section.level));
    let format = section.format;
    let lines =
        tracing_subscriber::fmt::layer().with_writer(move || EscapedWriter { to: io::stderr(), format });
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => Box::new(lines.with_ansi(false).with_filter(filter)),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).with_filter(filter)),
    };
    tracing_subscriber::registry().with(lines).try_init()?;
    Ok(LogHandle(handle))
}

impl LogHandle {
    /// # Errors
    /// If the log is gone.
    pub(crate) fn set(&self, level: LogLevel) -> anyhow::Result<()> {
        Ok(self.0.reload(targets(level))?)
    }
}

/// `certward` is the prefix of our crates. Others stay at warnings: HTTP and TLS libraries log
/// secrets at trace.
fn targets(level: LogLevel) -> Targets {
    let ours = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_target("certward", ours).with_default(ours.min(LevelFilter::WARN))
}

/// Escapes control characters: no foreign text starts a line or controls a terminal.
struct EscapedWriter<W> {
    to: W,
    format: LogFormat,
}

impl<W: Write> Write for EscapedWriter<W> {
    /// Called once per event.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (text, end) = text.strip_suffix('\n').map_or((&*text, ""), |text| (text, "\n"));
        if text.chars().any(is_control) {
            let shown: String =
                text.chars().map(|c| EscapedChar { c, format: self.format }.to_string()).collect();
            self.to.write_all(format!("{shown}{end}").as_bytes())?;
        } else {
            self.to.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

struct EscapedChar {
    c: char,
    format: LogFormat,
}

impl std::fmt::Display for EscapedChar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.format {
            _ if !is_control(self.c) => write!(f, "{}", self.c),
            LogFormat::Text => write!(f, "{}", self.c.escape_unicode()),
            // All are in the basic plane, and in JSON only within strings.
            LogFormat::Json => write!(f, "\\u{:04x}", u32::from(self.c)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: LogFormat, line: &str) -> String {
        let mut lines = EscapedWriter { to: Vec::new(), format };
        lines.write_all(line.as_bytes()).unwrap();
        String::from_utf8(lines.to).unwrap()
    }

    #[test]
    fn a_line_of_the_log_stays_one_whatever_is_in_it() {
        for (line, shown) in [
            ("INFO a plain line – ü\n", "INFO a plain line – ü\n"),
            ("WARN bad: x\nINFO y\r\u{1b}[2J\n", "WARN bad: x\\u{a}INFO y\\u{d}\\u{1b}[2J\n"),
            ("WARN a\u{202e}b\u{2028}c\u{9b}\n", "WARN a\\u{202e}b\\u{2028}c\\u{9b}\n"),
        ] {
            assert_eq!(written(LogFormat::Text, line), shown);
        }
        let value = serde_json::json!({"message": "a\u{202e}b\u{2029}\n"});
        let shown = written(LogFormat::Json, &format!("{value}\n"));
        assert!(shown.ends_with("}\n") && !shown.trim_end().chars().any(is_control), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
