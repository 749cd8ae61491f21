//! Colours, on a capable terminal, unless `NO_COLOR` (no-color.org) is set.

use std::io::{IsTerminal as _, stdout};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Coloured,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    Good,
    Bad,
    Doubtful,
    Remark,
    Faint,
}

impl Style {
    pub(crate) fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if stdout().is_terminal() && !refused && !dumb { Self::Coloured } else { Self::Plain }
    }

    /// The text must not hold control characters.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "1;32",
            Tone::Bad => "1;31",
            Tone::Doubtful => "1;33",
            Tone::Remark => "36",
            Tone::Faint => "2",
        };
        match self {
            _ if text.is_empty() => String::new(),
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(Style::Plain.paint(Tone::Bad, "refused"), "refused");
        assert_eq!(Style::Coloured.paint(Tone::Bad, "refused"), "\u{1b}[1;31mrefused\u{1b}[0m");
    }
}
