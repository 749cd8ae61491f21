//! The way to a deployment's broker: looked up, checked and connected anew for every connection.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use certward_store::Upstream;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use ipnet::IpNet;
use thiserror::Error;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

/// Looks brokers up and connects to them.
#[derive(Debug)]
pub(crate) struct Upstreams {
    policy: UpstreamPolicy,
    /// The look-ups under way. Connections that want the same name at the same moment share one: when ten thousand devices come
    /// back at once, a slow name server must not hold ten thousand threads, and the other deployments' look-ups behind them.
    under_way: Mutex<HashMap<Upstream, LookUp>>,
}

type LookUp = Shared<BoxFuture<'static, Result<Arc<[SocketAddr]>, Arc<io::Error>>>>;

/// Where upstreams may be.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamPolicy {
    /// `None`: the default rule.
    pub(crate) allow: Option<Vec<IpNet>>,
    /// This program's own addresses: a device must not reach the API, nor the gateway itself in a circle.
    pub(crate) own: Vec<SocketAddr>,
}

/// Why a broker is not reached.
#[derive(Debug, Error)]
pub(crate) enum Unreachable {
    #[error("its name cannot be looked up: {0}")]
    NotResolved(Arc<io::Error>),
    #[error("its address {0} is not allowed as an upstream")]
    NotAllowed(IpAddr),
    #[error("its address {0} is one of this program's own listeners")]
    OwnListener(SocketAddr),
    #[error("{0}")]
    Refused(io::Error),
    #[error("it does not answer in time")]
    Timeout,
}

impl Unreachable {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NotResolved(_) => "not_resolved",
            Self::NotAllowed(_) => "not_allowed",
            Self::OwnListener(_) => "own_listener",
            Self::Refused(_) => "refused",
            Self::Timeout => "timeout",
        }
    }
}

impl Upstreams {
    pub(crate) fn new(policy: UpstreamPolicy) -> Self {
        Self { policy, under_way: Mutex::default() }
    }

    /// Connects to the first address that is allowed and answers.
    pub(crate) async fn connect(
        &self,
        upstream: &Upstream,
        within: Duration,
    ) -> Result<TcpStream, Unreachable> {
        let deadline = Instant::now() + within;
        let addresses = match timeout_at(deadline, self.look_up(upstream)).await {
            Err(_) => return Err(Unreachable::Timeout),
            Ok(found) => found.map_err(Unreachable::NotResolved)?,
        };
        let mut failure = Unreachable::NotResolved(Arc::new(io::ErrorKind::NotFound.into()));
        for (tried, address) in addresses.iter().enumerate() {
            if let Err(refusal) = self.policy.check(*address) {
                failure = refusal;
                continue;
            }
            // The time that is left is shared out, so that one dead address does not use up all of it.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
            match timeout_at(Instant::now() + share, TcpStream::connect(*address)).await {
                Err(_) => failure = Unreachable::Timeout,
                Ok(Err(error)) => failure = Unreachable::Refused(error),
                Ok(Ok(stream)) => match self.policy.check_connected(&stream, *address) {
                    Ok(()) => return Ok(stream),
                    Err(refusal) => failure = refusal,
                },
            }
        }
        Err(failure)
    }

    async fn look_up(&self, upstream: &Upstream) -> Result<Arc<[SocketAddr]>, Arc<io::Error>> {
        // An address needs no name server and no thread.
        if let Ok(address) = upstream.as_str().parse::<SocketAddr>() {
            return Ok([address].into());
        }
        let look_up = match self.under_way().entry(upstream.clone()) {
            Entry::Occupied(under_way) => under_way.get().clone(),
            Entry::Vacant(vacant) => {
                let name = upstream.clone();
                let look_up = async move {
                    let found = lookup_host(name.as_str()).await.map_err(Arc::new)?;
                    Ok(found.collect::<Arc<[SocketAddr]>>())
                };
                vacant.insert(look_up.boxed().shared()).clone()
            }
        };
        // Also when the caller gives up waiting: an answer that nobody took must not be given to one who asks later.
        let _done = Done { upstreams: self, upstream, look_up: &look_up };
        look_up.clone().await
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Upstream, LookUp>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a look-up from those under way when dropped.
struct Done<'a> {
    upstreams: &'a Upstreams,
    upstream: &'a Upstream,
    look_up: &'a LookUp,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        let mut under_way = self.upstreams.under_way();
        // Only this one: the next may have begun already.
        if under_way.get(self.upstream).is_some_and(|current| current.ptr_eq(self.look_up)) {
            under_way.remove(self.upstream);
        }
    }
}

