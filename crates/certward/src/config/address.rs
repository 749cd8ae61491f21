use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, de::Error};

/// A name is refused: its resolution, and so the exposure, may change.
pub(super) fn socket_address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "{text:?} is no address to listen on; allowed is ADDRESS:PORT, for example 127.0.0.1:8080, 0.0.0.0:8883 or [::]:8883"
        ))
    })
}
