//! Connects to a deployment's broker: resolved, checked and dialled for every connection.
//!
//! Names are tried in order, the addresses of each from a random one on, known-down ones last. The
//! time left is divided among the addresses left. Connects to one address are bounded and queue.

pub(crate) mod broker;
pub(crate) mod broker_health;
pub(crate) mod broker_probe;
pub(crate) mod dial;
mod encounters;
mod endpoint;
mod health;
mod jitter;
mod look_up;
mod mqtt_question;
mod policy;
mod source;
mod trouble_log;
mod unreachable;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use certward_store::{UpstreamAllow, UpstreamList};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};

pub(crate) use self::{encounters::NO_ANSWER, policy::UpstreamPolicy, unreachable::Unreachable};
use self::{
    endpoint::{Endpoint, Endpoints},
    health::Eligibility,
    jitter::Jitter,
    look_up::LookUps,
    source::UpstreamSources,
};
use crate::observe::{log_throttle::LogThrottle, metrics::Metrics};

/// Per connect: half the cost of a lost packet, more than any path takes. Less says nothing about
/// the address.
const ATTEMPT_MIN: Duration = Duration::from_millis(500);
/// Addresses tried per name, which may have hundreds.
const ADDRESSES_MAX: usize = 16;
/// For an address that was down, if there are others.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Spreads connects to the only address while it is down.
const SPREAD_MAX: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Upstreams {
    policy: UpstreamPolicy,
    sources: UpstreamSources,
    look_ups: LookUps,
    endpoints: Endpoints,
    jitter: Jitter,
    out_of_files_log: LogThrottle,
    out_of_ports_log: LogThrottle,
    unusable_log: LogThrottle,
}

enum AttemptOutcome {
    Connected(TcpStream),
    /// Down: others come first.
    PutOff,
    Failed(Unreachable),
}

struct Search {
    deadline: Instant,
    put_off: Vec<SocketAddr>,
    failure: Unreachable,
}

impl Upstreams {
    pub(crate) fn new(policy: UpstreamPolicy, sources: &[IpAddr], metrics: Arc<Metrics>, seed: u64) -> Self {
        let sources = UpstreamSources::new(sources);
        for (ip, error) in sources.unusable() {
            tracing::warn!("upstream_source: connections cannot be made from {ip} now: {error}");
        }
        Self {
            policy,
            sources,
            look_ups: LookUps::default(),
            endpoints: Endpoints::new(metrics),
            jitter: Jitter::new(seed),
            out_of_files_log: LogThrottle::default(),
            out_of_ports_log: LogThrottle::default(),
            unusable_log: LogThrottle::default(),
        }
    }

    /// Connects to the first answering address that the node and the project's `allow` permit.
    pub(crate) async fn connect(
        &self,
        upstreams: &UpstreamList,
        allow: Option<&UpstreamAllow>,
        within: Duration,
    ) -> Result<TcpStream, Unreachable> {
        let mut search = Search {
            deadline: Instant::now() + within,
            put_off: Vec::new(),
            failure: Unreachable::NotResolved(Arc::new(io::ErrorKind::NotFound.into())),
        };
        match self.search(upstreams, allow, &mut search).await {
            Some(stream) => Ok(stream),
            None => Err(self.log_local_fault(search.failure)),
        }
    }

    pub(crate) fn sweep(&self, now: Instant) {
        self.endpoints.sweep(now);
    }

