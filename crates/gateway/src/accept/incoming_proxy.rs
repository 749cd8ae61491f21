//! The PROXY header, versions 1 and 2, accepted from listed networks only
//! (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>).
//!
//! Strict, because the address identifies the device. `proxy-header` is lenient: version 1 accepts
//! `+1` as a port, text after `UNKNOWN`, any byte after `PROXY`; version 2 accepts datagrams and
//! Unix sockets. So it parses version 2's addresses only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::observe::cause::Cause;

const V1_BEGINS: &[u8] = b"PROXY ";
const V2_BEGINS: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// A version 1 line, with its end.
const V1_BYTES_MAX: usize = 107;
/// Version 2 up to and with its length field.
const V2_BYTES_MIN: usize = 16;
/// Specification: 64 KiB. Addresses take 36 bytes; a balancer's TLVs (name, TLS subject, endpoint
/// id, checksum) some hundred; a client certificate, the largest, at most about 3,000.
const BYTES_MAX: usize = 4096;

/// A version 2 header without addresses, as probes send.
pub(crate) const LOCAL: [u8; V2_BYTES_MIN] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stated {
    Addresses {
        from: SocketAddr,
        to: SocketAddr,
    },
    /// `UNKNOWN`, `LOCAL`, `UNSPEC`: the balancer's own connection, such as a health check.
    Nothing,
}

#[derive(Debug, PartialEq, Eq)]
enum HeaderProgress {
    /// Valid so far.
    More,
    /// With its length in bytes.
    Done(Stated, usize),
}

/// Reads exactly the header; the caller sets the deadline. `None`: the connection ended before the
/// device sent anything, as a health check does.
///
/// # Errors
/// [`Cause::ProxyHeaderMissing`], [`Cause::ProxyHeaderInvalid`], or [`Cause::Closed`].
pub(crate) async fn read(client: &mut TcpStream) -> Result<Option<Stated>, Cause> {
    let mut header = Vec::new();
    let mut ahead = [0; 256];
    loop {
        let length = match client.peek(&mut ahead).await {
            Ok(0) | Err(_) if header.is_empty() => return Ok(None),
            Ok(0) | Err(_) => return Err(Cause::Closed),
            Ok(length) => length,
        };
        let taken = header.len();
        header.extend_from_slice(&ahead[..length]);
        let progress = decode(&header)?;
        if let HeaderProgress::Done(_, length) = progress {
            header.truncate(length);
        }
        // Already received: no wait.
        client.read_exact(&mut header[taken..]).await.map_err(|_| Cause::Closed)?;
        match progress {
            HeaderProgress::More => {}
            HeaderProgress::Done(Stated::Nothing, _) if is_over(client).await => return Ok(None),
            HeaderProgress::Done(stated, _) => return Ok(Some(stated)),
        }
    }
}

/// Waits for the next byte or the end.
async fn is_over(client: &TcpStream) -> bool {
    matches!(client.peek(&mut [0]).await, Ok(0) | Err(_))
}

fn decode(bytes: &[u8]) -> Result<HeaderProgress, Cause> {
    let begins = |signature: &[u8]| {
        let length = bytes.len().min(signature.len());
        bytes[..length] == signature[..length]
    };
    if begins(V1_BEGINS) {
        decode_v1(bytes)
    } else if begins(V2_BEGINS) {
        decode_v2(bytes)
    } else {
        Err(Cause::ProxyHeaderMissing)
    }
}

/// §2.1: one line of ASCII.
fn decode_v1(bytes: &[u8]) -> Result<HeaderProgress, Cause> {
    let line = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if line.len() < V1_BYTES_MAX {
            Ok(HeaderProgress::More)
        } else {
            Err(Cause::ProxyHeaderInvalid)
        };
    };
    let text = line[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    let stated = text.and_then(line_v1).ok_or(Cause::ProxyHeaderInvalid)?;
    Ok(HeaderProgress::Done(stated, end + 1))
}

fn line_v1(line: &str) -> Option<Stated> {
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // The specification: ignore the rest of the line.
        return Some(Stated::Nothing);
    }
    let (from, to) = (words.next()?, words.next()?);
    let ports = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    let parse = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => Some(text.parse::<Ipv4Addr>().ok()?.into()),
            "TCP6" => Some(text.parse::<Ipv6Addr>().ok()?.into()),
            _ => None,
        }
    };
    let (from, to) = (SocketAddr::new(parse(from)?, ports.0), SocketAddr::new(parse(to)?, ports.1));
    Some(addresses(from, to))
}

