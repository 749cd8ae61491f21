use certward_pki::HostName;

/// The SNI (RFC 6066 §3), lower case, without trailing dot.
///
/// `None`, and so the default deployment, for no name, an IP address, which RFC 6066 forbids and
/// many devices send, and names no host can have.
pub(crate) fn normalise(server_name: Option<&str>) -> Option<HostName> {
    // Devices send no wildcards.
    HostName::parse(server_name?).ok().filter(|name| !name.is_wildcard())
}

/// A name that was asked for, and that is a host of the deployment, or covered by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnHost {
    pub(crate) asked: Box<str>,
    /// It is no host itself.
    pub(crate) is_below_wildcard: bool,
}

impl OwnHost {
    /// `None`: the name is another's.
    pub(crate) fn of(server_name: Option<&str>, hosts: &[HostName]) -> Option<Self> {
        let name = normalise(server_name)?;
        let is_below_wildcard = !hosts.contains(&name);
        let is_own = !is_below_wildcard || hosts.iter().any(|host| host.covers(&name));
        is_own.then(|| Self { asked: name.as_str().into(), is_below_wildcard })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_normalised_once() {
        let cases = [
            (None, None),
            (Some("a.example.com"), Some("a.example.com")),
            (Some("A.Example.COM"), Some("a.example.com")),
            (Some("a.example.com."), Some("a.example.com")),
            (Some("a.example.com.."), None),
            (Some("localhost"), Some("localhost")),
            (Some("127.0.0.1"), None),
            (Some("::1"), None),
            (Some("*.example.com"), None),
            (Some("-a.example.com"), None),
            (Some(""), None),
            (Some("ä.example.com"), None),
        ];
        for (text, expected) in cases {
            assert_eq!(normalise(text).as_ref().map(HostName::as_str), expected, "{text:?}");
        }
    }

    #[test]
    fn only_hosts_of_the_deployment_and_covered_names_are_its_own() {
        let hosts = ["a.example.com", "*.b.example.com", "d.b.example.com"];
        let hosts = hosts.map(|host| HostName::parse(host).unwrap());
        let cases = [
            (None, None),
            (Some("A.example.com."), Some(("a.example.com", false))),
            (Some("b.example.com"), None),
            (Some("c.b.example.com"), Some(("c.b.example.com", true))),
            (Some("d.b.example.com"), Some(("d.b.example.com", false))),
            (Some("d.c.b.example.com"), None),
            (Some("other.example.org"), None),
            (Some("192.0.2.7"), None),
        ];
        for (name, expected) in cases {
            let own = OwnHost::of(name, &hosts);
            let own = own.as_ref().map(|own| (&*own.asked, own.is_below_wildcard));
            assert_eq!(own, expected, "{name:?}");
        }
    }
}
