//! What a ClientHello offers, read from its bytes.
//!
//! rustls' `Acceptor` exposes suites, groups and signature schemes, but neither the versions nor
//! the schemes for certificates. Malformed extensions offer nothing: rustls refuses those that it
//! reads before.

use certward_pki::{ClientOffer, OFFER_VALUES_MAX};

use crate::{
    routing::client_hello::{ClientHello, first_message, list8, list16},
    session::record_limit::record_bytes_of,
};

/// IANA extension types.
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const SUPPORTED_VERSIONS: u16 = 43;
const SIGNATURE_ALGORITHMS_CERT: u16 = 50;
/// Those of TLS 1.3, and those with ECDHE and AEAD of TLS 1.2: the gateway uses no others.
const USED_SUITES: [u16; 9] = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9];

/// What the sender of `hello` offers.
///
/// Bytes after the ClientHello are ignored. `None`: it is malformed or incomplete.
pub fn client_offer(hello: &[u8]) -> Option<ClientOffer> {
    Some(offer_of(&ClientHello::parse(&first_message(hello)?)?))
}

pub(crate) fn offer_of(hello: &ClientHello<'_>) -> ClientOffer {
    let list =
        |kind| hello.extension(kind).and_then(list16).map(|list| values(list, &[])).unwrap_or_default();
    let versions = hello.extension(SUPPORTED_VERSIONS).and_then(list8);
    ClientOffer {
        versions: versions.map_or_else(|| vec![hello.version], |list| values(list, &[])),
        signature_schemes: list(SIGNATURE_ALGORITHMS),
        certificate_schemes: list(SIGNATURE_ALGORITHMS_CERT),
        groups: list(SUPPORTED_GROUPS),
        cipher_suites: values(hello.cipher_suites, &USED_SUITES),
        record_bytes: record_bytes_of(hello),
        has_server_name: hello.has_server_name(),
    }
}

/// Sorted, without duplicates and GREASE. Of too many, `preferred` and the first.
fn values(list: &[u8], preferred: &[u16]) -> Vec<u16> {
    let (pairs, _) = list.as_chunks::<2>();
    let mut values: Vec<u16> =
        pairs.iter().map(|pair| u16::from_be_bytes(*pair)).filter(|value| !is_grease(*value)).collect();
    values.sort_unstable();
    values.dedup();
    if values.len() > OFFER_VALUES_MAX {
        values.sort_by_key(|value| !preferred.contains(value));
        values.truncate(OFFER_VALUES_MAX);
        values.sort_unstable();
    }
    values.shrink_to_fit();
    values
}

