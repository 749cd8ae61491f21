//! Texts of the API as the command line shows them.

use std::borrow::Cow;

use super::{api_words, remedies, typed::Typed};
use crate::api_types::FindingAnswer;

/// What is wrong.
pub(crate) fn message(text: &str, typed: &Typed) -> String {
    api_words::replace(text, typed)
}

/// Of an error without findings.
pub(crate) fn error_message(code: &str, text: &str, typed: &Typed) -> String {
    api_words::replace(remedies::message_of(code).unwrap_or(text), typed)
}

/// What to do about a finding, as a command to copy where there is one.
pub(crate) fn remedy(finding: &FindingAnswer, typed: &Typed) -> String {
    let FindingAnswer { code, field, remedy, .. } = finding;
    let mut text = api_words::replace(remedies::of(code).unwrap_or(remedy), typed);
    for (sent, used) in [("Send ", "Use "), (" send ", " use ")] {
        text = text.replace(sent, used);
    }
    // Its command opens the key.
    let field = if field == "keyPassword" { "key" } else { field };
    if let Some(path) = typed.file(field) {
        text = text.replace(" FILE", &format!(" {}", quoted(path)));
    }
    if let Some(id) = &typed.deployment {
        for command in ["deployment set", "tls set", "tls check", "tls show"] {
            text = text.replace(&format!("{command} ID"), &format!("{command} {id}"));
        }
    }
    text
}

/// As a shell takes it.
fn quoted(path: &str) -> Cow<'_, str> {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ':' | '@');
    match !path.is_empty() && !path.starts_with('-') && path.chars().all(is_plain) {
        true => Cow::Borrowed(path),
        false => Cow::Owned(format!("'{}'", path.replace('\'', "'\\''"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::wording::typed::tests::typed;

    #[test]
    fn a_remedy_is_a_command_to_copy() {
        let remedy = |code: &str, field: &str, api: &str| {
            let finding = FindingAnswer {
                code: code.into(),
                field: field.into(),
                remedy: api.into(),
                ..FindingAnswer::default()
            };
            super::remedy(&finding, &typed())
        };
        assert_eq!(
            remedy("NO_WAY_IN", "cert", "Do: certward deployment set ID --host NAME."),
            "Do: certward deployment set north --host NAME."
        );
        assert_eq!(
            remedy("CERT_UNREADABLE", "cert", "Check it with openssl x509 -in FILE -noout -text."),
            "Check it with openssl x509 -in north.pem -noout -text."
        );
        assert!(
            remedy("KEY_ENCRYPTED", "key", "as keyPassword")
                .contains("openssl pkey -in 'the north'\\''s.key' -out decrypted.key"),
        );
        assert_eq!(remedy("NEWER", "key", "See cacert."), "See --client-ca.");
    }

    /// Property names that are no English words, from the OpenAPI document; routes; methods.
    fn api_words() -> BTreeSet<String> {
        fn collect(value: &serde_json::Value, names: &mut BTreeSet<String>) {
            match value {
                serde_json::Value::Object(object) => {
                    for (key, value) in object {
                        if key == "properties"
                            && let Some(properties) = value.as_object()
                        {
                            names.extend(properties.keys().cloned());
                        }
                        collect(value, names);
                    }
                }
                serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
                _ => {}
            }
        }
        let document = serde_json::from_str(certward_api::openapi()).unwrap();
        let mut names = BTreeSet::new();
        collect(&document, &mut names);
        names.retain(|name| name.contains(|c: char| c.is_ascii_uppercase()));
        // The field's own words.
        names.retain(|name| !["notBefore", "notAfter", "thisUpdate", "nextUpdate"].contains(&name.as_str()));
        assert!(names.contains("hostSuffixes") && names.contains("keyPassword"), "{names:?}");
        let words = ["cert", "cacert", "property", "GET", "POST", "PUT", "PATCH", "DELETE", "JSON", "null"];
        names.extend(words.map(str::to_owned));
        names
    }

    fn found_in(text: &str, words: &BTreeSet<String>) -> Vec<String> {
        let of_text = text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')));
        let of_text = of_text.map(|word| word.trim_end_matches('.'));
        of_text.filter(|word| words.contains(*word)).map(str::to_owned).collect()
    }

    #[test]
    fn no_remedy_of_a_finding_speaks_of_the_api() {
        let words = api_words();
        for doc in certward_pki::catalogue() {
            let finding = FindingAnswer {
                code: doc.name.into(),
                field: "cert".into(),
                remedy: doc.remedy.into(),
                ..FindingAnswer::default()
            };
            let shown = remedy(&finding, &Typed::default());
            assert!(found_in(&shown, &words).is_empty(), "{}: {shown}", doc.name);
            assert!(!shown.contains(" in key") && !shown.contains("send"), "{}: {shown}", doc.name);
        }
    }

    /// The texts stand in the sources of two crates as literals; a text that is added there with a
    /// word of the API needs a row here, or a word in `api_words`.
    #[test]
    fn no_text_of_the_server_speaks_of_the_api() {
        let (words, mut seen, mut found) = (api_words(), 0, Vec::new());
        for (file, text) in literals() {
            if REPLACED.iter().any(|known| text.contains(known)) {
                continue;
            }
            seen += 1;
            let shown = message(&text, &Typed::default());
            if !found_in(&shown, &words).is_empty() {
                found.push(format!("{file}: {text:?} is shown as {shown:?}"));
            }
        }
        assert!(found.is_empty(), "{}", found.join("\n"));
        assert!(seen > 100, "{seen} sentences");
        for text in REPLACED {
            assert!(literals().iter().any(|(_, literal)| literal.contains(text)), "{text:?} is gone");
        }
    }

    /// Parts of texts that rows replace by their code, or that the command line cannot cause.
    const REPLACED: [&str; 10] = [
        "replace it with PUT",
        "GET says once it can",
        "for example [\\\"mqtt.example.com\\\"]",
        "or null for none",
        "or null for \\",
        "or null for the default",
        "null takes the restriction away",
        "Send the body as Content-Type",
        "which GET /projects shows, has",
        "hostSuffixes that GET /projects shows",
    ];

    /// Literals that are sentences, of the server's texts for callers.
    fn literals() -> Vec<(String, String)> {
        let api = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/src");
        let pki = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../pki/src");
        let mut files = vec![pki.join("reading.rs"), pki.join("field.rs")];
        files.extend(
            ["detail.rs", "error.rs", "property.rs", "page.rs", "body.rs"].map(|name| api.join(name)),
        );
        let mut folders = vec![api.join("routes"), pki.join("rules")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        let mut literals = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//") && !is_schema(line));
            let code = code.collect::<Vec<_>>().join("\n").replace("\\\"", "\u{1}");
            for literal in code.split('"').skip(1).step_by(2) {
                let literal = literal.replace('\u{1}', "\\\"");
                if literal.contains(' ') {
                    literals.push((file.display().to_string(), literal));
                }
            }
        }
        literals
    }

    /// Of the OpenAPI document, which stays the API's.
    fn is_schema(line: &str) -> bool {
        ["#[schema", "utoipa::path", "description =", "request_body", "params(", "responses(", "summary ="]
            .iter()
            .any(|part| line.contains(part))
    }
}
