//! The independent judge: `openssl verify` on every case.
//!
//! openssl must verify what is accepted, by the given root or the topmost served certificate, and
//! match each host without a finding. It must refuse for the same reason, if it checks that reason;
//! [`VIEWS`] has the exceptions.

use std::process::Command;

use certward_pki::{Field, HostName, Judgement};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::stage::{Case, encode_pem};

enum View {
    Says(&'static str),
    /// For the reason beside it.
    Differs,
}

use View::{Differs, Says};

/// Refusals that openssl checks too.
const VIEWS: &[(&str, View)] = &[
    // A verifier of the chain does not see the server's key.
    ("KEY_MISMATCH", Differs),
    ("KEY_INCONSISTENT", Differs),
    ("LEAF_EXPIRED", Says("certificate has expired")),
    ("LEAF_NOT_YET_VALID", Says("certificate is not yet valid")),
    ("VALIDITY_REVERSED", Says("certificate")),
    ("VALIDITY_UNREADABLE", Says("")),
    ("NAME_UNDECODABLE", Says("")),
    ("CRITICAL_EXTENSION_UNKNOWN", Says("unhandled critical extension")),
    ("PRECERTIFICATE", Says("unhandled critical extension")),
    ("LEAF_NOT_FOR_SERVERS", Says("unsuitable certificate purpose")),
    // For openssl a CA may be a server; webpki refuses.
    ("LEAF_IS_CA", Differs),
    // openssl uses the common name if it is alone; webpki and Go require version 3.
    ("LEAF_VERSION1", Differs),
    ("LEAF_SIGNATURE_BROKEN", Says("signature failure")),
    ("CHAIN_SIGNATURE_BROKEN", Says("signature failure")),
    ("PATH_LENGTH_EXCEEDED", Says("path length constraint exceeded")),
    // "permitted subtree violation", "excluded subtree violation", or too many to compare.
    ("NAME_CONSTRAINT_VIOLATED", Says("")),
    // openssl checks policies with -policy_check only.
    ("POLICY_VIOLATED", Differs),
    ("ISSUER_NOT_FOR_SERVERS", Says("unsuitable certificate purpose")),
    ("WEAK_SIGNATURE", Says("signature digest algorithm too weak")),
    ("KEY_TOO_SMALL", Says("key too weak")),
    // openssl supports RSA of any size, and every curve and kind.
    ("KEY_TOO_LARGE", Differs),
    ("KEY_CURVE_UNSUPPORTED", Differs),
    ("KEY_KIND_UNSUPPORTED", Differs),
    // Only with -x509_strict, but always in its TLS clients.
    ("KEY_CURVE_EXPLICIT", Differs),
];

/// The difference to openssl's judgement.
pub(crate) fn objection(case: &Case, judgement: &Judgement) -> Option<String> {
    match &judgement.material {
        Some(material) => accepted(case, judgement, material.bundle.chain()),
        None => refused(case, judgement),
    }
}

fn accepted(case: &Case, judgement: &Judgement, chain: &[CertificateDer<'_>]) -> Option<String> {
    let says = |code: &str| judgement.findings.iter().any(|finding| finding.code.as_str() == code);
    let served: String = chain.iter().skip(1).map(|der| encode_pem("CERTIFICATE", der)).collect();
    let given = given(case);
    let roots: Vec<&Vec<u8>> =
        given.iter().filter(|der| says("ROOT_LEFT_OUT") && is_root_of(der, chain)).collect();
    let mut options = if roots.is_empty() { vec!["-partial_chain"] } else { vec![] };
    // Two roots may have one name; openssl uses the first.
    let anchors = if roots.is_empty() {
        vec![chain.last()?.as_ref()]
    } else {
        roots.iter().map(|der| der.as_slice()).collect()
    };
    // Weak hashes and keys of issuers are warnings; a root's signature is not checked.
    let level = if says("ISSUER_KEY_WEAK") { "0" } else { "2" };
    options.extend(["-auth_level", level]);
    // openssl and rustls require the purpose by name; Go, GnuTLS and Mbed TLS accept any.
    if says("PURPOSE_ANY") {
        options.extend(["-purpose", "any"]);
    }
    let verdicts = anchors.iter().map(|anchor| (anchor, verify(case, &chain[0], &served, anchor, &options)));
    let verdicts: Vec<_> = verdicts.collect();
    let Some((anchor, _)) = verdicts.iter().find(|(_, verdict)| verdict.is_empty()) else {
        let is_said =
            says("SIGNATURE_UNVERIFIED") && verdicts.iter().all(|(_, v)| v.contains("signature failure"));
        return (!is_said).then(|| format!("accepted, and openssl says: {}", verdicts[0].1));
    };
    let hosts = case.hosts.iter().filter(|host| HostName::parse(host).is_ok_and(|host| !host.is_wildcard()));
    for host in hosts {
        let uncovered = judgement.findings.iter().any(|finding| {
            finding.code.as_str() == "HOST_NOT_COVERED" && finding.message.contains(&format!(" {host} "))
        });
        let mut options = options.clone();
        options.extend(["-verify_hostname", host]);
        let mismatch = !verify(case, &chain[0], &served, anchor, &options).is_empty();
        // openssl matches half a wildcard; RFC 9525 and strict clients do not.
        if mismatch != uncovered && !says("WILDCARD_ODD") {
            return Some(format!("{host}: not covered is {uncovered}, and openssl says {mismatch}"));
        }
    }
    None
}

fn refused(case: &Case, judgement: &Judgement) -> Option<String> {
    let views = judgement.findings.iter().filter(|finding| finding.is_error()).map(|finding| {
        let view = VIEWS.iter().find(|(code, _)| *code == finding.code.as_str());
        view.filter(|_| finding.field != Field::Cacert).map(|(code, view)| (*code, view))
    });
    // With another fault openssl may stop earlier; it gets no client CAs.
    let views: Vec<_> = views.collect::<Option<_>>()?;
    let given = given(case);
    let (leaf, above) = given.split_first()?;
    let served: String = above.iter().map(|der| encode_pem("CERTIFICATE", der)).collect();
    let is_ca = |der: &&Vec<u8>| certward_pki::describe(der).is_some_and(|facts| facts.is_ca);
    let anchor = above.iter().rev().find(is_ca).unwrap_or(leaf);
    let verdict = verify(case, leaf, &served, anchor, &["-partial_chain", "-auth_level", "2"]);
    let says: Vec<_> = views
        .iter()
        .filter_map(|(code, view)| if let Says(text) = view { Some((code, text)) } else { None })
        .collect();
    match says.first() {
        Some((code, _)) if verdict.is_empty() => {
            Some(format!("refused with {code}, and openssl verifies it"))
        }
        Some(_) if !says.iter().any(|(_, text)| verdict.contains(**text)) => {
            Some(format!("refused with {says:?}, and openssl says: {verdict}"))
        }
        _ => None,
    }
}

/// Of `cert`, for a simple reader.
fn given(case: &Case) -> Vec<Vec<u8>> {
    let text = case.cert.as_deref().unwrap_or_default();
    CertificateDer::pem_slice_iter(text.as_bytes())
        .filter_map(|der| der.ok().map(|der| der.to_vec()))
        .collect()
}

fn is_root_of(der: &[u8], chain: &[CertificateDer<'_>]) -> bool {
    let (root, top) = (certward_pki::describe(der), chain.last().and_then(|der| certward_pki::describe(der)));
    matches!((root, top), (Some(root), Some(top)) if root.self_signed && root.subject == top.issuer && Some(der) != chain.first().map(|leaf| leaf.as_ref()))
}

/// Empty without an objection.
pub(crate) fn verify(case: &Case, leaf: &[u8], untrusted: &str, anchor: &[u8], options: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("leaf", &encode_pem("CERTIFICATE", leaf));
    write("anchor", &encode_pem("CERTIFICATE", anchor));
    let mut command = Command::new("openssl");
    command.arg("verify").args(["-CAfile", "anchor", "-no-CApath", "-no-CAstore", "-purpose", "sslserver"]);
    command.args(["-attime", &case.now.unix_timestamp().to_string()]).args(options);
    if !untrusted.is_empty() {
        write("untrusted", untrusted);
        command.args(["-untrusted", "untrusted"]);
    }
    let output = command.arg("leaf").current_dir(folder.path()).output().expect("openssl is installed");
    match output.status.success() {
        true => String::new(),
        false => String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
