//! Causes of failed handshakes: a metric label, the operators' list, and
//! docs/handshake-failures.md.

use certward_pki::ClientRefusal;
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved,
    ServerConfig,
    server::{Accepted, Acceptor},
};

macro_rules! causes {
    ($($cause:ident $name:literal: $meaning:literal; $remedy:literal)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Cause {
            $(#[doc = $meaning] $cause,)+
        }

        impl Cause {
            /// In the order of a connection's stages.
            pub(crate) const ALL: &[Self] = &[$(Self::$cause,)+];

            /// A stable name.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$cause => $name,)+ }
            }

            pub(crate) fn meaning(self) -> &'static str {
                match self { $(Self::$cause => $meaning,)+ }
            }

            pub(crate) fn remedy(self) -> &'static str {
                match self { $(Self::$cause => $remedy,)+ }
            }
        }
    };
}

causes! {
    ProxyHeaderMissing "proxy_header_missing":
        "A connection from a network of proxy_protocol_from did not begin with a PROXY header.";
        "Switch the header on in the load balancer (send-proxy-v2 of HAProxy, proxy_protocol of nginx), or take its network off the list."
    ProxyHeaderInvalid "proxy_header_invalid":
        "The load balancer's PROXY header is not as version 1 or 2 of the protocol demands for TCP.";
        "Look at what the load balancer sends: TCP over IPv4 or IPv6, version 1 in one line of at most 107 bytes, version 2 in at most 4096 bytes."
    PlainMqtt "plain_mqtt":
        "The device spoke MQTT without TLS.";
        "Switch TLS on in the device, or point it to the broker's plain port."
    PlainHttp "plain_http":
        "The client spoke HTTP without TLS.";
        "Use https or wss; or it is a scanner and needs nothing."
    NotTls "not_tls":
        "What came is neither TLS nor a protocol that is known here.";
        "Check what connects to this port; behind a load balancer that sends a PROXY header, list its network in proxy_protocol_from."
    Malformed "malformed":
        "The device's message is not as TLS demands.";
        "Update the device's TLS library; something between may also damage the bytes."
    NoCommonVersion "no_common_version":
        "The device speaks neither TLS 1.2 nor TLS 1.3.";
        "Update the device's TLS library: older versions of TLS are broken."
    NoCommonCipher "no_common_cipher":
        "The device offers no cipher suite that is served for this key: TLS 1.3's, or ECDHE with AES-GCM or ChaCha20.";
        "Enable ECDHE with AES-GCM in the device, for RSA or ECDSA as the certificate's key is."
    NoCommonGroup "no_common_group":
        "The device offers no key exchange group that is served.";
        "Enable X25519 or P-256 in the device."
    NoCommonSignature "no_common_signature":
        "The device cannot verify, or cannot make, any signature that fits the certificate's key.";
        "Enable SHA-256 signatures in the device, or serve a certificate whose key is of the kind that it knows."
    NoCommonProtocol "no_common_protocol":
        "The device asks by ALPN for a protocol that this listener does not speak.";
        "Let it ask for http/1.1 on a wss listener and for nothing on an mqtts listener."
    InvalidName "invalid_name":
        "The server name that the device sent is no DNS name, which the TLS library refuses on every listener.";
        "Correct the host in the device: no brackets, no port; or let it send no server name (SNI)."
    UnknownName "unknown_name":
        "The device sent no server name, or one that no deployment claims, and there is no default deployment.";
        "Add the name to the deployment's hosts, let the device send it (SNI), or set default_deployment."
    NoCertificateSet "no_certificate_set":
        "The deployment has no certificate.";
        "Set one: certward tls set."
    NotServable "not_servable":
        "The deployment's certificate cannot be served now.";
        "Look at the reason that certward tls show gives, and at the log."
    DeploymentConnectionsMax "deployment_connections_max":
        "The deployment has as many finished connections on this node as its limit allows.";
        "Raise its connections (certward deployment set), look whether devices leave old connections behind, or add a node."
    DeploymentConnectionRate "deployment_connection_rate":
        "More devices finished connecting to this node in a second than the deployment's limit allows.";
        "Nothing if they get in when they try again; else raise its connectionRate (certward deployment set)."
    CertificateRequired "certificate_required":
        "The deployment is two-way and the device sent no certificate.";
        "Give the device a certificate of one of the client CAs, with its key."
    CertificateUnknownIssuer "certificate_unknown_issuer":
        "No client CA of the deployment issued the device's certificate.";
        "Add the device's CA to the client CAs, or let the device send its intermediates too."
    CertificateExpired "certificate_expired":
        "The device's certificate, or an intermediate of it, has expired.";
        "Renew it."
    CertificateNotYetValid "certificate_not_yet_valid":
        "The device's certificate, or an intermediate of it, is not valid yet.";
        "Check its notBefore, and the clock of this machine."
    CertificateWrongPurpose "certificate_wrong_purpose":
        "The device's certificate is not for client authentication.";
        "Issue one whose extended key usage includes clientAuth, or has no such extension."
    CertificateBadSignature "certificate_bad_signature":
        "The device's certificate is not signed by the CA that it names, or the device does not have its key.";
        "Give the device the key that belongs to its certificate; look whether two CAs have one name."
    CertificateEncoding "certificate_encoding":
        "The device's certificate, or an intermediate of it, is not encoded as RFC 5280 demands: an extension that stands twice, that is empty or that cannot be read, a serial number or a name that is none.";
        "Look for what is odd, and have it issued again: openssl x509 -in CERTIFICATE -noout -text. CERTIFICATE is what the device sends, one certificate at a time."
    CertificateVersion "certificate_version":
        "The device's certificate is of X.509 version 1 or 2 and not issued by a client CA itself, or an intermediate is.";
        "Have it issued with an extension file, which makes it version 3: openssl x509 -in CERTIFICATE -noout -text shows the version."
    CertificateWeakSignature "certificate_weak_signature":
        "The device's certificate, or an intermediate of it, is signed with MD5 or SHA-1.";
        "Have it issued with SHA-256. The one that is too weak: openssl verify -auth_level 2 -purpose sslclient -CAfile CLIENT_CAS -untrusted CHAIN CHAIN. CHAIN is what the device sends, its certificate first."
    CertificateUnsupportedSignature "certificate_unsupported_signature":
        "The device's certificate, or an intermediate of it, is signed with an algorithm that is not supported: not ECDSA, RSA or Ed25519, another hash than SHA-256, SHA-384 or SHA-512, or RSASSA-PSS with two hashes.";
        "Have it issued with ECDSA or RSA and SHA-256: openssl x509 -in CERTIFICATE -noout -text shows the signature algorithm."
    CertificateUnsupportedKey "certificate_unsupported_key":
        "The key of the device or of an intermediate is none that signatures are verified with: RSA of 2048 to 8192 bits, P-256, P-384, P-521, Ed25519.";
        "Make a new key and have its certificate issued: openssl x509 -in CERTIFICATE -noout -text shows the key of each."
    CertificateIsCa "certificate_is_ca":
        "The device's certificate is a CA's: it says CA:TRUE.";
        "Issue one for the device with CA:FALSE: openssl x509 -in CERTIFICATE -noout -ext basicConstraints shows what this one says."
    CertificateIssuerNotCa "certificate_issuer_not_ca":
        "An intermediate that the device sends is not a CA's certificate: it lacks CA:TRUE.";
        "Have the intermediate issued with CA:TRUE, or the device's certificate by a CA: openssl verify -purpose sslclient -CAfile CLIENT_CAS -untrusted CHAIN CHAIN. CHAIN is what the device sends, its certificate first."
    CertificateIssuerKeyUsage "certificate_issuer_key_usage":
        "The key usage of an intermediate that the device sends does not allow it to sign certificates.";
        "Have the intermediate issued with the key usage keyCertSign: openssl verify -purpose sslclient -CAfile CLIENT_CAS -untrusted CHAIN CHAIN. CHAIN is what the device sends, its certificate first."
    CertificatePathLength "certificate_path_length":
        "More CAs stand between an intermediate and the device's certificate than the intermediate allows (pathLenConstraint). CAs of their issuer's name count too.";
        "Have the intermediate issued with a longer path, or the device's certificate by a CA nearer to the root: openssl verify -purpose sslclient -CAfile CLIENT_CAS -untrusted CHAIN CHAIN. CHAIN is what the device sends, its certificate first."
    CertificateNameConstraint "certificate_name_constraint":
        "A name in the device's certificate is not one that its CAs may issue for (name constraints), or is of a kind that is not compared here: all but DNS names and IP addresses.";
        "Issue one whose names are within the constraints: openssl verify -purpose sslclient -CAfile CLIENT_CAS -untrusted CHAIN CHAIN. CHAIN is what the device sends, its certificate first."
    CertificateCriticalExtension "certificate_critical_extension":
        "The device's certificate, or an intermediate of it, has a critical extension that is not known here.";
        "Issue one without, or with the extension not critical: openssl verify -purpose sslclient -CAfile CLIENT_CAS -untrusted CHAIN CHAIN. CHAIN is what the device sends, its certificate first."
    CertificatePolicy "certificate_policy":
        "An issuer of the device's certificate asks for certificate policies (requireExplicitPolicy), and the certificates between have none in common; or a policy extension cannot be read.";
        "Issue one with a policy that its CAs allow: openssl verify -policy_check -policy anyPolicy -purpose sslclient -CAfile CLIENT_CAS -untrusted CHAIN CHAIN. CHAIN is what the device sends, its certificate first."
    CertificateChainTooLong "certificate_chain_too_long":
        "The way from the device's certificate to a client CA has more than six intermediates, or there are too many ways to try.";
        "Make a CA further down a client CA, and let the device send only the intermediates below it: openssl verify -verify_depth 6 -purpose sslclient -CAfile CLIENT_CAS -untrusted CHAIN CHAIN. CHAIN is what the device sends, its certificate first."
    Revoked "revoked":
        "The device's certificate is on the deployment's deny-list or on a CRL, or an intermediate that it needs is on a CRL.";
        "Nothing if the device is to stay out; else see what refuses it: certward revocation list, certward crl show. Give the device a new certificate, or take the entry back."
    RevocationUnknown "revocation_unknown":
        "A CRL of the issuer of the device's certificate, or of an intermediate, is stale, and is set to refuse all of its issuer's certificates then (hard).";
        "Set the newest CRL of the CA: certward crl set; or let the stale one count until then, with soft."
    CertificateInvalid "certificate_invalid":
        "The device's certificate cannot be used for another reason.";
        "Verify it: openssl verify -x509_strict -purpose sslclient -CAfile CLIENT_CAS -untrusted CHAIN CHAIN. CHAIN is what the device sends, its certificate first."
    ClientUnknownCa "client_unknown_ca":
        "The device does not know the CA of the deployment's certificate.";
        "Give the device the root CA, and see whether the served chain lacks an intermediate: certward tls check."
    ClientCertificateExpired "client_certificate_expired":
        "The device finds the deployment's certificate expired.";
        "Renew it; if it is not expired, the device's clock is wrong."
    ClientRefusedCertificate "client_refused_certificate":
        "The device refuses the deployment's certificate for another reason, mostly a name that it does not cover.";
        "Compare the name that the device connects to with the certificate's names."
    ClientAlert "client_alert":
        "The device broke off with another alert.";
        "Look into the device's log."
    Closed "closed":
        "The device closed the connection before the handshake was done.";
        "Nothing if it is seldom (scanners, health checks, bad networks); else look into the device's log: some close without an alert when they do not trust a certificate."
    Timeout "timeout":
        "The handshake was not done within its deadline.";
        "Nothing if it is seldom; else the network is slow or loses packets, the device needs long for its key, or very many of its address came at once: raise gateway.handshake_within."
    MqttLevelUnknown "mqtt_level_unknown":
        "The device's CONNECT has a protocol level that no version of MQTT has.";
        "Set the device to MQTT 3.1, 3.1.1 or 5."
    WrongProtocol "wrong_protocol":
        "Inside TLS the device spoke another protocol than the listener's.";
        "Point the device to the port of its protocol: MQTT to an mqtts listener, MQTT over WebSocket to a wss listener."
    ConnectTimeout "connect_timeout":
        "The device's CONNECT, or its HTTP request on wss, did not begin within its deadline.";
        "Nothing if it is a health check; else the device waits for something, or its network is slow: raise gateway.connect_within."
    Displaced "displaced":
        "The node had room for no more unfinished connections, and the device's address held most of them.";
        "Look who connects from that address; behind a load balancer, state the devices' addresses by a PROXY header; else raise the limit of open files (LimitNOFILE) or gateway.connections_per_address."
    Protocol "protocol":
        "The device broke the rules of TLS.";
        "Update the device's TLS library."
}

