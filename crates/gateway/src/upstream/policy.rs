use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use certward_store::{Nat64, Upstream, UpstreamAllow};
use ipnet::IpNet;

use super::Unreachable;

#[derive(Debug, Clone)]
pub(crate) struct UpstreamPolicy {
    /// `None`: the default rule.
    pub(crate) allow: Option<Vec<IpNet>>,
    /// Own listeners: devices must not reach the API, nor the gateway in a loop.
    pub(crate) own: Vec<SocketAddr>,
    /// IPv4 inside IPv6 is judged as IPv4: `64:ff9b::10.0.0.1` as `10.0.0.1`.
    pub(crate) nat64: Nat64,
}

impl UpstreamPolicy {
    pub(super) fn check(&self, address: SocketAddr) -> Result<(), Unreachable> {
        let ip = address.ip().to_canonical();
        let judged = self.nat64.judged(ip);
        let allowed = match &self.allow {
            Some(networks) => judged.iter().all(|ip| networks.iter().any(|network| network.contains(ip))),
            None => allowed_by_default(ip) && judged.iter().copied().all(allowed_by_default),
        };
        if !allowed {
            return Err(Unreachable::NotAllowed(ip));
        }
        let own = std::iter::once(ip).chain(judged).any(|ip| self.is_own(ip, address.port()));
        if own { Err(Unreachable::OwnListener(address)) } else { Ok(()) }
    }

    /// The project's rule, in addition to the node's.
    pub(super) fn check_by(
        &self,
        allow: Option<&UpstreamAllow>,
        upstream: &Upstream,
        address: SocketAddr,
    ) -> Result<(), Unreachable> {
        match allow {
            Some(allow) if !allow.permits(upstream, address, &self.nat64) => {
                Err(Unreachable::NotAllowedByProject(address.ip()))
            }
            _ => Ok(()),
        }
    }

    fn is_own(&self, ip: IpAddr, port: u16) -> bool {
        // The port usually differs, which saves asking the system.
        self.own.iter().filter(|own| own.port() == port).any(|own| match own.ip().to_canonical() {
            everywhere if everywhere.is_unspecified() => is_this_machines(ip),
            one => one == ip,
        })
    }
}

/// Whether the address is local: the system would use it as the source.
fn is_this_machines(ip: IpAddr) -> bool {
    if ip.is_loopback() {
        return true;
    }
    let any = if ip.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    // Without a socket assume local: a loop is worse than a refusal.
    let Ok(socket) = UdpSocket::bind((any, 0)) else { return true };
    // An unreachable address is not local.
    let from = socket.connect((ip, 1)).and_then(|()| socket.local_addr());
    from.is_ok_and(|from| from.ip() == ip)
}

/// Cloud metadata services, which hand out credentials, beside the link-local ones
/// (169.254.169.254, Oracle): Alibaba Cloud, Azure, AWS and Google over IPv6.
const METADATA_SERVICES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)),
];

