//! Remedies that the command line says otherwise than the API, by code.
//!
//! A code without a row has the API's remedy, whose words `api_words` replaces. A test reads all
//! codes and finds the ones that need a row.

/// `FILE` becomes the file of the finding, `ID` the deployment.
const REMEDIES: [(&str, &str); 48] = [
    (
        "TLS_TYPE_INVALID",
        "Name the CA of the devices with --client-ca for two-way, leave it out for one-way, or keep what is set with --keep-client-ca.",
    ),
    ("NOT_TEXT", "Name a file with PEM text."),
    ("FIELD_TOO_LARGE", "Keep only the PEM blocks that belong in the file."),
    (
        "CERT_MISSING",
        "Put the PEM text of the server certificate into the file, followed by its intermediates.",
    ),
    ("KEY_MISSING", "Put the PEM text of the server certificate's private key into the file."),
    (
        "CA_MISSING",
        "Put the PEM text of the CA that issues the devices' certificates into the file, or leave --client-ca out for one-way.",
    ),
    ("CA_UNEXPECTED", "Name the CA with --client-ca to have devices verified, or leave it out."),
    (
        "KEY_ENCRYPTED",
        "Decrypt it: openssl pkey -in FILE -out decrypted.key (it asks for the passphrase), then use decrypted.key; or, for an ENCRYPTED PRIVATE \
         KEY, use --key-password-file PASSPHRASE-FILE.",
    ),
    (
        "KEY_PASSWORD_WRONG",
        "Put the passphrase that the key was encrypted with into the file; openssl pkey -in FILE -noout asks for it and tells whether \
         it is right.",
    ),
    (
        "FORMAT_UTF16",
        "Save the file as UTF-8 (or ASCII): iconv -f UTF-16 -t UTF-8 FILE > utf8.pem, then use utf8.pem.",
    ),
    (
        "FORMAT_BASE64_PEM",
        "Decode it: base64 -d FILE > decoded.pem, then use decoded.pem. From a Kubernetes secret: kubectl get secret NAME -o \
         jsonpath='{.data.tls\\.crt}' | base64 -d (the key is in tls\\.key, the CA in ca\\.crt).",
    ),
    (
        "FORMAT_PKCS12",
        "Take it apart: openssl pkcs12 -in FILE -nokeys -out certificates.pem for the certificates, and openssl pkcs12 -in FILE -nocerts -noenc \
         -out private.key for the key.",
    ),
    ("FORMAT_CSR", "Have it signed by a CA and use the certificate that comes back."),
    ("FORMAT_PUBLIC_KEY", "Use a certificate and its private key; with --client-ca the certificate of a CA."),
    ("FORMAT_OPENSSH", "Convert a copy of it: ssh-keygen -p -m PKCS8 -f COPY, and use that as the key."),
    ("FORMAT_CRL", "Take the list out of the file."),
    ("FORMAT_PATH", "Name that file itself: this one holds a path, and no PEM text."),
    ("FORMAT_URL", "Fetch it first, and name the file that holds it."),
    ("PEM_MISSING", "Use a file with PEM text: -----BEGIN …-----, lines of base64, -----END …-----."),
    (
        "PEM_UNKNOWN",
        "Keep certificates in the files of certificates, and one private key in the file of the key.",
    ),
    ("TOO_MANY_BLOCKS", "Keep only the blocks that belong in the file."),
    ("CERT_NOT_IN_FIELD", "Name the file of the server certificate as the certificate."),
    ("KEY_NOT_IN_FIELD", "Name the file of the private key as the key."),
    ("MULTIPLE_KEYS", "Keep only the private key of the server certificate in the file."),
    (
        "CA_HOLDS_KEY",
        "Keep only the CA's certificate in the file. If the file was sent to a server, consider the key as disclosed.",
    ),
    (
        "PROFILE_VALIDITY_SHORT",
        "Renew the certificate, or have it judged as by default: certward deployment set ID --profile default.",
    ),
    (
        "PROFILE_KEY_KIND",
        "Have the certificate issued for such a key, or judged as by default: certward deployment set ID --profile default.",
    ),
    (
        "PROFILE_KEY_KINDS_DIFFER",
        "Have the certificate issued by a CA with a key of the same kind, or judged as by default: certward deployment set ID --profile \
         default.",
    ),
    (
        "CA_IS_SERVERS_OWN",
        "Compare it with the issuer of a device's certificate: openssl x509 -in DEVICE.pem -noout -issuer. If that is another CA, name \
         that one with --client-ca; if it is this one, nothing needs to be done.",
    ),
    ("CERTIFICATE_IN_KEY_FIELD", "Keep only the private key in the file."),
    ("KEY_IN_CERT_FIELD", "Keep only certificates in the file."),
    ("KEY_PASSWORD_UNUSED", "Nothing needs to be done; --key-password-file may be left out."),
    ("PROJECT_UNKNOWN", "See `certward project list`."),
    (
        "HOST_NOT_ALLOWED",
        "Choose a host under one of the suffixes that `certward project list` shows, or let an admin add one.",
    ),
    (
        "HOST_PUBLIC_SUFFIX",
        "Name a host under a domain of your own, or let an admin name the public suffix: certward project set PROJECT --host-suffix NAME.",
    ),
    (
        "UPSTREAM_NOT_ALLOWED",
        "Name a broker that the project may relay to, as `certward project list` shows, or let an admin add this one.",
    ),
    ("HOST_INVALID", "Give DNS names, for example --host mqtt.example.com."),
    (
        "HOST_SUFFIX_INVALID",
        "Give DNS names, for example --host-suffix fleet.example.com, or --no-host-suffixes for none.",
    ),
    (
        "UPSTREAM_ALLOW_INVALID",
        "Give networks (10.0.0.0/8), addresses, or names or addresses with ports (broker.example:1883), each behind --upstream-allow, \
         or --no-upstream-allow for no restriction.",
    ),
    ("RECORD_BYTES_INVALID", "Give a whole number from 512 to 16384, for example --record-bytes 4096."),
    (
        "SESSION_AGE_INVALID",
        "Give a time from 10s to 365d, for example --max-session-age 7d, or 0 for no limit.",
    ),
    (
        "CLOSE_RATE_INVALID",
        "Give sessions in a second, for example --rate 50/s, or leave it out to close all at once.",
    ),
    ("CHANNEL_TYPE_INVALID", "Use --webhook or --mail."),
    (
        "MAIL_SERVER_INVALID",
        "Give --mail HOST:PORT, --security (tls, starttls or plain), and with --username a --password-file.",
    ),
    ("QUERY_INVALID", "Give a span of days, for example --within 30d."),
    ("QUERY_UNEXPECTED", "Use the certward of this server's version."),
    ("DEPLOYMENT_QUOTA", "Remove one first, as `certward deployment list` shows them."),
    (
        "ALERT_ALLOW_EMPTY",
        "Let the operator set alert_allow in [alerts] of each node with the API, for example alert_allow = [\"192.0.2.0/24\"].",
    ),
];

/// Messages of errors without findings, where they speak of methods.
const MESSAGES: [(&str, &str); 2] = [
    ("TLS_ALREADY_EXISTS", "The deployment has a certificate already: another client has just set it."),
    (
        "STORE_UNAVAILABLE",
        "The store cannot be used at the moment. Whether a change was made is shown once it can.",
    ),
];

pub(super) fn message_of(code: &str) -> Option<&'static str> {
    MESSAGES.iter().find(|(known, _)| *known == code).map(|(_, message)| *message)
}

pub(super) fn of(code: &str) -> Option<&'static str> {
    REMEDIES.iter().find(|(known, _)| *known == code).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_of_a_code_that_exists() {
        let errors = include_str!("../../../../docs/errors.md");
        for (code, _) in REMEDIES.iter().chain(&MESSAGES) {
            let of_finding = certward_pki::catalogue().any(|doc| doc.name == *code);
            assert!(of_finding || errors.contains(&format!("`{code}`")), "{code}");
        }
    }
}
