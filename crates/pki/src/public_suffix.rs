//! Public suffixes: the names under which anybody may register one (`com`, `co.uk`, `github.io`).
//!
//! The list (<https://publicsuffix.org>) is compiled in. Only its own rules count: the default rule `*`, by which every
//! unknown top-level name is a suffix, would refuse `*.factory.local`.

use crate::HostName;

impl HostName {
    /// Whether it is a wildcard that covers names of different registrants: it stands directly over a public suffix, or
    /// every name that it covers is one.
    pub fn is_over_public_suffix(&self) -> bool {
        let parent = self.parent().filter(|_| self.is_wildcard());
        // A rule like `*.kawasaki.jp` makes a suffix of every name below, and none of the name itself.
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
    fn a_wildcard_over_a_public_suffix_is_told_from_one_over_a_name_of_somebody() {
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
            // Names of nobody's list.
            ("*.factory.local", false),
            ("*.corp.internal", false),
            ("*.plant.lan", false),
            ("*.broker.test", false),
            // Exact names claim nothing of others.
            ("co.uk", false),
            ("github.io", false),
            ("com", false),
        ] {
            assert_eq!(HostName::parse(host).unwrap().is_over_public_suffix(), expected, "{host}");
        }
    }
}