    /// Endpoints and look-ups.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.endpoints.len(), self.look_ups.len())
    }

    async fn search(
        &self,
        upstreams: &UpstreamList,
        allow: Option<&UpstreamAllow>,
        search: &mut Search,
    ) -> Option<TcpStream> {
        let upstreams = upstreams.as_slice();
        for (at, upstream) in upstreams.iter().enumerate() {
            let names_left = upstreams.len() - at - 1;
            let until = search.share(names_left);
            let found = match timeout_at(until, self.look_ups.ask(upstream)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    search.failure = Unreachable::NotResolved(error);
                    continue;
                }
                Err(_) => {
                    search.failure = Unreachable::Timeout;
                    continue;
                }
            };
            let start = self.jitter.index_below(found.len());
            let tried_of_it = found.len().min(ADDRESSES_MAX);
            for n in 0..tried_of_it {
                let address = canonical(found[(start + n) % found.len()]);
                if let Err(refusal) =
                    self.policy.check(address).and_then(|()| self.policy.check_by(allow, upstream, address))
                {
                    search.failure = refusal;
                    continue;
                }
                let rivals = tried_of_it - n - 1 + names_left;
                match self.attempt(address, search, rivals, false).await {
                    AttemptOutcome::Connected(stream) => return Some(stream),
                    AttemptOutcome::PutOff => search.put_off.push(address),
                    AttemptOutcome::Failed(failure) => search.note(failure)?,
                }
            }
        }
        while !search.put_off.is_empty() {
            let address = search.put_off.remove(0);
            match self.attempt(address, search, 0, true).await {
                AttemptOutcome::Connected(stream) => return Some(stream),
                AttemptOutcome::Failed(failure) => search.note(failure)?,
                AttemptOutcome::PutOff => {}
            }
        }
        None
    }

    /// `rivals`: untried addresses, without `put_off`.
    async fn attempt(
        &self,
        address: SocketAddr,
        search: &Search,
        rivals: usize,
        at_last: bool,
    ) -> AttemptOutcome {
        let now = Instant::now();
        if now >= search.deadline {
            return AttemptOutcome::Failed(Unreachable::Timeout);
        }
        let endpoint = self.endpoints.at(address);
        let (eligibility, probe) = endpoint.eligibility(now);
        let mut until = search.share(rivals);
        match eligibility {
            Eligibility::Now => {}
            Eligibility::Probe if rivals + search.put_off.len() == 0 => {}
            Eligibility::Probe => until = until.min(now + PROBE_TIMEOUT),
            Eligibility::AtLast if !at_last => return AttemptOutcome::PutOff,
            // All devices of a broker that went down arrive at once.
            Eligibility::AtLast => sleep(self.jitter.delay(SPREAD_MAX.min((until - now) / 4))).await,
        }
        let Ok(Ok(_slot)) = timeout_at(until, endpoint.connect_slot()).await else {
            return AttemptOutcome::Failed(Unreachable::Crowded);
        };
        // During the wait another connect may have failed.
        if !at_last && probe.is_none() && endpoint.is_down() {
            return AttemptOutcome::PutOff;
        }
        let began = Instant::now();
        let until = until.max(began + ATTEMPT_MIN).min(search.deadline);
        self.dial(&endpoint, began, until, probe.is_some()).await
    }

    async fn dial(&self, endpoint: &Endpoint, began: Instant, until: Instant, probe: bool) -> AttemptOutcome {
        let connecting = self.sources.connect(endpoint.address, &self.jitter);
        let failure = match timeout_at(until, connecting).await {
            Ok(Ok(stream)) => {
                endpoint.succeeded();
                return AttemptOutcome::Connected(stream);
            }
            Ok(Err(failure)) => failure,
            Err(_) => Unreachable::Timeout,
        };
        let tells = match failure {
            Unreachable::Refused(_) => true,
            Unreachable::Timeout => until - began >= ATTEMPT_MIN,
            // Local faults say nothing about the address.
            _ => false,
        };
        if tells {
            endpoint.failed(began, probe, self.jitter.next(), &failure);
        }
        AttemptOutcome::Failed(failure)
    }

    /// Logs faults of this node; others are the broker's.
    fn log_local_fault(&self, failure: Unreachable) -> Unreachable {
        let now = Instant::now();
        match &failure {
            Unreachable::OutOfFiles(_) if self.out_of_files_log.now(now) => tracing::error!(
                "a broker cannot be connected to: {failure}; raise the limit of open files (LimitNOFILE), or limit the connections"
            ),
            Unreachable::SourcePortsExhausted(_) if self.out_of_ports_log.now(now) => tracing::error!(
                "a broker cannot be connected to: {failure}; add addresses of this machine to upstream_source, give the broker more \
                 addresses or ports, or widen net.ipv4.ip_local_port_range"
            ),
            Unreachable::SourceUnusable(..) if self.unusable_log.now(now) => tracing::error!(
                "a broker cannot be connected to: {failure}; give this machine the address, or take it out of upstream_source"
            ),
            _ => {}
        }
        failure
    }
}

impl Search {
    /// The deadline that leaves an equal share to the other addresses.
    fn share(&self, rivals: usize) -> Instant {
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        let sharers = u32::try_from(rivals + self.put_off.len() + 1).unwrap_or(u32::MAX);
        now + (left / sharers).max(ATTEMPT_MIN).min(left)
    }

    /// `None`: other addresses would fail too.
    fn note(&mut self, failure: Unreachable) -> Option<()> {
        self.failure = failure;
        (!matches!(self.failure, Unreachable::OutOfFiles(_))).then_some(())
    }
}

/// IPv4-mapped becomes IPv4: same sources, same endpoint.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        // Unchanged: it may have a scope.
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests;
