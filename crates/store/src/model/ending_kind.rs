use crate::DeploymentId;

/// What kind of thing ends. A further kind is added here, and listed where its owner changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndingKind {
    /// The leaf of a deployment's newest upload.
    Leaf,
    /// An intermediate that is sent with it.
    Intermediate,
    /// A client CA of that upload.
    ClientCa,
    /// A CRL of a deployment: its nextUpdate.
    Crl,
    /// An API key.
    ApiKey,
    /// The certificate of a node's own API.
    ApiCertificate,
}

impl EndingKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Leaf, Self::Intermediate, Self::ClientCa, Self::Crl, Self::ApiKey, Self::ApiCertificate];

    /// The kinds of a deployment; its id is the owner.
    pub const OF_DEPLOYMENTS: [Self; 4] = [Self::Leaf, Self::Intermediate, Self::ClientCa, Self::Crl];

    /// Those of its newest upload.
    pub(crate) const OF_UPLOADS: [Self; 3] = [Self::Leaf, Self::Intermediate, Self::ClientCa];

    /// Its name in store and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Intermediate => "intermediate",
            Self::ClientCa => "clientCA",
            Self::Crl => "crl",
            Self::ApiKey => "apiKey",
            Self::ApiCertificate => "apiCertificate",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// For people, such as `intermediate certificate`.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Leaf => "server certificate",
            Self::Intermediate => "intermediate certificate",
            Self::ClientCa => "client CA",
            Self::Crl => "CRL",
            Self::ApiKey => "API key",
            Self::ApiCertificate => "certificate of the API",
        }
    }

    /// Whether it is renewed over months, by people.
    pub fn is_authority(self) -> bool {
        matches!(self, Self::Intermediate | Self::ClientCa)
    }

    /// What its end breaks, in one sentence.
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Leaf => "Devices refuse to connect.",
            Self::Intermediate => "Devices cannot verify the server certificate and refuse to connect.",
            Self::ClientCa => {
                "No device can get a new certificate of this CA; an upload with this CA alone is refused, beside another one it is left out."
            }
            Self::Crl => {
                "What its CA has revoked since is not known; if the CRL is hard, all certificates of that CA are refused."
            }
            Self::ApiKey => "Requests with this key are answered 401.",
            Self::ApiCertificate => "Programs refuse to connect to the API.",
        }
    }

    /// What to do, in one sentence.
    pub fn remedy(self, owner: Option<&DeploymentId>) -> String {
        let id = owner.map_or("ID", DeploymentId::as_str);
        match self {
            Self::Leaf => {
                format!(
                    "Renew it: certward tls set {id} --cert server.pem --key server.key (two-way: also --client-ca)"
                )
            }
            Self::Intermediate => {
                format!(
                    "Get the issuer's current chain, then: certward tls set {id} --cert server.pem --key server.key (two-way: also --client-ca)"
                )
            }
            Self::ClientCa => format!(
                "Add the next CA beside it: certward tls set {id} --cert server.pem --key server.key --client-ca both.pem"
            ),
            Self::Crl => format!(
                "Get the CA's next CRL, then: certward crl set {id} NAME --file FILE; of one that is fetched, see: certward crl list {id}"
            ),
            Self::ApiKey => "Create the next one: certward key create, then certward key revoke".to_owned(),
            Self::ApiCertificate => {
                "Replace the files of [api] cert and key, then send the process SIGHUP.".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_by_its_name() {
        for kind in EndingKind::ALL {
            assert_eq!(EndingKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(EndingKind::parse("Leaf"), None);
    }
}
