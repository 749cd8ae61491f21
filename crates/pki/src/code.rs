use serde::{Deserialize, Serialize};

use crate::Severity;

/// A code's entry in docs/findings.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeDoc {
    /// The code.
    pub code: Code,
    /// The code's text in answers.
    pub name: &'static str,
    /// Its effect on an upload.
    pub severity: Severity,
    /// What is wrong, or was repaired.
    pub meaning: &'static str,
    /// An upload that causes it.
    pub example: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// The rule's source.
    pub source: &'static str,
}

/// The codes, most important first; a row makes the variant, its wire name and its documentation.
macro_rules! codes {
    ($($variant:ident $name:literal $severity:ident $meaning:literal $example:literal $remedy:literal $source:literal;)*) => {
        /// Stable codes, most important first: the first error names a refused upload.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $meaning] #[serde(rename = $name)] $variant,)*
        }

        impl Code {
            /// The code's documentation.
            pub fn doc(self) -> &'static CodeDoc {
                match self {
                    $(Self::$variant => &CodeDoc {
                        code: Self::$variant,
                        name: $name,
                        severity: Severity::$severity,
                        meaning: $meaning,
                        example: $example,
                        remedy: $remedy,
                        source: $source,
                    },)*
                }
            }
        }

        const ALL: &[Code] = &[$(Code::$variant),*];
    };
}

/// All codes, most important first: the source of docs/findings.md.
pub fn catalogue() -> impl Iterator<Item = &'static CodeDoc> {
    ALL.iter().map(|code| code.doc())
}

impl Code {
    /// The code's text in answers, for example `KEY_MISMATCH`.
    pub fn as_str(self) -> &'static str {
        self.doc().name
    }

    /// Its effect on an upload.
    pub fn severity(self) -> Severity {
        self.doc().severity
    }
}

