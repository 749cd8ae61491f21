use crate::{cli::SessionFilterArgs, commands::device_id, usage::UsageError};

/// Which sessions, for the API and for people.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SessionQuery {
    /// Empty for all.
    pub(super) query: String,
    /// Such as ` from 192.0.2.7`; empty for all.
    pub(super) words: String,
}

impl SessionQuery {
    pub(super) fn of(which: &SessionFilterArgs) -> Result<Self, UsageError> {
        // Ids and addresses need no encoding in a query.
        Ok(match (&which.device, which.address) {
            (Some(device), _) => {
                let device = device_id(device)?;
                Self { query: format!("device={device}"), words: format!(" of the device {device}") }
            }
            (None, Some(address)) => {
                Self { query: format!("address={address}"), words: format!(" from {address}") }
            }
            (None, None) => Self { query: String::new(), words: String::new() },
        })
    }
}
