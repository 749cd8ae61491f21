//! The only place that writes to stdout and stderr (but for the log).
//!
//! stdout carries what was asked for, stderr everything about it. A reader that has gone away ends the command with an
//! error rather than a panic.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use anyhow::Context;
use serde::Serialize;

/// Prints a line, or several, for people.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).context("cannot write to stdout")
}

/// Prints one JSON value on one line.
pub(crate) fn say_json(value: &impl Serialize) -> anyhow::Result<()> {
    // A value may be a new API secret: the text is wiped, whatever the reader does.
    let text = zeroize::Zeroizing::new(serde_json::to_string(value)?);
    say(&text)
}

/// Prints a line for people beside what was asked for. Nothing is lost with it, so a closed stderr is no failure.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints an error and its causes; a cause that the text before it tells already is left out.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            let _ = write!(text, "{}{cause}", if text.is_empty() { "" } else { ": " });
        }
    }
    complain_text(&text);
}

/// Prints an error.
pub(crate) fn complain_text(text: &str) {
    note(&format!("certward: {text}"));
}

/// A text from outside as a terminal may show it: control characters, which could move the cursor or colour what is
/// true, are written out.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            let _ = write!(plain, "{}", c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Marks that turn the direction of writing or take no room: they can make one name look like another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb"), "a\\u{1b}[31mb");
        assert_eq!(plain("x\r\ny\u{202e}z"), "x\\u{d}\\u{a}y\\u{202e}z");
        assert_eq!(plain("Müller – Café"), "Müller – Café");
    }
}
