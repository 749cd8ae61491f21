//! Undoes what shells, editors, templates and JSON encoders do to PEM text.
//!
//! Changes only what PEM never contains, and notes it for the uploader.

use std::fmt;

use zeroize::Zeroizing;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Repair {
    ByteOrderMark,
    LiteralLineBreaks,
    CarriageReturns,
    Indentation,
    OneLine,
    SpacesForLineBreaks,
    UnusualSpaces,
    Surroundings,
    Label,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByteOrderMark => "a byte order mark",
            Self::LiteralLineBreaks => "a literal \\n or \\r\\n instead of line breaks",
            Self::CarriageReturns => "carriage returns",
            Self::Indentation => "indentation or trailing spaces",
            Self::OneLine => "a block without line breaks",
            Self::SpacesForLineBreaks => "spaces instead of line breaks",
            Self::UnusualSpaces => "unusual space characters",
            Self::Surroundings => "text outside the blocks",
            Self::Label => "an old label of a certificate block",
        })
    }
}

/// Each kind once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repairs(Vec<Repair>);

impl Repairs {
    pub(crate) fn note(&mut self, repair: Repair) {
        if let Err(place) = self.0.binary_search(&repair) {
            self.0.insert(place, repair);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Repair> + '_ {
        self.0.iter().copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// UTF-16 decoded as single bytes: every other character is NUL.
pub(crate) fn is_utf16(text: &str) -> bool {
    text.contains("B\0E\0G\0I\0N") || text.starts_with('\u{fffe}') || text.starts_with("\u{fffd}\u{fffd}-\0")
}

/// One pass; the result is never longer than the input, so the buffer never moves and leaves no
/// copy of a key.
pub(crate) fn clean(text: &str, repairs: &mut Repairs) -> Zeroizing<String> {
    crate::work::bytes(text.len());
    let mut cleaned = Zeroizing::new(String::with_capacity(text.len()));
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{feff}' => repairs.note(Repair::ByteOrderMark),
            '\r' => {
                repairs.note(Repair::CarriageReturns);
                if chars.peek() != Some(&'\n') {
                    cleaned.push('\n');
                }
            }
            '\\' => match escaped_space(&mut chars) {
                Some(space) => {
                    repairs.note(Repair::LiteralLineBreaks);
                    cleaned.push(space);
                }
                None => cleaned.push('\\'),
            },
            '\u{a0}' | '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{3000}' => {
                repairs.note(Repair::UnusualSpaces);
                cleaned.push(' ');
            }
            _ => cleaned.push(c),
        }
    }
    cleaned
}

/// The rest of a literal `\n`, `\r` or `\t`; encoded twice, it has two backslashes.
fn escaped_space(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let mut ahead = chars.clone();
    let mut taken = 0_usize;
    while ahead.peek() == Some(&'\\') && taken < BACKSLASHES_MAX {
        ahead.next();
        taken += 1;
    }
    let space = match ahead.next()? {
        'n' | 'r' => '\n',
        't' => ' ',
        _ => return None,
    };
    *chars = ahead;
    Some(space)
}

/// Text encoded three times has four; the bound keeps the pass linear.
const BACKSLASHES_MAX: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_undone_and_remembered() {
        for (text, cleaned, repairs) in [
            ("a\nb", "a\nb", vec![]),
            ("\u{feff}a\r\nb\rc", "a\nb\nc", vec![Repair::ByteOrderMark, Repair::CarriageReturns]),
            ("a\\nb\\r\\nc", "a\nb\n\nc", vec![Repair::LiteralLineBreaks]),
            ("a\\\\nb\\x", "a\nb\\x", vec![Repair::LiteralLineBreaks]),
            ("a\u{a0}b", "a b", vec![Repair::UnusualSpaces]),
        ] {
            let mut noted = Repairs::default();
            assert_eq!(clean(text, &mut noted).as_str(), cleaned);
            assert_eq!(noted.iter().collect::<Vec<_>>(), repairs);
        }
    }
}
