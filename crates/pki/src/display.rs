//! Escapes input that could act on a terminal, log or page.

use std::fmt::Write;

use time::OffsetDateTime;
use time::macros::format_description;

/// Longer than real subjects, short for a log line.
pub(crate) const SUBJECT_CHARS_MAX: usize = 160;

/// Escapes controls, non-ASCII, quotes, backslash, `<`, `>` and `&`; bounds the length.
pub(crate) fn escape(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == chars_max {
            shown.push_str("...");
            break;
        }
        match c {
            '"' | '\'' | '`' | '\\' | '<' | '>' | '&' => push_escape(&mut shown, c),
            ' '..='~' => shown.push(c),
            _ => push_escape(&mut shown, c),
        }
    }
    shown
}

/// Cuts an escaped text, not within an escape.
pub(crate) fn cut(mut escaped: String, bytes_max: usize) -> String {
    const DOTS: &str = "...";
    if escaped.len() <= bytes_max {
        return escaped;
    }
    escaped.truncate(bytes_max - DOTS.len());
    if let Some(last) = escaped.rfind('\\')
        && !escaped[last..].contains('}')
    {
        escaped.truncate(last);
    }
    escaped + DOTS
}

/// Characters that act on the text around them: controls, direction marks (UAX #9), line and
/// paragraph separators, annotation marks. Not joiners: scripts and emoji need them.
pub fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}'
        )
}

fn push_escape(shown: &mut String, c: char) {
    // Writing to a String cannot fail.
    let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
}

/// `2034-05-22 02:43:21 UTC`.
pub(crate) fn shown_time(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    time.format(&format).unwrap_or_else(|_| "a time out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_act_on_a_text_are_told_from_those_that_are_in_it() {
        let acting = "\0\n\r\t\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{206a}\u{206f}\u{fff9}";
        for c in acting.chars() {
            assert!(is_control(c), "{}", c.escape_unicode());
        }
        // With joiners of Persian and emoji.
        for c in "aZ \u{a0}ü第ض\u{200c}\u{200d}\u{301}🏴".chars() {
            assert!(!is_control(c), "{}", c.escape_unicode());
        }
    }

    #[test]
    fn text_that_acts_on_a_reader_is_escaped_and_bounded() {
        for (text, shown) in [
            ("CN=broker.example.com, O=Example (Test)", "CN=broker.example.com, O=Example (Test)"),
            ("a\r\nb\0\u{1b}[31m", "a\\u{d}\\u{a}b\\u{0}\\u{1b}[31m"),
            ("<script>\"'&`", "\\u{3c}script\\u{3e}\\u{22}\\u{27}\\u{26}\\u{60}"),
            ("\u{202e}ü", "\\u{202e}\\u{fc}"),
            ("\\u{3c}", "\\u{5c}u{3c}"),
        ] {
            assert_eq!(escape(text, SUBJECT_CHARS_MAX), shown);
        }
        assert_eq!(escape(&"x".repeat(500), 4), "xxxx...");
    }

    #[test]
    fn a_cut_leaves_no_part_of_an_escape() {
        for (text, bytes_max, left) in [
            ("abc", 3, "abc"),
            ("abcdefgh", 7, "abcd..."),
            ("ab\\u{1b}cd", 8, "ab..."),
            ("ab\\u{1b}cd", 10, "ab\\u{1b}cd"),
            ("ab\\u{1b}cdefg", 11, "ab\\u{1b}..."),
        ] {
            assert_eq!(cut(text.to_owned(), bytes_max), left);
        }
    }
}
