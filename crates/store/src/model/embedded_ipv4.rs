//! IPv4 addresses inside IPv6 ones: `64:ff9b::a9fe:a9fe` must not bypass a rule about
//! `169.254.169.254`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use thiserror::Error;

/// This network's NAT64 prefixes (RFC 6052), beside the well-known ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nat64(Vec<Ipv6Net>);

/// Why a text is no NAT64 prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Nat64Error {
    /// Not `ADDRESS/BITS`, or bits are set behind the prefix.
    #[error("it must be an IPv6 prefix, for example 2001:db8:64::/96")]
    Form,
    /// Not a length of RFC 6052 §2.2.
    #[error("a prefix of NAT64 has 32, 40, 48, 56, 64 or 96 bits")]
    Length,
}

/// RFC 6052 §2.2.
const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];
/// The well-known prefix (RFC 6052 §2.1).
const WELL_KNOWN: u128 = 0x0064_ff9b << 96;
/// Local use: any length of RFC 6052 from 48 on (RFC 8215).
const LOCAL_USE: u128 = 0x0064_ff9b_0001 << 80;
const LOCAL_USE_LENGTHS: [u8; 4] = [48, 56, 64, 96];

impl Nat64 {
    /// Only the well-known prefixes.
    pub const WELL_KNOWN_ONLY: Self = Self(Vec::new());

