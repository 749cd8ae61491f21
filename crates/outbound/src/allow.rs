use std::net::SocketAddr;

use certward_store::Nat64;
use ipnet::IpNet;

use crate::ReachFailure;

/// The networks that may be reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutboundAllow {
    /// Empty: none.
    pub networks: Vec<IpNet>,
    /// IPv4 inside IPv6 is judged as IPv4: `64:ff9b::10.0.0.1` as `10.0.0.1`.
    pub nat64: Nat64,
}

impl OutboundAllow {
    /// Whether a connection may be made to the address.
    ///
    /// # Errors
    /// [`ReachFailure::NotAllowed`].
    pub fn check(&self, address: SocketAddr) -> Result<(), ReachFailure> {
        let ip = address.ip().to_canonical();
        let mut judged = self.nat64.judged(ip).into_iter();
        let allowed = judged.all(|ip| self.networks.iter().any(|network| network.contains(&ip)));
        if allowed { Ok(()) } else { Err(ReachFailure::NotAllowed(ip)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(networks: &[&str]) -> OutboundAllow {
        OutboundAllow {
            networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
            nat64: Nat64::parse(&["2001:db8:64::/96"]).unwrap(),
        }
    }

    #[test]
    fn an_address_is_judged_by_the_ipv4_inside() {
        let mixed = ["10.0.0.0/8", "2001:db8::/32"];
        for (networks, ip, expected) in [
            (&[][..], "10.0.0.1", false),
            (&[], "::1", false),
            (&mixed, "10.1.2.3", true),
            (&mixed, "11.0.0.1", false),
            (&mixed, "2001:db8::1", true),
            (&mixed, "2001:db9::1", false),
            (&mixed, "::ffff:10.0.0.1", true),
            (&mixed, "::ffff:127.0.0.1", false),
            (&mixed, "::10.0.0.1", true),
            (&mixed, "64:ff9b::10.0.0.1", true),
            (&mixed, "64:ff9b::169.254.169.254", false),
            // The named prefix is inside 2001:db8::/32, and still judged by what is behind it.
            (&mixed, "2001:db8:64::10.0.0.1", true),
            (&mixed, "2001:db8:64::127.0.0.1", false),
            (&mixed, "2002:7f00:1::1", false),
            // Teredo: both the server and the client.
            (&mixed, "2001:0:a00:1::f5ff:fffe", true),
            (&mixed, "2001:0:a00:1::80ff:fffe", false),
            // Any IPv6 network is none of IPv4.
            (&["::/0"], "::ffff:127.0.0.1", false),
            (&["::/0"], "64:ff9b::127.0.0.1", false),
            (&["::/0"], "::1", true),
        ] {
            let ip: std::net::IpAddr = ip.parse().unwrap();
            let checked = allow(networks).check(SocketAddr::new(ip, 443));
            let refused = Err(ReachFailure::NotAllowed(ip.to_canonical()));
            assert_eq!(checked, if expected { Ok(()) } else { refused }, "{ip} by {networks:?}");
        }
    }
}
