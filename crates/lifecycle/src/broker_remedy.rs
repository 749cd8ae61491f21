use certward_store::{DeploymentId, ProxyProtocol};

/// What to do about a broker that devices cannot use, by the reason of docs/brokers.md: one line
/// without a full stop, with the command to copy if there is one.
pub fn broker_remedy(
    reason: &str,
    deployment: &DeploymentId,
    listener: &str,
    proxy: ProxyProtocol,
) -> String {
    let flag = if listener == "wss" { "--ws-upstream" } else { "--upstream" };
    let set = format!("certward deployment set {deployment}");
    match reason {
        "not_configured" => format!("name it: {set} {flag} HOST:PORT"),
        "not_resolved" => format!("correct the name ({set} {flag} HOST:PORT), or the name server"),
        "not_allowed" => {
            format!("correct the address ({set} {flag} HOST:PORT), or permit it in gateway.upstream_allow")
        }
        "not_allowed_by_project" => format!(
            "correct the address ({set} {flag} HOST:PORT), or permit it: certward project set PROJECT --upstream-allow NETWORK"
        ),
        "own_listener" => format!("name the broker's address: {set} {flag} HOST:PORT"),
        "refused" => "start it, or check its address, port and firewall".to_owned(),
        "timeout" => "check whether it runs and is overloaded, and its address and firewall".to_owned(),
        "crowded" => "check its load, or add an address of another broker".to_owned(),
        "source_ports_exhausted" => {
            "add addresses of this machine to gateway.upstream_source, or addresses of the broker".to_owned()
        }
        "source_unusable" => {
            "give this machine the address, or remove it from gateway.upstream_source".to_owned()
        }
        "out_of_files" => "raise the limit of open files (LimitNOFILE), or limit the connections".to_owned(),
        "no_answer" => {
            let (suspicion, other) = match proxy {
                ProxyProtocol::None => ("it may expect a PROXY header", "v2"),
                _ => ("it may not expect the PROXY header that it is sent", "none"),
            };
            format!(
                "{suspicion} ({set} --proxy-protocol {other}), or it is overloaded; certward doctor --deployment {deployment} tries both"
            )
        }
        _ => "see docs/brokers.md".to_owned(),
    }
}

/// Whether sending, or not sending, a PROXY header may be the reason.
pub fn is_proxy_suspected(reason: &str) -> bool {
    reason == "no_answer"
}
