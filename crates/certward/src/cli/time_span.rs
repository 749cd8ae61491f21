use certward_lifecycle::read_span;

/// Whole days or hours, such as `30d` or `12h`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeSpan {
    text: String,
}

impl TimeSpan {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        read_span(text).map(|_| Self { text: text.to_owned() }).ok_or_else(|| {
            "give a whole number of days or hours, up to 36500d, for example 30d or 12h".to_owned()
        })
    }

    /// As it was given: the API reads the same form.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}
