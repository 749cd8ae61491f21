//! The texts of requests and answers as schemas: closed lists from their enums, and forms.
//!
//! Bodies name these types by `value_type`; each becomes one schema of the document. Patterns are
//! regular expressions that ECMA-262, Python and Rust read alike.

use std::borrow::Cow;

use certward_lifecycle::{ImpactSeverity, VersionStatus};
use certward_pki::{DeviceIdentity, KEEP, Profile, StalePolicy, TlsType, catalogue};
use certward_store::{AlertKind, DeliveryState, EndingKind, MailSecurity, ProxyProtocol, Role, Scope};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};

use crate::refusal_code::RefusalCode;

/// A type that stands for this text in the document.
macro_rules! text_schema {
    ($type:ident $name:literal $doc:literal, $complete:expr) => {
        #[doc = $doc]
        pub(crate) struct $type;

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).description(Some($doc));
                let complete: fn(ObjectBuilder) -> ObjectBuilder = $complete;
                complete(text).into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    };
}

macro_rules! closed_lists {
    ($($type:ident $name:literal $doc:literal $values:expr;)*) => {$(
        text_schema!($type $name $doc, |text| text.enum_values(Some($values)));
    )*};
}

macro_rules! forms {
    ($($type:ident $name:literal $doc:literal $pattern:literal $lengths:expr, $example:literal;)*) => {$(
        text_schema!($type $name $doc, |text| form(text, $pattern, $lengths, $example));
    )*};
}

fn form(text: ObjectBuilder, pattern: &str, lengths: (usize, usize), example: &str) -> ObjectBuilder {
    let text = text.min_length(Some(lengths.0)).max_length(Some(lengths.1)).examples([example]);
    if pattern.is_empty() { text } else { text.pattern(Some(pattern)) }
}

closed_lists! {
    TlsTypeWord "TlsType"
        "`one-way`: only the server proves who it is. `two-way`: the client must present a certificate of `cacert`."
        TlsType::ALL.map(TlsType::as_str);
    UploadTypeWord "UploadType"
        "A type; or `keep`, to replace a certificate and keep the type and the client CAs of the newest accepted upload."
        TlsType::ALL.map(TlsType::as_str).into_iter().chain([KEEP]);
    VersionStatusWord "VersionStatus"
        "`pending`, `running`, `failed`: the newest, as of the certificate. `superseded`: a newer upload took its place. \
         `rolledBack`: a rollback did. `erased`: its key is erased."
        VersionStatus::ALL.map(VersionStatus::as_str);
    ProfileWord "Profile"
        "How strictly certificates are judged: `default`, or `emqx-cloud` (as EMQX Cloud accepts them: 60 days left, \
         keys of RSA 2048, P-256 and P-384 only, the issuer's key of the same kind)."
        Profile::ALL.map(Profile::as_str);
    ProxyProtocolWord "ProxyProtocol"
        "The PROXY protocol header that the broker receives before a connection's first byte: `none`, or version 2 as \
         `v2`, `emqx` or `mosquitto` read it."
        ProxyProtocol::ALL.map(ProxyProtocol::as_str);
    ProxyIdentityWord "ProxyIdentity"
        "The part of a client certificate that is sent as the device's name."
        DeviceIdentity::ALL.map(DeviceIdentity::as_str);
    ScopeWord "Scope"
        "What an API key may do; `tls` includes `tls:read`, and `admin` all."
        Scope::ALL.map(Scope::as_str);
    RoleWord "Role"
        "What a node does."
        Role::ALL.map(Role::as_str);
    EndingKindWord "EndingKind"
        "What kind of thing ends."
        EndingKind::ALL.map(EndingKind::as_str);
    AlertKindWord "AlertKind"
        "What kind of thing ends; or `stoppedChange`: a change with `Prefer: handling=strict` was refused for its impact; or \
         `unusedClientCA`: no device has used a client CA for 30 days. Later releases add kinds."
        AlertKind::ALL.map(AlertKind::as_str);
    DeliveryStateWord "DeliveryState"
        "Where a delivery stands; `cancelled`: what ends was replaced before, the stopped change made, or the unused client CA removed or used."
        DeliveryState::ALL.map(DeliveryState::as_str);
    MailSecurityWord "MailSecurity"
        "`tls`: from the first byte. `starttls`: required. `plain`: none, and no password."
        MailSecurity::ALL.map(MailSecurity::as_str);
    ChannelTypeWord "ChannelType"
        "How an alert is sent."
        ["webhook", "mail"];
    WebhookTypeWord "WebhookType"
        "Alerts are sent as signed requests (Standard Webhooks)."
        ["webhook"];
    MailTypeWord "MailType"
        "Alerts are sent as mail."
        ["mail"];
    RevocationKindWord "RevocationKind"
        "What a revocation refuses by. `certificate`: its issuer, serial number and public key. `serial`: issuer and \
         serial number. `name`: the name that the broker receives."
        ["certificate", "serial", "name"];
    StalePolicyWord "StalePolicy"
        "What a CRL means after its nextUpdate. `soft`: it still counts. `hard`: devices of its issuer are refused."
        StalePolicy::ALL.map(StalePolicy::as_str);
    ListenerWord "Listener"
        "MQTT over TLS, or over secure WebSockets."
        ["mqtts", "wss"];
    ImpactWord "ImpactSeverity"
        "`severe`: connected devices would be refused, a host in use is lost, devices may not know the new root, or a \
         share of them cannot verify the new key. `notable`: all else that is found, such as known devices that would be refused. `none`: nothing, as far as is known."
        ImpactSeverity::ALL.map(ImpactSeverity::as_str);
    AuditResultWord "AuditResult"
        "What became of a change."
        ["ok", "refused"];
    OrderWord "Order"
        "Which rows come first."
        ["newest", "oldest"];
    CodeWord "Code"
        "Stable, for programs. Later releases add codes: treat one that you do not know by the status."
        RefusalCode::ALL.iter().map(|code| code.as_str()).chain(catalogue().map(|code| code.name));
}

