//! Runs one connection from accept to close.

use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll};

use certward_store::{DeploymentSpec, Proxy, ProxyProtocol};
use rustls::{AlertDescription, HandshakeKind};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use crate::{
    Listener, Protocol,
    accept::{
        admission::{ConnectionPlace, Displaced, UnfinishedConnection, unless_displaced},
        client_address::{Arrival, ResolvedClient, resolve},
    },
    config::deployment_config::{DeploymentConfig, Served},
    context::{NodeContext, RoutedDeployment},
    devices::register::ServedBy,
    io::{
        tls::Tls,
        wire::{
            DeviceRead, Fault, ReadState, close, close_notify, end, last_bytes, linger,
            read_device_acknowledged, send_at_once,
        },
    },
    observe::{
        cause::Cause,
        failures::Seen,
        reason::{ClosedReason, RefusedReason},
    },
    routing::sni::OwnHost,
    session::{
        client_facts::ClientFacts,
        first_packet::{FirstPacketVerdict, describe, judge, refusal_of_level},
        handshake::{ClosingAlert, Established, Failed, accepted_certificate, perform},
        proxy_header,
        registry::{ConnectionSignal, Entrant, Registration},
        relay::{Opening, Relay, RelayError},
        session_facts::Newcomer,
    },
    upstream::broker::DeploymentBroker,
};

/// For the broker's first byte, in seconds, before its silence is noted.
const ANSWER_AWAITED: u32 = 5;

struct RelaySession {
    relay: Relay,
    member: Registration,
    /// Until the broker accepts the device.
    newcomer: Option<Box<Newcomer>>,
    context: Arc<NodeContext>,
    protocol: Protocol,
    /// By which the broker was reached.
    spec: Arc<DeploymentSpec>,
    /// See [`NodeContext::uptime_seconds`].
    began: u32,
    _admission: ConnectionPlace,
}

pub(crate) fn serve(context: Arc<NodeContext>, arrival: Arrival) -> impl Future<Output = ()> + Send {
    // Boxed, so that a long relay does not carry this state; created here, because an `async` block
    // keeps its captures to the end.
    let opening = Box::pin(open(context, arrival));
    async {
        let Some(mut session) = opening.await else { return };
        let reason = session.run().await;
        Box::pin(session.end(reason)).await;
    }
}

async fn open(context: Arc<NodeContext>, arrival: Arrival) -> Option<RelaySession> {
    let deadlines = context.deadlines;
    let began = Instant::now();
    let deadline = began + deadlines.handshake;
    let ResolvedClient { client, peer, to, listener, probe, entrant } =
        resolve(&context, arrival, deadline).await?;
    let mut seen = Seen::default();
    let queue = match probe {
        Some(_) => context.handshake_queues.of_proofs(),
        None => context.handshake_queues.of(peer.ip()),
    };
    let handshake =
        timeout_at(deadline, perform(&context, &listener, client, queue, probe.as_deref(), &mut seen));
    let outcome = match unless_displaced(entrant.as_ref(), handshake).await {
        Ok(in_time) => in_time.unwrap_or_else(|_| Err(Failed::silent(Cause::Timeout))),
        Err(Displaced) => Err(Failed::silent(Cause::Displaced)),
    };
    let Established { mut tls, client, opening, destination, offer, stamp } = match outcome {
        Ok(outcome) => outcome,
        Err(Failed { cause, closing_alert }) => {
            if probe.is_none() {
                context.handshake_failed(&seen, peer, cause);
            }
            if let Some(ClosingAlert { bytes, client }) = closing_alert {
                // If displaced during the close, stop waiting for the peer.
                let _ = unless_displaced(entrant.as_ref(), close(&bytes, client, deadlines.close)).await;
            }
            return None;
        }
    };
    let Some(entrant) = entrant else {
        let bytes = [opening.held, close_notify(&mut tls)].concat();
        close(&bytes, client, deadlines.close).await;
        return None;
    };
    let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    context.metrics.handshake(listener.protocol, tls.version(), resumed, began.elapsed());

    let DeploymentConfig::Served(served) = &*destination.entry else { return None };
    let Served { reference, spec, identity, .. } = served;
    let client_facts = ClientFacts::of(&tls, spec.proxy.identity);
    let arrived = Entrant { stamp, client: client_facts, began: context.uptime_seconds() };
    let member = context.registry.enter(destination.deployment.clone(), arrived);
    context.note_bounds(&member, served);
    let pending = PendingSession {
        context: &context,
        listener: &listener,
        entrant,
        admission: None,
        member,
        destination: &destination,
        peer,
        to,
        seen: &mut seen,
        tls,
        client,
        opening,
    };
    let (relay, member, admission) = pending.first_packet_and_upstream().await?;
    let newcomer = Some(Box::new(Newcomer {
        deployment: Arc::clone(reference),
        address: peer,
        host: OwnHost::of(seen.server_name.as_deref(), &spec.hosts),
        offer,
        trust: identity.client_trust.clone().map(|trust| (trust, identity.trust_scope)),
    }));
    let (spec, protocol, began) = (Arc::clone(spec), listener.protocol, context.uptime_seconds());
    Some(RelaySession { relay, member, newcomer, context, protocol, spec, began, _admission: admission })
}

