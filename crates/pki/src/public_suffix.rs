//! Public suffixes: names open to registration (`com`, `co.uk`, `github.io`).
//!
//! The list (<https://publicsuffix.org>) is compiled in, without its default rule `*`, which would
//! refuse `*.factory.local`.

use crate::HostName;

impl HostName {
    /// A wildcard over names of different registrants: directly over a public suffix, or over names
    /// that all are suffixes.
    pub fn is_over_public_suffix(&self) -> bool {
        let parent = self.parent().filter(|_| self.is_wildcard());
        // `*.kawasaki.jp` makes every name below a suffix, but not itself.
        parent.is_some_and(|parent| is_public_suffix(parent) || is_public_suffix(&self.example("any")))
    }
}

fn is_public_suffix(name: &str) -> bool {
    psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix == name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_over_a_public_suffix_is_recognised() {
        for (host, expected) in [
            ("*.co.uk", true),
            ("*.github.io", true),
            ("*.com.cn", true),
            ("*.xn--55qx5d.cn", true),
            ("*.kawasaki.jp", true),
            ("*.s3.amazonaws.com", true),
            ("*.home.arpa", true),
            ("*.example.com", false),
            ("*.example.co.uk", false),
            ("*.me.github.io", false),
            ("*.city.kawasaki.jp", false),
            ("*.a.b.example.com", false),
            // Not on the list.
            ("*.factory.local", false),
            ("*.corp.internal", false),
            ("*.plant.lan", false),
            ("*.broker.test", false),
            // Exact names.
            ("co.uk", false),
            ("github.io", false),
            ("com", false),
        ] {
            assert_eq!(HostName::parse(host).unwrap().is_over_public_suffix(), expected, "{host}");
        }
    }
}
