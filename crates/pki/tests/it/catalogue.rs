//! The codes are contract: stable, documented, ordered.

use std::collections::HashSet;

use certward_pki::{Finding, Severity, catalogue};

#[test]
fn every_code_is_documented_once_and_errors_come_first() {
    let mut names = HashSet::new();
    for doc in catalogue() {
        assert!(names.insert(doc.name), "{} stands twice", doc.name);
        assert!(
            doc.name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'),
            "{}",
            doc.name
        );
        for text in [doc.meaning, doc.example, doc.remedy] {
            assert!(text.ends_with('.'), "{}: {text}", doc.name);
        }
        assert!(!doc.source.is_empty(), "{}", doc.name);
        assert_eq!(serde_json::to_value(doc.code).unwrap(), doc.name);
        assert_eq!((doc.code.as_str(), doc.code.severity()), (doc.name, doc.severity));
    }
    let severities: Vec<Severity> = catalogue().map(|doc| doc.severity).collect();
    assert!(severities.is_sorted(), "errors, then warnings, then notices");
    assert!(catalogue().map(|doc| doc.code).is_sorted());
}

#[test]
fn what_the_rehearsal_says_becomes_a_bounded_finding() {
    let finding = Finding::not_servable(&"no such\u{1b}[31m curve ".repeat(100));
    assert_eq!(finding.code.as_str(), "NOT_SERVABLE");
    assert!(finding.is_error());
    assert!(finding.message.len() < 1000 && !finding.message.contains('\u{1b}'));
}

#[test]
fn a_second_crl_is_a_warning_that_names_the_first() {
    let finding = Finding::crl_issuer_twice("devices");
    assert_eq!((finding.code.as_str(), finding.severity), ("CRL_ISSUER_TWICE", Severity::Warning));
    assert!(finding.message.contains(" devices ") && finding.remedy.contains("certward crl remove"));
}

#[test]
fn a_finding_reads_as_the_contract_writes_it() {
    let finding = Finding::not_servable("reasons");
    let json = serde_json::to_value(&finding).unwrap();
    assert_eq!(json["severity"], "error");
    assert_eq!(json["field"], "cert");
    assert_eq!(serde_json::from_value::<Finding>(json).unwrap(), finding);
}

#[test]
fn every_code_has_an_upload_that_causes_it() {
    let corpus = [
        include_str!("catalogue.rs"),
        include_str!("chains.rs"),
        include_str!("crl_uploads.rs"),
        include_str!("crls.rs"),
        include_str!("findings.rs"),
        include_str!("name_forms.rs"),
        include_str!("names.rs"),
        include_str!("openssl.rs"),
        include_str!("order.rs"),
        include_str!("policies.rs"),
        include_str!("passwords.rs"),
        include_str!("profiles.rs"),
        include_str!("salts.rs"),
        include_str!("subjects.rs"),
        include_str!("text.rs"),
    ];
    for doc in catalogue() {
        let quoted = format!("\"{}\"", doc.name);
        assert!(corpus.iter().any(|file| file.contains(&quoted)), "{} is caused by no test", doc.name);
    }
}

/// Generates docs/findings.md: `CERTWARD_WRITE_DOCS=1 cargo test -p certward-pki findings_md`.
#[test]
fn findings_md_is_what_the_table_says() {
    let page = findings_md();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/findings.md");
    if std::env::var_os("CERTWARD_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/findings.md is not what the table says; see the comment of this test");
}

fn findings_md() -> String {
    let mut page = "# Findings\n\n\
        What certward says about an upload, most important first. An **error** refuses the upload; its\n\
        code is also the `code` of the 422 answer if nothing more important was found. A **warning**\n\
        accepts and reports. A **notice** reports a repair. `certward check` and `POST …/tls/check` say\n\
        the same without storing anything.\n\n\
        This page is made from the table in `crates/pki/src/code.rs`.\n"
        .to_owned();
    let mut severity = None;
    for doc in catalogue() {
        if severity.replace(doc.severity) != Some(doc.severity) {
            let title = match doc.severity {
                Severity::Error => "Errors",
                Severity::Warning => "Warnings",
                Severity::Notice => "Notices",
            };
            page += &format!("\n## {title}\n");
        }
        page += &format!("\n### {}\n", doc.name);
        for paragraph in [
            literal(doc.meaning),
            format!("**Example:** {}", code_kept(doc.example)),
            format!("**Remedy:** {}", literal(doc.remedy)),
            format!("*Source: {}*", doc.source),
        ] {
            page += &format!("\n{}\n", wrapped(&paragraph));
        }
    }
    page
}

/// Breaks lines at blanks, before column 100.
fn wrapped(paragraph: &str) -> String {
    let (mut lines, mut column) = (String::new(), 0);
    for word in paragraph.split(' ') {
        let len = word.chars().count();
        let separator = match column {
            0 => "",
            _ if column + 1 + len > 100 => "\n",
            _ => " ",
        };
        column = if separator == " " { column + 1 + len } else { len };
        lines += separator;
        lines += word;
    }
    lines
}

/// Inside back quotes everything is literal.
fn code_kept(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(n, part)| if n % 2 == 0 { literal(part) } else { part.to_owned() })
        .collect::<Vec<_>>()
        .join("`")
}

/// Escapes Markdown.
fn literal(text: &str) -> String {
    text.replace('*', "\\*").replace('<', "&lt;")
}
