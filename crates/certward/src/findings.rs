//! Findings as text.

use std::fmt::Write as _;

use crate::{
    api_types::{CheckAnswer, FindingAnswer, ServedAnswer},
    chain_tree, impact,
    output::plain,
    style::{Style, Tone},
    wording::{self, Typed},
};

pub(crate) fn report(check: &CheckAnswer, typed: &Typed, style: Style) -> String {
    let verdict = match check.accepted {
        true => style.paint(Tone::Good, "accepted"),
        false => style.paint(Tone::Bad, "refused"),
    };
    let mut report = format!("{verdict}: {}", count(&check.findings));
    if !check.findings.is_empty() {
        let _ = write!(report, "\n\n{}", listed(&check.findings, typed, style));
    }
    if let Some(served) = &check.serves {
        let _ = write!(report, "\n\n{}", would_be_served(served));
    }
    let (chain, sent) = match &check.serves {
        Some(served) if check.found.is_empty() => (&served.chain, Some(served.chain.len())),
        served => (&check.found, served.as_ref().map(|served| served.chain_length)),
    };
    if !chain.is_empty() {
        let _ = write!(report, "\n\n{}", chain_tree::draw(chain, sent, style));
    }
    if let Some(impact) = &check.impact {
        let _ = write!(report, "\n\n{}", impact::text(impact, style));
    }
    report
}

fn would_be_served(served: &ServedAnswer) -> String {
    let name = served.cn.as_deref().map_or_else(|| "no common name".to_owned(), plain);
    let intermediates = match served.chain_length.saturating_sub(1) {
        0 => "no intermediate".to_owned(),
        1 => "1 intermediate".to_owned(),
        count => format!("{count} intermediates"),
    };
    let clients = match served.client_cas {
        0 => "no client certificates".to_owned(),
        1 => "client certificates of 1 CA".to_owned(),
        count => format!("client certificates of {count} CAs"),
    };
    format!(
        "Would be served: {name}, valid to {} UTC, with {intermediates}; {}, {clients}",
        plain(&served.expire),
        plain(&served.tls_type)
    )
}

/// Without a last line break.
pub(crate) fn text(findings: &[FindingAnswer], typed: &Typed) -> String {
    listed(findings, typed, Style::Plain)
}

pub(crate) fn counted(findings: &[FindingAnswer], typed: &Typed) -> String {
    format!("{}\n{}", count(findings), text(findings, typed))
}

fn listed(findings: &[FindingAnswer], typed: &Typed, style: Style) -> String {
    let texts: Vec<String> = findings.iter().map(|finding| one(finding, typed, style)).collect();
    texts.join("\n")
}

fn one(finding: &FindingAnswer, typed: &Typed, style: Style) -> String {
    let tone = match finding.severity.as_str() {
        "error" => Tone::Bad,
        "warning" => Tone::Doubtful,
        _ => Tone::Remark,
    };
    let severity = style.paint(tone, &plain(&finding.severity));
    let mut text = format!("{severity} {} in {}", plain(&finding.code), plain(&typed.place(finding)));
    let _ = write!(text, "\n    {}", plain(&wording::message(&finding.message, typed)));
    if !finding.remedy.is_empty() {
        let _ = write!(text, "\n    Do: {}", plain(&wording::remedy(finding, typed)));
    }
    text
}

/// Per severity, such as `1 error, 2 warnings`.
fn count(findings: &[FindingAnswer]) -> String {
    let counts = ["error", "warning", "notice"]
        .map(|severity| (severity, findings.iter().filter(|finding| finding.severity == severity).count()));
    let texts: Vec<String> = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(severity, count)| format!("{count} {severity}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if texts.is_empty() { "no findings".to_owned() } else { texts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_types::FindingItem;

    #[test]
    fn a_finding_says_where_what_and_what_to_do() {
        let finding = FindingAnswer {
            code: "KEY_MISMATCH".into(),
            severity: "error".into(),
            field: "key".into(),
            item: Some(FindingItem { index: 0, subject: Some("CN=a\u{1b}b".into()) }),
            message: "The key is another certificate's.".into(),
            remedy: "Send the key that the request was made with.".into(),
        };
        assert_eq!(
            text(std::slice::from_ref(&finding), &Typed::default()),
            "error KEY_MISMATCH in --key, 1st, CN=a\\u{1b}b\n    The key is another certificate's.\n    \
             Do: Use the key that the request was made with."
        );
        assert_eq!(count(&[finding.clone(), finding]), "2 errors");
        assert_eq!(count(&[]), "no findings");
    }
}
