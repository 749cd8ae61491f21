use certward_store::Timestamp;

use crate::{api_time, api_types::BrokerTroubleAnswer};

/// Such as `127.0.0.1:1883 cannot be used (mqtts, node n1): Connection refused; first …`.
pub(super) fn in_words(trouble: &BrokerTroubleAnswer, now: Timestamp) -> String {
    let BrokerTroubleAnswer { node, listener, message, turned_away, disconnected, .. } = trouble;
    format!(
        "{} ({listener}, node {node}): {message}; first {}, last {}; {turned_away} turned away, {disconnected} disconnected",
        headline(trouble),
        api_time::ago(&trouble.since, now),
        api_time::ago(&trouble.last_at, now),
    )
}

/// Such as `127.0.0.1:1883 cannot be used`.
pub(super) fn headline(trouble: &BrokerTroubleAnswer) -> String {
    match trouble.upstream.as_str() {
        "" => format!("none for {}", trouble.listener),
        upstream => format!("{upstream} cannot be used"),
    }
}
