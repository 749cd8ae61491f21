//! A corpus of CRLs, each with a device and its fate. The other judges are in `crl_judges.rs`.

use certward_pki::StalePolicy;
use certward_test_support::{Authority, Leaf, authority_params, client_params};
use rcgen::{CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SerialNumber};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::crl_judges::CrlVerdict::{LetIn, NoCrl, Revoked, Unknown};
use crate::crl_judges::OpensslView::{Differs, Same};
use crate::crl_judges::{CrlCase, CrlVerdict, OpensslView};
use crate::crl_maker::{CrlMaker, ECDSA_SHA384, extension, reason, serial, subject};
use crate::openssl::Openssl;
use crate::stage::{encode_pem, known, now, tlv, twin};

/// A root with two devices; the CRLs are the root's.
struct Fleet {
    root: Authority,
    device: Leaf,
    other: Leaf,
}

impl Fleet {
    fn new() -> Self {
        let root = Authority::new_with("Fleet Root", with_key_id);
        let (device, other) = (root.client("device"), root.client("other"));
        Self { root, device, other }
    }

    /// Without findings, and openssl says the same.
    fn case(&self, name: &'static str, crl: &CrlMaker, verdict: CrlVerdict) -> CrlCase {
        self.case_of(name, crl.sign(self.root.key()), verdict)
    }

    fn case_of(&self, name: &'static str, upload: Vec<u8>, verdict: CrlVerdict) -> CrlCase {
        CrlCase {
            name,
            upload,
            client_cas: vec![self.root.der().to_vec()],
            device: vec![self.device.der.clone()],
            in_service: None,
            stale: StalePolicy::Soft,
            now: now(),
            connects: now(),
            codes: &[],
            verdict,
            openssl: Same(""),
            webpki_differs: None,
            beside: Vec::new(),
            checks_all: false,
        }
    }

    fn revoking(&self) -> CrlMaker {
        CrlMaker::revoking(&self.root, &self.device)
    }

    fn sparing(&self) -> CrlMaker {
        CrlMaker::revoking(&self.root, &self.other)
    }
}

impl CrlCase {
    fn codes(self, codes: &'static [&'static str]) -> Self {
        Self { codes, ..self }
    }

    fn openssl(self, openssl: OpensslView) -> Self {
        Self { openssl, ..self }
    }

    fn of(self, device: &Leaf) -> Self {
        let device = std::iter::once(&device.der).chain(&device.intermediates).cloned().collect();
        Self { device, ..self }
    }

    fn client_cas(self, client_cas: &[&Authority]) -> Self {
        Self { client_cas: client_cas.iter().map(|ca| ca.der().to_vec()).collect(), ..self }
    }

    fn hard(self) -> Self {
        Self { stale: StalePolicy::Hard, ..self }
    }

    fn after(self, in_service: &CrlMaker, ca: &Authority) -> Self {
        Self { in_service: Some(in_service.sign(ca.key())), ..self }
    }

    fn connecting_at(self, connects: OffsetDateTime) -> Self {
        Self { connects, ..self }
    }

    fn checking_all(self, beside: &[Vec<u8>]) -> Self {
        Self { checks_all: true, beside: beside.to_vec(), ..self }
    }
}

fn with_key_id(params: &mut CertificateParams) {
    params.use_authority_key_identifier_extension = true;
}

