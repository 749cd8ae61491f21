use std::net::IpAddr;

use certward_gateway::IpNet;
use serde::{Deserialize, Deserializer, de::Error};

/// `ADDRESS/BITS` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(pub(crate) IpNet);

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8` or `192.0.2.7`.
    ///
    /// # Errors
    /// A sentence with the allowed form.
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(IpNet::from(address)));
        }
        let network: IpNet = text.parse().map_err(|_| {
            format!("{text:?} is no network; allowed is ADDRESS/BITS or an address, for example 10.0.0.0/8")
        })?;
        // 10.1.2.3/8 is ambiguous, so it is refused.
        if network.trunc() != network {
            return Err(format!(
                "{text:?} has bits set behind its first {}; write {}",
                network.prefix_len(),
                network.trunc()
            ));
        }
        Ok(Self(network))
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_an_address_and_its_leading_bits() {
        let cases = [
            ("10.0.0.0/8", Some(8)),
            ("0.0.0.0/0", Some(0)),
            ("192.0.2.7", Some(32)),
            ("fd00::/8", Some(8)),
            ("::/0", Some(0)),
            ("::1", Some(128)),
            ("10.0.0.1/8", None),
            ("10.0.0.0/33", None),
            ("::/129", None),
            ("10.0.0.0/", None),
            ("10.0.0/8", None),
            ("localhost", None),
            ("", None),
        ];
        for (text, bits) in cases {
            assert_eq!(Network::parse(text).ok().map(|network| network.0.prefix_len()), bits, "{text}");
        }
    }
}
