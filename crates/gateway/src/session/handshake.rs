//! From the ClientHello to the end of the handshake.

use std::sync::Arc;

use certward_pki::{ClientCertificate, ClientOffer};
use certward_store::RecordBytes;
use rustls::{
    AlertDescription, Error, HandshakeKind, PeerMisbehaved, ProtocolVersion,
    server::{AcceptedAlert, Acceptor},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::Instant};

use crate::{
    Listener, Protocol,
    config::{
        client_check::TrustStamp,
        deployment_config::{DeploymentConfig, Refusal, Served},
    },
    context::{NodeContext, Route, RoutedDeployment},
    io::{
        fair_share::FairShare,
        socket::acknowledge,
        tls::Tls,
        wire::{DeviceRead, Fault, ReadState, close_notify, read_device, read_more},
    },
    observe::{cause::Cause, failures::Seen, refused_client::reported_by},
    proof::probes::{Probe, Used},
    routing::{client_hello::shown_server_name, sni},
    session::{client_offer::client_offer, flight::cut_between_messages, relay::Opening},
};

pub(crate) struct Established {
    pub(crate) tls: Tls,
    pub(crate) client: TcpStream,
    pub(crate) opening: Opening,
    pub(crate) destination: RoutedDeployment,
    pub(crate) offer: Option<Arc<ClientOffer>>,
    /// As read before the handshake.
    pub(crate) stamp: TrustStamp,
}

pub(crate) struct Failed {
    pub(crate) cause: Cause,
    pub(crate) closing_alert: Option<ClosingAlert>,
}

pub(crate) struct ClosingAlert {
    pub(crate) bytes: Vec<u8>,
    pub(crate) client: TcpStream,
}

/// `seen` is filled as facts become known, so that a timeout can report them.
pub(crate) async fn perform(
    context: &NodeContext,
    listener: &Listener,
    mut client: TcpStream,
    queue: &FairShare,
    probe: Option<&Probe>,
    seen: &mut Seen,
) -> Result<Established, Failed> {
    seen.deployment = listener.deployment.clone();
    let Hello { mut bytes, name, alpn_is_mqtt } = match hello(&mut client).await {
        Ok(hello) => hello,
        Err(HelloFailed::Gone) => return Err(Failed::silent(Cause::Closed)),
        Err(HelloFailed::Refused { cause, alert, hello }) => {
            if cause == Cause::InvalidName {
                seen.detail = shown_server_name(&hello).map(Box::from);
            }
            return Err(Failed::alert(cause, alert, client));
        }
    };
    seen.server_name = name;
    let destination = match admit(context, listener, queue, probe.is_some(), seen).await {
        Ok(destination) => destination,
        Err(rejected) => return Err(rejected.into_failed(client)),
    };
    let served = match served(&destination.entry) {
        Ok(served) => served,
        Err(rejected) => return Err(rejected.into_failed(client)),
    };
    let stamp = served.identity.stamp();
    if let Some(probe) = probe {
        probe.report(Used {
            deployment: destination.deployment.clone(),
            generation: served.generation,
            version: served.identity.version,
        });
    }
    // A device that offers only `mqtt` on a `wss` listener names the inner protocol: it is answered
    // as if it offered no ALPN.
    let alpn = if alpn_is_mqtt { Protocol::Mqtts } else { listener.protocol };
    // Before TLS joins the hello's records in place.
    let offer = client_offer(&bytes).map(|offer| context.devices.offers.share(offer));
    let record_bytes = served.spec.record_bytes.get();
    let offered = offer.as_ref().and_then(|offer| offer.record_bytes);
    let record_bytes = offered.unwrap_or(record_bytes).min(record_bytes);
    let config = served.identity.config_for(alpn, record_bytes);
    let mut tls = match Tls::new(Arc::clone(&config)) {
        Ok(tls) => tls,
        Err(error) => {
            return Err(Failed::alert(
                Cause::from(&error),
                plain_alert(AlertDescription::InternalError),
                client,
            ));
        }
    };
    let mut answered = DeviceRead::decrypt(&mut tls, &mut bytes);
    if record_bytes < RecordBytes::MAX {
        answered.answer = cut_between_messages(&answered.answer, record_bytes);
    }
    if let Err(Fault::Tls(error)) = &answered.outcome {
        let cause = Cause::of_refused_hello(error, &bytes, &config);
        return Err(Failed::broken(cause, error, answered.answer, client));
    }
    // It may be large, and the device slow.
    drop(bytes);
    let (tls, client, opening) = finish(context, served, tls, client, queue, answered, seen).await?;
    Ok(Established { tls, client, opening, destination, offer, stamp })
}