fn check(cases: impl IntoIterator<Item = CrlCase>) {
    let mut objections = Vec::new();
    for case in cases {
        assert!(case.codes.iter().all(|code| known(code)), "{}: a code that does not exist", case.name);
        objections.extend(case.objections());
    }
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

#[test]
fn a_certificate_is_revoked_by_its_serial_number() {
    let fleet = Fleet::new();
    let entry = |extensions: &[Vec<u8>]| {
        CrlMaker::of(&fleet.root).number(&[1]).entry(&serial(&fleet.device.der), extensions)
    };
    let with_serial = |serial: &[u8]| {
        let mut params = client_params("odd");
        params.serial_number = Some(SerialNumber::from(serial.to_vec()));
        let device = fleet.root.issue(params, &KeyPair::generate().unwrap());
        let crl = CrlMaker::revoking(&fleet.root, &device);
        (device, crl)
    };
    let ((short, short_crl), (high, high_crl)) = (with_serial(&[7]), with_serial(&[0x80; 19]));
    let twisted = Leaf { der: twin(&fleet.device.der), ..fleet.device.clone() };
    let critical_reason = extension(&[0x55, 0x1d, 21], true, &tlv(0x0a, &[1]));
    let date = tlv(0x18, b"20260501120000Z");
    let rows = [
        fleet.case("listed", &fleet.revoking(), Revoked),
        fleet.case("another one is listed", &fleet.sparing(), LetIn),
        fleet.case("no entries", &CrlMaker::of(&fleet.root).number(&[1]), LetIn),
        fleet.case(
            "an empty list of entries",
            &CrlMaker { with_empty_list: true, ..CrlMaker::of(&fleet.root).number(&[1]) },
            LetIn,
        ),
        fleet.case("twice", &fleet.revoking().entry(&serial(&fleet.device.der), &[]), Revoked),
        fleet.case("for a compromised key", &entry(&[reason(1)]), Revoked),
        fleet.case("on hold", &entry(&[reason(6)]), Revoked),
        fleet.case("removed from the CRL", &entry(&[reason(8)]), Revoked).openssl(Differs(
            "only a delta CRL can say so (RFC 5280 §5.3.1): in a complete one it is an entry",
        )),
        fleet.case(
            "invalid since",
            &entry(&[reason(1), extension(&[0x55, 0x1d, 24], false, &date)]),
            Revoked,
        ),
        fleet.case("with a critical reason", &entry(&[critical_reason]), Revoked).openssl(Differs(
            "it knows no critical extension of an entry but certificateIssuer; the reason is known",
        )),
        fleet.case("its twin by another signature", &fleet.revoking(), Revoked).of(&twisted),
        fleet.case("a serial number of one byte", &short_crl, Revoked).of(&short),
        fleet.case("a serial number with a zero in front", &high_crl, Revoked).of(&high),
        fleet.case("a longer serial number ends alike", &short_crl, LetIn).of(&high),
    ];
    check(rows);
}

#[test]
fn a_crl_counts_for_what_its_signer_signed() {
    let fleet = Fleet::new();
    // Another CA of the same name, with a device of the same serial number.
    let namesake = Authority::new_with("Fleet Root", with_key_id);
    let mut same_serial = client_params("device");
    same_serial.serial_number = Some(SerialNumber::from(serial(&fleet.device.der)));
    let theirs = namesake.issue(same_serial, &KeyPair::generate().unwrap());
    // The root, renewed with its key.
    let key = KeyPair::from_pem(&fleet.root.key().serialize_pem()).unwrap();
    let mut params = authority_params("Fleet Root");
    params.not_after += Duration::days(3650);
    let renewed = Authority::from_params(params, key);
    let stranger = Authority::new("Stranger");
    let of_stranger = CrlMaker::of(&stranger).number(&[1]).entry(&serial(&fleet.device.der), &[]);
    // The issuer in another string type and case.
    let name = tlv(0x13, b"FLEET  root");
    let name = tlv(0x30, &tlv(0x31, &tlv(0x30, &[tlv(6, &[0x55, 4, 3]), name].concat())));
    let other_form = CrlMaker::named(&name).number(&[1]).entry(&serial(&fleet.device.der), &[]);
    let rows = [
        fleet
            .case("of a namesake's device", &fleet.revoking(), LetIn)
            .client_cas(&[&fleet.root, &namesake])
            .of(&theirs)
            .openssl(Differs("it takes CRLs by the issuer's name, and asks for one of each CA")),
        fleet
            .case("beside a namesake", &fleet.revoking(), Revoked)
            .client_cas(&[&namesake, &fleet.root])
            .openssl(Differs("without key identifiers it takes the first CA of the name")),
        fleet.case("of a CA that was renewed since", &fleet.revoking(), Revoked).client_cas(&[&renewed]),
        fleet
            .case("of a CA that was renewed before", &CrlMaker::revoking(&renewed, &fleet.device), Revoked)
            .client_cas(&[&renewed, &fleet.root]),
        fleet
            .case_of("of another client CA", of_stranger.sign(stranger.key()), LetIn)
            .client_cas(&[&fleet.root, &stranger])
            .openssl(Differs("with -crl_check it wants a CRL of each issuer")),
        CrlCase {
            webpki_differs: Some("it compares names by their bytes"),
            ..fleet.case("with the issuer's name in another form", &other_form, Revoked)
        },
        // Its signer is found by signature.
        fleet
            .case_of("of a stranger", of_stranger.sign(stranger.key()), NoCrl)
            .codes(&["CRL_ISSUER_UNKNOWN"]),
        fleet
            .case_of(
                "by a namesake, with its key's identifier",
                {
                    let (_, x509) = x509_parser::parse_x509_certificate(namesake.der()).unwrap();
                    let id =
                        x509.iter_extensions().find_map(|extension| match extension.parsed_extension() {
                            x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => {
                                Some(id.0.to_vec())
                            }
                            _ => None,
                        });
                    let aki = tlv(0x30, &tlv(0x80, &id.unwrap()));
                    fleet.revoking().extension(35, false, &aki).sign(namesake.key())
                },
                NoCrl,
            )
            .codes(&["CRL_SIGNER_KEY_DIFFERS"]),
        fleet
            .case_of("by a namesake", fleet.revoking().sign(namesake.key()), NoCrl)
            .codes(&["CRL_SIGNATURE_BROKEN"])
            .openssl(Same("CRL signature failure")),
        fleet
            .case_of(
                "changed after it was signed",
                changed(fleet.sparing().sign(fleet.root.key()), 60),
                NoCrl,
            )
            .codes(&["CRL_SIGNATURE_BROKEN"])
            .openssl(Same("CRL signature failure")),
    ];
    check(rows);
}

/// One bit, so many bytes before the end.
fn changed(mut der: Vec<u8>, before_end: usize) -> Vec<u8> {
    let at = der.len() - before_end;
    der[at] ^= 1;
    der
}

#[test]
fn the_signer_must_be_a_ca_that_may_sign_crls() {
    let with_usages = |usages: &[KeyUsagePurpose]| {
        let usages = usages.to_vec();
        let root = Authority::new_with("Fleet Root", |params| params.key_usages = usages);
        let device = root.client("device");
        Fleet { other: root.client("other"), root, device }
    };
    let (without, any) = (with_usages(&[KeyUsagePurpose::KeyCertSign]), with_usages(&[]));
    let fleet = Fleet::new();
    let sub = fleet.root.intermediate_with("Sub", with_key_id);
    let subsub = sub.intermediate("Sub Sub");
    let (of_sub, of_subsub) = (sub.client("of sub"), subsub.client("of sub sub"));
    let beside = |crl: &CrlMaker, ca: &Authority, certificates: &[&Authority]| {
        let certificates: String = certificates.iter().map(|ca| ca.pem().to_owned()).collect();
        (encode_pem("X509 CRL", &crl.sign(ca.key())) + &certificates).into_bytes()
    };
    let expired = fleet.root.intermediate_with("Old Sub", |params| {
        params.not_after = now() - Duration::days(1);
    });
    let of_expired = expired.client("of old sub");
    let stranger = Authority::new("Stranger").intermediate("Their Sub");
    let no_ca = fleet.root.intermediate_with("No CA", |params| {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
    });
    let crl = |ca: &Authority, device: &Leaf| CrlMaker::revoking(ca, device);
    let rows = [
        without
            .case("key usage without cRLSign", &without.revoking(), NoCrl)
            .codes(&["CRL_SIGN_NOT_ALLOWED"])
            .openssl(Same("CRL")),
        any.case("no key usage", &any.revoking(), Revoked),
        fleet
            .case_of("an intermediate's, alone", crl(&sub, &of_sub).sign(sub.key()), NoCrl)
            .of(&of_sub)
            .codes(&["CRL_ISSUER_UNKNOWN"])
            .openssl(Differs("it has the intermediate from the device; an upload has none")),
        fleet
            .case_of("an intermediate's, with it", beside(&crl(&sub, &of_sub), &sub, &[&sub]), Revoked)
            .of(&of_sub),
        fleet
            .case_of(
                "an intermediate's, another device",
                beside(&crl(&sub, &of_subsub), &sub, &[&sub]),
                LetIn,
            )
            .of(&of_sub),
        fleet
            .case_of(
                "two intermediates down, in any order",
                beside(&crl(&subsub, &of_subsub), &subsub, &[&sub, &subsub]),
                Revoked,
            )
            .of(&of_subsub),
        fleet
            .case_of("a gap between", beside(&crl(&subsub, &of_subsub), &subsub, &[&subsub]), NoCrl)
            .of(&of_subsub)
            .codes(&["CRL_SIGNER_UNTRUSTED"])
            .openssl(Differs("it has the intermediates from the device; an upload has none")),
        fleet
            .case_of("an intermediate that is a client CA", crl(&sub, &of_sub).sign(sub.key()), Revoked)
            .client_cas(&[&fleet.root, &sub])
            .of(&of_sub),
        fleet
            .case_of(
                "an expired intermediate",
                beside(&crl(&expired, &of_expired), &expired, &[&expired]),
                NoCrl,
            )
            .of(&of_expired)
            .codes(&["CRL_SIGNER_UNTRUSTED"])
            .openssl(Differs("it checks the CRL first, and the times of the chain then")),
        fleet
            .case_of(
                "an intermediate of a stranger",
                beside(&crl(&stranger, &fleet.device), &stranger, &[&stranger]),
                NoCrl,
            )
            .codes(&["CRL_SIGNER_UNTRUSTED"])
            .openssl(Same("unable to get certificate CRL")),
        fleet
            .case_of("no CA", beside(&crl(&no_ca, &fleet.device), &no_ca, &[&no_ca]), NoCrl)
            .codes(&["CRL_SIGNER_UNTRUSTED"])
            .openssl(Same("unable to get certificate CRL")),
    ];
    check(rows);
}

#[test]
fn an_intermediate_on_a_crl_leads_nowhere() {
    let fleet = Fleet::new();
    let sub = fleet.root.intermediate("Sub");
    let device = sub.client("of sub");
    // Issued again for the same key.
    let key = KeyPair::from_pem(&sub.key().serialize_pem()).unwrap();
    let mut params = authority_params("Sub");
    params.serial_number = Some(SerialNumber::from(77));
    let again = fleet.root.intermediate_from(params, key);
    let with_both = Leaf { intermediates: vec![sub.der().to_vec(), again.der().to_vec()], ..device.clone() };
    let crl = CrlMaker::of(&fleet.root).number(&[1]).entry(&serial(sub.der()), &[]);
    let only_cas = crl.clone().distribution_point(&tlv(0x82, &[0xff]));
    let only_devices = crl.clone().distribution_point(&tlv(0x81, &[0xff]));
    let of_sub = [CrlMaker::of(&sub).number(&[1]).sign(sub.key())];
    let stale_hard = |name, verdict| {
        let crl = CrlMaker::of(&fleet.root).number(&[1]).distribution_point(&tlv(0x82, &[0xff]));
        fleet.case(name, &crl, verdict).hard().connecting_at(now() + Duration::days(20))
    };
    let long = [CrlMaker::of(&sub).number(&[1]).until(now() + Duration::days(90)).sign(sub.key())];
    let rows = [
        fleet.case("the device's intermediate", &crl, Revoked).of(&device).checking_all(&of_sub),
        fleet.case("of CAs only", &only_cas, Revoked).of(&device).checking_all(&of_sub),
        fleet
            .case("of devices only", &only_devices, LetIn)
            .of(&device)
            .checking_all(&of_sub)
            .openssl(Differs("with -crl_check_all it wants a CRL for each CA")),
        fleet
            .case("beside one that was issued again", &crl, LetIn)
            .of(&with_both)
            .checking_all(&of_sub)
            .openssl(Differs("it tries one path only; webpki tries the other too")),
        fleet
            .case("of the CA above a client CA", &crl, NoCrl)
            .client_cas(&[&sub])
            .of(&Leaf { intermediates: Vec::new(), ..device.clone() })
            .codes(&["CRL_ISSUER_UNKNOWN"]),
        stale_hard("a stale CRL of CAs, hard", Unknown).of(&device).checking_all(&long),
        stale_hard("a stale CRL of CAs, hard, for a device of the root", LetIn)
            .openssl(Differs("it wants a CRL for the device")),
    ];
    check(rows);
}

#[test]
fn a_crl_has_its_time() {
    let fleet = Fleet::new();
    let hours = Duration::hours;
    let without_next = CrlMaker { next_update: None, ..fleet.revoking() };
    let stale = fleet.revoking().until(now() - hours(1));
    let other_ca = Authority::new("Other");
    let rows = [
        fleet.case("without nextUpdate", &without_next, Revoked).codes(&["CRL_WITHOUT_NEXT_UPDATE"]),
        fleet
            .case("without nextUpdate, hard", &CrlMaker { next_update: None, ..fleet.sparing() }, LetIn)
            .hard()
            .codes(&["CRL_WITHOUT_NEXT_UPDATE"])
            .connecting_at(now() + Duration::days(900)),
        fleet
            .case("stale, soft", &stale, Revoked)
            .codes(&["CRL_STALE"])
            .openssl(Differs("for openssl a stale CRL is hard; it names the end of the CRL first")),
        fleet
            .case("stale, soft, another device", &fleet.sparing().until(now() - hours(1)), LetIn)
            .codes(&["CRL_STALE"])
            .openssl(Differs("for openssl a stale CRL is hard")),
        fleet
            .case("stale, hard", &stale, NoCrl)
            .hard()
            .codes(&["CRL_STALE_HARD"])
            .openssl(Same("CRL has expired")),
        fleet
            .case("hard, and stale when the device comes", &fleet.sparing(), Unknown)
            .hard()
            .connecting_at(now() + Duration::days(9) + Duration::SECOND),
        fleet
            .case("hard, and in its last second", &fleet.sparing(), LetIn)
            .hard()
            .connecting_at(now() + Duration::days(9) - Duration::SECOND),
        fleet
            .case("soft, and stale when the device comes", &fleet.sparing(), LetIn)
            .connecting_at(now() + Duration::days(10))
            .openssl(Differs("for openssl a stale CRL is hard")),
        fleet
            .case("hard, stale, and of another CA", &fleet.sparing(), LetIn)
            .hard()
            .client_cas(&[&fleet.root, &other_ca])
            .of(&other_ca.client("device"))
            .connecting_at(now() + Duration::days(10))
            .openssl(Differs("with -crl_check it wants a CRL of each issuer")),
        fleet
            .case("soon stale", &fleet.revoking().until(now() + hours(2)), Revoked)
            .codes(&["CRL_STALE_SOON"]),
        fleet
            .case("of tomorrow", &fleet.revoking().from(now() + Duration::DAY), NoCrl)
            .codes(&["CRL_NOT_YET_VALID"])
            .openssl(Same("CRL is not yet valid")),
        fleet
            .case(
                "of a clock that is a minute ahead",
                &fleet.revoking().from(now() + Duration::MINUTE),
                Revoked,
            )
            .openssl(Differs("it allows no difference of clocks")),
        fleet.case("until 2060", &fleet.revoking().until(now() + Duration::days(365 * 34)), Revoked),
    ];
    check(rows);
}

#[test]
fn only_complete_crls_are_taken() {
    let fleet = Fleet::new();
    let idp = |fields: &[Vec<u8>]| fleet.revoking().distribution_point(&fields.concat());
    let flag = |number: u8| tlv(0x80 + number, &[0xff]);
    let somewhere = tlv(0xa0, &tlv(0xa0, &tlv(0x86, b"http://crl.test/1")));
    let root_name = subject(fleet.root.der());
    let issuer = extension(&[0x55, 0x1d, 29], true, &tlv(0x30, &tlv(0xa4, &root_name)));
    let with_issuer = fleet.sparing().entry(&serial(&fleet.device.der), &[issuer]);
    let scope = "for openssl the certificate must name the same distribution point";
    let rows = [
        fleet
            .case("delta", &fleet.revoking().extension(27, true, &tlv(2, &[1])), NoCrl)
            .codes(&["CRL_DELTA"]),
        fleet.case("indirect", &idp(&[flag(4)]), NoCrl).codes(&["CRL_INDIRECT"]).openssl(Same("CRL")),
        fleet
            .case("an entry of another issuer", &with_issuer, NoCrl)
            .codes(&["CRL_INDIRECT"])
            .openssl(Differs("it takes the issuer of an entry in any CRL")),
        fleet
            .case("some reasons", &idp(&[tlv(0x83, &[1, 0x40])]), NoCrl)
            .codes(&["CRL_PARTIAL"])
            .openssl(Same("unable to get certificate CRL")),
        fleet.case("attribute certificates", &idp(&[flag(5)]), NoCrl).codes(&["CRL_PARTIAL"]),
        fleet.case("devices and CAs", &idp(&[flag(1), flag(2)]), NoCrl).codes(&["CRL_UNREADABLE"]),
        fleet.case("devices only", &idp(&[flag(1)]), Revoked),
        fleet
            .case("CAs only, and a device", &idp(&[flag(2)]), LetIn)
            .openssl(Differs("with -crl_check it wants a CRL for the device")),
        fleet
            .case("a distribution point", &idp(std::slice::from_ref(&somewhere)), Revoked)
            .openssl(Differs(scope)),
        fleet
            .case("a distribution point of devices", &idp(&[somewhere, flag(1)]), Revoked)
            .openssl(Differs(scope)),
        fleet.case("an empty distribution point", &idp(&[]), Revoked),
        fleet
            .case("flags out of order", &idp(&[flag(4), flag(1)]), NoCrl)
            .codes(&["CRL_UNREADABLE"])
            .openssl(Differs("it takes an extension that it cannot read as none")),
        fleet.case(
            "the complete one of a CA with deltas",
            &{
                let fresh = tlv(0x30, &tlv(0x30, &tlv(0xa0, &tlv(0xa0, &tlv(0x86, b"http://crl.test/d")))));
                fleet.revoking().extension(46, false, &fresh)
            },
            Revoked,
        ),
    ];
    check(rows);
}

#[test]
fn versions_and_extensions_are_as_rfc_5280_says() {
    let fleet = Fleet::new();
    let device = serial(&fleet.device.der);
    let plain = || CrlMaker::of(&fleet.root).entry(&device, &[]);
    let version1 = |crl: CrlMaker| CrlMaker { version: None, ..crl };
    let own = |is_critical| extension(&[0x2a, 3, 4], is_critical, &[5, 0]);
    let with_own = |is_critical| {
        let mut crl = fleet.revoking();
        crl.extensions.push(own(is_critical));
        crl
    };
    let entry = |extensions: &[Vec<u8>]| CrlMaker::of(&fleet.root).number(&[1]).entry(&device, extensions);
    let unreadable: &[&str] = &["CRL_UNREADABLE"];
    let not_strict = Differs("it does not look at this");
    let rows = [
        fleet.case("version 1", &version1(plain()), Revoked).codes(&["CRL_VERSION1"]),
        fleet
            .case("version 1 with a number", &version1(plain().number(&[1])), NoCrl)
            .codes(unreadable)
            .openssl(not_strict),
        fleet
            .case("version 1 with a reason", &version1(entry(&[reason(1)])), NoCrl)
            .codes(unreadable)
            .openssl(not_strict),
        fleet
            .case("version 3", &CrlMaker { version: Some(2), ..fleet.revoking() }, NoCrl)
            .codes(unreadable)
            .openssl(not_strict),
        fleet.case("without a number", &plain(), Revoked),
        fleet.case("a number of 20 bytes", &plain().number(&[0x7f; 20]), Revoked),
        fleet
            .case("a number of 21 bytes", &plain().number(&[0x7f; 21]), NoCrl)
            .codes(unreadable)
            .openssl(not_strict),
        fleet
            .case("a negative number", &plain().number(&[0xff]), NoCrl)
            .codes(unreadable)
            .openssl(not_strict),
        fleet
            .case("two numbers", &plain().number(&[1]).number(&[2]), NoCrl)
            .codes(unreadable)
            .openssl(not_strict),
        fleet
            .case("a critical number", &plain().extension(20, true, &[2, 1, 1]), NoCrl)
            .codes(&["CRL_CRITICAL_EXTENSION"])
            .openssl(Same("unhandled critical CRL extension")),
        fleet
            .case("an unknown critical extension", &with_own(true), NoCrl)
            .codes(&["CRL_CRITICAL_EXTENSION"])
            .openssl(Same("unhandled critical CRL extension")),
        fleet.case("an unknown extension", &with_own(false), Revoked),
        fleet
            .case("an unknown critical extension of an entry", &entry(&[own(true)]), NoCrl)
            .codes(&["CRL_CRITICAL_EXTENSION"])
            .openssl(Same("unhandled critical CRL extension")),
        fleet.case("an unknown extension of an entry", &entry(&[own(false)]), Revoked),
        fleet
            .case("two reasons", &entry(&[reason(1), reason(4)]), NoCrl)
            .codes(unreadable)
            .openssl(not_strict),
        fleet
            .case("a reason that is none", &entry(&[extension(&[0x55, 0x1d, 21], false, &[5, 0])]), NoCrl)
            .codes(unreadable)
            .openssl(not_strict),
        fleet
            .case("a key identifier that is none", &fleet.revoking().extension(35, false, &[5, 0]), NoCrl)
            .codes(unreadable)
            .openssl(not_strict),
    ];
    check(rows);
}

#[test]
fn encodings_have_one_form() {
    let fleet = Fleet::new();
    let signed = |crl: &CrlMaker| crl.sign(fleet.root.key());
    let with_time = |this_update: &[u8]| CrlMaker { this_update: tlv(0x17, this_update), ..fleet.revoking() };
    let mut trailing = signed(&fleet.revoking());
    trailing.push(0);
    let mut cut = signed(&fleet.revoking());
    cut.truncate(cut.len() - 40);
    let unreadable: &[&str] = &["CRL_UNREADABLE"];
    let not_strict = Differs("it does not look at this");
    let other_algorithm = CrlMaker { outer_algorithm: ECDSA_SHA384.to_vec(), ..fleet.revoking() };
    let no_entry = CrlMaker { entries: vec![tlv(0x30, &tlv(2, &[1]))], ..fleet.revoking() };
    let rows = [
        fleet
            .case(
                "a serial number that is longer than it must be",
                &fleet.revoking().entry(&[0, 1], &[]),
                NoCrl,
            )
            .codes(unreadable),
        fleet.case("no serial number", &fleet.revoking().entry(&[], &[]), NoCrl).codes(unreadable),
        fleet.case("an entry without a date", &no_entry, NoCrl).codes(unreadable),
        fleet.case("two signature algorithms", &other_algorithm, NoCrl).codes(unreadable),
        fleet.case("a time without seconds", &with_time(b"2605311200Z"), NoCrl).codes(unreadable),
        fleet.case("a time with a zone", &with_time(b"260531120000+0000"), NoCrl).codes(unreadable),
        fleet.case("no day", &with_time(b"260532120000Z"), NoCrl).codes(unreadable),
        fleet
            .case("no issuer", &CrlMaker { issuer: tlv(0x30, &[]), ..fleet.revoking() }, NoCrl)
            .codes(unreadable),
        fleet.case_of("bytes behind it", trailing, NoCrl).codes(unreadable).openssl(not_strict),
        fleet.case_of("cut off", cut, NoCrl).codes(unreadable),
    ];
    check(rows);
}

#[test]
fn numbers_do_not_go_backwards() {
    let fleet = Fleet::new();
    let of = |number: u8| CrlMaker::of(&fleet.root).number(&[number]).entry(&serial(&fleet.device.der), &[]);
    let plain = CrlMaker::of(&fleet.root).entry(&serial(&fleet.device.der), &[]);
    let earlier = now() - Duration::days(3);
    let (stranger, namesake) = (Authority::new("Stranger"), Authority::new_with("Fleet Root", with_key_id));
    let devices = of(3).distribution_point(&tlv(0x81, &[0xff]));
    let unaware = || Differs("it does not know the CRL before");
    let same = fleet.case("the same again", &of(3), Revoked);
    let same = CrlCase { in_service: Some(same.upload.clone()), ..same };
    let rows = [
        fleet.case("higher", &of(4), Revoked).after(&of(3), &fleet.root),
        fleet.case("higher, of an earlier time", &of(4).from(earlier), Revoked).after(&of(3), &fleet.root),
        fleet
            .case("lower", &of(2), NoCrl)
            .after(&of(3), &fleet.root)
            .codes(&["CRL_OLDER"])
            .openssl(unaware()),
        fleet
            .case("lower by bytes", &of(9), NoCrl)
            .after(&CrlMaker::of(&fleet.root).number(&[1, 0]), &fleet.root)
            .codes(&["CRL_OLDER"])
            .openssl(unaware()),
        same,
        fleet
            .case("equal, and another", &of(3), Revoked)
            .after(&fleet.sparing().number(&[3]), &fleet.root)
            .after(&CrlMaker::of(&fleet.root).number(&[3]), &fleet.root)
            .codes(&["CRL_NUMBER_REPEATED"]),
        fleet
            .case("equal, of an earlier time", &of(3).from(earlier), NoCrl)
            .after(&of(3), &fleet.root)
            .codes(&["CRL_OLDER"])
            .openssl(unaware()),
        fleet
            .case("without numbers, earlier", &plain.clone().from(earlier), NoCrl)
            .after(&plain, &fleet.root)
            .codes(&["CRL_OLDER"])
            .openssl(unaware()),
        fleet
            .case("without numbers, later", &plain, Revoked)
            .after(&plain.clone().from(earlier), &fleet.root),
        fleet
            .case("the number is gone, earlier", &plain.clone().from(earlier), NoCrl)
            .after(&of(3), &fleet.root)
            .codes(&["CRL_OLDER"])
            .openssl(unaware()),
        fleet
            .case("after another CA's", &of(4), NoCrl)
            .after(&CrlMaker::of(&stranger).number(&[3]), &stranger)
            .codes(&["CRL_OF_ANOTHER"])
            .openssl(unaware()),
        fleet
            .case("after another key's of the name", &of(4), NoCrl)
            .after(&CrlMaker::of(&namesake).number(&[3]), &namesake)
            .codes(&["CRL_OF_ANOTHER"])
            .openssl(unaware()),
        fleet
            .case("after one of another scope", &of(4), NoCrl)
            .after(&devices, &fleet.root)
            .codes(&["CRL_OF_ANOTHER"])
            .openssl(unaware()),
    ];
    check(rows);
}

/// As the tools of CAs make them, with other keys and hashes.
#[test]
fn what_openssl_signs_is_read() {
    let openssl = Openssl::new();
    openssl.write(
        "ca.cnf",
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=3650\n\
         [bare]\ndatabase=index\ndefault_md=sha256\ndefault_crl_days=3650\n[ext]\nauthorityKeyIdentifier=keyid\n",
    );
    let keys = [
        ("rsa", "RSA -pkeyopt rsa_keygen_bits:2048"),
        ("p384", "EC -pkeyopt ec_paramgen_curve:P-384"),
        ("p521", "EC -pkeyopt ec_paramgen_curve:P-521"),
        ("ed25519", "ED25519"),
        ("ed448", "ED448"),
    ];
    for (name, kind) in keys {
        let hash = if name.starts_with("ed") { "" } else { "-sha256" };
        openssl.run(&format!("genpkey -algorithm {kind} -out {name}.key")).run(&format!(
            "req -x509 -new -key {name}.key {hash} -days 3650 -out {name}.pem -subj /CN={name}"
        ));
    }
    openssl.p256("device");
    let made: [(&'static str, &str, &str, CrlVerdict, &'static [&'static str]); 11] = [
        ("rsa, version 1", "rsa", "-name bare", Revoked, &["CRL_VERSION1"]),
        ("rsa, version 2", "rsa", "-md sha256 -crlexts ext", Revoked, &[]),
        ("rsa, SHA-512", "rsa", "-md sha512 -crlexts ext", Revoked, &[]),
        ("rsa, PSS", "rsa", "-md sha256 -crlexts ext -sigopt rsa_padding_mode:pss", Revoked, &[]),
        (
            "rsa, PSS, long salt",
            "rsa",
            "-md sha256 -crlexts ext -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:max",
            Revoked,
            &[],
        ),
        ("rsa, SHA-1", "rsa", "-md sha1 -crlexts ext", NoCrl, &["CRL_SIGNATURE_WEAK"]),
        ("rsa, MD5", "rsa", "-md md5 -crlexts ext", NoCrl, &["CRL_SIGNATURE_WEAK"]),
        ("p384", "p384", "-md sha384 -crlexts ext", Revoked, &[]),
        ("p521", "p521", "-md sha512 -crlexts ext", Revoked, &[]),
        ("ed25519", "ed25519", "-md default -crlexts ext", Revoked, &[]),
        ("ed448", "ed448", "-md default -crlexts ext", NoCrl, &["CRL_SIGNATURE_UNSUPPORTED"]),
    ];
    // openssl uses the machine's time.
    let now = datetime!(2030-01-01 0:00 UTC);
    let mut rows = Vec::new();
    for (name, ca, options, verdict, codes) in made {
        let sign = if ca.starts_with("ed") { "" } else { "-sha256" };
        openssl.write("number", "1000\n");
        openssl.write("index", "");
        openssl.sign("device", ca, sign);
        openssl
            .run_with(&format!("ca -config ca.cnf -cert {ca}.pem -keyfile {ca}.key -revoke device.pem"), &[]);
        openssl.run(&format!(
            "ca -config ca.cnf -cert {ca}.pem -keyfile {ca}.key -gencrl -out crl.pem {options}"
        ));
        let der = |file: &str| crate::clients::der(&openssl.read(file)).to_vec();
        rows.push(CrlCase {
            name,
            upload: openssl.read("crl.pem").into_bytes(),
            client_cas: vec![der(&format!("{ca}.pem"))],
            device: vec![der("device.pem")],
            in_service: None,
            stale: StalePolicy::Soft,
            now,
            connects: now,
            codes,
            verdict,
            openssl: match name {
                "rsa, SHA-1" | "rsa, MD5" => {
                    Differs("its security level is not applied to the signatures of CRLs")
                }
                "ed448" => Differs("it supports Ed448"),
                _ => Same(""),
            },
            webpki_differs: None,
            beside: Vec::new(),
            checks_all: false,
        });
    }
    check(rows);
}
