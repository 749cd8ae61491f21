//! Text that is repaired or recognised.

use base64::Engine as _;

use crate::judge::objection;
use crate::stage::{Authority, Case, expect, pki};

fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

fn with_label(label: &str, body: &str) -> String {
    let lines: Vec<&str> = match body.is_ascii() && !body.contains(['\n', ' ']) {
        true => body.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect(),
        false => vec![body],
    };
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn mangled_text_is_repaired_and_said_and_serves_the_same() {
    let pki = pki();
    let (chain, key) = (pki.chain(), pki.leaf.key_pem.clone());
    let served = pki.case().judge().material.unwrap();
    type Mangle = fn(&str) -> String;
    let clean: &[(&str, Mangle)] = &[
        ("as it is", |t| t.to_owned()),
        ("blank lines between", |t| t.replace("-----BEGIN", "\n\n-----BEGIN")),
        ("without the last line break", |t| t.trim_end().to_owned()),
        ("files joined without a line break", |t| t.replace("-----\n-----BEGIN", "----------BEGIN")),
    ];
    let mangled: &[(&str, Mangle)] = &[
        ("CRLF", |t| t.replace('\n', "\r\n")),
        ("CR", |t| t.replace('\n', "\r")),
        ("byte order mark", |t| format!("\u{feff}{t}")),
        ("literal \\n", |t| t.replace('\n', "\\n")),
        ("literal \\r\\n", |t| t.replace('\n', "\\r\\n")),
        ("encoded twice", |t| t.replace('\n', "\\\\n")),
        ("one line", |t| t.replace('\n', "")),
        ("spaces for line breaks", |t| t.replace('\n', " ")),
        ("indented", |t| t.replace('\n', "\n    ")),
        ("indented by tabs", |t| t.replace('\n', "\n\t")),
        ("trailing spaces", |t| t.replace('\n', "  \n")),
        ("text before", |t| format!("subject=CN = broker\nissuer=CN = x\n{t}")),
        ("text between", |t| t.replace("-----BEGIN", "Bag Attributes\n    localKeyID: 01\n-----BEGIN")),
        ("text behind", |t| format!("{t}# the end\n")),
        ("quotes around", |t| format!("\"{t}\"")),
        ("a dash too many", |t| t.replace("-----", "------")),
        ("no-break spaces", |t| t.replace('\n', "\u{a0}\n")),
    ];
    for (texts, codes) in [(clean, &[] as &[&str]), (mangled, &["PEM_REPAIRED"])] {
        for (name, mangle) in texts {
            let cases = [
                Case { cert: Some(mangle(&chain)), ..pki.case() },
                Case { key: Some(mangle(&key)), ..pki.case() },
            ];
            for (field, case) in ["cert", "key"].iter().zip(cases) {
                let codes = if *name == "a dash too many" { &[] } else { codes };
                assert_eq!(case.codes(), codes, "{name} in {field}: {:?}", case.judge().findings);
                assert_eq!(objection(&case, &case.judge()), None, "{name} in {field}");
                let bundle = case.judge().material.unwrap().bundle;
                assert_eq!(bundle.chain(), served.bundle.chain(), "{name} in {field}");
                assert_eq!(bundle.key().expose_pkcs8_der(), served.bundle.key().expose_pkcs8_der());
            }
        }
    }
    for label in ["X509 CERTIFICATE", "TRUSTED CERTIFICATE"] {
        let cert = chain.replace(" CERTIFICATE-", &format!(" {label}-"));
        assert_eq!(Case { cert: Some(cert), ..pki.case() }.codes(), ["PEM_REPAIRED"], "{label}");
    }
}

#[test]
fn what_is_no_certificate_is_named_as_what_it_is() {
    let pki = pki();
    let base64 = body(&pki.leaf.pem);
    let cert = |text: String| Case { cert: Some(text), ..pki.case() };
    let der_as_text: String = pki.leaf.der.iter().map(|byte| char::from(*byte)).collect();
    let utf16: String = pki.leaf.pem.chars().flat_map(|c| [c, '\0']).collect();
    let utf16_big: String = pki.leaf.pem.chars().flat_map(|c| ['\0', c]).collect();
    let pkcs12 = [&[0x30, 0x82, 0x01, 0x2c, 2, 1, 3, 0x30, 0x82][..], &[0xee; 295]].concat();
    let pkcs12_as_text: String = pkcs12.iter().map(|byte| char::from(*byte)).collect();
    let pkcs12_as_utf8 = String::from_utf8_lossy(&pkcs12).into_owned();
    let pkcs12 = base64::engine::general_purpose::STANDARD.encode(pkcs12);
    let cut = pki.leaf.pem.lines().take(5).collect::<Vec<_>>().join("\n");
    let end = pki.leaf.pem.lines().skip(3).collect::<Vec<_>>().join("\n");
    // A plus in every line.
    let plus = format!("{}+{}\n{}+{}", "A".repeat(30), "B".repeat(33), "C".repeat(30), "D".repeat(33));
    expect([
        (
            "the seed's example",
            cert("-----BEGIN CERTIFICATE-----\nMII...tH6j7afSg==\n-----END CERTIFICATE-----".into()),
            &["PEM_SHORTENED"] as &[_],
        ),
        ("an ellipsis", cert(with_label("CERTIFICATE", "MII\u{2026}abc=")), &["PEM_SHORTENED"]),
        (
            "shortened to nothing but a beginning",
            cert("-----BEGIN CERTIFICATE-----\nMIID...".into()),
            &["PEM_SHORTENED"],
        ),
        ("nothing of PEM", cert("hello".into()), &["PEM_MISSING"]),
        ("four dashes", cert(pki.leaf.pem.replace("-----", "----")), &["PEM_MISSING"]),
        ("no END line", cert(cut.clone()), &["PEM_UNREADABLE"]),
        ("no BEGIN line", cert(end), &["PEM_UNREADABLE"]),
        (
            "cut off, then another",
            cert(cut + "\n" + &pki.leaf.pem),
            &["PEM_UNREADABLE", "MISSING_INTERMEDIATE"],
        ),
        (
            "two labels",
            cert(format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END PRIVATE KEY-----")),
            &["PEM_UNREADABLE"],
        ),
        ("no body", cert(with_label("CERTIFICATE", "")), &["PEM_UNREADABLE"]),
        ("no base64", cert(with_label("CERTIFICATE", "MII?!#")), &["PEM_UNREADABLE"]),
        (
            "a character missing",
            cert(with_label("CERTIFICATE", &base64[..base64.trim_end_matches('=').len() / 4 * 4 - 3])),
            &["PEM_UNREADABLE"],
        ),
        ("a line missing", cert(with_label("CERTIFICATE", &base64[64..])), &["CERT_UNREADABLE"]),
        (
            "HTML-escaped",
            cert(pki.leaf.pem.replace('+', "&#43;").replace('=', "&#61;").replace("MII", "&#77;II")),
            &["PEM_UNREADABLE"],
        ),
        ("URL-encoded", cert(pki.leaf.pem.replace(' ', "+").replace('\n', "%0A")), &["PEM_UNREADABLE"]),
        ("half URL-encoded", cert(with_label("CERTIFICATE", "MII%2Babc")), &["PEM_UNREADABLE"]),
        ("form-decoded", cert(with_label("CERTIFICATE", &plus.replace('+', " "))), &["PEM_UNREADABLE"]),
        (
            "bytes behind the certificate",
            cert(with_label(
                "CERTIFICATE",
                &base64::engine::general_purpose::STANDARD.encode([&pki.leaf.der[..], &[0]].concat()),
            )),
            &["CERT_UNREADABLE"],
        ),
        ("no X.509", cert(with_label("CERTIFICATE", "MAMCAQA=")), &["CERT_UNREADABLE"]),
        (
            "a key under a certificate's label",
            cert(with_label("CERTIFICATE", &body(&pki.leaf.key_pem))),
            &["CERT_UNREADABLE"],
        ),
        ("CSR", cert(with_label("CERTIFICATE REQUEST", &base64)), &["FORMAT_CSR"]),
        ("old CSR", cert(with_label("NEW CERTIFICATE REQUEST", &base64)), &["FORMAT_CSR"]),
        ("PKCS#7", cert(with_label("PKCS7", &base64)), &["FORMAT_PKCS7"]),
        ("public key", cert(with_label("PUBLIC KEY", &base64)), &["FORMAT_PUBLIC_KEY"]),
        ("CRL beside the chain", cert(pki.chain() + &with_label("X509 CRL", &base64)), &["FORMAT_CRL"]),
        ("OpenSSH public key", cert("ssh-rsa AAAAB3NzaC1yc2E user@host".into()), &["FORMAT_OPENSSH"]),
        ("PGP", cert(with_label("PGP PUBLIC KEY BLOCK", "Version: 1\n\nabc")), &["FORMAT_PGP"]),
        ("unknown label", cert(with_label("DH PARAMETERS", "MAA=")), &["PEM_UNKNOWN"]),
        (
            "PKCS#7 under a certificate's label",
            cert(with_label("CERTIFICATE", "MAsGCSqGSIb3DQEHAg==")),
            &["FORMAT_PKCS7"],
        ),
        ("raw base64", cert(base64.clone()), &["FORMAT_RAW_BASE64"]),
        ("PKCS#12 in base64", cert(pkcs12), &["FORMAT_PKCS12"]),
        ("PKCS#12", cert(pkcs12_as_text), &["FORMAT_PKCS12"]),
        ("PKCS#12 read as UTF-8", cert(pkcs12_as_utf8), &["FORMAT_PKCS12"]),
        ("DER", cert(der_as_text), &["FORMAT_DER"]),
        ("DER read as UTF-8", cert(String::from_utf8_lossy(&pki.leaf.der).into_owned()), &["FORMAT_DER"]),
        ("UTF-16, little end first", cert(utf16), &["FORMAT_UTF16"]),
        ("UTF-16, big end first", cert(utf16_big), &["FORMAT_UTF16"]),
        ("a path", cert("/etc/certs/server.crt".into()), &["FORMAT_PATH"]),
        ("a path as curl takes it", cert("@server.pem".into()), &["FORMAT_PATH"]),
        ("an address", cert("https://example.com/cert.pem".into()), &["FORMAT_URL"]),
    ]);
}

#[test]
fn what_is_no_usable_key_is_named_as_what_it_is() {
    let pki = pki();
    let key = |text: String| Case { key: Some(text), ..pki.case() };
    let base64 = body(&pki.leaf.key_pem);
    expect([
        (
            "the seed's example",
            key("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA5bdg8Rt5A7...AjQzYRdov4inpzw==\n-----END RSA PRIVATE KEY-----".into()),
            &["PEM_SHORTENED"] as &[_],
        ),
        ("OpenSSH", key(with_label("OPENSSH PRIVATE KEY", "b3BlbnNzaC1rZXktdjEA")), &["FORMAT_OPENSSH"]),
        ("public key", key(with_label("PUBLIC KEY", "MAA=")), &["FORMAT_PUBLIC_KEY"]),
        ("encrypted by its label", key(with_label("ENCRYPTED PRIVATE KEY", "MAA=")), &["KEY_ENCRYPTED"]),
        (
            "encrypted as of old",
            key(with_label("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA")),
            &["KEY_ENCRYPTED"],
        ),
        ("a PKCS#8 key under the RSA label", key(with_label("RSA PRIVATE KEY", &base64)), &[]),
        ("a certificate under a key's label", key(with_label("PRIVATE KEY", &body(&pki.leaf.pem))), &["KEY_UNREADABLE"]),
        ("no structure", key(with_label("PRIVATE KEY", "AAAA")), &["KEY_UNREADABLE"]),
        ("cut short", key(with_label("PRIVATE KEY", &base64[..40])), &["KEY_UNREADABLE"]),
        ("DSA by its label", key(with_label("DSA PRIVATE KEY", "MAA=")), &["KEY_KIND_UNSUPPORTED"]),
        ("only EC PARAMETERS", key(with_label("EC PARAMETERS", "BggqhkjOPQMBBw==")), &["KEY_NOT_IN_FIELD"]),
        ("a CRL", key(with_label("X509 CRL", "MAA=")), &["FORMAT_CRL"]),
        ("a path", key("server.key".into()), &["FORMAT_PATH"]),
        (
            "DER read as UTF-8",
            key(String::from_utf8_lossy(&pki.leaf.key_der).into_owned()),
            &["FORMAT_DER"],
        ),
        ("raw base64", key(base64.clone()), &["FORMAT_RAW_BASE64"]),
    ]);
}

/// In every field, with any text around it, and never shown.
#[test]
fn base64_of_pem_is_named_with_the_command_that_decodes_it() {
    let pki = pki();
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let wrapped = |text: &str| {
        let base64 = encode(text);
        let lines: Vec<&str> =
            base64.as_bytes().chunks(76).map(|line| str::from_utf8(line).unwrap()).collect();
        lines.join("\n")
    };
    let devices = Authority::new("Devices");
    type Field = fn(&mut Case) -> &mut Option<String>;
    let fields: [(&str, &str, Field); 3] = [
        ("CERTIFICATE", &pki.leaf.pem, |case| &mut case.cert),
        ("PRIVATE KEY", &pki.leaf.key_pem, |case| &mut case.key),
        ("CERTIFICATE", devices.pem(), |case| &mut case.cacert),
    ];
    for (label, pem, field) in fields {
        for (name, text) in [
            ("one line", encode(pem)),
            ("lines of base64", wrapped(pem)),
            ("lines that end with CRLF", wrapped(pem).replace('\n', "\r\n")),
            ("without padding", encode(pem).trim_end_matches('=').to_owned()),
            ("the line of a secret", format!("  tls.crt: {}\n", encode(pem))),
            ("a secret in JSON", format!("{{\"data\":{{\"tls.crt\":\"{}\"}}}}", encode(pem))),
            ("two values", format!("{}\n{}", encode(pem), encode(pem))),
            ("text in front of the block", encode(&format!("Bag Attributes\n    friendlyName: a\n{pem}"))),
            ("a byte order mark in front", encode(&format!("\u{feff}{pem}"))),
            ("PEM with CRLF", encode(&pem.replace('\n', "\r\n"))),
            ("for addresses", encode(pem).replace('+', "-").replace('/', "_")),
            ("encoded twice", encode(&encode(pem))),
            ("between lines of PEM", with_label(label, &encode(pem))),
        ] {
            let mut case = Case::two_way(pki.chain(), pki.leaf.key_pem.clone(), devices.pem().to_owned());
            *field(&mut case) = Some(text.clone());
            let findings = case.judge().findings;
            let finding = &findings[0];
            assert_eq!(finding.code.as_str(), "FORMAT_BASE64_PEM", "{name}: {findings:?}");
            assert!(finding.remedy.contains("base64 -d"), "{name}: {}", finding.remedy);
            let said = format!("{findings:?}");
            let body = body(pem);
            for hidden in [&text[text.len() / 2..][..12], &body[..12]] {
                assert!(!said.contains(hidden), "{name}: {said}");
            }
        }
    }
}