impl Cause {
    /// Classifies an error before a ClientHello was understood.
    pub(crate) fn of_hello(error: &Error, first: &[u8]) -> Self {
        const METHODS: [&[u8]; 6] = [b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"PRI "];
        // A CONNECT, with its length and its protocol name's.
        let mqtt =
            first.first() == Some(&0x10) && first.windows(4).any(|four| four == b"MQTT" || four == b"MQIs");
        match Self::from(error) {
            _ if mqtt => Self::PlainMqtt,
            _ if METHODS.iter().any(|method| first.starts_with(method)) => Self::PlainHttp,
            // It starts like a TLS handshake record.
            Self::NotTls | Self::Malformed | Self::Protocol if first.starts_with(&[22, 3]) => Self::Malformed,
            Self::Malformed | Self::Protocol => Self::NotTls,
            // rustls first misses signature_algorithms, which clients before TLS 1.2 lack.
            Self::NoCommonSignature if is_before_tls12(first) => Self::NoCommonVersion,
            cause => cause,
        }
    }

    /// Classifies a refusal by `config`. rustls checks groups before suites, and reports missing
    /// signatures as missing suites. A hello of several records is joined in place and cannot be
    /// parsed again.
    pub(crate) fn of_refused_hello(error: &Error, hello: &[u8], config: &ServerConfig) -> Self {
        let cause = Self::from(error);
        if !matches!(cause, Self::NoCommonCipher | Self::NoCommonGroup) {
            return cause;
        }
        let Some(accepted) = accept(hello) else { return cause };
        let (offered, ours) = (accepted.client_hello(), &config.crypto_provider().cipher_suites);
        if !ours.iter().any(|suite| offered.cipher_suites().contains(&suite.suite())) {
            return Self::NoCommonCipher;
        }
        let schemes = offered.signature_schemes();
        match config.cert_resolver.resolve(accepted.client_hello()) {
            Some(shown) if shown.key.choose_scheme(schemes).is_none() => Self::NoCommonSignature,
            _ => cause,
        }
    }
}

