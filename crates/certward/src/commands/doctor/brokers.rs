//! Each broker, dialled as a device's connection is, and asked whether it understands that.

use std::{collections::BTreeMap, sync::Arc};

use certward_gateway::{BrokerProber, BrokerVerdict, Protocol, Settings};
use certward_lifecycle::{Entropy, SystemEntropy};
use certward_store::{Boundaries, DeploymentId, ProjectId, ProxyProtocol, Upstream, UpstreamAllow};

use super::{
    check::{Check, CheckKind},
    inspected_deployment::InspectedDeployment,
    jobs::NetworkQuestion,
};
use crate::config::Config;

/// Deployments whose connections to an address are alike share a probe.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ProbeKey {
    address: String,
    is_wss: bool,
    proxy: &'static str,
    /// Its list of allowed upstreams.
    project: Option<ProjectId>,
}

struct SharedProbe {
    upstream: Upstream,
    protocol: Protocol,
    proxy: ProxyProtocol,
    allow: Option<UpstreamAllow>,
    project: ProjectId,
    deployments: Vec<DeploymentId>,
}

pub(super) fn jobs(
    config: &Config,
    deployments: &[InspectedDeployment],
    boundaries: &Boundaries,
) -> Vec<NetworkQuestion> {
    let settings = Settings {
        own_addresses: vec![config.api.listen],
        listeners: config.gateway.listeners(),
        upstream_allow: config
            .gateway
            .upstream_allow
            .as_ref()
            .map(|list| list.iter().map(|it| it.0).collect()),
        upstream_nat64: config.gateway.upstream_nat64.clone(),
        upstream_source: config.gateway.upstream_source.clone(),
        ..Settings::default()
    };
    let mut seed = [0; 8];
    SystemEntropy.fill(&mut seed);
    let prober = Arc::new(BrokerProber::new(&settings, u64::from_ne_bytes(seed)));
    shared(deployments, boundaries).into_values().map(|probe| job(Arc::clone(&prober), probe)).collect()
}

fn shared(deployments: &[InspectedDeployment], boundaries: &Boundaries) -> BTreeMap<ProbeKey, SharedProbe> {
    let mut probes = BTreeMap::new();
    for InspectedDeployment { deployment, .. } in deployments {
        let (spec, project) = (&deployment.spec, &deployment.project);
        let allow = boundaries.upstream_allow.iter().find(|(of, _)| of == project).map(|(_, allow)| allow);
        let mqtt = spec.upstream.as_slice().iter().map(|upstream| (upstream, Protocol::Mqtts));
        let ws = spec
            .ws_upstream
            .iter()
            .flat_map(|list| list.as_slice())
            .map(|upstream| (upstream, Protocol::Wss));
        for (upstream, protocol) in mqtt.chain(ws) {
            let key = ProbeKey {
                address: upstream.claimed(),
                is_wss: protocol == Protocol::Wss,
                proxy: spec.proxy.protocol.as_str(),
                project: allow.map(|_| project.clone()),
            };
            let probe = probes.entry(key).or_insert_with(|| SharedProbe {
                upstream: upstream.clone(),
                protocol,
                proxy: spec.proxy.protocol,
                allow: allow.cloned(),
                project: project.clone(),
                deployments: Vec::new(),
            });
            probe.deployments.push(deployment.id.clone());
        }
    }
    probes
}

fn job(prober: Arc<BrokerProber>, probe: SharedProbe) -> NetworkQuestion {
    NetworkQuestion {
        about: probe.name(),
        work: Box::pin(async move {
            let SharedProbe { upstream, protocol, proxy, allow, .. } = &probe;
            let verdict = prober.probe(upstream, *protocol, *proxy, allow.as_ref()).await;
            vec![probe.say(&verdict)]
        }),
    }
}

impl SharedProbe {
    /// `d1's broker 127.0.0.1:1883`.
    fn name(&self) -> String {
        let kind = match self.protocol {
            Protocol::Mqtts => "broker",
            Protocol::Wss => "WebSocket broker",
        };
        let whose = match &self.deployments[..] {
            [] => String::new(),
            [one] => format!("{one}'s"),
            [one, two] => format!("{one}'s and {two}'s"),
            [one, rest @ ..] => format!("{one}'s and {} others'", rest.len()),
        };
        format!("{whose} {kind} {}", self.upstream)
    }

