use std::net::{IpAddr, Ipv6Addr};

/// The address that limits count by: an IPv6 host can use any address of its /64 (RFC 4291 §2.5.1,
/// RFC 8981). Exceptions: link-local addresses, and the NAT64 /96 (RFC 6052 §2.1).
pub fn address_group(address: IpAddr) -> IpAddr {
    const TRANSLATED: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_unicast_link_local() && v6.segments()[..6] != TRANSLATED => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        single => single,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_and_of_ipv6_a_network_is() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false),
            ("fe80::1", "fe80::2", false),
        ] {
            let group = |text: &str| address_group(text.parse().unwrap());
            assert_eq!(group(one) == group(other), same, "{one} {other}");
        }
    }
}
