//! The upload as the rules see it: read once, sorted once, never changed after.

use zeroize::Zeroizing;

use crate::chain::{Chain, Given};
use crate::finding::{Field, Finding, Item};
use crate::private_key::{PrivateKey, Proof};
use crate::public_key::KeyKind;
use crate::{Bundle, BundleError, Circumstances, ClientTrust, Code, Material, TlsType, Upload, reading};

/// The key, as far as it could be read.
pub(crate) struct GivenKey {
    pub(crate) key: PrivateKey,
    pub(crate) kind: KeyKind,
    /// A signature by the key; `None` if its parts contradict each other.
    pub(crate) proof: Option<Proof>,
}

/// An upload, read.
pub(crate) struct Case<'a> {
    pub(crate) circumstances: &'a Circumstances<'a>,
    pub(crate) tls_type: Option<TlsType>,
    /// The certificates of `cert`, each once.
    pub(crate) certificates: Vec<Given>,
    pub(crate) key: Option<GivenKey>,
    /// `None` if there is no certificate that could be the leaf.
    pub(crate) chain: Option<Chain>,
    /// The certificates of `cacert`, each once.
    pub(crate) client_cas: Vec<Given>,
}

impl<'a> Case<'a> {
    pub(crate) fn read(
        upload: &Upload,
        circumstances: &'a Circumstances<'a>,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let tls_type = reading::tls_type(upload, findings);
        let cert = reading::cert(upload, findings);
        let key = reading::key(upload, findings);
        let client_cas = reading::cacert(upload, tls_type, findings);
        let proof = key.as_ref().and_then(|key| key.proof.as_ref());
        let chain = Chain::sort(&cert.certificates, proof, circumstances.now)
            // Where some could not be read, the leaf may be among them: only the key tells.
            .filter(|chain| {
                cert.is_whole
                    || proof.is_some_and(|p| p.belongs_to(&cert.certificates[chain.leaf].certificate.spki))
            });
        Self { circumstances, tls_type, certificates: cert.certificates, key, chain, client_cas }
    }

    /// The leaf, if it is known.
    pub(crate) fn leaf(&self) -> Option<&Given> {
        self.chain.as_ref().map(|chain| &self.certificates[chain.leaf])
    }

    /// The leaf and the intermediates that would be served.
    pub(crate) fn served(&self) -> impl Iterator<Item = &Given> {
        self.chain.iter().flat_map(|chain| chain.served()).map(|n| &self.certificates[n])
    }

    /// The leaf and all above it, the root included.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &Given> {
        self.chain.iter().flat_map(|chain| chain.in_order()).map(|n| &self.certificates[n])
    }

    /// The leaf's issuer and all above it, the root included.
    pub(crate) fn issuers(&self) -> impl Iterator<Item = &Given> {
        self.chain().skip(1)
    }

    /// What to serve, once no rule has refused.
    ///
    /// # Errors
    /// A finding, should the parts after all not fit.
    pub(crate) fn into_material(self) -> Result<Material, Finding> {
        let chain = self.served().map(|given| given.certificate.der.clone()).collect();
        let client_trust = match self.tls_type {
            Some(TlsType::TwoWay) => {
                let anchors = self.client_cas.iter().map(|given| given.certificate.der.clone()).collect();
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

impl Given {
    /// The block and its subject, for a finding.
    pub(crate) fn item(&self) -> Option<Item> {
        Some(Item { index: self.index, subject: Some(self.certificate.subject.clone()) })
    }
}
