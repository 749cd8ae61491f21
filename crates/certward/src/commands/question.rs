//! Asks before devices are disconnected or a key is erased, where a person can answer. Scripts are
//! never asked.

use anyhow::bail;
use certward_store::DeploymentId;

use crate::{
    api_types::DeploymentAnswer,
    client::{Client, ClientError},
    output::plain,
    terminal,
};

/// Hosts that are named in the question.
const HOSTS_MAX: usize = 5;

/// The devices that a change disconnects.
#[derive(Debug, Clone, Copy)]
pub(super) enum Disconnected {
    All,
    /// Those that its client CAs do not verify.
    Untrusted,
}

/// Whether a question would be asked.
pub(super) fn is_asked(yes: bool) -> bool {
    !yes && terminal::is_attended()
}

/// As [`ask_before`], of a change that disconnects no device. `change` has no full stop.
///
/// # Errors
/// If the answer is no: nothing was changed.
pub(super) fn ask(change: &str, yes: bool) -> anyhow::Result<()> {
    if is_asked(yes) { confirm(&format!("{change}. Go on?")) } else { Ok(()) }
}

/// Returns if the answer is yes, or no question is asked.
///
/// # Errors
/// If the answer is no: nothing was changed.
pub(super) async fn ask_before(
    change: &str,
    disconnected: Disconnected,
    id: &DeploymentId,
    yes: bool,
    client: &Client,
) -> anyhow::Result<()> {
    if !is_asked(yes) {
        return Ok(());
    }
    let found = match client.get(&["deployments", id.as_str()]).await {
        Ok(answer) => serde_json::from_value(answer).ok(),
        Err(error @ ClientError::Refused { .. }) if error.is_code("DEPLOYMENT_NOT_FOUND") => {
            return Err(error.into());
        }
        // Such as the limit of reads: the question needs no numbers.
        Err(_) => None,
    };
    confirm(&question(change, disconnected, found.as_ref()))
}

fn confirm(question: &str) -> anyhow::Result<()> {
    if !terminal::confirm(question)? {
        bail!("nothing was changed; --yes goes on without a question");
    }
    Ok(())
}

/// `change` is such as `deletes the certificate of line1`.
fn question(change: &str, disconnected: Disconnected, found: Option<&DeploymentAnswer>) -> String {
    let (whom, of) = match disconnected {
        Disconnected::All => ("all its devices", ": "),
        Disconnected::Untrusted => ("the devices that these do not verify", ", of "),
    };
    let Some(deployment) = found else {
        return format!("This {change}, and disconnects {whom}. Go on?");
    };
    let s = if deployment.connected == 1 { "" } else { "s" };
    let devices = format!("{} device{s} connected now through the node that answers", deployment.connected);
    let hosts = &deployment.hosts;
    let named: Vec<String> = hosts.iter().take(HOSTS_MAX).map(|host| plain(host)).collect();
    let hosts = match hosts.len() {
        0 => "It has no hosts".to_owned(),
        count if count > HOSTS_MAX => {
            format!("Its hosts are {} and {} more", named.join(", "), count - HOSTS_MAX)
        }
        1 => format!("Its host is {}", named.join(", ")),
        _ => format!("Its hosts are {}", named.join(", ")),
    };
    format!("This {change}, and disconnects {whom}{of}{devices}.\n{hosts}. Go on?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_says_in_numbers_what_is_disconnected() {
        let text = |connected: u64, hosts: usize| {
            let hosts = (1..=hosts).map(|n| format!("h{n}\n")).collect();
            let deployment = DeploymentAnswer { connected, hosts, ..DeploymentAnswer::default() };
            question("deletes the certificate of line1", Disconnected::All, Some(&deployment))
        };
        assert_eq!(
            text(3, 2),
            "This deletes the certificate of line1, and disconnects all its devices: 3 devices connected now through \
             the node that answers.\nIts hosts are h1\\u{a}, h2\\u{a}. Go on?"
        );
        assert!(text(1, 1).contains("1 device connected") && text(1, 1).contains("Its host is h1"));
        assert!(text(0, 0).contains("0 devices") && text(0, 0).contains("no hosts"));
        assert!(text(0, 7).contains(" and 2 more. Go on?"), "{}", text(0, 7));
        assert_eq!(
            question("deletes the certificate of line1", Disconnected::All, None),
            "This deletes the certificate of line1, and disconnects all its devices. Go on?"
        );
        let deployment = DeploymentAnswer { connected: 3, ..DeploymentAnswer::default() };
        let change = "goes back to version 4 of line1, with its client CAs";
        assert_eq!(
            question(change, Disconnected::Untrusted, Some(&deployment)),
            "This goes back to version 4 of line1, with its client CAs, and disconnects the devices that these do not \
             verify, of 3 devices connected now through the node that answers.\nIt has no hosts. Go on?"
        );
    }
}
