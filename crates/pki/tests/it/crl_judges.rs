//! The independent judges of CRLs: `openssl verify -crl_check` on every case, and webpki where it
//! can read the CRL.

use std::process::Command;

use certward_pki::{
    ClientTrust, CrlCircumstances, CrlTable, DeviceIdentity, Revocations, StalePolicy, judge_crl,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};
use time::OffsetDateTime;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};

use crate::serving::provider;
use crate::stage::encode_pem;

/// What becomes of a device with a CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrlVerdict {
    LetIn,
    Revoked,
    /// A CRL that must be current is stale.
    Unknown,
    /// The CRL itself is refused.
    NoCrl,
}

use CrlVerdict::{LetIn, NoCrl, Revoked, Unknown};

/// What openssl says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OpensslView {
    /// The same of the device; if the CRL is refused, that it cannot be used, with this text.
    Same(&'static str),
    /// Something else, for this reason.
    Differs(#[expect(dead_code, reason = "for the reader")] &'static str),
}

#[derive(Clone)]
pub(crate) struct CrlCase {
    pub(crate) name: &'static str,
    pub(crate) upload: Vec<u8>,
    pub(crate) client_cas: Vec<Vec<u8>>,
    /// The end entity first.
    pub(crate) device: Vec<Vec<u8>>,
    pub(crate) in_service: Option<Vec<u8>>,
    pub(crate) stale: StalePolicy,
    pub(crate) now: OffsetDateTime,
    /// When the device connects.
    pub(crate) connects: OffsetDateTime,
    pub(crate) codes: &'static [&'static str],
    pub(crate) verdict: CrlVerdict,
    pub(crate) openssl: OpensslView,
    /// Why webpki says something else.
    pub(crate) webpki_differs: Option<&'static str>,
    /// CRLs that openssl needs of the other CAs, and intermediates that it needs.
    pub(crate) beside: Vec<Vec<u8>>,
    pub(crate) checks_all: bool,
}

impl CrlCase {
    /// All differences to what is expected.
    pub(crate) fn objections(&self) -> Vec<String> {
        let (codes, verdict) = self.run();
        let mut objections = Vec::new();
        let mut object = |text: String| objections.push(format!("{}: {text}", self.name));
        if codes != self.codes {
            object(format!("expected {:?}, got {codes:?}", self.codes));
        }
        if verdict != self.verdict {
            object(format!("expected {:?}, got {verdict:?}", self.verdict));
        }
        let says = self.ask_openssl();
        let agrees = match self.verdict {
            LetIn => says.is_empty(),
            Revoked => says.contains("certificate revoked"),
            Unknown => says.contains("CRL has expired"),
            NoCrl => !says.is_empty() && !says.contains("certificate revoked"),
        };
        match self.openssl {
            OpensslView::Same(text) if !agrees || !says.contains(text) => {
                object(format!("{:?}, and openssl says: {says:?}", self.verdict));
            }
            OpensslView::Differs(_) if agrees => object(format!("openssl does not differ: {says:?}")),
            _ => {}
        }
        objections
    }

    /// Codes of the findings, and the device's fate.
    fn run(&self) -> (Vec<&'static str>, CrlVerdict) {
        let circumstances = CrlCircumstances {
            now: self.now,
            client_cas: &self.client_cas,
            in_service: self.in_service.as_deref(),
            stale: self.stale,
        };
        let judgement = judge_crl(&self.upload, &circumstances);
        let codes = judgement.findings.iter().map(|finding| finding.code.as_str()).collect();
        let Some(crl) = judgement.crl else { return (codes, NoCrl) };
        assert!(judgement.findings.iter().all(|finding| !finding.is_error()), "{}", self.name);
        let table = CrlTable::of_accepted(&crl.der, &crl.signer_spki, self.stale).unwrap();
        let verdict = verify(&[table], &self.client_cas, &self.device, self.connects);
        if let Some(webpki) = self.ask_webpki(&crl.der) {
            assert_eq!(webpki != verdict, self.webpki_differs.is_some(), "{}: {webpki:?}", self.name);
        }
        (codes, verdict)
    }