/// Digits without sign or leading zero.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

/// §2.2: a binary header with a length.
fn decode_v2(bytes: &[u8]) -> Result<HeaderProgress, Cause> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    const UNSPEC: u8 = 0;
    const TCP4: u8 = 0x11;
    const TCP6: u8 = 0x21;
    let Some([command, family, high, low]) = bytes.get(V2_BEGINS.len()..V2_BYTES_MIN) else {
        return Ok(HeaderProgress::More);
    };
    let length = V2_BYTES_MIN + usize::from(u16::from_be_bytes([*high, *low]));
    let (nothing, addresses_length) = match (*command, *family) {
        // For LOCAL everything but the length is ignored.
        (LOCAL, _) => (true, 0),
        (PROXY, UNSPEC) => (true, 0),
        (PROXY, TCP4) => (false, 12),
        (PROXY, TCP6) => (false, 36),
        _ => return Err(Cause::ProxyHeaderInvalid),
    };
    if length > BYTES_MAX || length < V2_BYTES_MIN + addresses_length {
        return Err(Cause::ProxyHeaderInvalid);
    }
    let Some(header) = bytes.get(..length) else { return Ok(HeaderProgress::More) };
    if nothing {
        return Ok(HeaderProgress::Done(Stated::Nothing, length));
    }
    if !are_tlvs(&header[V2_BYTES_MIN + addresses_length..]) {
        return Err(Cause::ProxyHeaderInvalid);
    }
    let config = ParseConfig { include_tlvs: false, allow_v1: false, allow_v2: true };
    let (parsed, _) = ProxyHeader::parse(header, config).map_err(|_| Cause::ProxyHeaderInvalid)?;
    let stated = parsed.proxied_address().ok_or(Cause::ProxyHeaderInvalid)?;
    Ok(HeaderProgress::Done(addresses(stated.source, stated.destination), length))
}

/// Whether TLVs fill the bytes exactly.
fn are_tlvs(mut bytes: &[u8]) -> bool {
    while let [_, high, low, rest @ ..] = bytes {
        match rest.get(usize::from(u16::from_be_bytes([*high, *low]))..) {
            Some(next) => bytes = next,
            None => return false,
        }
    }
    bytes.is_empty()
}

