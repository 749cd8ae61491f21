use std::time::Duration;

const DAYS_MAX: u64 = 36_500;

/// Whole days or hours, such as `30d` or `12h`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeSpan {
    text: String,
}

impl TimeSpan {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        span(text).map(|_| Self { text: text.to_owned() }).ok_or_else(|| {
            format!("give a whole number of days or hours, up to {DAYS_MAX}d, for example 30d or 12h")
        })
    }

    /// As it was given: the API reads the same form.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// Whole days or hours.
pub(super) fn span(text: &str) -> Option<Duration> {
    let (hours, number) = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => (24, days),
        (None, Some(hours)) => (1, hours),
        (None, None) => return None,
    };
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let hours = number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(hours)?;
    (hours <= DAYS_MAX * 24).then(|| Duration::from_secs(hours * 60 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_days_or_hours() {
        for (text, hours) in [
            ("30d", Some(720)),
            ("12h", Some(12)),
            ("0d", Some(0)),
            ("36501d", None),
            ("30", None),
            ("d", None),
            ("-1d", None),
            ("+1d", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(span(text).map(|span| span.as_secs() / 3_600), hours, "{text}");
        }
    }
}