/// Excludes non-unicast addresses and metadata services, mostly link-local.
fn allowed_by_default(ip: IpAddr) -> bool {
    let special = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(special || ip.is_multicast() || ip.is_unspecified() || METADATA_SERVICES.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: Option<&[&str]>, own: &[&str]) -> UpstreamPolicy {
        UpstreamPolicy {
            allow: allow.map(|networks| networks.iter().map(|text| text.parse().unwrap()).collect()),
            own: own.iter().map(|text| text.parse().unwrap()).collect(),
            nat64: Nat64::parse(&["2001:db8:64::/96"]).unwrap(),
        }
    }

    fn embeddings(ip: Ipv4Addr) -> Vec<Ipv6Addr> {
        let [a, b, c, d] = ip.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let behind = |prefix: [u16; 6]| {
            let [p, q, r, s, t, u] = prefix;
            Ipv6Addr::new(p, q, r, s, t, u, high, low)
        };
        vec![
            behind([0x64, 0xff9b, 0, 0, 0, 0]),
            behind([0x64, 0xff9b, 1, 0, 0, 0]),
            behind([0x64, 0xff9b, 1, 0xfffe, 0, 0]),
            behind([0x2001, 0xdb8, 0x64, 0, 0, 0]),
            behind([0, 0, 0, 0, 0, 0xffff]),
            behind([0, 0, 0, 0, 0xffff, 0]),
            behind([0, 0, 0, 0, 0, 0]),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            // Teredo: server allowed and client refused, and the reverse.
            Ipv6Addr::new(0x2001, 0, 0xa00, 1, 0, 0, !high, !low),
            Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !0xa00, !1),
        ]
    }

    #[test]
    fn what_may_be_no_broker_may_be_none_inside_of_an_ipv6_address() {
        let (by_default, given) =
            (policy(None, &["127.0.0.1:8080"]), policy(Some(&["10.0.0.0/8", "::/0"]), &[]));
        for (ip, default_allows, given_allows) in [
            ("10.0.0.1", true, true),
            ("10.255.255.254", true, true),
            ("192.0.2.1", true, false),
            ("169.254.169.254", false, false),
            ("100.100.100.200", false, false),
            ("168.63.129.16", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("127.0.0.1", false, false),
        ] {
            for outer in embeddings(ip.parse().unwrap()) {
                let address = SocketAddr::from((outer, 8080));
                assert_eq!(by_default.check(address).is_ok(), default_allows, "{outer} for {ip}");
                assert_eq!(given.check(address).is_ok(), given_allows, "{outer} for {ip}");
            }
        }
        let own = by_default.check("[64:ff9b::7f00:1]:8080".parse().unwrap());
        assert!(matches!(own, Err(Unreachable::OwnListener(_))), "{own:?}");
    }

    proptest::proptest! {
        #[test]
        fn an_embedded_address_is_judged_as_the_plain_one(ip: u32, bits in 0_u8..=32, network: u32) {
            let ip = Ipv4Addr::from_bits(ip);
            // Excluded: octets unused in the local-use prefix and compatible addresses.
            proptest::prop_assume!(ip.octets()[0] != 0 && ip.octets()[3] != 0);
            let network = ipnet::Ipv4Net::new(Ipv4Addr::from_bits(network), bits).unwrap().trunc();
            let teredo = [Ipv4Addr::new(10, 0, 0, 1)];
            let given = UpstreamPolicy { allow: Some(vec![network.into()]), ..policy(None, &[]) };
            let by_default = policy(None, &[]);
            for (at, outer) in embeddings(ip).into_iter().enumerate() {
                let beside = if at >= 8 { &teredo[..] } else { &[] };
                let allowed = |by: &UpstreamPolicy, ip: Ipv4Addr| by.check((ip, 1).into()).is_ok();
                for by in [&given, &by_default] {
                    let expected = allowed(by, ip) && beside.iter().all(|ip| allowed(by, *ip));
                    proptest::prop_assert_eq!(by.check((outer, 1).into()).is_ok(), expected, "{} for {}", outer, ip);
                }
            }
        }
    }

    #[test]
    fn the_default_rule_refuses_what_can_be_no_broker() {
        let cases = [
            ("127.0.0.1:1883", true),
            ("10.0.0.1:1883", true),
            ("192.0.2.1:1883", true),
            ("[::1]:1883", true),
            ("[2001:db8::1]:1883", true),
            ("169.254.169.254:80", false),
            ("[::ffff:169.254.169.254]:80", false),
            ("100.100.100.200:80", false),
            ("[::ffff:100.100.100.200]:80", false),
            ("100.100.100.201:1883", true),
            ("168.63.129.16:80", false),
            ("[fd00:ec2::254]:80", false),
            ("[fd20:ce::254]:80", false),
            ("[fd00:ec2::255]:1883", true),
            ("[fe80::1]:1883", false),
            ("224.0.0.1:1883", false),
            ("[ff02::1]:1883", false),
            ("255.255.255.255:1883", false),
            ("0.0.0.0:1883", false),
            ("0.1.2.3:1883", false),
            ("[::]:1883", false),
            ("[::ffff:0.0.0.0]:1883", false),
        ];
        for (address, allowed) in cases {
            assert_eq!(policy(None, &[]).check(address.parse().unwrap()).is_ok(), allowed, "{address}");
        }
    }

    #[test]
    fn a_given_list_decides_alone() {
        let policy = policy(Some(&["10.0.0.0/8", "fd00::/8"]), &[]);
        let cases = [
            ("10.1.2.3:1883", true),
            ("[::ffff:10.1.2.3]:1883", true),
            ("[fd00::1]:1883", true),
            ("127.0.0.1:1883", false),
            ("11.0.0.1:1883", false),
            ("[::1]:1883", false),
        ];
        for (address, allowed) in cases {
            assert_eq!(policy.check(address.parse().unwrap()).is_ok(), allowed, "{address}");
        }
    }

    #[test]
    fn own_listeners_are_never_upstreams() {
        let policy = policy(Some(&["0.0.0.0/0", "::/0"]), &["[::]:8883", "127.0.0.1:8080"]);
        let cases = [
            ("127.0.0.1:8080", false),
            ("127.0.0.1:8883", false),
            ("[::1]:8883", false),
            ("[::ffff:127.0.0.1]:8080", false),
            ("127.0.0.1:1883", true),
            ("192.0.2.1:8883", true),
        ];
        for (address, allowed) in cases {
            assert_eq!(policy.check(address.parse().unwrap()).is_ok(), allowed, "{address}");
        }
    }
}
