//! Each address that certward listens on: free, held by the running certward, or by another.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use super::{
    check::{Check, CheckKind},
    running_process::RunningProcess,
    sockets::{Holder, ListeningSocket},
};
use crate::config::Config;

/// What the configuration wants to listen on.
struct Wanted {
    address: SocketAddr,
    /// The key to change.
    key: &'static str,
    /// `0.0.0.0` is taken on a machine without IPv6.
    or_ipv4: bool,
}

/// How an address was found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Free,
    Unusable(io::ErrorKind, String),
    HeldBy(Option<Holder>),
}

pub(super) fn check(config: &Config, process: Option<RunningProcess>) -> Vec<Check> {
    let mut wanted = vec![Wanted { address: config.api.listen, key: "[api] listen", or_ipv4: false }];
    if config.role.has_gateway() {
        wanted.extend(config.gateway.listeners().iter().map(|listener| Wanted {
            address: listener.listen,
            key: "[[gateway.listener]] listen",
            or_ipv4: listener.or_ipv4,
        }));
    }
    // The system chooses.
    wanted.retain(|wanted| wanted.address.port() != 0);
    wanted.iter().map(|wanted| say(wanted, process, &look(wanted, process))).collect()
}

fn look(wanted: &Wanted, process: Option<RunningProcess>) -> Found {
    let (sockets, own) = (ListeningSocket::at(wanted.address), process.map(|process| process.id));
    // IPv4 and IPv6 may have different ones.
    let of_own = sockets.iter().find(|socket| own.is_some_and(|id| socket.is_held_by(id)));
    if let Some(socket) = of_own.or(sockets.first()) {
        return Found::HeldBy(socket.holder(own));
    }
    if process.is_some() {
        return Found::Free;
    }
    // The system's own verdict: also about addresses of other machines, and rights.
    let bound = TcpListener::bind(wanted.address).or_else(|error| match wanted.or_ipv4 {
        true => TcpListener::bind(("0.0.0.0", wanted.address.port())),
        false => Err(error),
    });
    match bound {
        Ok(_) => Found::Free,
        Err(error) => Found::Unusable(error.kind(), error.to_string()),
    }
}

fn say(wanted: &Wanted, process: Option<RunningProcess>, found: &Found) -> Check {
    let (kind, Wanted { address, key, .. }) = (CheckKind::ListenAddress, wanted);
    match (found, process) {
        (Found::HeldBy(Some(holder)), Some(process)) if holder.id == process.id => {
            Check::ok(kind, format!("{address} is held by the running certward (process {})", process.id))
        }
        // Its socket units.
        (Found::HeldBy(Some(holder)), None) if holder.id == 1 && holder.name == "systemd" => {
            Check::ok(kind, format!("{address} is held by systemd, for certward to take over"))
        }
        (Found::HeldBy(Some(holder)), _) => Check::error(
            kind,
            format!("{address} is held by another program, {} (process {})", holder.name, holder.id),
            format!("stop it (kill {}), or choose another port in {key}", holder.id),
        ),
        (Found::HeldBy(None), Some(_)) => {
            Check::unknown(kind, format!("{address} is held by a process that this user cannot look into"))
        }
        (Found::HeldBy(None), None) => Check::error(
            kind,
            format!("{address} is held by a program of another user"),
            format!(
                "see which: ss -ltnp 'sport = :{}' as root; stop it, or choose another port in {key}",
                address.port()
            ),
        ),
        (Found::Free, None) => Check::ok(kind, format!("{address} is free; certward does not run")),
        (Found::Free, Some(process)) => Check::error(
            kind,
            format!(
                "the running certward (process {}) does not listen on {address}: it was started with another configuration",
                process.id
            ),
            "systemctl restart certward, or name its configuration by --config",
        ),
        (Found::Unusable(error, text), _) => Check::error(
            kind,
            format!("{address} cannot be listened on: {text}"),
            match error {
                io::ErrorKind::PermissionDenied => {
                    format!(
                        "give certward the capability CAP_NET_BIND_SERVICE, or choose a port from 1024 on in {key}"
                    )
                }
                io::ErrorKind::AddrNotAvailable => {
                    format!("give this machine the address (ip address show), or correct {key}")
                }
                _ => format!("correct {key}"),
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn who_holds_an_address_decides() {
        let wanted = Wanted { address: "127.0.0.1:8883".parse().unwrap(), key: "k", or_ipv4: false };
        let holder = |id, name: &str| Found::HeldBy(Some(Holder { id, name: name.into() }));
        let running = Some(RunningProcess { id: 7 });
        let denied = Found::Unusable(io::ErrorKind::PermissionDenied, "denied".into());
        for (found, process, verdict, says) in [
            (Found::Free, None, Verdict::Ok, "is free"),
            (holder(7, "certward"), running, Verdict::Ok, "held by the running certward (process 7)"),
            (holder(1, "systemd"), None, Verdict::Ok, "systemd"),
            (holder(9, "nginx"), running, Verdict::Error, "another program, nginx (process 9)"),
            (holder(9, "nginx"), None, Verdict::Error, "another program, nginx (process 9)"),
            (Found::HeldBy(None), running, Verdict::Warning, "cannot look into"),
            (Found::HeldBy(None), None, Verdict::Error, "another user"),
            (Found::Free, running, Verdict::Error, "does not listen on 127.0.0.1:8883"),
            (denied, None, Verdict::Error, "cannot be listened on: denied"),
        ] {
            let check = say(&wanted, process, &found);
            assert_eq!(check.verdict, verdict, "{found:?} {process:?}");
            assert!(check.sentence.contains(says), "{check:?}");
            assert_eq!(check.fix.is_some(), verdict == Verdict::Error, "{check:?}");
        }
    }
}