/// IPv4-mapped IPv6 becomes IPv4, so a device counts as one address.
fn addresses(from: SocketAddr, to: SocketAddr) -> Stated {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Stated::Addresses { from: plain(from), to: plain(to) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MISSING: Result<Stated, Cause> = Err(Cause::ProxyHeaderMissing);
    const INVALID: Result<Stated, Cause> = Err(Cause::ProxyHeaderInvalid);
    const CUT_OFF: Result<Stated, Cause> = Err(Cause::Closed);

    fn stated(from: &str, to: &str) -> Result<Stated, Cause> {
        Ok(Stated::Addresses { from: from.parse().unwrap(), to: to.parse().unwrap() })
    }

    /// The result for these bytes and the end, however they are split.
    fn check(bytes: &[u8]) -> Result<Stated, Cause> {
        let at_once = judge(bytes);
        let mut progress = Ok(HeaderProgress::More);
        for end in 1..=bytes.len() {
            progress = decode(&bytes[..end]);
            if progress != Ok(HeaderProgress::More) {
                break;
            }
        }
        let in_bytes = match progress {
            Ok(HeaderProgress::More) => CUT_OFF,
            Ok(HeaderProgress::Done(stated, length)) => {
                let behind = [&bytes[..length], b"\x16\x03\x01"].concat();
                assert_eq!(decode(&behind), Ok(HeaderProgress::Done(stated, length)), "what follows counts");
                Ok(stated)
            }
            Err(cause) => Err(cause),
        };
        assert_eq!(at_once, in_bytes, "{:?}", String::from_utf8_lossy(bytes));
        at_once
    }

    fn judge(bytes: &[u8]) -> Result<Stated, Cause> {
        match decode(bytes)? {
            HeaderProgress::More => CUT_OFF,
            HeaderProgress::Done(stated, length) => {
                assert_eq!(length, bytes.len(), "the header's length");
                Ok(stated)
            }
        }
    }

    #[test]
    fn version_1_is_one_exact_line() {
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_BYTES_MAX - 16));
        let longer = format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_BYTES_MAX - 15));
        let cases: &[(&str, Result<Stated, Cause>)] = &[
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 56324 8883\r\n",
                stated("192.0.2.7:56324", "198.51.100.1:8883"),
            ),
            ("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", stated("255.255.255.255:65535", "0.0.0.0:0")),
            ("PROXY TCP6 2001:db8::7 ::1 1 2\r\n", stated("[2001:db8::7]:1", "[::1]:2")),
            ("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:1.2.3.4 1 2\r\n", stated("192.0.2.7:1", "1.2.3.4:2")),
            ("PROXY UNKNOWN\r\n", Ok(Stated::Nothing)),
            ("PROXY UNKNOWN ffff:f::ffff 1 2 3\r\n", Ok(Stated::Nothing)),
            (&longest, Ok(Stated::Nothing)),
            (&longer, INVALID),
            ("", CUT_OFF),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 8883\r", CUT_OFF),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 8883\n", INVALID),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 8883 \r\n", INVALID),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 8883 1\r\n", INVALID),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n", INVALID),
            ("PROXY  TCP4 192.0.2.7 198.51.100.1 1 2\r\n", INVALID),
            ("PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n", INVALID),
            ("PROXY TCP4\t192.0.2.7 198.51.100.1 1 2\r\n", INVALID),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n", INVALID),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n", INVALID),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 -1 2\r\n", INVALID),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n", INVALID),
            ("PROXY TCP4 192.0.2.7 198.51.100.1  2\r\n", INVALID),
            ("PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n", INVALID),
            ("PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n", INVALID),
            ("PROXY TCP4 device.test 198.51.100.1 1 2\r\n", INVALID),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", INVALID),
            ("PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n", INVALID),
            ("PROXY TCP6 ::1 198.51.100.1 1 2\r\n", INVALID),
            ("PROXY TCP6 fe80::1%1 ::1 1 2\r\n", INVALID),
            ("PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n", INVALID),
            ("PROXY tcp4 192.0.2.7 198.51.100.1 1 2\r\n", INVALID),
            ("PROXY \r\n", INVALID),
            ("PROXY UNKNOWNS\r\n", INVALID),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\r\n", INVALID),
            ("proxy UNKNOWN\r\n", MISSING),
            ("PROXYUNKNOWN\r\n", MISSING),
            (" PROXY UNKNOWN\r\n", MISSING),
            ("GET / HTTP/1.1\r\n", MISSING),
            ("\x16\x03\x01", MISSING),
            ("\x10\x0f\0\x04MQTT", MISSING),
        ];
        for (line, expected) in cases {
            assert_eq!(check(line.as_bytes()), *expected, "{line:?}");
        }
        assert_eq!(check(b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\xff\r\n"), INVALID);
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2_BEGINS, &[command, family], &length, body].concat()
    }

    #[test]
    fn version_2_is_taken_for_tcp_alone_and_its_tlvs_add_up() {
        const V4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 1, 0, 0x22, 0xb3];
        let v6: &[u8] = &[[0; 15].as_slice(), &[1], &[0; 15], &[2], &[0, 1, 0, 2]].concat();
        let mapped: &[u8] =
            &[[0; 10].as_slice(), &[255, 255], &V4[..4], &[0; 15], &[2], &[0, 1, 0, 2]].concat();
        let with = |tlvs: &[u8]| [V4, tlvs].concat();
        let told = || stated("192.0.2.7:256", "198.51.100.1:8883");
        let big = |length: u16| {
            let tlv = [&[0xEA], (length - 12 - 16 - 3).to_be_bytes().as_slice()].concat();
            with(&[tlv, vec![7; usize::from(length) - 12 - 16 - 3]].concat())
        };
        let most = u16::try_from(BYTES_MAX).unwrap();
        type Case<'a> = (&'a str, u8, u8, &'a [u8], Result<Stated, Cause>);
        let cases: &[Case<'_>] = &[
            ("TCP over IPv4", 0x21, 0x11, V4, told()),
            ("TCP over IPv6", 0x21, 0x21, v6, stated("[::1]:1", "[::2]:2")),
            ("IPv4 as IPv6", 0x21, 0x21, mapped, stated("192.0.2.7:1", "[::2]:2")),
            ("an unknown TLV", 0x21, 0x11, &with(b"\xEA\0\x03abc"), told()),
            ("an empty TLV", 0x21, 0x11, &with(b"\x04\0\0"), told()),
            ("two TLVs", 0x21, 0x11, &with(b"\x04\0\0\x02\0\x01a"), told()),
            ("the most bytes", 0x21, 0x11, &big(most), told()),
            ("one byte more", 0x21, 0x11, &big(most + 1), INVALID),
            ("a TLV without its end", 0x21, 0x11, &with(b"\x04\0\x02a"), INVALID),
            ("a TLV without its length", 0x21, 0x11, &with(b"\x04\0"), INVALID),
            ("addresses cut off", 0x21, 0x11, &V4[..11], INVALID),
            ("IPv4 as if IPv6", 0x21, 0x21, V4, INVALID),
            ("LOCAL", 0x20, 0x00, b"", Ok(Stated::Nothing)),
            ("LOCAL with what is ignored", 0x20, 0x11, V4, Ok(Stated::Nothing)),
            ("LOCAL with what makes no sense", 0x20, 0xff, b"?", Ok(Stated::Nothing)),
            ("UNSPEC", 0x21, 0x00, b"", Ok(Stated::Nothing)),
            ("UDP", 0x21, 0x12, V4, INVALID),
            ("UDP over IPv6", 0x21, 0x22, v6, INVALID),
            ("a Unix socket", 0x21, 0x31, &[0; 216], INVALID),
            ("TCP over nothing", 0x21, 0x01, V4, INVALID),
            ("another command", 0x22, 0x11, V4, INVALID),
            ("version 1 in version 2", 0x11, 0x11, V4, INVALID),
            ("version 3", 0x31, 0x11, V4, INVALID),
        ];
        for (case, command, family, body, expected) in cases {
            assert_eq!(check(&v2(*command, *family, body)), *expected, "{case}");
        }
        assert_eq!(check(&LOCAL), Ok(Stated::Nothing));
        assert_eq!(check(&LOCAL[..15]), CUT_OFF);
        assert_eq!(check(b"\r\n\r\n\0\r\nQUIT\r"), MISSING);
        let mut lying = v2(0x21, 0x11, V4);
        lying[15] = 13;
        assert_eq!(check(&lying), CUT_OFF, "its length says that more comes");
    }

    /// A test encoder, written from the specification.
    fn encode(version: u8, from: SocketAddr, to: SocketAddr, tlvs: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        if version == 1 {
            let family = if from.is_ipv4() { 4 } else { 6 };
            let (source, destination) = (from.ip(), to.ip());
            return format!("PROXY TCP{family} {source} {destination} {} {}\r\n", from.port(), to.port())
                .into();
        }
        let mut body = [octets(from.ip()), octets(to.ip())].concat();
        body.extend([from.port().to_be_bytes(), to.port().to_be_bytes()].concat());
        for (kind, value) in tlvs {
            body.push(*kind);
            body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            body.extend(value);
        }
        v2(0x21, if from.is_ipv4() { 0x11 } else { 0x21 }, &body)
    }

    fn pair() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        let v4 = any::<([u8; 4], [u8; 4])>().prop_map(|(from, to)| (IpAddr::from(from), IpAddr::from(to)));
        let v6 = any::<([u8; 16], [u8; 16])>().prop_map(|(from, to)| (IpAddr::from(from), IpAddr::from(to)));
        (prop_oneof![v4, v6], any::<(u16, u16)>()).prop_map(|((from, to), (from_port, to_port))| {
            (SocketAddr::new(from, from_port), SocketAddr::new(to, to_port))
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_every_beginning_of_it_waits(
            version in 1_u8..=2,
            (from, to) in pair(),
            tlvs in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..5),
            behind in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let header = encode(version, from, to, &tlvs);
            let expected = Ok(HeaderProgress::Done(addresses(from, to), header.len()));
            for end in 0..header.len() {
                prop_assert_eq!(decode(&header[..end]), Ok(HeaderProgress::More));
            }
            prop_assert_eq!(decode(&[header, behind].concat()), expected);
        }

        #[test]
        fn any_bytes_are_judged_within_the_length_bound(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let begun = [V1_BEGINS, &bytes].concat();
            for bytes in [&bytes, &begun] {
                if decode(bytes) == Ok(HeaderProgress::More) {
                    prop_assert!(bytes.len() < BYTES_MAX);
                }
            }
        }
    }
}
