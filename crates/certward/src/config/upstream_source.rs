use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Deserializer, de::Error};

/// Duplicates are refused.
pub(super) fn addresses<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpAddr>, D::Error> {
    parse(&Vec::<String>::deserialize(from)?).map_err(D::Error::custom)
}

fn parse(texts: &[String]) -> Result<Vec<IpAddr>, String> {
    let mut addresses = Vec::with_capacity(texts.len());
    for text in texts {
        let address = text.parse().map_err(|_| {
            format!("{text:?} is no address; allowed are addresses of this machine, for example 10.0.0.5 or fd00::5")
        })?;
        if !can_be_a_source(address) {
            return Err(format!("{text:?} can be no address of this machine that a broker is reached from"));
        }
        if addresses.contains(&address) {
            return Err(format!("{text:?} stands there twice"));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn can_be_a_source(address: IpAddr) -> bool {
    let never = match address {
        IpAddr::V4(ip) => ip.is_broadcast(),
        // Link-local needs an interface; a mapped address must be written as IPv4.
        IpAddr::V6(ip) => ip.is_unicast_link_local() || Ipv6Addr::to_ipv4_mapped(&ip).is_some(),
    };
    !(never || address.is_unspecified() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_different_addresses_that_a_machine_can_have() {
        let cases: [(&[&str], bool); 12] = [
            (&[], true),
            (&["10.0.0.5"], true),
            (&["10.0.0.5", "10.0.0.6", "fd00::5", "127.0.0.2"], true),
            (&["10.0.0.5", "10.0.0.5"], false),
            (&["fd00::5", "fd00:0::5"], false),
            (&["0.0.0.0"], false),
            (&["::"], false),
            (&["255.255.255.255"], false),
            (&["224.0.0.1"], false),
            (&["fe80::1"], false),
            (&["::ffff:10.0.0.5"], false),
            (&["10.0.0.0/8"], false),
        ];
        for (texts, allowed) in cases {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(parse(&texts).is_ok(), allowed, "{texts:?}");
        }
    }
}