codes! {
    // The request.
    TlsTypeInvalid "TLS_TYPE_INVALID" Error
        "`tlsType` is missing, or none of `one-way`, `two-way` and `keep`; or it is `keep`, and no certificate is set."
        "`\"tlsType\": \"One-Way\"`."
        "Set tlsType to \"one-way\" or \"two-way\", exactly as written here; or, to replace a certificate and keep its client CAs, to \"keep\"."
        "EMQX Cloud API";
    NotText "NOT_TEXT" Error
        "A property is not a JSON string."
        "`\"cert\": [\"-----BEGIN CERTIFICATE-----…\"]`, a list."
        "Send the PEM text as one JSON string, with \\n for each line break."
        "EMQX Cloud API";
    FieldTooLarge "FIELD_TOO_LARGE" Error
        "A property is larger than any certificate text can be."
        "A `cert` of 300 KiB."
        "Send only the PEM blocks that belong in this property."
        "certward (limit 256 KiB)";
    CertMissing "CERT_MISSING" Error
        "`cert` is missing or empty."
        "`\"cert\": \"\"`."
        "Set cert to the PEM text of the server certificate, followed by its intermediates."
        "EMQX Cloud API";
    KeyMissing "KEY_MISSING" Error
        "`key` is missing or empty."
        "A body without `key`."
        "Set key to the PEM text of the server certificate's private key."
        "EMQX Cloud API";
    CaMissing "CA_MISSING" Error
        "`tlsType` is `two-way` and `cacert` is missing or empty."
        "`\"tlsType\": \"two-way\"` without `cacert`."
        "Set cacert to the PEM text of the CA that issues the clients' certificates, or use one-way."
        "EMQX Cloud API";
    CaUnexpected "CA_UNEXPECTED" Error
        "`tlsType` is `one-way` or `keep`, and `cacert` holds something: a client CA that is silently dropped is dangerous."
        "`\"tlsType\": \"one-way\"` with the client CA still in `cacert`."
        "Set tlsType to two-way to have clients verified, or leave cacert out."
        "certward";

    // The text's format.
    PemShortened "PEM_SHORTENED" Error
        "A PEM block was shortened with dots, as documents do."
        "`MIIDUTCCAjmgAwIBAgIJAPPYCjTmxdt/MA0G...tH6j7afSg==`, copied from documentation."
        "Send the whole block, from the BEGIN line to the END line, without anything left out."
        "RFC 7468 §2";
    KeyEncrypted "KEY_ENCRYPTED" Error
        "The private key is encrypted with a passphrase."
        "`-----BEGIN ENCRYPTED PRIVATE KEY-----` without `keyPassword`; `Proc-Type: 4,ENCRYPTED`."
        "Decrypt it: openssl pkey -in encrypted.pem -out key.pem (it asks for the passphrase), then send key.pem; or send the passphrase of an ENCRYPTED PRIVATE KEY as keyPassword."
        "RFC 5958 §3, RFC 1421 §4.6";
    KeyPasswordWrong "KEY_PASSWORD_WRONG" Error
        "`keyPassword` does not open the private key."
        "The passphrase with the line break of its file."
        "Send the passphrase that the key was encrypted with; openssl pkey -in FILE -noout asks for it and tells whether it is right."
        "RFC 8018 §6.2.2";
    KeyEncryptionUnsupported "KEY_ENCRYPTION_UNSUPPORTED" Error
        "The private key is encrypted in a way that is not opened: older than PBES2, with SHA-1 or 3DES, or by more work than 600 000 iterations of PBKDF2 with SHA-256, 210 000 with SHA-512, or 32 MiB of scrypt."
        "A key from `openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES`."
        "Decrypt it: openssl pkey -in FILE -out key.pem, or encrypt it again: openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in FILE -out key.pem."
        "RFC 8018 §6.2, certward (limits)";
    FormatUtf16 "FORMAT_UTF16" Error
        "The text is UTF-16."
        "A file that was saved by Windows Notepad as Unicode."
        "Save the file as UTF-8 (or ASCII) and send it again: iconv -f UTF-16 -t UTF-8 FILE."
        "RFC 7468 §2";
    FormatDer "FORMAT_DER" Error
        "The property holds binary DER."
        "The bytes of a .cer or .der file, sent as text."
        "Convert it to PEM: openssl x509 -inform DER -in FILE (a key: openssl pkey -inform DER -in FILE)."
        "RFC 7468 §2";
    FormatRawBase64 "FORMAT_RAW_BASE64" Error
        "The property holds base64 without the BEGIN and END lines."
        "`MIIDUTCCAjmg…` alone."
        "Put the BEGIN and END lines around it, or convert the original file to PEM with openssl."
        "RFC 7468 §2";
    FormatBase64Pem "FORMAT_BASE64_PEM" Error
        "The property holds PEM text that was encoded in base64 once more."
        "`LS0tLS1CRUdJTi…`, a value of the `data` of a Kubernetes secret."
        "Decode it and send the result: base64 -d FILE. From a Kubernetes secret: kubectl get secret NAME -o jsonpath='{.data.tls\\.crt}' | base64 -d (the key is in tls\\.key, the CA in ca\\.crt)."
        "Kubernetes API: Secret";
    FormatPkcs7 "FORMAT_PKCS7" Error
        "The block is a PKCS#7 (CMS) container."
        "`-----BEGIN PKCS7-----`, a .p7b file."
        "Take the certificates out of it: openssl pkcs7 -print_certs -in FILE -out certs.pem."
        "RFC 7468 §8";
    FormatPkcs12 "FORMAT_PKCS12" Error
        "The property holds a PKCS#12 container (.p12, .pfx)."
        "The base64 of a .pfx file."
        "Take it apart: openssl pkcs12 -in FILE -nodes -out all.pem, then send certificates and key separately."
        "RFC 7292";
    FormatCsr "FORMAT_CSR" Error
        "The block is a certificate signing request, not a certificate."
        "`-----BEGIN CERTIFICATE REQUEST-----`."
        "Have it signed by a CA and send the certificate that comes back."
        "RFC 7468 §7";
    FormatPublicKey "FORMAT_PUBLIC_KEY" Error
        "The block is a public key."
        "`-----BEGIN PUBLIC KEY-----` in `key`."
        "Send a certificate in cert and cacert, and the private key in key."
        "RFC 7468 §13";
    FormatOpenssh "FORMAT_OPENSSH" Error
        "The block is an OpenSSH key."
        "`-----BEGIN OPENSSH PRIVATE KEY-----`; `ssh-rsa AAAAB3…`."
        "Convert a copy of it: ssh-keygen -p -m PKCS8 -f COPY, and send the result as key."
        "OpenSSH PROTOCOL.key";
    FormatCrl "FORMAT_CRL" Error
        "The block is a certificate revocation list."
        "`-----BEGIN X509 CRL-----` behind the chain."
        "Leave the list out of this property; a CRL of a client CA is set by itself: certward crl set."
        "RFC 7468 §6";
    FormatPgp "FORMAT_PGP" Error
        "The block belongs to PGP."
        "`-----BEGIN PGP PUBLIC KEY BLOCK-----`."
        "Send X.509 certificates and their private key as PEM."
        "RFC 7468 §2";
    FormatPath "FORMAT_PATH" Error
        "The property is the path of a file; certward never opens one."
        "`\"cert\": \"/etc/certs/server.crt\"`; `@server.pem`."
        "Send the content of the file: with curl and jq, jq -Rs . FILE makes a JSON string of it."
        "certward";
    FormatUrl "FORMAT_URL" Error
        "The property is an address; certward never fetches one."
        "`\"cert\": \"https://example.com/server.crt\"`."
        "Send the content itself."
        "certward";
    PemMissing "PEM_MISSING" Error
        "The property holds no PEM block."
        "`\"cert\": \"changeit\"`; four dashes instead of five."
        "Send PEM text: -----BEGIN …-----, lines of base64, -----END …-----."
        "RFC 7468 §2";
    PemUnreadable "PEM_UNREADABLE" Error
        "A PEM block is damaged: no END line, another label at its end, or no base64 inside."
        "No END line; `&#43;` or `%2B` or a space where base64 has `+`."
        "Copy the block again from the original file, from the BEGIN line to the END line."
        "RFC 7468 §2";
    PemUnknown "PEM_UNKNOWN" Error
        "The block is of a kind that does not belong in this property."
        "`-----BEGIN DH PARAMETERS-----` in `cert`."
        "Send certificates in cert and cacert, and one private key in key."
        "RFC 7468 §4";
    TooManyBlocks "TOO_MANY_BLOCKS" Error
        "A property holds more PEM blocks than are read."
        "The bundle of all CAs of an operating system, twice."
        "Send only the blocks that belong in this property."
        "certward (limit 256)";
    CertNotInField "CERT_NOT_IN_FIELD" Error
        "`cert` holds PEM, but no certificate."
        "`cert` and `key` swapped."
        "Send the server certificate in cert."
        "EMQX Cloud API";
    KeyNotInField "KEY_NOT_IN_FIELD" Error
        "`key` holds PEM, but no private key."
        "`cert` and `key` swapped."
        "Send the private key in key."
        "EMQX Cloud API";
    MultipleKeys "MULTIPLE_KEYS" Error
        "`key` holds more than one private key."
        "The old and the new key in one file."
        "Send only the private key of the server certificate."
        "certward";
    CaHoldsKey "CA_HOLDS_KEY" Error
        "`cacert` holds a private key. The key of a CA must never leave the CA."
        "A combined file of the CA, certificate and key, in `cacert`."
        "Send only the CA's certificate, and consider the key as disclosed."
        "certward";

    // Unusable certificates and keys.
    CertUnreadable "CERT_UNREADABLE" Error
        "A CERTIFICATE block is no well-formed X.509 certificate."
        "A block from which one line is missing; a certificate with bytes behind its end."
        "Check it with openssl x509 -in FILE -noout -text and copy it again from the original."
        "RFC 5280 §4.1";
    NameUndecodable "NAME_UNDECODABLE" Error
        "The subject or the issuer of a certificate holds a string that cannot be decoded: OpenSSL clients cannot read the certificate at all."
        "A common name in Latin-1 that says it is a `UTF8String`; a `BMPString` with half a character."
        "Have the certificate issued again with the name as UTF8String in UTF-8. openssl x509 -in FILE -noout -text shows whether OpenSSL can read it."
        "RFC 5280 §4.1.2.4";
    ValidityUnreadable "VALIDITY_UNREADABLE" Error
        "The validity of a certificate cannot be read."
        "`notBefore` in month 13, on 30 February, in second 60, or without a zone."
        "Have the certificate issued again."
        "RFC 5280 §4.1.2.5";
    KeyUnreadable "KEY_UNREADABLE" Error
        "The private key is damaged or of an unknown structure."
        "A block that was cut short; a certificate under the label PRIVATE KEY."
        "Check it with openssl pkey -in FILE -noout -check and copy it again from the original."
        "RFC 5958 §2, RFC 8017 §A.1.2, RFC 5915 §3";
    KeyKindUnsupported "KEY_KIND_UNSUPPORTED" Error
        "The key is of a kind that TLS clients of devices cannot use (RSA-PSS, DSA, Ed448 and others)."
        "A key from `openssl genpkey -algorithm RSA-PSS` or `ed448`."
        "Use RSA with 2048 to 4096 bits, ECDSA on P-256, P-384 or P-521, or Ed25519."
        "RFC 8446 §4.2.3";
    KeyCurveUnsupported "KEY_CURVE_UNSUPPORTED" Error
        "The elliptic curve of the key is none of P-256, P-384 and P-521."
        "A key on secp256k1."
        "Make a new key on P-256: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256."
        "RFC 8422 §5.1.1";
    KeyCurveExplicit "KEY_CURVE_EXPLICIT" Error
        "The elliptic curve is spelled out by its parameters instead of named (CVE-2020-0601 lived there)."
        "A key from `openssl ecparam -param_enc explicit`."
        "Name the curve: openssl ec -in FILE -param_enc named_curve; a certificate must be issued again."
        "RFC 5480 §2.1.1";
    KeyTooSmall "KEY_TOO_SMALL" Error
        "The RSA key has fewer than 2048 bits."
        "RSA 1024."
        "Make a new key with at least 2048 bits and have the certificate issued for it."
        "CA/Browser Forum BR §6.1.5";
    KeyTooLarge "KEY_TOO_LARGE" Error
        "The RSA key has more than 4096 bits: handshakes would be too slow for devices and gateway."
        "RSA 8192."
        "Use RSA with 2048 to 4096 bits, or ECDSA on P-256."
        "certward";
    KeyInconsistent "KEY_INCONSISTENT" Error
        "The parts of the private key contradict each other."
        "An RSA key whose private exponent, or an EC key whose public point, was changed."
        "Copy the key again from the original; openssl pkey -in FILE -noout -check names the fault."
        "RFC 8017 §3.2, RFC 5915 §3";
    KeyMismatch "KEY_MISMATCH" Error
        "A signature made with the key does not verify with the leaf's public key: they do not belong together."
        "The key of last year's certificate; the CA's key."
        "Send the key that the certificate was requested with, or the certificate that belongs to this key."
        "RFC 8446 §4.4.3";

    // A leaf that breaks every client.
    Precertificate "PRECERTIFICATE" Error
        "The certificate is a precertificate: every client must refuse it."
        "A certificate that was copied from a transparency log."
        "Send the final certificate that the CA issued."
        "RFC 6962 §3.1";
    LeafVersion1 "LEAF_VERSION1" Error
        "The server certificate is of X.509 version 1 or 2."
        "`openssl x509 -req` without `-extfile`."
        "Have it issued as version 3, with subjectAltName: openssl x509 -req … -extfile FILE."
        "RFC 5280 §4.1.2.1";
    LeafIsCa "LEAF_IS_CA" Error
        "The server certificate is a CA certificate."
        "An intermediate's certificate and key as the server's."
        "Send a certificate that was issued for the server, without CA:TRUE in its basic constraints."
        "RFC 5280 §4.2.1.9";
    LeafNotForServers "LEAF_NOT_FOR_SERVERS" Error
        "The extended key usage does not allow the certificate to be a TLS server's, for example clientAuth only."
        "A device's certificate as the server's."
        "Have a certificate issued with the extended key usage serverAuth."
        "RFC 5280 §4.2.1.12";
    LeafExpired "LEAF_EXPIRED" Error
        "The server certificate has expired."
        "A certificate that ended yesterday."
        "Renew the certificate and send the new one."
        "RFC 5280 §4.1.2.5";
    LeafNotYetValid "LEAF_NOT_YET_VALID" Error
        "The server certificate is not valid yet."
        "A certificate that was issued on a machine whose clock is ahead."
        "Wait until it is valid, or have it issued with an earlier notBefore; check the clocks."
        "RFC 5280 §4.1.2.5";
    ValidityReversed "VALIDITY_REVERSED" Error
        "The certificate ends before it begins."
        "`notBefore` 2030, `notAfter` 2020."
        "Have the certificate issued again."
        "RFC 5280 §4.1.2.5";
    WeakSignature "WEAK_SIGNATURE" Error
        "A certificate of the chain is signed with SHA-1 or MD5."
        "`openssl x509 -req -sha1`."
        "Have it issued again with SHA-256."
        "RFC 9155, CA/Browser Forum BR §7.1.3.2.1";
    CriticalExtensionUnknown "CRITICAL_EXTENSION_UNKNOWN" Error
        "A certificate of the chain has a critical extension that TLS clients do not know and must refuse."
        "A private extension, marked critical."
        "Have the certificate issued without it, or with the extension not critical."
        "RFC 5280 §4.2";
    LeafSignatureBroken "LEAF_SIGNATURE_BROKEN" Error
        "The leaf's signature does not verify with the issuer that was given: it is damaged, or that is another CA of the same name."
        "A leaf with one changed bit; another CA of the same name behind the leaf."
        "Send the CA certificate that really issued the leaf, or copy the leaf again from the original."
        "RFC 5280 §6.1.3";
    ChainSignatureBroken "CHAIN_SIGNATURE_BROKEN" Error
        "An intermediate's signature does not verify with the issuer that was given, which it names by its key: it is damaged."
        "An intermediate with one changed bit, and its root behind it."
        "Copy the intermediate again from the original."
        "RFC 5280 §6.1.3";
    PathLengthExceeded "PATH_LENGTH_EXCEEDED" Error
        "More CAs stand between an issuer and the leaf than the issuer's basic constraints allow."
        "A CA with `pathlen:0` over another CA."
        "Have the leaf issued by a CA that may issue it, or the CA with a larger path length."
        "RFC 5280 §4.2.1.9";
    NameConstraintViolated "NAME_CONSTRAINT_VIOLATED" Error
        "A CA of the chain is restricted to names that do not cover the leaf's."
        "A CA for `example.com` only, and a leaf for `broker.example.org`."
        "Have the leaf issued by a CA that may issue for its names, or with names that this CA may issue for."
        "RFC 5280 §4.2.1.10";
    PolicyViolated "POLICY_VIOLATED" Error
        "The policies in the leaf and its issuers are not valid: an issuer demands that all certificates below it share a policy, and they do not; or an extension about policies is not as RFC 5280 demands."
        "An intermediate with `policyConstraints = critical,requireExplicitPolicy:0` over a leaf without policies."
        "Have the leaf issued with a policy of its issuers, and look at it with openssl verify -policy_check -policy anyPolicy -CAfile ROOT -untrusted INTERMEDIATES LEAF."
        "RFC 5280 §6.1.3";
    IssuerNotForServers "ISSUER_NOT_FOR_SERVERS" Error
        "The extended key usage of an intermediate does not allow TLS servers below it, for example clientAuth only."
        "A leaf from the CA that issues the devices' certificates, with `extendedKeyUsage = clientAuth` in the CA."
        "Have the leaf issued by a CA for servers."
        "CA/Browser Forum BR §7.1.2.10.6";
    TooManyCertificates "TOO_MANY_CERTIFICATES" Error
        "`cert` holds more than 10 different certificates."
        "The bundle of a vendor with all its CAs behind the leaf."
        "Send the leaf and its intermediates only."
        "certward (OpenSSL clients verify at most 10)";
    ChainTooLarge "CHAIN_TOO_LARGE" Error
        "The certificates of `cert` are larger than 32 KiB together: small devices cannot receive them."
        "A leaf with 800 long names."
        "Send the leaf and its intermediates only."
        "certward";

    // Refused by the deployment's profile.
    ProfileValidityShort "PROFILE_VALIDITY_SHORT" Error
        "The profile `emqx-cloud` wants at least 60 days of validity left."
        "A certificate with 59 days left, in a deployment with the profile `emqx-cloud`."
        "Renew the certificate, or set the deployment's profile to default."
        "EMQX Cloud: TLS certificate requirements";
    ProfileKeyKind "PROFILE_KEY_KIND" Error
        "The profile `emqx-cloud` takes keys of RSA 2048, P-256 and P-384 only."
        "RSA 4096 or Ed25519, in a deployment with the profile `emqx-cloud`."
        "Have the certificate issued for such a key, or set the deployment's profile to default."
        "EMQX Cloud: TLS certificate requirements";
    ProfileKeyKindsDiffer "PROFILE_KEY_KINDS_DIFFER" Error
        "The profile `emqx-cloud` wants the leaf's key to be of the same kind as its issuer's: both RSA, or both ECDSA."
        "A P-256 leaf from an RSA CA, in a deployment with the profile `emqx-cloud`."
        "Have the certificate issued by a CA with a key of the same kind, or set the deployment's profile to default."
        "EMQX Cloud: TLS certificate requirements";

    // Client CAs.
    CaNotCa "CA_NOT_CA" Error
        "A certificate in `cacert` is not a CA's."
        "A device's certificate in `cacert`."
        "Send the certificate of the CA that issues the clients' certificates, not a client's own."
        "RFC 5280 §4.2.1.9";
    CaExpired "CA_EXPIRED" Error
        "A client CA has expired, and no other one in `cacert` is valid now."
        "A root that ended yesterday, and nothing else."
        "Send the CA's renewed certificate."
        "RFC 5280 §4.1.2.5";
    CaNoneValid "CA_NONE_VALID" Error
        "No client CA in `cacert` is valid now, and one of them will be."
        "A CA that was made for next year, and nothing else."
        "Send the CA that is in use now as well, or check the clocks and the CA's notBefore."
        "RFC 5280 §4.1.2.5";
    CaUnusable "CA_UNUSABLE" Error
        "A client CA cannot be used as a trust anchor."
        "A CA with RSA 1024."
        "Check it with openssl x509 -in FILE -noout -text and have it issued again."
        "RFC 5280 §6.1.1";
    TooManyClientCas "TOO_MANY_CLIENT_CAS" Error
        "`cacert` holds more than 100 different CAs."
        "The bundle of all CAs of an operating system in `cacert`."
        "Send only the CAs that issue the clients' certificates."
        "certward";
    ClientCaNamesTooLarge "CLIENT_CA_NAMES_TOO_LARGE" Error
        "The names of the client CAs are larger than 32 KiB together: they are sent in every handshake."
        "90 CAs with names of 400 characters."
        "Send only the CAs that issue the clients' certificates."
        "RFC 8446 §4.2.4";
    // CRLs.
    CrlTooLarge "CRL_TOO_LARGE" Error
        "A CRL has more than 16 MiB."
        "A CRL of 500,000 entries as PEM."
        "Send it as DER, which is a quarter smaller: openssl crl -in FILE -outform DER -out FILE.crl. Or let the CA leave expired certificates out of it, or issue it in parts."
        "certward (limit 16 MiB)";
    CrlMissing "CRL_MISSING" Error
        "The upload of a CRL is empty."
        "A PUT without a body."
        "Send the CRL itself, DER or PEM: certward crl set ID NAME --file FILE."
        "certward";
    NotACrl "NOT_A_CRL" Error
        "The upload, or a block of it, is something else than a CRL: a certificate, a signing request, a container."
        "The CA's certificate instead of its CRL."
        "Send the CRL that the CA publishes, DER or PEM (-----BEGIN X509 CRL-----); only certificates of its issuer may stand beside it."
        "RFC 5280 §5.1";
    CrlHoldsKey "CRL_HOLDS_KEY" Error
        "The upload of a CRL holds a private key. The key of a CA must never leave the CA."
        "A combined file of the CA: certificate, key and CRL."
        "Send only the CRL, and consider the key as disclosed."
        "certward";
    SeveralCrls "SEVERAL_CRLS" Error
        "The upload holds more than one CRL."
        "The CRLs of root and intermediate in one file."
        "Send each CRL by itself, under an id of its own."
        "certward";
    CrlUnreadable "CRL_UNREADABLE" Error
        "The CRL is not encoded as RFC 5280 says."
        "A download that broke off; an extension that is there twice."
        "Download it again, and look at it: openssl crl -in FILE -noout -text (DER: -inform DER). If openssl reads it, have the CA issue it as RFC 5280 says."
        "RFC 5280 §5.1";
    CrlDelta "CRL_DELTA" Error
        "The CRL is a delta CRL: it has only what changed since a complete one."
        "`deltaCRLIndicator` from a Microsoft CA, whose file name ends in +.crl."
        "Send the complete CRL (the base CRL) of the CA."
        "RFC 5280 §5.2.4";
    CrlIndirect "CRL_INDIRECT" Error
        "The CRL is indirect: it lists certificates of other issuers."
        "`indirectCRL` in issuingDistributionPoint; an entry with certificateIssuer."
        "Send the CRL of each CA that issues the clients' certificates."
        "RFC 5280 §5.2.5, §5.3.3";
    CrlPartial "CRL_PARTIAL" Error
        "The CRL has only certificates that were revoked for some of the reasons, or only attribute certificates."
        "`onlySomeReasons` in issuingDistributionPoint."
        "Send the CA's CRL for all reasons."
        "RFC 5280 §5.2.5";
    CrlCriticalExtension "CRL_CRITICAL_EXTENSION" Error
        "The CRL, or an entry of it, has a critical extension that is not known here, or one that must not be critical."
        "`1.2.3.4=critical,…`; a critical cRLNumber."
        "Have the CA issue the CRL without it: openssl crl -in FILE -noout -text shows it."
        "RFC 5280 §5.2, §5.3";
    CrlIssuerUnknown "CRL_ISSUER_UNKNOWN" Error
        "The CRL's issuer is not known, so its signature cannot be verified."
        "The CRL of an intermediate, without its certificate."
        "Send the certificate of the CRL's issuer beside it in one PEM file (cat crl.pem intermediate.pem), or add it to the client CAs: certward trust add. Its name: openssl crl -in FILE -noout -issuer."
        "RFC 5280 §6.3.3 (f)";
    CrlSignerKeyDiffers "CRL_SIGNER_KEY_DIFFERS" Error
        "The CRL is signed by another CA of the same name: its authorityKeyIdentifier names another key."
        "The CRL of the old CA, after the CA got a new key and kept its name."
        "Send the certificate of the CA that signed the CRL beside it in one PEM file; it must lead to a client CA. The key's identifier: openssl crl -in FILE -noout -text."
        "RFC 5280 §5.2.1";
    CrlSignatureBroken "CRL_SIGNATURE_BROKEN" Error
        "The CRL's signature does not verify with the key of its issuer."
        "A CRL that was changed; the CRL of another CA of the same name."
        "Download it again, and verify it: openssl crl -in FILE -noout -CAfile CA."
        "RFC 5280 §6.3.3 (g)";
    CrlSignatureWeak "CRL_SIGNATURE_WEAK" Error
        "The CRL is signed with MD5 or SHA-1."
        "`openssl ca -gencrl -md sha1`."
        "Have the CA sign its CRLs with SHA-256."
        "RFC 9155";
    CrlSignatureUnsupported "CRL_SIGNATURE_UNSUPPORTED" Error
        "The CRL's signature is not of a kind that is verified here: ECDSA (P-256, P-384, P-521), RSA of 2048 to 8192 bits or Ed25519, with SHA-256, SHA-384 or SHA-512."
        "A CRL that is signed with DSA."
        "Have the CA sign its CRLs with ECDSA or RSA and SHA-256."
        "RFC 5280 §5.1.1.2";
    CrlSignNotAllowed "CRL_SIGN_NOT_ALLOWED" Error
        "The key usage of the CRL's issuer does not allow it to sign CRLs."
        "A CA with `keyUsage = keyCertSign` alone."
        "Have the CA's certificate issued with the key usage cRLSign beside keyCertSign."
        "RFC 5280 §6.3.3 (f)";
    CrlSignerUntrusted "CRL_SIGNER_UNTRUSTED" Error
        "The CRL's issuer, sent beside it, does not lead to a client CA as a CA that is valid now."
        "An expired intermediate beside its CRL; a CRL that is signed by a certificate that is not a CA's."
        "Send all certificates between the CRL's issuer and a client CA beside the CRL, and check them: openssl verify -CAfile CLIENT_CAS -untrusted FILE FILE."
        "RFC 5280 §6.3.3 (f)";
    CrlNotYetValid "CRL_NOT_YET_VALID" Error
        "The CRL's thisUpdate is more than five minutes in the future."
        "A CA whose clock is an hour ahead."
        "Check the clocks of the CA and of this machine."
        "RFC 5280 §5.1.2.4";
    CrlOlder "CRL_OLDER" Error
        "The CRL is older than the one in service: its number is lower, or, without numbers, its thisUpdate is earlier. What was revoked since would be accepted again."
        "Yesterday's file, sent again."
        "Send the newest CRL of the CA. If the CA began to count again, remove the one in service first: certward crl remove."
        "RFC 5280 §5.2.3";
    CrlOfAnother "CRL_OF_ANOTHER" Error
        "The CRL in service under this name is of another issuer, of another key, or of another scope (issuingDistributionPoint). In its place, what was revoked would be accepted again."
        "A CRL of another CA, set under the name of the first one's, or sent by the server that CRLs are fetched from."
        "Set it under a name of its own. To replace the one in service all the same, remove that first: certward crl remove."
        "RFC 5280 §5.2.5";
    CrlStaleHard "CRL_STALE_HARD" Error
        "The CRL is stale (after its nextUpdate), and a stale one is to refuse all certificates of its issuer (`hard`)."
        "A CRL of last month with `hard`."
        "Send the newest CRL of the CA, or use soft until there is one."
        "RFC 5280 §5.1.2.5";

    // By the gateway.
    NotServable "NOT_SERVABLE" Error
        "The gateway could not serve this upload."
        "A certificate that rustls does not take, and no rule here knows why."
        "The message says why. Nothing was changed."
        "certward";

    // Accepted with a warning.
    NoWayIn "NO_WAY_IN" Warning
        "No device can reach the deployment through this node: it has neither a host nor a listener of its own, or a host and the node no shared listener for it, or `wss` listeners alone and no WebSocket broker. The message says which."
        "A deployment without a host, uploaded to before one is set; a deployment with a host on a node whose only listener is bound to another deployment."
        "Without a host: certward deployment set ID --host NAME. Without a listener: add a [[gateway.listener]] to the node's configuration. Without a WebSocket broker: certward deployment set ID --ws-upstream HOST:PORT."
        "certward";
    SelfSignedCaLeaf "SELF_SIGNED_CA_LEAF" Warning
        "The server certificate is a self-signed CA certificate, as openssl req -x509 makes. OpenSSL clients accept it, stricter ones (rustls, webpki) refuse."
        "`openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=broker`."
        "Better: make a CA and a server certificate issued by it, or add -addext basicConstraints=critical,CA:FALSE."
        "RFC 5280 §4.2.1.9";
    SelfSignedBesideCa "SELF_SIGNED_BESIDE_CA" Warning
        "The server certificate is self-signed, and `cert` holds a CA that did not issue it: clients that trust that CA cannot verify it."
        "A fresh self-signed certificate over the intermediates of the one before it."
        "Send the certificate that the CA issued for this key, or only the self-signed one if it is meant."
        "RFC 8446 §4.4.2";
    SelfSignedOverIssued "SELF_SIGNED_OVER_ISSUED" Warning
        "The server certificate is self-signed, and replaces one that a CA has issued: devices that trust that CA cannot verify it."
        "A self-signed certificate of `openssl req -x509` over one of a company's CA."
        "Send the certificate that the CA issued for this key. If the self-signed one is meant, give it to the devices first."
        "RFC 5280 §6.1";
    MissingIntermediate "MISSING_INTERMEDIATE" Warning
        "The leaf's issuer was not given. Clients that do not hold it as a trust anchor cannot verify the leaf."
        "`cert.pem` instead of `fullchain.pem`."
        "Append the issuer's certificate to cert, unless it is the root that the clients trust."
        "RFC 8446 §4.4.2";
    HostNotCovered "HOST_NOT_COVERED" Warning
        "A host of the deployment is not covered by the names in the certificate."
        "The host `a.b.example.com` and a certificate for `*.example.com`."
        "Have the certificate issued with this name in subjectAltName."
        "RFC 9525 §6";
    NameOnlyInCn "NAME_ONLY_IN_CN" Warning
        "The certificate has a common name and no host in subjectAltName; modern clients ignore the common name."
        "`openssl req -subj /CN=broker.example.com` without subjectAltName."
        "Have the certificate issued with its names in subjectAltName."
        "RFC 9525 §6.1";
    NameMissing "NAME_MISSING" Warning
        "The certificate has no DNS name, no IP address and no common name: clients that check the name refuse it."
        "`openssl req -subj /O=Example` without subjectAltName."
        "Have the certificate issued with its names in subjectAltName."
        "RFC 9525 §6.1";
    ExpiresSoon "EXPIRES_SOON" Warning
        "Little validity is left."
        "Less than a third of the lifetime is left, and less than 30 days."
        "Renew the certificate."
        "CA/Browser Forum BR §6.3.2";
    ChainCertificateExpired "CHAIN_CERTIFICATE_EXPIRED" Warning
        "A certificate beside the leaf has expired or is not valid yet. At the upload it is left out; one that expires later is still sent."
        "The intermediate of the time before the renewal."
        "Replace it by the issuer's current certificate."
        "RFC 5280 §6.1.3";
    AnotherLeaf "ANOTHER_LEAF" Warning
        "`cert` holds another server's or client's certificate beside the leaf; it was left out."
        "Two servers' certificates in one file; a renewal beside the certificate before it."
        "Send one leaf: the one that the key belongs to, and the certificates that issued it."
        "RFC 8446 §4.4.2";
    IssuerNotCa "ISSUER_NOT_CA" Warning
        "A certificate signed one below it, but says of itself that it is no CA, or may not sign certificates; it was left out. Clients that are not given another certificate of its key refuse."
        "A leaf that was signed with another server's key."
        "Have the leaf issued by a CA: CA:TRUE in its basic constraints, keyCertSign in its key usage."
        "RFC 5280 §4.2.1.9, §4.2.1.3";
    UnrelatedCertificate "UNRELATED_CERTIFICATE" Warning
        "A certificate beside the leaf is not one of its issuers, and was left out."
        "The root of another CA behind the chain."
        "Send only the leaf and the certificates that issued it."
        "RFC 8446 §4.4.2";
    IssuerKeyKindDiffers "ISSUER_KEY_KIND_DIFFERS" Warning
        "The leaf's key is of another kind than its issuer's: old devices that know only one of them cannot verify it."
        "A P-256 leaf from an RSA CA."
        "Make sure that the devices know both kinds."
        "RFC 5246 §7.4.2";
    IssuerKeyWeak "ISSUER_KEY_WEAK" Warning
        "An issuer's key is of a kind or size that many clients verify nothing with: RSA under 2048 bits, RSA-PSS, Ed448, DSA, another curve."
        "A root with RSA 1024."
        "Have the leaf issued by a CA with RSA of at least 2048 bits, or ECDSA on P-256 or P-384."
        "CA/Browser Forum BR §6.1.5";
    SignatureUnverified "SIGNATURE_UNVERIFIED" Warning
        "A certificate is signed with an algorithm that is not supported here: whether its issuer made the signature was not checked, and many clients refuse the certificate."
        "RSA with SHA-224; RSASSA-PSS with another hash in MGF1."
        "Have the certificate issued with a SHA-256, SHA-384 or SHA-512 signature, and check this one: openssl verify -CAfile ROOT -untrusted INTERMEDIATES LEAF."
        "RFC 8446 §4.2.3";
    SignatureUncommon "SIGNATURE_UNCOMMON" Warning
        "A certificate is signed with RSASSA-PSS and a salt that is not as long as the hash. OpenSSL clients accept that; rustls and Go clients, and all that demand what TLS 1.3 demands of its own signatures, refuse."
        "`openssl x509 -req -sigopt rsa_padding_mode:pss`, by default with the longest salt."
        "Have the certificate issued with -sigopt rsa_pss_saltlen:digest, or without PSS."
        "RFC 8446 §4.2.3";
    PolicyCritical "POLICY_CRITICAL" Warning
        "A certificate has a critical extension about policies. OpenSSL clients know it, rustls clients refuse the certificate."
        "`certificatePolicies = critical,1.3.6.1.4.1.99999.1`."
        "Have the certificate issued with the extension not critical, unless no device uses rustls."
        "RFC 5280 §4.2.1.4";
    IssuerNameForm "ISSUER_NAME_FORM" Warning
        "A certificate names its issuer in another type of string, in other letters or with other blanks than the issuer's own certificate. RFC 5280 and OpenSSL take the two for equal; rustls, Go and GnuTLS clients compare bytes and refuse."
        "A CA named with PrintableString, and a leaf that names it with UTF8String."
        "Have the certificate issued by software that copies the issuer's name."
        "RFC 5280 §7.1";
    KeyUsageUnfit "KEY_USAGE_UNFIT" Warning
        "The leaf's key usage lacks digitalSignature, which TLS 1.3 needs."
        "`keyUsage = keyEncipherment`."
        "Have the certificate issued with the key usage digitalSignature."
        "RFC 8446 §4.4.2.2";
    WildcardWide "WILDCARD_WIDE" Warning
        "A wildcard name stands directly over a top-level domain; clients refuse or ignore it."
        "`DNS:*.com`."
        "Use wildcards only over a domain of your own."
        "CA/Browser Forum BR §3.2.2.6";
    PurposeAny "PURPOSE_ANY" Warning
        "The extended key usage of a certificate in the chain names any purpose and not servers. OpenSSL and rustls clients refuse that, Go, GnuTLS and Mbed TLS clients accept it."
        "`extendedKeyUsage = anyExtendedKeyUsage`."
        "Have the certificate issued with the extended key usage serverAuth."
        "RFC 5280 §4.2.1.12";
    WildcardOdd "WILDCARD_ODD" Warning
        "A wildcard stands elsewhere than as the whole first label of a name; strict clients match nothing by it."
        "`DNS:a*.example.com`; `DNS:a.*.example.com`."
        "Use names like *.example.com."
        "RFC 9525 §6.3";
    NameIsAddress "NAME_IS_ADDRESS" Warning
        "An IP address stands among the DNS names of the certificate; clients look for it elsewhere."
        "`DNS:192.0.2.1`."
        "Have the certificate issued with the address as iPAddress: subjectAltName = IP:192.0.2.1."
        "RFC 9525 §6.4";
    NameUnusable "NAME_UNUSABLE" Warning
        "A name in the certificate is none: an empty or too long label, a control or non-ASCII character, a dot at its end, more than 253 characters."
        "`DNS:a..example.com`; a name with NUL or CRLF in it; `DNS:müller.example`."
        "Have the certificate issued with proper names; international ones in their xn-- form."
        "RFC 5280 §4.2.1.6";
    MustStaple "MUST_STAPLE" Warning
        "The certificate demands OCSP stapling, which is not done: clients that insist on it refuse."
        "`tlsfeature = status_request`."
        "Have the certificate issued without the TLS feature status_request."
        "RFC 7633";
    CaIsServersOwn "CA_IS_SERVERS_OWN" Warning
        "`cacert` holds the CA of the server's own certificate and nothing else. Only devices with a certificate of that CA are let in."
        "The root of the server's certificate in `cacert`, and devices with certificates of another CA."
        "Compare it with the issuer of a device's certificate: openssl x509 -in DEVICE.pem -noout -issuer. If that is another CA, send that one in cacert; if it is this one, nothing needs to be done."
        "certward";
    CaVersion1 "CA_VERSION1" Warning
        "A client CA is a self-signed X.509 version 1 root: nothing in it says that it is a CA."
        "`openssl x509 -req -signkey root.key`, self-signed without extensions."
        "Better: make the CA again as version 3 with CA:TRUE."
        "RFC 5280 §4.2.1.9";
    CaExpiredLeftOut "CA_EXPIRED_LEFT_OUT" Warning
        "A client CA has expired and was left out of the trust: devices with a certificate of this CA are refused. Another CA in `cacert` is valid."
        "The CA of the time before the renewal, beside the new one."
        "Make sure that no device still uses a certificate of this CA; then leave it out of cacert."
        "RFC 5280 §4.1.2.5";
    CaNotYetValid "CA_NOT_YET_VALID" Warning
        "A client CA is not valid yet. It is in the trust."
        "A CA that was made for next year, beside the one that is in use now."
        "Check the clocks, or the CA's notBefore."
        "RFC 5280 §4.1.2.5";
    CertificateInKeyField "CERTIFICATE_IN_KEY_FIELD" Warning
        "`key` holds certificates beside the private key; they were ignored."
        "A combined file, certificate and key, in `key`."
        "Send only the private key in key."
        "EMQX Cloud API";
    KeyInCertField "KEY_IN_CERT_FIELD" Warning
        "`cert` holds a private key beside the certificates; it was ignored."
        "A combined file, certificate and key, in `cert`."
        "Send only certificates in cert."
        "EMQX Cloud API";
    CrlStale "CRL_STALE" Warning
        "The CRL is stale: it is after its nextUpdate. It counts as before, but what was revoked since is accepted."
        "A CRL of last month with `soft`."
        "Send the newest CRL of the CA."
        "RFC 5280 §5.1.2.5";
    CrlStaleSoon "CRL_STALE_SOON" Warning
        "Less than a tenth of the time between the CRL's thisUpdate and nextUpdate is left."
        "A CRL of seven days on its last evening."
        "Send the next one as soon as the CA has made it."
        "certward";
    CrlWithoutNextUpdate "CRL_WITHOUT_NEXT_UPDATE" Warning
        "The CRL does not say when the next one comes, so it is never stale."
        "A CRL that a script made without nextUpdate."
        "Have the CA set nextUpdate: openssl ca -gencrl -crldays 7."
        "RFC 5280 §5.1.2.5";
    CrlVersion1 "CRL_VERSION1" Warning
        "The CRL is of version 1: it has neither a number nor the identifier of its signer's key."
        "`openssl ca -gencrl` without `crl_extensions`."
        "Better: have the CA issue version 2, with `crl_extensions` in OpenSSL's configuration."
        "RFC 5280 §5.1.2.1";
    CrlNumberRepeated "CRL_NUMBER_REPEATED" Warning
        "The CRL has the number of the one in service, and is another one. It replaces that one."
        "A CA that does not count on."
        "Look whether the CA counts its CRLs: openssl crl -in FILE -noout -crlnumber."
        "RFC 5280 §5.2.3";
    CrlIssuerTwice "CRL_ISSUER_TWICE" Warning
        "The deployment has another CRL of the same CA and for the same certificates, under another id. Both count: what the older one lists stays revoked, and once it is stale its policy applies."
        "The CRL of each week under a name of its own."
        "Set each CRL in place of the one before, under its id, and remove the other one: certward crl remove DEPLOYMENT CRL."
        "certward";

    // Repaired with a notice.
    ChainReordered "CHAIN_REORDERED" Notice
        "The certificates were not in order, and were put in order: leaf first, then each issuer."
        "Root first, leaf last."
        "Nothing needs to be done."
        "RFC 5246 §7.4.2";
    CrossSignedLeftOut "CROSS_SIGNED_LEFT_OUT" Notice
        "A certificate on another, longer way from the leaf to a root was left out, as in sets that are cross-signed."
        "An intermediate, and another root's certificate for it."
        "Nothing needs to be done, unless clients know only the other root: then send only the way to that one."
        "RFC 4158 §1.5";
    RootLeftOut "ROOT_LEFT_OUT" Notice
        "The root was left out of the chain: clients hold it already."
        "Leaf, intermediate and root in one file."
        "Nothing needs to be done."
        "RFC 8446 §4.4.2";
    DuplicateLeftOut "DUPLICATE_LEFT_OUT" Notice
        "A certificate was given twice; it is used once."
        "The leaf alone, then the full chain, in one file."
        "Nothing needs to be done."
        "certward";
    KeyPasswordUnused "KEY_PASSWORD_UNUSED" Notice
        "`keyPassword` was given, and the private key is not encrypted."
        "`keyPassword` beside `-----BEGIN PRIVATE KEY-----`."
        "Nothing needs to be done; keyPassword may be left out."
        "certward";
    PemRepaired "PEM_REPAIRED" Notice
        "The PEM text was not clean, and was repaired."
        "CRLF, a byte order mark, a literal `\\n`, indentation, `Bag Attributes`."
        "Nothing needs to be done; cleaner text works with other software too."
        "RFC 7468 §2";
}
