use std::time::Duration;

use http::{HeaderMap, HeaderName};

pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Larger values are cut to this.
const WAIT_SECONDS_MAX: u64 = 60;

/// The first `wait=N` (RFC 7240 §4.3); ignored if unreadable.
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    let seconds = preferences.find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("wait") {
            return None;
        }
        let digits = value.trim().trim_matches('"');
        let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than a u64 holds.
        number.then(|| digits.parse().unwrap_or(u64::MAX))
    })?;
    Some(Duration::from_secs(seconds.min(WAIT_SECONDS_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preference_is_found_among_others_and_capped() {
        for (value, seconds) in [
            ("wait=5", Some(5)),
            ("Wait = 5", Some(5)),
            ("wait=\"5\"", Some(5)),
            ("respond-async, wait=5", Some(5)),
            ("wait=5; x=y, wait=6", Some(5)),
            ("wait=0", Some(0)),
            ("wait=60", Some(60)),
            ("wait=61", Some(60)),
            ("wait=99999999999999999999999", Some(60)),
            ("wait", None),
            ("wait=", None),
            ("wait=-1", None),
            ("wait=+1", None),
            ("wait=1.5", None),
            ("waiting=5", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, value.parse().unwrap());
            assert_eq!(wait(&headers), seconds.map(Duration::from_secs), "{value:?}");
        }
    }
}