struct PendingSession<'a> {
    context: &'a NodeContext,
    listener: &'a Listener,
    entrant: UnfinishedConnection,
    /// Set once finished.
    admission: Option<ConnectionPlace>,
    member: Registration,
    destination: &'a RoutedDeployment,
    peer: SocketAddr,
    to: Option<SocketAddr>,
    seen: &'a mut Seen,
    tls: Tls,
    client: TcpStream,
    opening: Opening,
}

enum SetupError {
    Closed(ClosedReason),
    Displaced,
    /// By a limit of the deployment.
    Denied(Cause),
    FirstPacket(FirstPacketError),
    /// By a limit of the node.
    Refused(RefusedReason),
}

#[derive(Debug, Clone, Copy)]
enum FirstPacketError {
    Late,
    UnknownLevel(u8),
    Wrong(&'static str),
}

impl FirstPacketError {
    fn reason(self) -> ClosedReason {
        match self {
            Self::Late => ClosedReason::FirstPacketTimeout,
            Self::UnknownLevel(_) | Self::Wrong(_) => ClosedReason::WrongProtocol,
        }
    }

    fn cause(self) -> Cause {
        match self {
            Self::Late => Cause::ConnectTimeout,
            Self::UnknownLevel(_) => Cause::MqttLevelUnknown,
            Self::Wrong(_) => Cause::WrongProtocol,
        }
    }

    fn detail(self) -> Option<Box<str>> {
        match self {
            Self::Late => None,
            Self::UnknownLevel(level) => Some(format!("MQTT level {level}").into()),
            Self::Wrong(what) => Some(what.into()),
        }
    }

    /// Sent before the close_notify.
    fn answer(self) -> &'static [u8] {
        match self {
            Self::UnknownLevel(level) => refusal_of_level(level),
            Self::Late | Self::Wrong(_) => &[],
        }
    }
}

impl From<FirstPacketError> for SetupError {
    fn from(error: FirstPacketError) -> Self {
        Self::FirstPacket(error)
    }
}

impl From<ClosedReason> for SetupError {
    fn from(reason: ClosedReason) -> Self {
        Self::Closed(reason)
    }
}

impl<'a> PendingSession<'a> {
    async fn first_packet_and_upstream(mut self) -> Option<(Relay, Registration, ConnectionPlace)> {
        let (upstream, admission) = match self.admit_and_connect().await {
            Ok(both) => both,
            Err(error) => {
                self.end(error).await;
                return None;
            }
        };
        let sent = send_at_once(&upstream, &self.opening.first);
        self.opening.first.drain(..sent);
        let (protocol, limits) = (self.listener.protocol, Arc::clone(&self.context.relay_limits));
        let relay = Relay::new(self.tls, self.client, upstream, self.opening, protocol, limits);
        Some((relay, self.member, admission))
    }