/// The legacy version: newer clients send TLS 1.2 and the rest in an extension (RFC 8446 §4.1.2).
fn is_before_tls12(first: &[u8]) -> bool {
    // After the record header, five bytes, and the message header, four.
    first.get(9..11).is_some_and(|version| *version < [3, 3][..])
}

fn accept(mut hello: &[u8]) -> Option<Accepted> {
    let mut acceptor = Acceptor::default();
    while !hello.is_empty() {
        acceptor.read_tls(&mut hello).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            return Some(accepted);
        }
    }
    None
}

impl From<&Error> for Cause {
    fn from(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::CertificateRequired,
            Error::InvalidCertificate(error) => error.into(),
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            Error::InvalidMessage(_) => Self::Malformed,
            Error::PeerIncompatible(incompatible) => match incompatible {
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::Tls13RequiredForQuic
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::ServerDoesNotSupportTls12Or13 => Self::NoCommonVersion,
                PeerIncompatible::NoKxGroupsInCommon
                | PeerIncompatible::NamedGroupsExtensionRequired
                | PeerIncompatible::KeyShareExtensionRequired => Self::NoCommonGroup,
                PeerIncompatible::NoSignatureSchemesInCommon
                | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired => Self::NoCommonSignature,
                _ => Self::NoCommonCipher,
            },
            Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName) => Self::InvalidName,
            Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme) => {
                Self::NoCommonSignature
            }
            Error::AlertReceived(alert) => match alert {
                AlertDescription::UnknownCA => Self::ClientUnknownCa,
                AlertDescription::CertificateExpired => Self::ClientCertificateExpired,
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown => Self::ClientRefusedCertificate,
                _ => Self::ClientAlert,
            },
            Error::NoApplicationProtocol => Self::NoCommonProtocol,
            _ => Self::Protocol,
        }
    }
}

