use std::{fmt, time::Duration};

use certward_store::CloseRate;

/// Sessions in a second over all nodes, such as `50/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CloseRateArg(CloseRate);

impl CloseRateArg {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number =
            text.strip_suffix("/s").filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let rate = number.and_then(|number| CloseRate::parse(number.parse().ok()?).ok().flatten());
        rate.map(Self).ok_or_else(|| {
            "give a whole number of sessions in a second, from 1/s to 1000000/s, for example 50/s".to_owned()
        })
    }

    /// As the API takes it.
    pub(crate) fn query(rate: Option<Self>) -> String {
        rate.map(|Self(rate)| format!("closeRate={}", rate.get())).unwrap_or_default()
    }

    /// How long so many sessions take, rounded up to seconds.
    pub(crate) fn time_for(self, sessions: u64) -> Duration {
        Duration::from_secs(sessions.div_ceil(u64::from(self.0.get())))
    }
}

impl fmt::Display for CloseRateArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_in_a_second() {
        for (text, query) in [
            ("50/s", Some("closeRate=50")),
            ("1/s", Some("closeRate=1")),
            ("1000000/s", Some("closeRate=1000000")),
            ("0/s", None),
            ("1000001/s", None),
            ("+5/s", None),
            ("50", None),
            ("50/m", None),
            ("/s", None),
            ("99999999999999999999/s", None),
        ] {
            let read = CloseRateArg::parse(text).ok();
            assert_eq!(read.map(|rate| CloseRateArg::query(Some(rate))).as_deref(), query, "{text}");
        }
        let rate = CloseRateArg::parse("50/s").unwrap();
        assert_eq!([0, 1, 50, 51, 1_234].map(|sessions| rate.time_for(sessions).as_secs()), [0, 1, 1, 2, 25]);
        assert_eq!((rate.to_string().as_str(), CloseRateArg::query(None).as_str()), ("50/s", ""));
    }
}