struct Rejected(Cause, AlertDescription);

impl Rejected {
    fn into_failed(self, client: TcpStream) -> Failed {
        Failed::alert(self.0, plain_alert(self.1), client)
    }
}

/// Queues and resolves the deployment. No limit refuses a probe.
async fn admit(
    context: &NodeContext,
    listener: &Listener,
    queue: &FairShare,
    is_proof: bool,
    seen: &mut Seen,
) -> Result<RoutedDeployment, Rejected> {
    let destination = find(context, listener, seen).await?;
    // Before queueing: a refusal here is cheap.
    check_room(context, &destination, is_proof)?;
    queue.wait().await;
    // Again: while the connection queued, certificate, host or room may have changed.
    let destination = find(context, listener, seen).await?;
    check_room(context, &destination, is_proof)?;
    Ok(destination)
}

async fn find(
    context: &NodeContext,
    listener: &Listener,
    seen: &mut Seen,
) -> Result<RoutedDeployment, Rejected> {
    let name = sni::normalise(seen.server_name.as_deref());
    let route = context.route(listener, name).await;
    seen.deployment = match &route {
        Route::To(destination) => Some(destination.deployment.clone()),
        Route::Nowhere | Route::Unknown => listener.deployment.clone(),
    };
    match route {
        Route::To(destination) => Ok(destination),
        Route::Nowhere => Err(Rejected(Cause::UnknownName, AlertDescription::UnrecognisedName)),
        Route::Unknown => Err(Rejected(Cause::NotServable, AlertDescription::InternalError)),
    }
}

/// Whether the deployment is served and has room. Takes no place.
fn check_room(context: &NodeContext, destination: &RoutedDeployment, is_proof: bool) -> Result<(), Rejected> {
    let served = served(&destination.entry)?;
    if is_proof {
        return Ok(());
    }
    let room = context.registry.check_room(&destination.deployment, served.spec.limits, Instant::now());
    room.map_err(|cause| Rejected(cause, AlertDescription::AccessDenied))
}

fn served(entry: &DeploymentConfig) -> Result<&Served, Rejected> {
    match entry {
        DeploymentConfig::Served(served) => Ok(served),
        DeploymentConfig::Refused(refused) => Err(match refused.refusal {
            Refusal::Gone | Refusal::NoCertificate => {
                Rejected(Cause::NoCertificateSet, AlertDescription::HandshakeFailure)
            }
            Refusal::Unservable(_) | Refusal::Unavailable(_) => {
                Rejected(Cause::NotServable, AlertDescription::InternalError)
            }
        }),
    }
}

/// `read`: the result of the server's first flight.
async fn finish(
    context: &NodeContext,
    served: &Served,
    mut tls: Tls,
    mut client: TcpStream,
    queue: &FairShare,
    mut read: DeviceRead,
    seen: &mut Seen,
) -> Result<(Tls, TcpStream, Opening), Failed> {
    let opening = loop {
        seen.tls_version = tls.version();
        let DeviceRead { outcome, plain, answer, refused } = read;
        let read_state = match outcome {
            Ok(read_state) => read_state,
            Err(Fault::Socket(_)) => return Err(Failed::silent(Cause::Closed)),
            Err(Fault::Tls(error)) => {
                seen.client_certificate = refused.or_else(|| accepted_certificate(&tls));
                return Err(Failed::broken(Cause::from(&error), &error, answer, client));
            }
        };
        if !tls.is_handshaking() {
            let held = sent_with_the_answer(&tls, answer, &mut client).await?;
            break Opening { first: plain, held, read_state };
        }
        if read_state == ReadState::End {
            return Err(Failed::silent(Cause::Closed));
        }
        match answer.is_empty() {
            // Part of a flight: some libraries write each message separately.
            true => acknowledge(&client),
            false => client.write_all(&answer).await.map_err(|_| Failed::silent(Cause::Closed))?,
        }
        // Client certificates and second hellos are expensive.
        let is_much = served.identity.verifier.is_some()
            || tls.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest);
        read = match is_much {
            true => read_device_in_turn(&mut tls, &mut client, queue).await,
            false => read_device(&mut tls, &mut client).await,
        };
    };
    // rustls does not verify the certificates in a ticket again.
    if let Some(verifier) = &served.identity.verifier
        && tls.handshake_kind() == Some(HandshakeKind::Resumed)
        && let (Err(error), refused) = reported_by(|| context.verify_client(verifier, &tls))
    {
        seen.client_certificate = refused;
        let mut bytes = opening.held;
        bytes.append(&mut match &error {
            // As a full handshake would end; and a client forgets the session (RFC 5246 §7.2.2).
            Error::InvalidCertificate(refusal) => tls.into_alert(refusal.clone().into()),
            _ => close_notify(&mut tls),
        });
        return Err(Failed::alert(Cause::from(&error), bytes, client));
    }
    Ok((tls, client, opening))
}