    /// What it objects to first; empty if it lets the device in.
    fn ask_openssl(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let pem =
            |ders: &[Vec<u8>]| ders.iter().map(|der| encode_pem("CERTIFICATE", der)).collect::<String>();
        let crl = match self.upload.starts_with(b"-") {
            true => String::from_utf8(self.upload.clone()).unwrap(),
            false => encode_pem("X509 CRL", &self.upload),
        };
        let others: String = self.beside.iter().map(|der| encode_pem("X509 CRL", der)).collect();
        write("crls", &(crl + &others));
        write("client-cas", &pem(&self.client_cas));
        write("untrusted", &pem(&self.device[1..]));
        write("device", &pem(&self.device[..1]));
        let mut command = Command::new("openssl");
        command.args(["verify", "-CAfile", "client-cas", "-no-CApath", "-no-CAstore", "-CRLfile", "crls"]);
        command.args(["-purpose", "sslclient", "-attime", &self.connects.unix_timestamp().to_string()]);
        command.args(["-auth_level", "2", if self.checks_all { "-crl_check_all" } else { "-crl_check" }]);
        if self.device.len() > 1 {
            command.args(["-untrusted", "untrusted"]);
        }
        let output = command.arg("device").current_dir(folder.path()).output().expect("openssl is installed");
        match output.status.success() {
            true => String::new(),
            false => {
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                text.lines().find(|line| line.contains("error")).unwrap_or(&text).to_owned()
            }
        }
    }

    /// `None` if webpki does not read the CRL or the device's certificate, or does not find a path.
    fn ask_webpki(&self, crl: &[u8]) -> Option<CrlVerdict> {
        let crl = CertRevocationList::from(OwnedCertRevocationList::from_der(crl).ok()?);
        let crls = [&crl];
        let depth =
            if self.checks_all { RevocationCheckDepth::Chain } else { RevocationCheckDepth::EndEntity };
        let expiration = match self.stale {
            StalePolicy::Soft => ExpirationPolicy::Ignore,
            StalePolicy::Hard => ExpirationPolicy::Enforce,
        };
        let revocation = RevocationOptionsBuilder::new(&crls)
            .ok()?
            .with_depth(depth)
            .with_status_policy(UnknownStatusPolicy::Allow)
            .with_expiration_policy(expiration)
            .build();
        let device = ders(&self.device);
        let client_cas = ders(&self.client_cas);
        let anchors: Vec<_> = client_cas.iter().map(|der| anchor_from_trusted_cert(der).unwrap()).collect();
        let end_entity = EndEntityCert::try_from(&device[0]).ok()?;
        let verdict = end_entity.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &device[1..],
            unix(self.connects),
            KeyUsage::client_auth(),
            Some(revocation),
            None,
        );
        match verdict {
            Ok(_) => Some(LetIn),
            Err(webpki::Error::CertRevoked) => Some(Revoked),
            Err(webpki::Error::CrlExpired { .. }) => Some(Unknown),
            Err(_) => None,
        }
    }
}

/// As the gateway verifies a client: the path with the intermediates that are left, then the end
/// entity.
pub(crate) fn verify(
    tables: &[CrlTable],
    client_cas: &[Vec<u8>],
    device: &[Vec<u8>],
    at: OffsetDateTime,
) -> CrlVerdict {
    let crls = tables.iter().cloned().map(std::sync::Arc::new).collect();
    let revocations = Revocations::new(DeviceIdentity::Cn, Default::default()).with_crls(crls);
    let trust = ClientTrust::new(ders(client_cas)).unwrap();
    let verifier = trust.verifier(&provider()).unwrap();
    let device = ders(device);
    let candidates = revocations.candidates(&device[1..], unix(at));
    let path = verifier.verify_client_cert(&device[0], &candidates.left, unix(at));
    let refusal = match path {
        Ok(_) => revocations.check(&device[0], unix(at)).err(),
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            Some(candidates.refusal.expect("the path is whole"))
        }
        Err(error) => panic!("the device is refused for another reason: {error}"),
    };
    match refusal {
        None => LetIn,
        Some(CertificateError::Revoked) => Revoked,
        Some(CertificateError::ExpiredRevocationList) => Unknown,
        Some(error) => panic!("{error}"),
    }
}

fn ders(certificates: &[Vec<u8>]) -> Vec<CertificateDer<'static>> {
    certificates.iter().map(|der| der.clone().into()).collect()
}

pub(crate) fn unix(time: OffsetDateTime) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(time.unix_timestamp().try_into().unwrap()))
}