/// RFC 8701: drawn at random for each hello.
fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::server::Acceptor;

    use super::*;

    /// A hello for TLS 1.2, or for 1.3 with `versions`.
    #[derive(Debug, Clone)]
    struct Made {
        versions: Option<Vec<u16>>,
        suites: Vec<u16>,
        schemes: Vec<u16>,
        certificate_schemes: Option<Vec<u16>>,
        groups: Option<Vec<u16>>,
        server_name: bool,
        record_limit: Option<u16>,
    }

    fn bytes(values: &[u16]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_be_bytes()).collect()
    }

    fn counted16(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [kind.to_be_bytes().to_vec(), counted16(body)].concat()
    }

    impl Made {
        fn message(&self) -> Vec<u8> {
            let list = |kind, values: &[u16]| extension(kind, &counted16(&bytes(values)));
            let mut extensions = list(SIGNATURE_ALGORITHMS, &self.schemes);
            if let Some(versions) = &self.versions {
                let body =
                    [&[2 * u8::try_from(versions.len()).unwrap()], bytes(versions).as_slice()].concat();
                extensions.extend(extension(SUPPORTED_VERSIONS, &body));
                // A key share of no group.
                extensions.extend(extension(51, &[0, 0]));
            }
            if let Some(groups) = &self.groups {
                extensions.extend(list(SUPPORTED_GROUPS, groups));
            }
            if let Some(schemes) = &self.certificate_schemes {
                extensions.extend(list(SIGNATURE_ALGORITHMS_CERT, schemes));
            }
            if self.server_name {
                extensions
                    .extend(extension(0, &counted16(&[&[0], counted16(b"a.test").as_slice()].concat())));
            }
            if let Some(limit) = self.record_limit {
                extensions.extend(extension(28, &limit.to_be_bytes()));
            }
            let body = [
                &[3, 3],
                [7; 32].as_slice(),
                &[0],
                &counted16(&bytes(&self.suites)),
                &[1, 0],
                &counted16(&extensions),
            ]
            .concat();
            [&[1], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], &body].concat()
        }

        fn hello(&self, piece: usize) -> Vec<u8> {
            self.message()
                .chunks(piece)
                .flat_map(|part| [&[22, 3, 1], counted16(part).as_slice()].concat())
                .collect()
        }
    }

    fn lists(max: usize) -> impl Strategy<Value = Vec<u16>> {
        proptest::collection::vec(any::<u16>(), 1..max)
    }

    prop_compose! {
        fn hellos()(
            versions in proptest::option::of(lists(20)),
            suites in lists(150),
            schemes in lists(90),
            certificate_schemes in proptest::option::of(lists(90)),
            groups in proptest::option::of(lists(90)),
            server_name: bool,
            record_limit in proptest::option::of(64..=u16::MAX),
        ) -> Made {
            Made { versions, suites, schemes, certificate_schemes, groups, server_name, record_limit }
        }
    }

    /// Suites, schemes and groups as rustls reads them. `None`: it refuses the hello.
    fn read_by_rustls(hello: &[u8]) -> Option<[Vec<u16>; 3]> {
        let mut acceptor = Acceptor::default();
        let mut rest = hello;
        while !rest.is_empty() {
            acceptor.read_tls(&mut rest).ok()?;
            if let Some(accepted) = acceptor.accept().ok()? {
                let hello = accepted.client_hello();
                return Some([
                    hello.cipher_suites().iter().map(|suite| u16::from(*suite)).collect(),
                    hello.signature_schemes().iter().map(|scheme| u16::from(*scheme)).collect(),
                    hello.named_groups().unwrap_or_default().iter().map(|group| u16::from(*group)).collect(),
                ]);
            }
        }
        None
    }

    fn sorted(list: &[u16], preferred: &[u16]) -> Vec<u16> {
        values(&bytes(list), preferred)
    }

    fn agrees_with_rustls(hello: &[u8]) -> Result<(), TestCaseError> {
        let Some([suites, schemes, groups]) = read_by_rustls(hello) else { return Ok(()) };
        let offer = client_offer(hello);
        prop_assert!(offer.is_some(), "what rustls accepts is read");
        let offer = offer.unwrap_or_default();
        prop_assert_eq!(offer.cipher_suites, sorted(&suites, &USED_SUITES));
        prop_assert_eq!(offer.signature_schemes, sorted(&schemes, &[]));
        prop_assert_eq!(offer.groups, sorted(&groups, &[]));
        Ok(())
    }

    fn plain() -> Made {
        Made {
            versions: None,
            suites: vec![0xc02b, 0x009c],
            schemes: vec![0x0403, 0x0401],
            certificate_schemes: None,
            groups: Some(vec![29, 23]),
            server_name: true,
            record_limit: None,
        }
    }

    #[test]
    fn an_offer_is_sorted_and_has_no_grease() {
        let offer = client_offer(
            &Made {
                versions: Some(vec![0x0304, 0x7a7a, 0x0303, 0x0304]),
                suites: vec![0x1301, 0x0a0a, 0xc02f, 0x00ff],
                schemes: vec![0x0804, 0xfafa, 0x0403],
                certificate_schemes: Some(vec![0x0401, 0x1a1a]),
                groups: Some(vec![0x2a2a, 29, 23]),
                server_name: false,
                record_limit: Some(1025),
            }
            .hello(100),
        );
        let expected = ClientOffer {
            versions: vec![0x0303, 0x0304],
            signature_schemes: vec![0x0403, 0x0804],
            certificate_schemes: vec![0x0401],
            groups: vec![23, 29],
            cipher_suites: vec![0x00ff, 0x1301, 0xc02f],
            record_bytes: Some(1024),
            has_server_name: false,
        };
        assert_eq!(offer, Some(expected));
    }

    #[test]
    fn what_is_not_offered_is_empty_and_the_version_is_then_the_hello_s() {
        let offer = client_offer(&plain().hello(16384)).unwrap();
        assert_eq!(offer.versions, [0x0303]);
        assert_eq!(offer.certificate_schemes, [0; 0]);
        assert!(offer.has_server_name);
        // Neither extensions nor their length: TLS 1.2 as in RFC 5246.
        let bare =
            [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2], [7; 32].as_slice(), &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
        let expected =
            ClientOffer { versions: vec![0x0302], cipher_suites: vec![0x2f], ..ClientOffer::default() };
        assert_eq!(client_offer(&bare), Some(expected));
    }

    #[test]
    fn of_too_many_suites_those_that_the_gateway_uses_stay() {
        let suites: Vec<u16> = (1..=200).chain(USED_SUITES).collect();
        let offer = client_offer(&Made { suites, ..plain() }.hello(16384)).unwrap();
        let first = 1..=u16::try_from(OFFER_VALUES_MAX - USED_SUITES.len()).unwrap();
        assert_eq!(offer.cipher_suites, first.chain(USED_SUITES).collect::<Vec<_>>());
    }

    #[test]
    fn the_suites_that_the_gateway_uses_are_those_of_its_provider() {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let suites: Vec<u16> = provider.cipher_suites.iter().map(|suite| suite.suite().into()).collect();
        assert_eq!(sorted(&suites, &[]), USED_SUITES);
    }

    proptest! {
        #[test]
        fn lists_are_read_as_rustls_reads_them(made in hellos(), piece in 1_usize..3000) {
            let hello = made.hello(piece);
            agrees_with_rustls(&hello)?;
            let offer = client_offer(&hello).unwrap();
            prop_assert_eq!(offer.versions, made.versions.map_or(vec![0x0303], |list| sorted(&list, &[])));
            let certificate_schemes = made.certificate_schemes.map(|list| sorted(&list, &[]));
            prop_assert_eq!(offer.certificate_schemes, certificate_schemes.unwrap_or_default());
            prop_assert_eq!(offer.record_bytes, made.record_limit.map(|limit| limit - 1));
            prop_assert_eq!(offer.has_server_name, made.server_name);
        }

        #[test]
        fn damaged_hellos_are_read_without_a_panic_and_as_by_rustls(
            made in hellos(),
            piece in 1_usize..3000,
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            behind in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut hello = made.hello(piece);
            for (at, byte) in flips {
                let at = at.index(hello.len());
                hello[at] = byte;
            }
            hello.extend(behind);
            agrees_with_rustls(&hello)?;
            if let Some(offer) = client_offer(&hello) {
                let ClientOffer { versions, signature_schemes, certificate_schemes, groups, cipher_suites, .. } = offer;
                for list in [versions, signature_schemes, certificate_schemes, groups, cipher_suites] {
                    prop_assert!(list.len() <= OFFER_VALUES_MAX);
                    prop_assert!(list.is_sorted());
                }
            }
        }
    }
}
