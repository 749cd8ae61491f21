//! The PROXY header version 2 sent to brokers
//! (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>).

use std::net::{IpAddr, SocketAddr};

use certward_pki::IdentityRefused;
use certward_store::{Proxy, ProxyProtocol};
use proxy_header::{ProxiedAddress, ProxyHeader, SslInfo, Tlv};
use rustls::HandshakeKind;
use thiserror::Error;

use crate::io::tls::Tls;

const MOSQUITTO_BYTES_MAX: usize = 500;
/// `verify` without a verified certificate: nonzero.
const NOT_VERIFIED: u32 = 1;

/// Why no header can state the device, which is then disconnected.
#[derive(Debug, Error)]
pub(crate) enum HeaderUnavailable {
    #[error("the device's name: {0}")]
    Identity(#[from] IdentityRefused),
    #[error("it is longer than the broker accepts")]
    TooLong,
}

struct Facts<'a> {
    version: &'static str,
    cipher: Option<&'a str>,
    server_name: Option<&'a str>,
    alpn: Option<&'a [u8]>,
    identity: Option<String>,
    resumed: bool,
}

pub(crate) fn header(
    proxy: Proxy,
    tls: &Tls,
    server_name: Option<&str>,
    from: SocketAddr,
    to: SocketAddr,
) -> Result<Vec<u8>, HeaderUnavailable> {
    let identity = match tls.peer_certificates().and_then(<[_]>::first) {
        Some(certificate) => Some(proxy.identity.of(certificate)?),
        None => None,
    };
    let suite = tls.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    let facts = Facts {
        version: match tls.version() {
            Some("1.2") => "TLSv1.2",
            _ => "TLSv1.3",
        },
        // OpenSSL uses the registry's TLS 1.3 names; rustls adds a prefix.
        cipher: suite.as_deref().map(|name| name.strip_prefix("TLS13_").unwrap_or(name)),
        server_name,
        alpn: tls.alpn_protocol(),
        identity,
        resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
    };
    encode(proxy.protocol, &facts, from, to)
}

/// As of a device without a certificate, in TLS 1.3.
pub(crate) fn without_device(
    protocol: ProxyProtocol,
    from: SocketAddr,
    to: SocketAddr,
) -> Result<Vec<u8>, HeaderUnavailable> {
    let facts = Facts {
        version: "TLSv1.3",
        cipher: None,
        server_name: None,
        alpn: None,
        identity: None,
        resumed: false,
    };
    encode(protocol, &facts, from, to)
}

fn encode(
    protocol: ProxyProtocol,
    facts: &Facts<'_>,
    from: SocketAddr,
    to: SocketAddr,
) -> Result<Vec<u8>, HeaderUnavailable> {
    let verify = if facts.identity.is_some() { 0 } else { NOT_VERIFIED };
    let has_certificate = facts.identity.is_some();
    let mut ssl = SslInfo::new(true, has_certificate && !facts.resumed, has_certificate, verify);
    ssl.append_tlv(Tlv::SslVersion(facts.version.into()));
    if let Some(identity) = &facts.identity {
        ssl.append_tlv(Tlv::SslCn(identity.as_str().into()));
    }
    if let Some(cipher) = facts.cipher
        && protocol != ProxyProtocol::Emqx
    {
        ssl.append_tlv(Tlv::SslCipher(cipher.into()));
    }
    let mut tlvs = vec![Tlv::Ssl(ssl)];
    if protocol == ProxyProtocol::V2 {
        tlvs.extend(facts.server_name.map(|name| Tlv::Authority(name.into())));
        tlvs.extend(facts.alpn.map(|alpn| Tlv::Alpn(alpn.into())));
    }
    let (from, to) = of_one_family(from, to);
    let mut bytes = Vec::new();
    ProxyHeader::with_tlvs(Some(ProxiedAddress::stream(from, to)), tlvs)
        .encode_v2(&mut bytes)
        .map_err(|_| HeaderUnavailable::TooLong)?;
    if protocol == ProxyProtocol::Mosquitto && bytes.len() > MOSQUITTO_BYTES_MAX {
        return Err(HeaderUnavailable::TooLong);
    }
    Ok(bytes)
}

/// Both addresses need one family; IPv4 is mapped if the other is IPv6.
fn of_one_family(from: SocketAddr, to: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    let (from, to) = (plain(from), plain(to));
    if from.is_ipv4() == to.is_ipv4() { (from, to) } else { (mapped(from), mapped(to)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(identity: Option<&str>) -> Facts<'_> {
        Facts {
            version: "TLSv1.3",
            cipher: Some("AES_128_GCM_SHA256"),
            server_name: Some("a.test"),
            alpn: None,
            identity: identity.map(str::to_owned),
            resumed: false,
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let (from, to) = (address("1.2.3.4:256"), address("[::ffff:5.6.7.8]:8883"));
        let bytes = encode(ProxyProtocol::Emqx, &facts(Some("dev")), from, to).unwrap();
        let expected = [
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x2a".as_slice(),
            &[1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 0x22, 0xb3],
            b"\x20\0\x15\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x03dev",
        ]
        .concat();
        assert_eq!(
            bytes,
            [&expected[..14], &u16::try_from(expected.len() - 16).unwrap().to_be_bytes(), &expected[16..]]
                .concat()
        );
    }

    #[test]
    fn mosquitto_is_told_at_most_500_bytes() {
        let long = "n".repeat(400);
        let (from, to) = (address("1.2.3.4:1"), address("5.6.7.8:2"));
        assert!(encode(ProxyProtocol::Mosquitto, &facts(Some(&long)), from, to).unwrap().len() <= 500);
        let longer = "n".repeat(480);
        let refused = encode(ProxyProtocol::Mosquitto, &facts(Some(&longer)), from, to);
        assert!(matches!(refused, Err(HeaderUnavailable::TooLong)));
        assert!(encode(ProxyProtocol::V2, &facts(Some(&longer)), from, to).is_ok());
    }

    #[test]
    fn addresses_of_two_families_become_one() {
        let bytes = encode(ProxyProtocol::V2, &facts(None), address("[2001:db8::1]:1"), address("5.6.7.8:2"))
            .unwrap();
        assert_eq!(bytes[13], 0x21);
    }
}
