//! Alert channels against the networks that alerts may be sent to. Nothing is sent.

use std::{net::SocketAddr, time::Duration};

use certward_outbound::OutboundAllow;
use certward_store::{AlertChannel, AlertReceiver};
use tokio::{net::lookup_host, time::timeout};

use super::{
    check::{Check, CheckKind},
    jobs::NetworkQuestion,
};
use crate::config::Config;

const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(3);

/// Without the path of a webhook, which may hold a secret.
struct Receiver {
    channel: String,
    host: String,
    port: u16,
}

pub(super) fn jobs(config: &Config, channels: &[AlertChannel]) -> Vec<NetworkQuestion> {
    let allow = OutboundAllow {
        networks: config.alerts.alert_allow.iter().map(|network| network.0).collect(),
        nat64: config.gateway.upstream_nat64.clone(),
    };
    let receivers = channels.iter().filter_map(Receiver::of);
    receivers
        .map(|receiver| {
            let allow = allow.clone();
            NetworkQuestion {
                about: format!("the alert channel {}", receiver.channel),
                work: Box::pin(async move {
                    let found =
                        timeout(LOOK_UP_TIMEOUT, lookup_host((receiver.host.as_str(), receiver.port))).await;
                    let found = found.ok().and_then(Result::ok).map(Iterator::collect).unwrap_or_default();
                    vec![receiver.judge(&allow, found)]
                }),
            }
        })
        .collect()
}

impl Receiver {
    fn of(channel: &AlertChannel) -> Option<Self> {
        let (host, port) = match &channel.receiver {
            AlertReceiver::Webhook { url, .. } => {
                let url = url.as_url();
                (url.host_str()?.trim_matches(['[', ']']).to_owned(), url.port_or_known_default()?)
            }
            AlertReceiver::Mail { settings, .. } => {
                (settings.server().host().to_owned(), settings.server().port())
            }
        };
        Some(Self { channel: channel.id.as_str().to_owned(), host, port })
    }

    fn judge(&self, allow: &OutboundAllow, found: Vec<SocketAddr>) -> Check {
        let (kind, Self { channel, host, port }) = (CheckKind::AlertChannel, self);
        let named = format!("the alert channel {channel} ({host}:{port})");
        let Some(first) = found.first() else {
            let fix = format!("correct the name: certward alert channel remove {channel}, then add it again");
            return Check::error(kind, format!("{named}: the name has no address here"), fix);
        };
        if found.iter().any(|address| allow.check(*address).is_ok()) {
            return Check::ok(
                kind,
                format!("{named} may be sent to; certward alert test {channel} tries it"),
            );
        }
        let bits = if first.is_ipv4() { 32 } else { 128 };
        Check::error(
            kind,
            format!(
                "{named}: its address {} is in no network of alert_allow, so its alerts are not sent",
                first.ip()
            ),
            format!("add \"{}/{bits}\" to alert_allow in [alerts]; systemctl restart certward", first.ip()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn a_channel_outside_of_the_networks_is_an_error() {
        let receiver = Receiver { channel: "c1".into(), host: "hooks.example".into(), port: 443 };
        let allow =
            OutboundAllow { networks: vec!["192.0.2.0/24".parse().unwrap()], ..OutboundAllow::default() };
        let found = |ips: &[&str]| ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 443)).collect();
        for (ips, verdict, says) in [
            (&["192.0.2.7"] as &[&str], Verdict::Ok, "certward alert test c1"),
            (&["2001:db8::1", "192.0.2.7"], Verdict::Ok, "may be sent to"),
            (&["198.51.100.1"], Verdict::Error, "its address 198.51.100.1 is in no network of alert_allow"),
            (&[], Verdict::Error, "no address"),
        ] {
            let check = receiver.judge(&allow, found(ips));
            assert_eq!(check.verdict, verdict, "{check:?}");
            assert!(check.sentence.contains(says), "{check:?}");
        }
    }
}
