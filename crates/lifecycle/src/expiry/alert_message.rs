use certward_store::Timestamp;
use serde::Serialize;
use time::format_description::well_known::Rfc3339;

/// A message to a channel, in the forms of webhook and mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertMessage {
    /// The same for every attempt and channel.
    pub id: String,
    /// The body of a webhook: `type`, `timestamp`, `data`, as Standard Webhooks has it.
    pub json: String,
    /// The subject of a mail.
    pub subject: String,
    /// The text of a mail.
    pub text: String,
}

#[derive(Serialize)]
struct Payload<T> {
    r#type: &'static str,
    timestamp: String,
    data: T,
}

pub(crate) fn json(r#type: &'static str, at: Timestamp, data: impl Serialize) -> String {
    // Fails for maps with other keys than text only.
    serde_json::to_string(&Payload { r#type, timestamp: rfc3339(at), data }).unwrap_or_default()
}

pub(crate) fn rfc3339(at: Timestamp) -> String {
    let time = at.to_time();
    // To the second: within the years of certificates this does not fail.
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}