forms! {
    DeploymentIdText "DeploymentID" "A deployment's id: 1 to 63 of `a-z`, `0-9`, `-`, not `-` first."
        r"^[a-z0-9][a-z0-9-]{0,62}$" (1, 63), "ge6a1a75";
    ProjectIdText "ProjectID" "A project's id: 1 to 63 of `a-z`, `0-9`, `-`, not `-` first."
        r"^[a-z0-9][a-z0-9-]{0,62}$" (1, 63), "default";
    NodeIdText "NodeID" "A node's id, kept in the file `node.id` of its data folder."
        r"^[a-z0-9][a-z0-9-]{0,62}$" (1, 63), "n1";
    ChannelIdText "ChannelID" "An alert channel's id."
        r"^[a-z0-9][a-z0-9-]{0,62}$" (1, 63), "k3v9x2m1p0q8r7s6";
    AlertIdText "AlertID" "An alert's id: the `webhook-id` of every message about it."
        r"^[a-z0-9][a-z0-9-]{0,62}$" (1, 63), "a7d2k9s4";
    RequestIdText "RequestID" "A request's id: `X-Request-Id` of its answer."
        r"^[0-9a-f]{16,32}$" (16, 32), "9f86d081884c7d65";
    ApiKeyText "ApiKey" "The public half of an API key: the user name of HTTP Basic."
        r"^[A-Za-z0-9]{1,64}$" (1, 64), "abcdefgh12345678";
    SecretKeyText "SecretKey" "The secret half of an API key: the password of HTTP Basic."
        r"^[0-9a-f]{64}$" (64, 64), "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
    UtcTimeText "UtcTime" "A time in UTC, to the second."
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$" (19, 19), "2034-05-22 02:43:21";
    UtcMinuteText "UtcMinute" "A time in UTC, to the minute."
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}$" (16, 16), "2024-11-21 02:51";
    GivenTimeText "GivenTime" "A time as RFC 3339 has it, or `YYYY-MM-DD HH:MM:SS` in UTC; years 1970 to 9999."
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})?$" (19, 64),
        "2034-05-22T02:43:21Z";
    SpanText "Span" "A whole number of days or hours."
        r"^[0-9]+[dh]$" (2, 8), "30d";
    HostText "Host" "A DNS name in A-labels, no IP address; a wildcard only as the whole first label, over at least two more."
        r"^([*][.])?([A-Za-z0-9_-]{1,63}[.])*[A-Za-z0-9_-]{1,63}[.]?$" (1, 254), "mqtt.example.com";
    HostSuffixText "HostSuffix" "A DNS name in A-labels; it stands for itself and all names under it."
        r"^([A-Za-z0-9_-]{1,63}[.])*[A-Za-z0-9_-]{1,63}[.]?$" (1, 254), "fleet.example.com";
    UpstreamText "Upstream" "A broker's plain address, `HOST:PORT`, IPv6 in brackets; or up to 8 different ones, separated by \
        commas, tried in this order."
        r"^[^,\s]+:[0-9]+(,[^,\s]+:[0-9]+){0,7}$" (3, 2100), "127.0.0.1:1883";
    UpstreamAllowText "UpstreamAllowed" "A network (`10.0.0.0/8`), an address, or a name or address with a port."
        r"^[^,\s]+$" (1, 300), "10.0.0.0/8";
    FingerprintText "Fingerprint" "SHA-256 of a certificate's DER."
        r"^[0-9a-f]{64}$" (64, 64), "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    MacText "Mac" "HMAC-SHA-256."
        r"^[0-9a-f]{64}$" (64, 64), "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    CauseText "Cause" "Why a handshake failed: docs/handshake-failures.md has the list. Later releases add causes."
        r"^[a-z][a-z0-9_]*$" (1, 64), "certificate_expired";
    KeyKindText "KeyKind" "The kind of a key. Later releases add kinds."
        r"^[A-Za-z0-9 -]+$" (1, 64), "ECDSA P-256";
    DeviceIdText "DeviceID" "A device's certificate, by its issuer, serial number and public key."
        r"^[0-9a-f]{32}$" (32, 32), "5d41402abc4b2a76b9719d911017c592";
    RevocationIdText "RevocationID" "A revocation's id."
        r"^[0-9a-f]{32}$" (32, 32), "c4ca4238a0b923820dcc509a6f75849b";
    GivenFingerprintText "GivenFingerprint" "SHA-256 of a certificate's DER, in hexadecimal digits of any case, also with colons."
        r"^[0-9A-Fa-f:]+$" (64, 95), "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08";
    GivenSerialText "GivenSerial" "A serial number in hexadecimal digits: any case, up to 20 bytes, colons and leading zeros."
        r"^[0-9A-Fa-f:]+([.]{3})?$" (1, 100), "4D:0B:6A:1F";
    ShownIssuerText "ShownIssuer" "An issuer, exactly as the lists of devices and of failed handshakes show it."
        r"" (1, 160), "CN=Meters, O=Example";
    DeviceNameText "DeviceName" "A device's name, exactly as the broker receives it."
        r"" (1, 1024), "meter-7";
    ReasonText "Reason" "Why, for people: one line."
        r"" (0, 200), "stolen on 2034-05-20";
    CrlIdText "CrlID" "A CRL's id: 1 to 63 of `a-z`, `0-9`, `-`, not `-` first."
        r"^[a-z0-9][a-z0-9-]{0,62}$" (1, 63), "meters";
    FetchFailureText "CrlFetchFailureCode" "Why a CRL was not fetched, such as `timed_out`; or the code of a finding about what was. Later releases add codes."
        r"^[A-Za-z][A-Za-z0-9_]*$" (1, 64), "timed_out";
    CrlNumberText "CrlNumber" "A CRL's number: decimal up to 16 bytes, else hexadecimal with `0x`."
        r"^(0x)?[0-9a-f]+$" (1, 64), "4711";
    CrlUrlText "CrlUrl" "An address of http or https, without user name and fragment."
        r"^[Hh][Tt][Tt][Pp][Ss]?://" (8, 2048), "http://pki.example.com/meters.crl";
    DayText "Day" "A day in UTC."
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$" (10, 10), "2034-05-22";
    TlsWordText "TlsWord" "A name as the IANA registries have it; a number of none that is known, such as `0x1a2b`."
        r"^[A-Za-z0-9_.-]+$" (1, 64), "ecdsa_secp256r1_sha256";
    SerialText "Serial" "A serial number: lower-case hexadecimal digits, two for each byte; the first 20 bytes."
        r"^([0-9a-f]{2})*([.]{3})?$" (0, 64), "4d0b6a1f";
    TlsVersionText "TlsProtocolVersion" "A version of TLS."
        r"^1[.][0-3]$" (3, 3), "1.3";
    LabelText "Label" "A name for people: one line."
        r"" (0, 200), "north";
    DescriptionText "Description" "A description for people: one line."
        r"" (0, 1000), "The meters in the north";
    CertificateNameText "CertificateName" "A name in a certificate, escaped where it is not plain ASCII, and cut if long."
        r"" (0, 2000), "CN=meter-7, O=Example";
    SentenceText "Sentence" "For people: one or a few sentences."
        r"" (1, 4096), "The key is not that of the certificate.";
    AddressText "Address" "An IP address, with a port where a connection is meant."
        r"^[0-9a-fA-F.:\[\]]+$" (2, 64), "192.0.2.7:50123";
    MailAddressText "MailAddress" "A plain mail address."
        r"^[^\s@]+@[^\s@]+$" (3, 254), "ops@example.com";
    PemText "Pem" "PEM (RFC 7468)."
        r"" (1, 262144), "-----BEGIN CERTIFICATE-----\nMIIB…\n-----END CERTIFICATE-----\n";
}