    async fn end(mut self, error: SetupError) {
        let metrics = &self.context.metrics;
        let last = match error {
            SetupError::Closed(reason) => {
                metrics.closed(reason);
                self.context.lost_devices.note(self.member.deployment(), reason, Instant::now());
                close_notify(&mut self.tls)
            }
            SetupError::Displaced => {
                metrics.closed(ClosedReason::Displaced);
                send_at_once(&self.client, &[self.opening.held, close_notify(&mut self.tls)].concat());
                return;
            }
            SetupError::Denied(cause) => {
                self.seen.client_certificate = accepted_certificate(&self.tls);
                self.context.handshake_failed(self.seen, self.peer, cause);
                self.tls.into_alert(AlertDescription::AccessDenied)
            }
            SetupError::FirstPacket(error) => {
                metrics.closed(error.reason());
                self.seen.detail = error.detail();
                self.seen.client_certificate = accepted_certificate(&self.tls);
                self.context.handshake_failed(self.seen, self.peer, error.cause());
                last_bytes(&mut self.tls, error.answer())
            }
            SetupError::Refused(reason) => {
                metrics.refused(reason);
                close_notify(&mut self.tls)
            }
        };
        // Leaves the registry before waiting for the device.
        drop(self.member);
        let bytes = [self.opening.held, last].concat();
        let closing = close(&bytes, self.client, self.context.deadlines.close);
        let _ = unless_displaced(Some(&self.entrant), closing).await;
    }

    fn finish(&mut self) -> Result<(), SetupError> {
        let limits = self.served().map(|served| served.spec.limits).unwrap_or_default();
        self.member.count(limits, Instant::now()).map_err(SetupError::Denied)?;
        self.admission = Some(self.entrant.finish().map_err(SetupError::Refused)?);
        Ok(())
    }

    /// Connects after the first bytes, and takes the connection's place.
    async fn admit_and_connect(&mut self) -> Result<(TcpStream, ConnectionPlace), SetupError> {
        // Registered first: a change since the lookup is visible now or sends a signal.
        self.context.may_enter(&self.member, &self.tls, self.destination).await?;
        // Only a verified client is known to be a device.
        let is_verified = self.tls.peer_certificates().is_some();
        if is_verified {
            self.finish()?;
        }
        let deadline = Instant::now() + self.context.deadlines.first_packet;
        loop {
            tokio::select! {
                biased;
                signal = self.member.signal() => handle_signal(self.context, &self.member, &self.tls, signal).await?,
                () = self.entrant.displaced() => return Err(SetupError::Displaced),
                read = timeout_at(
                    deadline,
                    read_first(&mut self.tls, &mut self.client, self.listener.protocol, &mut self.opening),
                ) => break read.map_err(|_| FirstPacketError::Late)??,
            }
        }
        if !is_verified {
            self.finish()?;
        }
        let first_bytes = self.opening.first.len();
        let upstream = self.connect().await?;
        self.context.metrics.relayed().to_broker(first_bytes);
        self.admission.take().map(|admission| (upstream, admission)).ok_or(SetupError::Displaced)
    }

    fn served(&self) -> Option<&'a Served> {
        match &*self.destination.entry {
            DeploymentConfig::Served(served) => Some(served),
            DeploymentConfig::Refused(_) => None,
        }
    }

    async fn connect(&mut self) -> Result<TcpStream, ClosedReason> {
        let Some(served) = self.served() else { return Err(ClosedReason::UpstreamFailed) };
        let allow = self.context.boundaries.upstream_allow(&served.reference.project);
        self.prepend_proxy_header(served.spec.proxy)?;
        let (deployment, protocol) = (&self.destination.deployment, self.listener.protocol);
        let broker = DeploymentBroker { deployment, protocol, spec: &served.spec };
        let health = &self.context.broker_health;
        let Some(upstream) = broker.upstream() else {
            self.context.metrics.upstream_not_configured();
            health.is_not_configured(broker, self.context.clock.now());
            return Err(ClosedReason::UpstreamFailed);
        };
        let within = self.context.deadlines.upstream_connect;
        let began = Instant::now();
        loop {
            tokio::select! {
                biased;
                signal = self.member.signal() => handle_signal(self.context, &self.member, &self.tls, signal).await?,
                connected = self.context.upstreams.connect(upstream, allow.as_deref(), within) => return match connected {
                    Ok(stream) => {
                        self.context.metrics.upstream_connected(began.elapsed());
                        health.connected(broker);
                        Ok(stream)
                    }
                    Err(unreachable) => {
                        self.context.metrics.upstream_failed(&unreachable);
                        tracing::debug!(
                            deployment.id = %self.member.deployment(), %upstream,
                            "the upstream cannot be reached: {unreachable}"
                        );
                        health.is_unreachable(broker, &unreachable, self.context.clock.now());
                        Err(ClosedReason::UpstreamFailed)
                    }
                },
            }
        }
    }
}

