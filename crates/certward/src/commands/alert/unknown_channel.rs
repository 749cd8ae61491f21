use anyhow::anyhow;
use certward_store::ChannelId;

use crate::client::ClientError;

/// Names the channel if there is none of this id.
pub(super) fn named(error: ClientError, id: &ChannelId) -> anyhow::Error {
    match error.is_code("NOT_FOUND") {
        true => anyhow!(
            "there is no alert channel {id}; `certward alert channel list` shows those that this key sees"
        ),
        false => error.into(),
    }
}