/// For a failure that comes after it was verified.
pub(crate) fn accepted_certificate(tls: &Tls) -> Option<Box<ClientCertificate>> {
    let end_entity = tls.peer_certificates()?.first()?;
    Some(Box::new(ClientCertificate::of(end_entity)))
}

/// As [`read_device`], after queueing.
async fn read_device_in_turn(tls: &mut Tls, client: &mut TcpStream, queue: &FairShare) -> DeviceRead {
    // Errors are ignored here; the read reports them.
    let _ = client.readable().await;
    queue.wait().await;
    read_device(tls, client).await
}

/// TLS 1.3's session ticket may wait for the broker's first answer, which saves a packet and a
/// system call. In TLS 1.2 the client waits for it.
async fn sent_with_the_answer(tls: &Tls, flight: Vec<u8>, client: &mut TcpStream) -> Result<Vec<u8>, Failed> {
    if tls.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
        return Ok(flight);
    }
    client.write_all(&flight).await.map_err(|_| Failed::silent(Cause::Closed))?;
    Ok(Vec::new())
}

struct Hello {
    bytes: Vec<u8>,
    name: Option<Box<str>>,
    /// ALPN offers only `mqtt`.
    alpn_is_mqtt: bool,
}

enum HelloFailed {
    Gone,
    Refused { cause: Cause, alert: Vec<u8>, hello: Vec<u8> },
}

/// Reads the ClientHello, however it is split. `Acceptor` only parses; the deployment's connection
/// processes the bytes again.
async fn hello(client: &mut TcpStream) -> Result<Hello, HelloFailed> {
    let mut acceptor = Acceptor::default();
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        if before > 0 {
            acknowledge(client);
        }
        match read_more(client, &mut bytes).await {
            Ok(0) | Err(_) => return Err(HelloFailed::Gone),
            Ok(_) => {}
        }
        let mut fresh = &bytes[before..];
        while !fresh.is_empty() {
            if acceptor.read_tls(&mut fresh).is_err() {
                // Its buffer holds the longest hello.
                let (cause, alert) = (Cause::Malformed, plain_alert(AlertDescription::DecodeError));
                return Err(HelloFailed::Refused { cause, alert, hello: bytes });
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    let name = hello.server_name().map(Box::from);
                    let alpn_is_mqtt =
                        hello.alpn().is_some_and(|mut names| names.all(|name| name == b"mqtt"));
                    return Ok(Hello { bytes, name, alpn_is_mqtt });
                }
                Ok(None) => {}
                Err((error, alert)) => {
                    let cause = Cause::of_hello(&error, &bytes[..bytes.len().min(FIRST_MAX)]);
                    let alert = alert_for(&error, self::bytes(alert));
                    return Err(HelloFailed::Refused { cause, alert, hello: bytes });
                }
            }
        }
    }
}

/// Covers a CONNECT up to its protocol name.
const FIRST_MAX: usize = 16;

/// rustls' alert. It has none for non-handshake records and messages that are too long.
fn alert_for(error: &Error, alert: Vec<u8>) -> Vec<u8> {
    if !alert.is_empty() {
        return alert;
    }
    plain_alert(match error {
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        _ => AlertDescription::HandshakeFailure,
    })
}

fn bytes(mut alert: AcceptedAlert) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = alert.write_all(&mut bytes);
    bytes
}

/// A fatal alert as a record (RFC 8446 §6), before a connection exists.
fn plain_alert(description: AlertDescription) -> Vec<u8> {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    vec![ALERT, 3, 3, 0, 2, FATAL, description.into()]
}

impl Failed {
    pub(crate) fn silent(cause: Cause) -> Self {
        Self { cause, closing_alert: None }
    }

    fn alert(cause: Cause, bytes: Vec<u8>, client: TcpStream) -> Self {
        Self { cause, closing_alert: Some(ClosingAlert { bytes, client }) }
    }

    /// `answer`: rustls' alert.
    fn broken(cause: Cause, error: &Error, mut answer: Vec<u8>, client: TcpStream) -> Self {
        // The one fault without an alert of rustls. No keys yet: plain (RFC 8446 §4.1.2).
        if *error == PeerMisbehaved::ServerNameDifferedOnRetry.into() {
            answer = plain_alert(AlertDescription::IllegalParameter);
        }
        Self::alert(cause, answer, client)
    }
}
