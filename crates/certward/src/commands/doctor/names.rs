//! The hosts of deployments in the DNS, as this machine sees it.

use std::{net::IpAddr, time::Duration};

use certward_pki::HostName;
use certward_store::DeploymentId;
use tokio::{net::lookup_host, time::timeout};

use super::{
    check::{Check, CheckKind},
    inspected_deployment::InspectedDeployment,
    jobs::NetworkQuestion,
};

/// The system's resolver asks a second server after 5 s.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(3);
/// Per deployment; the names of one mostly lead to one place.
const HOSTS_MAX: usize = 8;
const ADDRESSES_SHOWN_MAX: usize = 4;

/// A wildcard has no address of its own.
pub(super) fn jobs(deployments: &[InspectedDeployment]) -> Vec<NetworkQuestion> {
    let hosts = deployments.iter().flat_map(|looked| {
        let hosts = looked.deployment.spec.hosts.iter().filter(|host| !host.is_wildcard());
        hosts.take(HOSTS_MAX).map(|host| (looked.deployment.id.clone(), host.clone()))
    });
    hosts
        .map(|(id, host)| NetworkQuestion {
            about: format!("the name {host} of {id}"),
            work: Box::pin(async move { vec![look_up(&id, &host).await] }),
        })
        .collect()
}

async fn look_up(id: &DeploymentId, host: &HostName) -> Check {
    // The port is not used.
    let found = timeout(LOOK_UP_TIMEOUT, lookup_host((host.as_str(), 1))).await;
    let addresses = found.ok().and_then(Result::ok).map(|found| found.map(|address| address.ip()).collect());
    say(id, host, addresses.unwrap_or_default())
}

fn say(id: &DeploymentId, host: &HostName, mut addresses: Vec<IpAddr>) -> Check {
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        let sentence =
            format!("{id}: the name {host} has no address here: devices that look it up cannot connect");
        let fix = format!("add {host} to the DNS, with the address that devices reach certward at");
        return Check::warning(CheckKind::HostName, sentence, fix);
    }
    let shown: Vec<String> = addresses.iter().take(ADDRESSES_SHOWN_MAX).map(IpAddr::to_string).collect();
    let more = addresses.len() - shown.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Check::ok(CheckKind::HostName, format!("{id}: {host} has the address {}{more}", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[tokio::test]
    async fn a_name_is_shown_with_its_addresses() {
        let id = DeploymentId::parse("d1").unwrap();
        let host = |name: &str| HostName::parse(name).unwrap();
        let check = look_up(&id, &host("localhost")).await;
        assert_eq!(check.verdict, Verdict::Ok);
        assert!(check.sentence.starts_with("d1: localhost has the address "), "{check:?}");
        // RFC 6761: never in the DNS.
        let check = look_up(&id, &host("broker.invalid")).await;
        assert_eq!(check.verdict, Verdict::Warning, "{check:?}");
        let many = (0..6).chain([0]).map(|last| IpAddr::from([192, 0, 2, last])).collect();
        assert!(say(&id, &host("a.example"), many).sentence.ends_with("192.0.2.3 and 2 more"));
    }
}
