//! The only writer to stdout and stderr, except the log.
//!
//! stdout has the result. A reader that closes it, as `head` does, has what it wants: that is no
//! failure, and the exit code is what it were otherwise. For what is shown only once it is one.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    ops::ControlFlow,
};

use anyhow::Context;
use certward_pki::is_control;
use serde::Serialize;
use thiserror::Error;
use zeroize::Zeroizing;

#[derive(Debug, Clone, Copy, Error)]
#[error("stdout is closed")]
struct StdoutClosed;

/// # Errors
/// If stdout cannot be written, as on a full disk.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    write(text).map(drop)
}

/// # Errors
/// As [`say`].
pub(crate) fn say_json(value: &impl Serialize) -> anyhow::Result<()> {
    write(&json(value)?).map(drop)
}

/// A row of a long list; breaks when no reader is left.
///
/// # Errors
/// As [`say`].
pub(crate) fn say_json_row(value: &impl Serialize) -> anyhow::Result<ControlFlow<()>> {
    write(&json(value)?)
}

/// For what is never shown again.
///
/// # Errors
/// Also if stdout is closed.
pub(crate) fn say_once(text: &str) -> anyhow::Result<()> {
    match write(text)? {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(StdoutClosed.into()),
    }
}

/// # Errors
/// As [`say_once`].
pub(crate) fn say_json_once(value: &impl Serialize) -> anyhow::Result<()> {
    say_once(&json(value)?)
}

fn write(text: &str) -> anyhow::Result<ControlFlow<()>> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error).context("cannot write to stdout"),
    }
}

/// It may hold a new API secret.
fn json(value: &impl Serialize) -> serde_json::Result<Zeroizing<String>> {
    let text = Zeroizing::new(serde_json::to_string(value)?);
    Ok(if text.chars().any(is_shown_otherwise) { Zeroizing::new(plain_json(&text)) } else { text })
}

/// Prints to stderr; a closed one is no failure.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints to stderr what is answered on the same line.
pub(crate) fn prompt(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// See [`one_line`].
pub(crate) fn complain(error: &anyhow::Error) {
    complain_text(&one_line(error));
}

/// With its causes, without repeated texts.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            let _ = write!(text, "{}{cause}", if text.is_empty() { "" } else { ": " });
        }
    }
    text
}

pub(crate) fn complain_text(text: &str) {
    note(&format!("certward: {text}"));
}

/// Escapes control characters, which could move the cursor.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_shown_otherwise(c) {
            let _ = write!(plain, "{}", c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// In JSON such characters occur only within strings.
fn plain_json(json: &str) -> String {
    let mut plain = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if is_shown_otherwise(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(plain, "\\u{unit:04x}");
            }
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Both can make names look alike.
fn is_shown_otherwise(c: char) -> bool {
    is_control(c) || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb"), "a\\u{1b}[31mb");
        assert_eq!(plain("x\r\ny\u{202e}z"), "x\\u{d}\\u{a}y\\u{202e}z");
        assert_eq!(plain("Müller – Café"), "Müller – Café");
        for c in
            "\u{9b}\u{61c}\u{200b}\u{200e}\u{2028}\u{2029}\u{202a}\u{2066}\u{2069}\u{206a}\u{feff}".chars()
        {
            assert_eq!(plain(&format!("a{c}b")), format!("a{}b", c.escape_unicode()));
        }
    }

    #[test]
    fn json_reads_the_same_and_does_not_act_on_the_terminal() {
        let value = serde_json::json!({"a": "x\u{202e}y\u{9b}z\u{2028}\n", "ü": ["\u{200f}"]});
        let shown = plain_json(&value.to_string());
        assert!(!shown.chars().any(is_shown_otherwise) && shown.contains("x\\u202ey"), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