    fn say(&self, verdict: &BrokerVerdict) -> Check {
        let (kind, name) = (CheckKind::Broker, self.name());
        let with = if self.proxy == ProxyProtocol::None { "without" } else { "behind" };
        let set = |flag: &str| {
            let each: Vec<String> = self
                .deployments
                .iter()
                .take(3)
                .map(|id| format!("certward deployment set {id} {flag}"))
                .collect();
            each.join("; ")
        };
        match verdict {
            BrokerVerdict::Answers => {
                Check::ok(kind, format!("{name} answers {with} a PROXY header, as the deployment says"))
            }
            BrokerVerdict::ExpectsHeader => Check::error(
                kind,
                format!(
                    "{name} expects a PROXY header, and the deployment sends none: devices are disconnected"
                ),
                format!(
                    "{} (docs/brokers.md: which protocol of v2, emqx and mosquitto)",
                    set("--proxy-protocol v2")
                ),
            ),
            BrokerVerdict::ExpectsNoHeader => Check::error(
                kind,
                format!(
                    "{name} does not expect a PROXY header, and the deployment sends one: devices are disconnected"
                ),
                set("--proxy-protocol none"),
            ),
            BrokerVerdict::Silent => Check::warning(
                kind,
                match self.protocol {
                    Protocol::Mqtts => format!("{name} accepts connections but answers no CONNECT"),
                    Protocol::Wss => format!("{name} accepts connections but answers no HTTP upgrade"),
                },
                "see the broker's log; is this its plain port?",
            ),
            BrokerVerdict::Unreachable { reason, message } => {
                let flag = match self.protocol {
                    Protocol::Mqtts => "--upstream HOST:PORT",
                    Protocol::Wss => "--ws-upstream HOST:PORT",
                };
                let fix = match *reason {
                    "not_allowed" => {
                        format!("add it to upstream_allow in [gateway], or name another: {}", set(flag))
                    }
                    "not_allowed_by_project" => {
                        let project = &self.project;
                        format!("see certward project show {project}; an admin adds it with --upstream-allow")
                    }
                    "source_unusable" => {
                        "give this machine the address, or take it out of upstream_source".to_owned()
                    }
                    _ => format!("start the broker, or name its address: {}", set(flag)),
                };
                Check::error(kind, format!("{name} is not reached: {message}"), fix)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    fn probe(deployments: &[&str], protocol: Protocol, proxy: ProxyProtocol) -> SharedProbe {
        SharedProbe {
            upstream: Upstream::parse("127.0.0.1:1883").unwrap(),
            protocol,
            proxy,
            allow: None,
            project: ProjectId::default_project(),
            deployments: deployments.iter().map(|id| DeploymentId::parse(id).unwrap()).collect(),
        }
    }

    #[test]
    fn a_broker_is_named_with_its_deployments_and_the_command() {
        use BrokerVerdict::{Answers, ExpectsHeader, ExpectsNoHeader, Silent, Unreachable};
        let unreachable = |reason| Unreachable { reason, message: "why".into() };
        let (mqtt, wss) = (Protocol::Mqtts, Protocol::Wss);
        for (probe, verdict, expected, says, fix) in [
            (
                probe(&["d1"], mqtt, ProxyProtocol::None),
                Answers,
                Verdict::Ok,
                "d1's broker 127.0.0.1:1883 answers without",
                "",
            ),
            (
                probe(&["d1"], mqtt, ProxyProtocol::V2),
                ExpectsNoHeader,
                Verdict::Error,
                "d1's broker 127.0.0.1:1883 does not expect a PROXY header",
                "certward deployment set d1 --proxy-protocol none",
            ),
            (
                probe(&["d1", "d2"], mqtt, ProxyProtocol::None),
                ExpectsHeader,
                Verdict::Error,
                "d1's and d2's broker 127.0.0.1:1883 expects",
                "certward deployment set d1 --proxy-protocol v2; certward deployment set d2 --proxy-protocol v2",
            ),
            (
                probe(&["d1", "d2", "d3"], wss, ProxyProtocol::None),
                Silent,
                Verdict::Warning,
                "d1's and 2 others' WebSocket broker 127.0.0.1:1883 accepts connections but answers no HTTP upgrade",
                "log",
            ),
            (
                probe(&["d1"], wss, ProxyProtocol::None),
                unreachable("refused"),
                Verdict::Error,
                "is not reached: why",
                "certward deployment set d1 --ws-upstream HOST:PORT",
            ),
            (
                probe(&["d1"], mqtt, ProxyProtocol::None),
                unreachable("not_allowed_by_project"),
                Verdict::Error,
                "is not reached",
                "certward project show default",
            ),
        ] {
            let check = probe.say(&verdict);
            assert_eq!(check.verdict, expected, "{check:?}");
            assert!(check.sentence.contains(says), "{check:?}");
            assert!(check.fix.clone().unwrap_or_default().contains(fix), "{check:?}");
        }
    }
}