impl From<&CertificateError> for Cause {
    fn from(error: &CertificateError) -> Self {
        match ClientRefusal::of(error) {
            ClientRefusal::UnknownIssuer => Self::CertificateUnknownIssuer,
            ClientRefusal::BadSignature => Self::CertificateBadSignature,
            ClientRefusal::Expired => Self::CertificateExpired,
            ClientRefusal::NotYetValid => Self::CertificateNotYetValid,
            ClientRefusal::WrongPurpose => Self::CertificateWrongPurpose,
            ClientRefusal::Encoding => Self::CertificateEncoding,
            ClientRefusal::Version => Self::CertificateVersion,
            ClientRefusal::WeakSignature => Self::CertificateWeakSignature,
            ClientRefusal::UnsupportedSignature => Self::CertificateUnsupportedSignature,
            ClientRefusal::UnsupportedKey => Self::CertificateUnsupportedKey,
            ClientRefusal::IsCa => Self::CertificateIsCa,
            ClientRefusal::IssuerNotCa => Self::CertificateIssuerNotCa,
            ClientRefusal::IssuerKeyUsage => Self::CertificateIssuerKeyUsage,
            ClientRefusal::PathLength => Self::CertificatePathLength,
            ClientRefusal::NameConstraint => Self::CertificateNameConstraint,
            ClientRefusal::CriticalExtension => Self::CertificateCriticalExtension,
            ClientRefusal::Policy => Self::CertificatePolicy,
            ClientRefusal::ChainTooLong => Self::CertificateChainTooLong,
            ClientRefusal::Revoked => Self::Revoked,
            ClientRefusal::RevocationUnknown => Self::RevocationUnknown,
            ClientRefusal::Other => Self::CertificateInvalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn names_are_stable_words_and_every_cause_says_what_to_do() {
        let mut names: Vec<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Cause::ALL.len());
        for cause in Cause::ALL {
            assert!(cause.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert!(cause.meaning().ends_with('.') && cause.remedy().ends_with('.'), "{cause:?}");
        }
    }

    /// To write the page: `CERTWARD_WRITE_DOCS=1 cargo test -p certward-gateway
    /// handshake_failures_md`.
    #[test]
    fn handshake_failures_md_is_what_the_table_says() {
        let mut page = INTRODUCTION.to_owned();
        for cause in Cause::ALL {
            writeln!(page, "| `{}` | {} | {} |", cause.as_str(), cause.meaning(), cause.remedy()).unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/handshake-failures.md");
        if std::env::var_os("CERTWARD_WRITE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page,
            "docs/handshake-failures.md is not what the table says; see the comment of this test"
        );
    }

    const INTRODUCTION: &str = "\
# Why handshakes fail

`certward tls failures ID` and `GET /deployments/{id}/tls/failures` show the newest failed
handshakes of a deployment, newest first: when, from which address, the server name that the device
sent, the version of TLS if it was agreed on, the cause, what came where the cause alone does not
say it, what it means and what to do. A first packet that is late, or that the listener does not
expect, is listed as well. Every node keeps the newest 50 of each deployment, of the 1,000
deployments that failed last, in memory alone: a restart forgets them. The list is that of all
nodes, and says which node saw each; nodes that have not answered [are named](api.md#failed-handshakes).
A failure before the deployment is known, on a listener that several share, is only counted, in
`certward_gateway_handshake_failures_total{cause=\"…\"}`, as all failures are.

If the device sent a certificate, its subject, issuer, serial number, end and SHA-256 fingerprint
are listed too: on a refusal (unknown issuer, expired, not yet valid, another purpose, …), and if a
device that was let in fails later (its first packet, a limit). `openssl x509 -in CERTIFICATE
-noout -serial -fingerprint -sha256` prints the same digits, in upper case. The device chose these
names: control characters and all but ASCII are escaped, and names are cut after 160 characters. A
certificate that cannot be read has a fingerprint alone.

Where the CA is the cause, the remedy and `neededCa` name it: the issuer of the last certificate on
the path that the device sent. `nameKnown` tells two faults apart. `false`: no client CA has this
name; add the CA, or let the device send its intermediates. `true`: a client CA has this name, but
another key, as after a CA was made again; add the other one, or have the certificate issued again.
A self-signed certificate has no such CA, nor has a chain with a broken signature further down.

The causes are these and no others.

| cause | what it means | what to do |
|---|---|---|
";
}