impl PendingSession<'_> {
    fn prepend_proxy_header(&mut self, proxy: Proxy) -> Result<(), ClosedReason> {
        if proxy.protocol == ProxyProtocol::None {
            return Ok(());
        }
        let to =
            self.to.map_or_else(|| self.client.local_addr(), Ok).map_err(|_| ClosedReason::ClientBroken)?;
        match proxy_header::header(proxy, &self.tls, self.seen.server_name.as_deref(), self.peer, to) {
            Ok(header) => drop(self.opening.first.splice(..0, header)),
            Err(unavailable) => {
                tracing::debug!(
                    deployment.id = %self.member.deployment(), peer = %self.peer,
                    "the PROXY header cannot be sent: {unavailable}"
                );
                return Err(ClosedReason::IdentityRefused);
            }
        }
        Ok(())
    }
}

/// `Err`: why the connection must end.
async fn handle_signal(
    context: &NodeContext,
    member: &Registration,
    tls: &Tls,
    signal: ConnectionSignal,
) -> Result<(), ClosedReason> {
    match signal {
        ConnectionSignal::Expired if context.has_ended(member, tls).await => Err(ClosedReason::Expired),
        // It overrides the others.
        ConnectionSignal::Verify | ConnectionSignal::Turn | ConnectionSignal::Expired => {
            context.may_stay(member, tls).await
        }
        ConnectionSignal::Aged => Err(ClosedReason::SessionAge),
        ConnectionSignal::Requested => Err(ClosedReason::Requested),
        ConnectionSignal::Deleted => Err(ClosedReason::Deleted),
        ConnectionSignal::Shutdown => Err(ClosedReason::Shutdown),
    }
}

async fn read_first(
    tls: &mut Tls,
    client: &mut TcpStream,
    protocol: Protocol,
    opening: &mut Opening,
) -> Result<(), SetupError> {
    loop {
        // Bytes may have come with the handshake. Judged before the end: a device may send
        // everything and close_notify at once.
        match judge(protocol, &opening.first) {
            FirstPacketVerdict::Right => return Ok(()),
            FirstPacketVerdict::UnknownLevel(level) => {
                return Err(FirstPacketError::UnknownLevel(level).into());
            }
            FirstPacketVerdict::Wrong => return Err(FirstPacketError::Wrong(describe(&opening.first)).into()),
            FirstPacketVerdict::Incomplete if opening.read_state == ReadState::End => {
                return Err(ClosedReason::ClientSilent.into());
            }
            FirstPacketVerdict::Incomplete => {}
        }
        let DeviceRead { outcome, mut plain, mut answer, .. } = read_device_acknowledged(tls, client).await;
        opening.first.append(&mut plain);
        opening.held.append(&mut answer);
        opening.read_state = outcome.map_err(|fault| match fault {
            Fault::Socket(_) => ClosedReason::ClientBroken,
            Fault::Tls(_) => ClosedReason::TlsError,
        })?;
    }
}

