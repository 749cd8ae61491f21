use std::net::SocketAddr;

use certward_pki::{HostName, NoEntryPoint};
use certward_store::{Deployment, DeploymentId};

use crate::{Listener, Protocol};

/// The other hosts share the same configuration.
const HOSTS_PROVEN_MAX: usize = 8;

/// A listener and a host, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryPoint {
    pub(crate) listener: usize,
    pub(crate) host: Option<HostName>,
}

/// At least one; at most eight hosts per listener.
pub(crate) fn entry_points(
    listeners: &[Listener],
    default: Option<&DeploymentId>,
    deployment: &Deployment,
) -> Result<Vec<EntryPoint>, NoEntryPoint> {
    let hosts: Vec<Option<HostName>> = {
        let hosts = deployment.spec.hosts.iter().take(HOSTS_PROVEN_MAX).cloned().map(Some);
        hosts.chain((default == Some(&deployment.id)).then_some(None)).collect()
    };
    let is_open = |listener: &Listener| match &listener.deployment {
        Some(bound) => *bound == deployment.id,
        None => true,
    };
    let mut reason = NoEntryPoint::NoListener;
    let mut ways = Vec::new();
    for (at, listener) in listeners.iter().enumerate().filter(|(_, listener)| is_open(listener)) {
        let names = if listener.deployment.is_some() { &[None] } else { hosts.as_slice() };
        if names.is_empty() {
            reason = NoEntryPoint::NoHost;
        } else if listener.protocol == Protocol::Wss && deployment.spec.ws_upstream.is_none() {
            reason = NoEntryPoint::NoWebSocketBroker;
        } else {
            ways.extend(names.iter().map(|host| EntryPoint { listener: at, host: host.clone() }));
        }
    }
    if ways.is_empty() { Err(reason) } else { Ok(ways) }
}

/// To dial from this machine.
pub(crate) fn reach(listening: SocketAddr) -> SocketAddr {
    let mut address = listening;
    match listening {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => address.set_ip([127, 0, 0, 1].into()),
        // A listener on [::] also takes IPv4, and a container's loopback may lack IPv6.
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => address.set_ip([127, 0, 0, 1].into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use certward_store::{
        DeploymentSpec, Generation, ProjectId, RevocationMark, Timestamp, TlsState, UpstreamList,
    };

    use super::*;

    fn id(text: &str) -> DeploymentId {
        DeploymentId::parse(text).unwrap()
    }

    fn deployment(hosts: &[&str], ws: bool) -> Deployment {
        Deployment {
            id: id("d"),
            project: ProjectId::default_project(),
            spec: DeploymentSpec {
                ws_upstream: ws.then(|| UpstreamList::parse("127.0.0.1:8083").unwrap()),
                hosts: hosts.iter().map(|host| HostName::parse(host).unwrap()).collect(),
                ..DeploymentSpec::new(UpstreamList::parse("127.0.0.1:1883").unwrap())
            },
            created_at: Timestamp(0),
            born: Generation(1),
            generation: Generation(1),
            tls: TlsState::Absent,
            revocations: RevocationMark::default(),
            close_rate: None,
            close_rate_number: 0,
        }
    }

    fn listeners() -> Vec<Listener> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        vec![
            Listener::shared(any, Protocol::Mqtts),
            Listener::shared(any, Protocol::Wss),
            Listener::bound_to(id("d"), any, Protocol::Mqtts),
            Listener::bound_to(id("other"), any, Protocol::Mqtts),
        ]
    }

    fn ways(listeners: &[Listener], default: Option<&str>, deployment: &Deployment) -> Vec<(usize, String)> {
        entry_points(listeners, default.map(id).as_ref(), deployment)
            .into_iter()
            .flatten()
            .map(|way| (way.listener, way.host.map_or("-".to_owned(), |host| host.to_string())))
            .collect()
    }

    #[test]
    fn every_listener_and_name_is_an_entry_point() {
        let way = |at: usize, host: &str| (at, host.to_owned());
        let all = listeners();
        assert_eq!(
            ways(&all, None, &deployment(&["a", "b"], false)),
            [way(0, "a"), way(0, "b"), way(2, "-")]
        );
        assert_eq!(
            ways(&all, Some("d"), &deployment(&["a"], true)),
            [way(0, "a"), way(0, "-"), way(1, "a"), way(1, "-"), way(2, "-")]
        );
        assert_eq!(ways(&all[..2], Some("other"), &deployment(&[], true)), []);
        assert_eq!(ways(&all[1..2], None, &deployment(&["a"], false)), [], "wss needs a ws-upstream");
    }

    #[test]
    fn a_missing_entry_point_is_named_by_what_is_missing() {
        use NoEntryPoint::{NoHost, NoListener, NoWebSocketBroker};
        use Protocol::{Mqtts, Wss};
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let shared = |protocol| Listener::shared(any, protocol);
        let bound = |to: &str, protocol| Listener::bound_to(id(to), any, protocol);
        let (named, nameless) = (deployment(&["a"], false), deployment(&[], false));
        for (what, listeners, default, deployment, reason) in [
            ("a host, the only listener is another's", vec![bound("other", Mqtts)], None, &named, NoListener),
            ("the default, the same", vec![bound("other", Mqtts)], Some("d"), &nameless, NoListener),
            ("no host, the same", vec![bound("other", Mqtts)], None, &nameless, NoListener),
            ("no listener at all", vec![], None, &named, NoListener),
            ("no host", vec![shared(Mqtts)], None, &nameless, NoHost),
            ("no host, another is the default", vec![shared(Mqtts)], Some("other"), &nameless, NoHost),
            ("no host, wss", vec![shared(Wss)], None, &nameless, NoHost),
            ("a host, wss", vec![shared(Wss)], None, &named, NoWebSocketBroker),
            ("the default, wss", vec![shared(Wss)], Some("d"), &nameless, NoWebSocketBroker),
            ("wss of its own", vec![bound("d", Wss)], None, &nameless, NoWebSocketBroker),
            (
                "a host, wss, and another's listener",
                vec![shared(Wss), bound("other", Mqtts)],
                None,
                &named,
                NoWebSocketBroker,
            ),
        ] {
            assert_eq!(entry_points(&listeners, default.map(id).as_ref(), deployment), Err(reason), "{what}");
        }
    }

    #[test]
    fn a_proof_goes_through_eight_hosts_at_most() {
        let hosts: Vec<String> = (0..20).map(|n| format!("h{n}")).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        assert_eq!(ways(&listeners()[..1], None, &deployment(&hosts, false)).len(), 8);
    }
}
