use std::fmt;

use certward_store::Servers;
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use zeroize::Zeroizing;

/// One URL, several in one text (a variable has no lists), or a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoreServers(Servers);

impl StoreServers {
    pub(crate) fn servers(&self) -> &Servers {
        &self.0
    }
}

impl<'de> Deserialize<'de> for StoreServers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Urls).map(Self)
    }
}

struct Urls;

impl<'de> Visitor<'de> for Urls {
    type Value = Servers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a postgres:// URL or a list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Servers, E> {
        Servers::parse_list(text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Servers, A::Error> {
        let mut urls = Vec::new();
        while let Some(url) = list.next_element::<String>()? {
            urls.push(Zeroizing::new(url));
        }
        Servers::parse(urls.iter().map(|url| url.as_str())).map_err(A::Error::custom)
    }
}
