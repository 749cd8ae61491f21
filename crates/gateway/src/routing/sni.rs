use certward_pki::HostName;

/// The SNI (RFC 6066 §3), lower case, without trailing dot.
///
/// `None`, and so the default deployment, for no name, an IP address, which RFC 6066 forbids and
/// many devices send, and names no host can have.
pub(crate) fn normalise(server_name: Option<&str>) -> Option<HostName> {
    // Devices send no wildcards.
    HostName::parse(server_name?).ok().filter(|name| !name.is_wildcard())
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
}