impl UpstreamPolicy {
    fn check(&self, address: SocketAddr) -> Result<(), Unreachable> {
        let ip = address.ip().to_canonical();
        let allowed = match &self.allow {
            Some(networks) => networks.iter().any(|network| network.contains(&ip)),
            None => allowed_by_default(ip),
        };
        if !allowed {
            return Err(Unreachable::NotAllowed(ip));
        }
        let own = self.own.iter().any(|own| {
            let own_ip = own.ip().to_canonical();
            own.port() == address.port() && (own_ip == ip || own_ip.is_unspecified() && ip.is_loopback())
        });
        if own { Err(Unreachable::OwnListener(address)) } else { Ok(()) }
    }

    /// A listener on all addresses is found out when connected: both ends are then the same machine's.
    fn check_connected(&self, stream: &TcpStream, address: SocketAddr) -> Result<(), Unreachable> {
        let local = stream.local_addr().map_err(Unreachable::Refused)?.ip().to_canonical();
        let own = self.own.iter().any(|own| own.ip().is_unspecified() && own.port() == address.port());
        if own && local == address.ip().to_canonical() {
            return Err(Unreachable::OwnListener(address));
        }
        stream.set_nodelay(true).map_err(Unreachable::Refused)
    }
}

/// All but what can be no broker or is dangerous to reach: link-local holds the metadata services of clouds.
fn allowed_by_default(ip: IpAddr) -> bool {
    let special = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(special || ip.is_multicast() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: Option<&[&str]>, own: &[&str]) -> UpstreamPolicy {
        UpstreamPolicy {
            allow: allow.map(|networks| networks.iter().map(|text| text.parse().unwrap()).collect()),
            own: own.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_default_rule_refuses_what_can_be_no_broker() {
        let cases = [
            ("127.0.0.1:1883", true),
            ("10.0.0.1:1883", true),
            ("192.0.2.1:1883", true),
            ("[::1]:1883", true),
            ("[2001:db8::1]:1883", true),
            ("169.254.169.254:80", false),
            ("[::ffff:169.254.169.254]:80", false),
            ("[fe80::1]:1883", false),
            ("224.0.0.1:1883", false),
            ("[ff02::1]:1883", false),
            ("255.255.255.255:1883", false),
            ("0.0.0.0:1883", false),
            ("0.1.2.3:1883", false),
            ("[::]:1883", false),
            ("[::ffff:0.0.0.0]:1883", false),
        ];
        for (address, allowed) in cases {
            assert_eq!(policy(None, &[]).check(address.parse().unwrap()).is_ok(), allowed, "{address}");
        }
    }

    #[test]
    fn a_given_list_decides_alone() {
        let policy = policy(Some(&["10.0.0.0/8", "fd00::/8"]), &[]);
        let cases = [
            ("10.1.2.3:1883", true),
            ("[::ffff:10.1.2.3]:1883", true),
            ("[fd00::1]:1883", true),
            ("127.0.0.1:1883", false),
            ("11.0.0.1:1883", false),
            ("[::1]:1883", false),
        ];
        for (address, allowed) in cases {
            assert_eq!(policy.check(address.parse().unwrap()).is_ok(), allowed, "{address}");
        }
    }

    #[tokio::test]
    async fn connections_that_want_a_name_at_once_share_one_look_up() {
        let upstreams = Upstreams::new(policy(None, &[]));
        let name = Upstream::parse("broker.test:1883").unwrap();
        let (answer, answered) = tokio::sync::oneshot::channel();
        let slow = async move { Ok(answered.await.unwrap()) };
        upstreams.under_way().insert(name.clone(), slow.boxed().shared());
        let ask = || upstreams.look_up(&name);
        let answering = async move { answer.send(Arc::from([SocketAddr::from(([10, 0, 0, 1], 1883))])) };
        let (first, second, sent) = tokio::join!(ask(), ask(), answering);
        sent.unwrap();
        assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
        assert!(upstreams.under_way().is_empty(), "and the next one asks again");
    }

    #[test]
    fn own_listeners_are_no_upstreams_whatever_is_allowed() {
        let policy = policy(Some(&["0.0.0.0/0", "::/0"]), &["[::]:8883", "127.0.0.1:8080"]);
        let cases = [
            ("127.0.0.1:8080", false),
            ("127.0.0.1:8883", false),
            ("[::1]:8883", false),
            ("[::ffff:127.0.0.1]:8080", false),
            ("127.0.0.1:1883", true),
            ("192.0.2.1:8883", true),
        ];
        for (address, allowed) in cases {
            assert_eq!(policy.check(address.parse().unwrap()).is_ok(), allowed, "{address}");
        }
    }
}
