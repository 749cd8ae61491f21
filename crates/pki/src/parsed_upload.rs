//! The parsed upload that rules read.

use zeroize::Zeroizing;

use crate::certificate::Certificate;
use crate::chain::{Chain, GivenCertificate};
use crate::finding::{Field, Finding, Item};
use crate::private_key::PrivateKey;
use crate::reading::GivenKey;
use crate::{Bundle, BundleError, Circumstances, ClientTrust, Code, Material, TlsType, Upload, reading};

pub(crate) struct ParsedUpload<'a> {
    pub(crate) circumstances: &'a Circumstances<'a>,
    pub(crate) tls_type: Option<TlsType>,
    /// Without duplicates.
    pub(crate) certificates: Vec<GivenCertificate>,
    pub(crate) key: Option<GivenKey>,
    /// `None` without a leaf candidate.
    pub(crate) chain: Option<Chain>,
    /// Without duplicates.
    pub(crate) client_cas: Vec<GivenCertificate>,
    /// If so, expired ones are left out of the trust.
    has_valid_client_ca: bool,
}

impl<'a> ParsedUpload<'a> {
    pub(crate) fn read(
        upload: &Upload,
        circumstances: &'a Circumstances<'a>,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let tls_type = reading::tls_type(upload, circumstances.replaces, findings);
        let cert = reading::cert(upload, findings);
        let key = reading::key(upload, findings);
        let client_cas = reading::cacert(upload, tls_type, circumstances.replaces, findings);
        let proof = key.as_ref().and_then(|key| key.proof.as_ref());
        let chain = Chain::sort(&cert.certificates, proof, circumstances.now)
            // An unreadable block may be the leaf: then only the key decides.
            .filter(|chain| {
                cert.is_whole
                    || proof.is_some_and(|p| p.belongs_to(&cert.certificates[chain.leaf].certificate.spki))
            });
        let has_valid_client_ca = client_cas.iter().any(|given| {
            given.certificate.may_issue_or_is_version1_root()
                && given.certificate.is_valid_at(circumstances.now)
        });
        let certificates = cert.certificates;
        Self { circumstances, tls_type, certificates, key, chain, client_cas, has_valid_client_ca }
    }

    pub(crate) fn leaf(&self) -> Option<&GivenCertificate> {
        self.chain.as_ref().map(|chain| &self.certificates[chain.leaf])
    }

    pub(crate) fn served(&self) -> impl Iterator<Item = &GivenCertificate> {
        self.chain.iter().flat_map(|chain| chain.served()).map(|n| &self.certificates[n])
    }

    pub(crate) fn chain(&self) -> impl Iterator<Item = &GivenCertificate> {
        self.chain.iter().flat_map(|chain| chain.in_order()).map(|n| &self.certificates[n])
    }

    pub(crate) fn issuers(&self) -> impl Iterator<Item = &GivenCertificate> {
        self.chain().skip(1)
    }

    pub(crate) fn has_valid_client_ca(&self) -> bool {
        self.has_valid_client_ca
    }

    /// Includes CAs not valid yet: a CA is distributed before its first device.
    pub(crate) fn trusted_client_cas(&self) -> impl Iterator<Item = &GivenCertificate> {
        self.client_cas.iter().filter(|given| !self.is_left_out_of_trust(&given.certificate))
    }

    pub(crate) fn is_left_out_of_trust(&self, client_ca: &Certificate) -> bool {
        self.has_valid_client_ca && client_ca.has_expired_at(self.circumstances.now)
    }

    /// For an upload without errors. Fails if its parts do not fit.
    pub(crate) fn into_material(self) -> Result<Material, Finding> {
        let chain = self.served().map(|given| given.certificate.der.clone()).collect();
        let client_trust = match self.tls_type {
            Some(TlsType::TwoWay) => {
                let anchors = self.trusted_client_cas().map(|given| given.certificate.der.clone()).collect();
                Some(ClientTrust::new(anchors).map_err(|error| {
                    Finding::new(
                        Code::CaUnusable,
                        Field::Cacert,
                        None,
                        format!("cacert cannot be used: {error}."),
                    )
                })?)
            }
            _ => None,
        };
        let key =
            self.key.map_or_else(|| PrivateKey::from_pkcs8_der(Zeroizing::default()), |given| given.key);
        let bundle = Bundle::new(chain, key).map_err(|error| match error {
            BundleError::KeyMismatch => {
                Finding::new(Code::KeyMismatch, Field::Key, None, "The private key is not the leaf's.")
            }
            error => Finding::not_servable(&error.to_string()),
        })?;
        Ok(Material { bundle, client_trust })
    }
}

impl GivenCertificate {
    pub(crate) fn item(&self) -> Option<Item> {
        Some(Item { index: self.index, subject: Some(self.certificate.subject.clone()) })
    }
}
