use std::fmt;

use serde::{Deserialize, Deserializer, de::Error};
use zeroize::Zeroizing;

/// The URL of a PostgreSQL database. It may hold a password: wiped on drop, shown by no `Debug` and in no error.
#[derive(Clone, PartialEq)]
pub(crate) struct StoreUrl(Zeroizing<String>);

impl StoreUrl {
    /// The URL, for connecting only.
    pub(crate) fn expose(&self) -> &Zeroizing<String> {
        &self.0
    }
}

impl<'de> Deserialize<'de> for StoreUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self(text));
        }
        Err(D::Error::custom(
            "allowed is postgres://USER:PASSWORD@HOST:PORT/DATABASE; leave the key out for the embedded store",
        ))
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreUrl(redacted)")
    }
}
