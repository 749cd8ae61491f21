//! The chain as a tree, the root on top.

use std::fmt::Write as _;

use crate::{
    api_types::ServedCertificate,
    output::plain,
    style::{Style, Tone},
};

/// Readable at a glance.
const NAMES_SHOWN_MAX: usize = 8;

/// `chain`: leaf first; its first `sent` are sent to devices. A missing issuer is a name only.
pub(crate) fn draw(chain: &[ServedCertificate], sent: Option<usize>, style: Style) -> String {
    let Some(top) = chain.last() else { return String::new() };
    let mut tree = String::new();
    let mut depth = 0;
    if top.issuer != top.subject {
        let _ = writeln!(tree, "{} {}", plain(&top.issuer), style.paint(Tone::Faint, "(not given)"));
        depth = 1;
    }
    for (place, certificate) in chain.iter().enumerate().rev() {
        let (branch, below) = if depth == 0 {
            (String::new(), String::new())
        } else {
            ("   ".repeat(depth - 1) + "└─ ", "   ".repeat(depth))
        };
        let note = match sent {
            Some(sent) if place >= sent => " (not sent: devices hold it)",
            _ => "",
        };
        let _ = writeln!(
            tree,
            "{}{}{}",
            style.paint(Tone::Faint, &branch),
            plain(&certificate.subject),
            style.paint(Tone::Faint, note)
        );
        let stem = if place == 0 { "   " } else { "│  " };
        for line in facts(certificate) {
            let _ = writeln!(tree, "{}{line}", style.paint(Tone::Faint, &format!("{below}{stem}")));
        }
        depth += 1;
    }
    tree.truncate(tree.trim_end().len());
    tree
}

fn facts(certificate: &ServedCertificate) -> Vec<String> {
    let mut lines = vec![
        plain(&certificate.key),
        format!("valid from {} to {} UTC", plain(&certificate.not_before), plain(&certificate.expire)),
    ];
    if !certificate.names.is_empty() {
        let shown: Vec<String> =
            certificate.names.iter().take(NAMES_SHOWN_MAX).map(|name| plain(name)).collect();
        let more = match certificate.names.len().saturating_sub(NAMES_SHOWN_MAX) {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        lines.push(format!("for {}{more}", shown.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(subject: &str, issuer: &str, names: &[&str]) -> ServedCertificate {
        ServedCertificate {
            subject: subject.into(),
            issuer: issuer.into(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            key: "ECDSA P-256".into(),
            not_before: "2026-01-01 00:00:00".into(),
            expire: "2027-01-01 00:00:00".into(),
        }
    }

    #[test]
    fn each_certificate_stands_under_its_issuer() {
        let leaf = certificate("CN=leaf", "CN=ca", &["a.example", "b.example"]);
        let ca = certificate("CN=ca", "CN=root", &[]);
        let root = certificate("CN=root", "CN=root", &[]);
        assert_eq!(
            draw(&[leaf, ca, root], Some(2), Style::Plain),
            "CN=root (not sent: devices hold it)\n\
             │  ECDSA P-256\n\
             │  valid from 2026-01-01 00:00:00 to 2027-01-01 00:00:00 UTC\n\
             └─ CN=ca\n   │  ECDSA P-256\n   │  valid from 2026-01-01 00:00:00 to 2027-01-01 00:00:00 UTC\n   \
             └─ CN=leaf\n         ECDSA P-256\n         valid from 2026-01-01 00:00:00 to 2027-01-01 00:00:00 UTC\n         \
             for a.example, b.example"
        );
    }

    #[test]
    fn an_issuer_that_was_not_given_is_drawn_as_its_name_and_nothing_acts_on_the_terminal() {
        let leaf = certificate("CN=a\u{1b}[2Jb", "CN=c\u{202e}a", &["x\r\ny"; 10]);
        let drawn = draw(&[leaf], Some(1), Style::Plain);
        assert!(drawn.starts_with("CN=c\\u{202e}a (not given)\n└─ CN=a\\u{1b}[2Jb\n"), "{drawn}");
        assert!(drawn.contains("x\\u{d}\\u{a}y") && drawn.ends_with("and 2 more"), "{drawn}");
        assert_eq!(draw(&[], None, Style::Plain), "");
    }
}
