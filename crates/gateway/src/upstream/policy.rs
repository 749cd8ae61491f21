use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;

use super::Unreachable;

/// Where upstreams may be.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamPolicy {
    /// `None`: the default rule.
    pub(crate) allow: Option<Vec<IpNet>>,
    /// This program's own addresses: a device must not reach the API, nor the gateway itself in a circle.
    pub(crate) own: Vec<SocketAddr>,
}

impl UpstreamPolicy {
    pub(super) fn check(&self, address: SocketAddr) -> Result<(), Unreachable> {
        let ip = address.ip().to_canonical();
        let allowed = match &self.allow {
            Some(networks) => networks.iter().any(|network| network.contains(&ip)),
            None => allowed_by_default(ip),
        };
        if !allowed {
            return Err(Unreachable::NotAllowed(ip));
        }
        if self.is_own(ip, address.port()) { Err(Unreachable::OwnListener(address)) } else { Ok(()) }
    }

    fn is_own(&self, ip: IpAddr, port: u16) -> bool {
        // Mostly the port says it already, and the system need not be asked.
        self.own.iter().filter(|own| own.port() == port).any(|own| match own.ip().to_canonical() {
            everywhere if everywhere.is_unspecified() => is_this_machines(ip),
            one => one == ip,
        })
    }
}

/// Whether an address is one of this machine's: then the system would reach it from that same address. Nothing is sent.
fn is_this_machines(ip: IpAddr) -> bool {
    if ip.is_loopback() {
        return true;
    }
    let any = if ip.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    // Without a socket to ask with it counts as this machine's: a circle is worse than a refusal.
    let Ok(socket) = UdpSocket::bind((any, 0)) else { return true };
    // What cannot be reached at all is elsewhere.
    let from = socket.connect((ip, 1)).and_then(|()| socket.local_addr());
    from.is_ok_and(|from| from.ip() == ip)
}

/// Where clouds hand a machine its credentials, beside the link-local 169.254.169.254 that most of them use: Alibaba Cloud, Azure, AWS
/// and Google over IPv6. Oracle's and others' are link-local.
const METADATA_SERVICES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)),
];

/// All but what can be no broker or is dangerous to reach: metadata services of clouds, most of which are link-local.
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
    fn own_listeners_are_no_upstreams_whatever_is_allowed() {
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