    /// Adds these prefixes.
    ///
    /// # Errors
    /// The first invalid text, and [`Nat64Error`].
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, (String, Nat64Error)> {
        let parse = |text: &str| {
            let prefix: Ipv6Net = text.parse().map_err(|_| Nat64Error::Form)?;
            match prefix {
                _ if prefix.trunc() != prefix => Err(Nat64Error::Form),
                _ if !LENGTHS.contains(&prefix.prefix_len()) => Err(Nat64Error::Length),
                _ => Ok(prefix),
            }
        };
        let prefixes = texts.iter().map(AsRef::as_ref);
        prefixes
            .map(|text| parse(text).map_err(|error| (text.to_owned(), error)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// What a rule must check: the IPv4 addresses inside, else `ip`.
    pub fn judged(&self, ip: IpAddr) -> Vec<IpAddr> {
        let IpAddr::V6(outer) = ip.to_canonical() else { return vec![ip.to_canonical()] };
        let inside: Vec<IpAddr> = self.inside(outer).into_iter().map(IpAddr::V4).collect();
        if inside.is_empty() { vec![outer.into()] } else { inside }
    }

    fn inside(&self, ip: Ipv6Addr) -> Vec<Ipv4Addr> {
        let bits = ip.to_bits();
        let named: Vec<Ipv4Addr> = self
            .0
            .iter()
            .filter(|prefix| prefix.contains(&ip))
            .map(|it| behind(bits, it.prefix_len()))
            .collect();
        if !named.is_empty() {
            return named;
        }
        let segments = ip.segments();
        match segments {
            _ if bits >> 32 == WELL_KNOWN >> 32 => vec![behind(bits, 96)],
            _ if bits >> 80 == LOCAL_USE >> 80 => local_use(bits),
            // 6to4 (RFC 3056 §2).
            [0x2002, ..] => vec![at(bits, 16)],
            // Teredo (RFC 4380 §4): the server, and the client with inverted bits.
            [0x2001, 0, ..] => vec![at(bits, 32), Ipv4Addr::from_bits(!at(bits, 96).to_bits())],
            // Translated (RFC 2765 §2.1).
            [0, 0, 0, 0, 0xffff, 0, ..] => vec![at(bits, 96)],
            // Compatible (RFC 4291 §2.5.5.1), except `::` and `::1`.
            [0, 0, 0, 0, 0, 0, ..] if bits > 1 => vec![at(bits, 96)],
            _ => Vec::new(),
        }
    }
}

/// The operator chooses the prefix length: every possible address.
fn local_use(bits: u128) -> Vec<Ipv4Addr> {
    let meant = |length: &u8| {
        // Only zeros follow a shorter prefix's address (RFC 6052 §2.2).
        let is_followed_by_zeros = *length == 96 || bits << (u32::from(*length) + 40) == 0;
        // `0.0.0.0/8` is left by another length.
        is_followed_by_zeros && behind(bits, *length).octets()[0] != 0
    };
    let found: Vec<Ipv4Addr> =
        LOCAL_USE_LENGTHS.iter().filter(|length| meant(length)).map(|length| behind(bits, *length)).collect();
    // No length fits.
    if found.is_empty() { vec![Ipv4Addr::UNSPECIFIED] } else { found }
}

fn at(bits: u128, first: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits((bits << first >> 96) as u32)
}

/// Without the octet of bits 64 to 71.
fn behind(bits: u128, prefix_len: u8) -> Ipv4Addr {
    let first = u32::from(prefix_len);
    if first >= 64 {
        // Behind that octet.
        return at(bits, if first == 64 { 72 } else { first });
    }
    let before_the_octet = bits >> 64 << 64;
    let after_the_octet = bits << 72 >> 64;
    at(before_the_octet | after_the_octet, first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(named: &[&str], ip: &str) -> Vec<String> {
        let nat64 = Nat64::parse(named).unwrap();
        nat64.judged(ip.parse().unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_is_judged_by_the_ipv4_inside() {
        let cases: &[(&str, &[&str])] = &[
            ("192.0.2.33", &["192.0.2.33"]),
            ("2001:db8::1", &["2001:db8::1"]),
            ("::", &["::"]),
            ("::1", &["::1"]),
            ("fd00:ec2::254", &["fd00:ec2::254"]),
            // Mapped, compatible, translated.
            ("::ffff:192.0.2.33", &["192.0.2.33"]),
            ("::192.0.2.33", &["192.0.2.33"]),
            ("::2", &["0.0.0.2"]),
            ("::ffff:0:192.0.2.33", &["192.0.2.33"]),
            ("64:ff9b::192.0.2.33", &["192.0.2.33"]),
            ("64:ff9b:0:0:0:1::", &["64:ff9b::1:0:0"]),
            // Each length that fits.
            ("64:ff9b:1::192.0.2.33", &["192.0.2.33"]),
            ("64:ff9b:1:fffe::192.0.2.33", &["192.0.2.33"]),
            ("64:ff9b:1:0:c0:2:2100:0", &["192.0.2.33", "33.0.0.0"]),
            ("64:ff9b:1:c000:2:2100::", &["192.0.2.33", "2.33.0.0"]),
            ("64:ff9b:1::", &["0.0.0.0"]),
            // 6to4, Teredo.
            ("2002:c000:221::1", &["192.0.2.33"]),
            ("2001:0:cb00:7101:8000:63bf:3fff:fdde", &["203.0.113.1", "192.0.2.33"]),
            ("2001:1::1", &["2001:1::1"]),
        ];
        for (ip, expected) in cases {
            assert_eq!(judged(&[], ip), *expected, "{ip}");
        }
    }

    /// The table of RFC 6052 §2.4.
    #[test]
    fn a_named_prefix_of_each_length_is_read_as_rfc_6052_has_it() {
        for (prefix, ip) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            // Takes precedence over guessing.
            ("64:ff9b:1::/48", "64:ff9b:1:c000:2:2100::"),
            ("64:ff9b:1::/64", "64:ff9b:1:0:c0:2:2100:0"),
        ] {
            assert_eq!(judged(&[prefix], ip), ["192.0.2.33"], "{prefix}");
            assert_eq!(
                judged(&["2001:db8:ffff::/96", prefix], ip),
                ["192.0.2.33"],
                "{prefix}, beside another"
            );
        }
    }

    #[test]
    fn only_prefixes_of_the_lengths_of_nat64_are_read() {
        for (text, error) in [
            ("2001:db8::/33", Nat64Error::Length),
            ("2001:db8::/128", Nat64Error::Length),
            ("2001:db8::1/96", Nat64Error::Form),
            ("10.0.0.0/8", Nat64Error::Form),
            ("2001:db8::", Nat64Error::Form),
            ("", Nat64Error::Form),
        ] {
            assert_eq!(Nat64::parse(&["64:ff9b::/96", text]), Err((text.to_owned(), error)));
        }
    }

    fn digits_of(ip: IpAddr) -> String {
        match ip {
            IpAddr::V4(ip) => format!("{:032b}", ip.to_bits()),
            IpAddr::V6(ip) => format!("{:0128b}", ip.to_bits()),
        }
    }

    proptest! {
        #[test]
        fn whatever_is_put_behind_a_prefix_is_found_there(
            ip: u32, prefix: u128, length in prop::sample::select(LENGTHS.to_vec()), rest: u128,
        ) {
            let take = usize::from(length);
            let (prefix, rest) = (format!("{prefix:0128b}"), format!("{rest:0128b}"));
            let mut digits = prefix[..take].to_owned();
            for digit in format!("{ip:032b}").chars() {
                if digits.len() == 64 && take < 96 {
                    digits.push_str("00000000");
                }
                digits.push(digit);
            }
            digits.push_str(&rest[digits.len()..]);
            let outer = Ipv6Addr::from_bits(u128::from_str_radix(&digits, 2).unwrap());
            let named = Ipv6Net::new(outer, length).unwrap().trunc();
            let nat64 = Nat64(vec![named]);
            if outer.to_ipv4_mapped().is_none() {
                prop_assert_eq!(nat64.judged(outer.into()), vec![IpAddr::from(Ipv4Addr::from_bits(ip))]);
            }
        }

        #[test]
        fn what_is_judged_stands_in_the_address(bits: u128, of in 0_usize..8) {
            let prefixes = ["64ff9b", "64ff9b0001", "2002", "20010000", "ffff", "0", "ffff0000", "20010db8"];
            let prefix = u128::from_str_radix(prefixes[of], 16).unwrap();
            let shift = [96, 80, 112, 96, 32, 127, 32, 96][of];
            let outer = Ipv6Addr::from_bits(prefix << shift | bits & ((1 << shift) - 1));
            let judged = Nat64::WELL_KNOWN_ONLY.judged(outer.into());
            prop_assert!(!judged.is_empty());
            let digits = digits_of(outer.into());
            let turned: String = digits.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect();
            let octets: Vec<&str> = (0..16).map(|at| &digits[at * 8..at * 8 + 8]).collect();
            let without_the_octet = [&octets[..8], &octets[9..]].concat().concat();
            for ip in judged {
                let ip = digits_of(ip);
                let is_there = digits.contains(&ip) || turned.ends_with(&ip) || without_the_octet.contains(&ip);
                prop_assert!(is_there || of == 1 && ip == "0".repeat(32));
            }
        }
    }
}
