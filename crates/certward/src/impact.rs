//! What a change does to devices, as text.

use crate::{
    api_types::{ImpactAnswer, RefusedAnswer},
    output::plain,
    style::{Style, Tone},
    table::TextTable,
};

/// Without a last line break.
pub(crate) fn text(impact: &ImpactAnswer, style: Style) -> String {
    let tone = match impact.severity.as_str() {
        "severe" => Tone::Bad,
        "notable" => Tone::Doubtful,
        _ => Tone::Good,
    };
    let severity = style.paint(tone, &plain(&impact.severity));
    let lines = lines(impact);
    if lines.is_empty() {
        let (connected, known) =
            (devices(impact.connected.of, "connected"), devices(impact.known.of, "known"));
        return format!(
            "Impact: {severity}. No device that is accepted now would be refused ({connected}, {known})."
        );
    }
    // After the change it is still as of before.
    let as_of = plain(&impact.as_of);
    format!("Impact, as of {as_of} UTC: {severity}.\n{}", indented(&lines))
}

/// What would happen, such as `50 of 50 connected devices would be refused`; up to 20 of them by
/// name.
pub(crate) fn lines(impact: &ImpactAnswer) -> Vec<String> {
    let mut lines = Vec::new();
    for (share, which) in [(impact.connected, "connected"), (impact.known, "known")] {
        let RefusedAnswer { refused, of, not_judged } = share;
        if refused > 0 {
            lines.push(format!("{refused} of {} would be refused", devices(of, which)));
        }
        if let Some(count) = not_judged {
            let more = devices(count, which);
            lines
                .push(format!("{more} more may be refused: no certificate of their path of issuers is kept"));
        }
    }
    if let Some((first, others)) = impact.named.split_first() {
        let mut table = TextTable::new([&first.name, &first.reason]);
        for device in others {
            table.row([&device.name, &device.reason]);
        }
        lines.extend(table.text().lines().map(|line| format!("  {line}")));
    }
    for host in &impact.hosts_lost {
        lines.push(format!("the host {} is in use, and the new certificate does not cover it", plain(host)));
    }
    if let Some(change) = &impact.root_changed {
        let (from, to) = (plain(&change.from), plain(&change.to));
        lines.push(format!(
            "the root would be {to} instead of {from}: devices that trust only {from} cannot verify it"
        ));
    }
    if let Some(change) = &impact.key_kind_changed {
        let (from, to) = (plain(&change.from), plain(&change.to));
        let percent = change.share * 100.0;
        let who = match change.share > 0.0 {
            true => format!("{percent:.1} % of what devices offer, by network, cannot verify it"),
            false => "all that devices offer can verify it".to_owned(),
        };
        lines.push(format!("the key would be {to} instead of {from}: {who}"));
    }
    lines.extend(missing(impact));
    lines
}

/// Two spaces before each.
pub(crate) fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn devices(count: u64, which: &str) -> String {
    format!("{count} {which} device{}", if count == 1 { "" } else { "s" })
}

fn missing(impact: &ImpactAnswer) -> Option<String> {
    match &impact.silent_nodes[..] {
        [] => None,
        [all] if all == "*" => {
            Some("the other nodes could not be asked, and may have more devices".to_owned())
        }
        nodes => {
            let nodes: Vec<String> = nodes.iter().map(|node| plain(node)).collect();
            Some(format!("no answer in time from {}, which may have more devices", nodes.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_types::{KeyKindChangeAnswer, RejectedAnswer, RootChangeAnswer};

    #[test]
    fn an_ordinary_renewal_takes_one_line() {
        let impact = ImpactAnswer {
            severity: "none".to_owned(),
            connected: RefusedAnswer { refused: 0, of: 1, not_judged: None },
            known: RefusedAnswer { refused: 0, of: 120, not_judged: None },
            ..ImpactAnswer::default()
        };
        assert_eq!(
            text(&impact, Style::Plain),
            "Impact: none. No device that is accepted now would be refused (1 connected device, 120 known devices)."
        );
    }

    #[test]
    fn each_part_says_its_numbers_its_names_and_why() {
        let rejected = |name: &str, reason: &str| RejectedAnswer {
            id: None,
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        let impact = ImpactAnswer {
            severity: "severe".to_owned(),
            connected: RefusedAnswer { refused: 50, of: 50, not_judged: None },
            known: RefusedAnswer { refused: 7, of: 120, not_judged: Some(2) },
            named: vec![
                rejected("meter\n7", "No client CA issued the certificate."),
                rejected("192.0.2.7", "It sent no certificate."),
            ],
            hosts_lost: vec!["b.example.com".to_owned()],
            root_changed: Some(RootChangeAnswer { from: "CN=old".to_owned(), to: "CN=new".to_owned() }),
            key_kind_changed: Some(KeyKindChangeAnswer {
                from: "RSA 2048".to_owned(),
                to: "ECDSA P-256".to_owned(),
                share: 0.1,
            }),
            as_of: "2026-11-25 12:00:00".to_owned(),
            silent_nodes: vec!["n2".to_owned(), "n3".to_owned()],
        };
        assert_eq!(
            text(&impact, Style::Plain),
            "Impact, as of 2026-11-25 12:00:00 UTC: severe.\n\
             \x20 50 of 50 connected devices would be refused\n\
             \x20 7 of 120 known devices would be refused\n\
             \x20 2 known devices more may be refused: no certificate of their path of issuers is kept\n\
             \x20   meter\\u{a}7  No client CA issued the certificate.\n\
             \x20   192.0.2.7    It sent no certificate.\n\
             \x20 the host b.example.com is in use, and the new certificate does not cover it\n\
             \x20 the root would be CN=new instead of CN=old: devices that trust only CN=old cannot verify it\n\
             \x20 the key would be ECDSA P-256 instead of RSA 2048: 10.0 % of what devices offer, by network, cannot verify it\n\
             \x20 no answer in time from n2, n3, which may have more devices"
        );
    }
}
