use certward_pki::HostName;

/// The SNI name of a device (RFC 6066 §3), normalised once: lower case, no trailing dot.
///
/// `None` for no name, an IP address, which RFC 6066 forbids and many devices still send, and names
/// that no host can have. All of these get the default deployment, if there is one.
pub(crate) fn normalise(server_name: Option<&str>) -> Option<HostName> {
    // Wildcards are for operators; a device sends a plain name.
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
