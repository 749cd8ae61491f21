use std::time::Duration;

use certward_lifecycle::Handling;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Larger values are cut to this.
const WAIT_SECONDS_MAX: u64 = 60;

/// The first `wait=N` (RFC 7240 §4.3); ignored if unreadable.
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = first(headers, "wait", |digits| {
        let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than a u64 holds.
        number.then(|| digits.parse().unwrap_or(u64::MAX))
    })?;
    Some(Duration::from_secs(seconds.min(WAIT_SECONDS_MAX)))
}

/// The first `handling=strict` or `handling=lenient` (RFC 7240 §4.4).
pub(crate) fn handling(headers: &HeaderMap) -> Option<Handling> {
    first(headers, "handling", |word| {
        [Handling::Strict, Handling::Lenient]
            .into_iter()
            .find(|handling| word.eq_ignore_ascii_case(handling.as_str()))
    })
}

/// Says that the preference was followed.
pub(crate) fn add_handling(headers: &mut HeaderMap, handling: Option<Handling>) {
    let value = match handling {
        None => return,
        Some(Handling::Strict) => "handling=strict",
        Some(Handling::Lenient) => "handling=lenient",
    };
    headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static(value));
}

/// The first preference of this name whose value can be read.
fn first<T>(headers: &HeaderMap, wanted: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    preferences.find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let is_wanted = name.trim().eq_ignore_ascii_case(wanted);
        is_wanted.then(|| read(value.trim().trim_matches('"'))).flatten()
    })
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

    #[test]
    fn both_preferences_are_found_in_one_header_or_two() {
        use Handling::{Lenient, Strict};
        for (values, handling_found, seconds) in [
            (&["handling=strict"][..], Some(Strict), None),
            (&["Handling = \"Strict\""], Some(Strict), None),
            (&["handling=lenient; x=y, handling=strict"], Some(Lenient), None),
            (&["handling=gentle, handling=strict"], Some(Strict), None),
            (&["wait=5, handling=strict"], Some(Strict), Some(5)),
            (&["handling=strict", "wait=5"], Some(Strict), Some(5)),
            (&["handling"], None, None),
            (&["handling=strictly"], None, None),
            (&[], None, None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, value.parse().unwrap());
            }
            assert_eq!(handling(&headers), handling_found, "{values:?}");
            assert_eq!(wait(&headers), seconds.map(Duration::from_secs), "{values:?}");
        }
    }
}