impl RelaySession {
    /// Relays to the end and returns the reason.
    async fn run(&mut self) -> ClosedReason {
        enum SessionEvent {
            Signalled(ConnectionSignal),
            Ended(Result<(), RelayError>),
        }
        loop {
            let event = poll_fn(|cx| match self.member.poll_signal(cx) {
                Poll::Ready(signal) => Poll::Ready(SessionEvent::Signalled(signal)),
                Poll::Pending => {
                    let NodeContext { fair_share, metrics, .. } = &*self.context;
                    let polled = self.relay.poll(fair_share, metrics.relayed(), cx);
                    if self.relay.has_first_answer() {
                        self.is_answered();
                    }
                    if self.relay.has_acceptance() {
                        self.is_accepted();
                    }
                    if self.relay.has_broker_end() && self.relay.is_answered() {
                        self.context.broker_health.ended(self.broker());
                    }
                    polled.map(SessionEvent::Ended)
                }
            });
            let signal = match event.await {
                SessionEvent::Signalled(signal) => signal,
                SessionEvent::Ended(Ok(())) => return ClosedReason::Ended,
                SessionEvent::Ended(Err(broken)) => return broken.reason(),
            };
            self.relay.pass_turn_on();
            // Boxed: rare.
            let handled =
                Box::pin(handle_signal(&self.context, &self.member, self.relay.tls(), signal)).await;
            match handled {
                Ok(()) => {}
                Err(reason) if signal == ConnectionSignal::Verify && self.waits_for_its_turn(reason) => {}
                Err(reason) => return reason,
            }
        }
    }

    fn waits_for_its_turn(&self, reason: ClosedReason) -> bool {
        let Self { member, context, .. } = self;
        context.paced_closes.wait(member.deployment(), member.number(), member.handle(), reason)
    }

    fn broker(&self) -> DeploymentBroker<'_> {
        DeploymentBroker { deployment: self.member.deployment(), protocol: self.protocol, spec: &self.spec }
    }

    fn is_answered(&self) {
        let broker = self.broker();
        self.member.set_answered(broker.digest());
        self.context.broker_health.answered(broker);
    }

    /// From now on it is a known device.
    fn is_accepted(&mut self) {
        let Some(newcomer) = self.newcomer.take() else { return };
        let NodeContext { devices, clock, .. } = &*self.context;
        let by = ServedBy { protocol: self.protocol, identity: self.spec.proxy.identity };
        self.member.set_facts(devices.accepted(*newcomer, by, self.relay.tls(), clock.now()));
    }

    /// What the end says about the broker.
    fn judge_broker(&self, reason: ClosedReason) {
        let NodeContext { broker_health, registry, clock, .. } = &*self.context;
        let broker = self.broker();
        let is_broken = reason == ClosedReason::UpstreamBroken;
        if matches!(
            reason,
            ClosedReason::Deleted
                | ClosedReason::Expired
                | ClosedReason::Requested
                | ClosedReason::RevocationUnknown
                | ClosedReason::Revoked
                | ClosedReason::SessionAge
                | ClosedReason::Shutdown
                | ClosedReason::Untrusted
        ) {
            return;
        }
        // A device that goes away at once has not waited for an answer.
        let has_waited = || self.context.uptime_seconds().saturating_sub(self.began) > ANSWER_AWAITED;
        if self.relay.is_answered() {
            if is_broken && !self.relay.is_ended_by_broker() {
                broker_health.ended(broker);
            }
        } else if (is_broken || self.relay.is_ended_by_broker() || has_waited())
            // Else it is the device's own fault.
            && !registry.has_answered(broker.deployment, broker.digest())
        {
            broker_health.unanswered(broker, clock.now());
        }
    }

    async fn end(self, reason: ClosedReason) {
        self.judge_broker(reason);
        let Self { relay, member, context, .. } = self;
        let within = context.deadlines.close;
        context.metrics.closed(reason);
        context.lost_devices.note(member.deployment(), reason, Instant::now());
        if relay.is_over() {
            // Both sides are closed.
            return;
        }
        let (mut tls, mut client, mut bytes) = relay.into_device();
        bytes.append(&mut close_notify(&mut tls));
        end(&bytes, &mut client, within).await;
        // Leaves the registry before waiting for the device.
        drop((tls, member));
        linger(client, within).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F: Future>(_: impl FnOnce(Arc<NodeContext>, Arrival) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_costs_little_beside_its_tls_state() {
        // Paid per device. With the runtime's overhead 512 bytes; its next size is 640.
        assert!(size_of_future(serve) <= 400, "{}", size_of_future(serve));
    }
}
