//! From accept to the end of the handshake.

use std::{io, sync::Arc};

use certward_store::TrustScope;
use rustls::{
    AlertDescription, HandshakeKind, PeerMisbehaved, ProtocolVersion, ServerConnection,
    server::{Accepted, AcceptedAlert, Acceptor},
};
use tokio::{net::TcpStream, time::Instant};

use crate::{
    Listener,
    cause::Cause,
    failures::Seen,
    probes::{Probe, Used},
    registry::Place,
    served::{Entry, Refusal, Served},
    serving::Serving,
    sni,
    wire::{flush, read_into},
};

/// A connection whose handshake is done.
pub(crate) struct Shaken {
    pub(crate) tls: Box<ServerConnection>,
    pub(crate) client: TcpStream,
    /// What it was shaken with.
    pub(crate) entry: Arc<Entry>,
    /// The trust scope as read before the handshake.
    pub(crate) scope: TrustScope,
    /// Its place among the deployment's connections; a proof needs none.
    pub(crate) place: Option<Place>,
}

/// Why there is none, and what is left to say to the client.
pub(crate) struct Failed {
    pub(crate) cause: Cause,
    pub(crate) farewell: Farewell,
}

/// The last words.
pub(crate) enum Farewell {
    /// None: the client is gone.
    Nothing,
    /// An alert of no connection.
    Alert(Vec<u8>, TcpStream),
    /// The alert that waits in the connection, or close_notify.
    Tls(Box<ServerConnection>, TcpStream),
}

/// Shakes hands. `seen` is told what is known as soon as it is known, for whoever gives up waiting.
pub(crate) async fn shake(
    serving: &Serving,
    listener: &Listener,
    mut client: TcpStream,
    probe: Option<&Probe>,
    seen: &mut Seen,
) -> Result<Shaken, Failed> {
    seen.deployment = listener.deployment.clone();
    let accepted = match hello(&mut client).await {
        Ok(accepted) => accepted,
        Err(Broken::Gone) => return Err(Failed::silent(Cause::Closed)),
        Err(Broken::Refused(cause, alert)) => return Err(Failed::alert(cause, alert, client)),
    };
    let name = accepted.client_hello().server_name().map(Box::from);
    seen.server_name.clone_from(&name);
    let name = sni::normalise(name.as_deref());
    let Some((deployment, entry)) = serving.route(listener, name).await else {
        let alert = plain_alert(AlertDescription::UnrecognisedName);
        return Err(Failed::alert(Cause::UnknownName, alert, client));
    };
    seen.deployment = Some(deployment.clone());
    let served = match &*entry {
        Entry::Served(served) => served,
        Entry::Refused(refused) => {
            let (cause, alert) = match &refused.refusal {
                Refusal::Gone | Refusal::NoCertificate => {
                    (Cause::NoCertificateSet, AlertDescription::HandshakeFailure)
                }
                Refusal::Unservable(_) | Refusal::Unavailable(_) => {
                    (Cause::NotServable, AlertDescription::InternalError)
                }
            };
            return Err(Failed::alert(cause, plain_alert(alert), client));
        }
    };
    let scope = served.identity.trust_scope;
    let place = match probe {
        Some(probe) => {
            probe.report(Used {
                deployment: deployment.clone(),
                generation: served.generation,
                version: served.identity.version,
            });
            None
        }
        // Before anything that costs: whoever is refused here is refused cheaply.
        None => match serving.registry.take_place(&deployment, served.limits, Instant::now()) {
            Ok(place) => Some(place),
            Err(cause) => {
                return Err(Failed::alert(cause, plain_alert(AlertDescription::AccessDenied), client));
            }
        },
    };
    let tls = match accepted.into_connection(Arc::clone(served.identity.config(listener.protocol))) {
        Ok(tls) => Box::new(tls),
        Err((error, alert)) => return Err(Failed::alert(Cause::from(&error), bytes(alert), client)),
    };
    let (tls, client) = finish(serving, served, tls, client, seen).await?;
    Ok(Shaken { tls, client, entry, scope, place })
}

/// From the ServerHello to the end.
async fn finish(
    serving: &Serving,
    served: &Served,
    mut tls: Box<ServerConnection>,
    mut client: TcpStream,
    seen: &mut Seen,
) -> Result<(Box<ServerConnection>, TcpStream), Failed> {
    let gone = |_: io::Error| Failed::silent(Cause::Closed);
    loop {
        seen.tls_version = version(&tls);
        flush(&mut tls, &mut client).await.map_err(gone)?;
        if !tls.is_handshaking() {
            break;
        }
        if read_into(&mut client, |reader| tls.read_tls(reader)).await.map_err(gone)? == 0 {
            return Err(Failed::silent(Cause::Closed));
        }
        if let Err(error) = tls.process_new_packets() {
            let cause = Cause::from(&error);
            // The one fault that rustls tells no client. There are no keys yet: the alert is plain (RFC 8446 §4.1.2).
            if error == PeerMisbehaved::ServerNameDifferedOnRetry.into() {
                return Err(Failed::alert(cause, plain_alert(AlertDescription::IllegalParameter), client));
            }
            return Err(Failed { cause, farewell: Farewell::Tls(tls, client) });
        }
    }
    // rustls takes the certificates of a resumed client from its ticket and does not look at them again.
    if let Some(verifier) = &served.identity.verifier
        && tls.handshake_kind() == Some(HandshakeKind::Resumed)
        && let Err(error) = serving.verify_client(verifier, &tls)
    {
        return Err(Failed { cause: Cause::from(&error), farewell: Farewell::Tls(tls, client) });
    }
    Ok((tls, client))
}

enum Broken {
    Gone,
    Refused(Cause, Vec<u8>),
}

/// Reads the ClientHello, however it is cut up: into records of one byte, or over several packets.
async fn hello(client: &mut TcpStream) -> Result<Accepted, Broken> {
    let mut acceptor = Acceptor::default();
    let mut first = First::default();
    loop {
        match read_into(client, |reader| acceptor.read_tls(&mut first.of(reader))).await {
            Ok(0) | Err(_) => return Err(Broken::Gone),
            Ok(_) => {}
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, alert)) => {
                let cause = Cause::of_hello(&error, &first.0);
                return Err(Broken::Refused(cause, alert_for(&error, bytes(alert))));
            }
        }
    }
}

/// The version of TLS that was agreed on.
pub(crate) fn version(tls: &ServerConnection) -> Option<&'static str> {
    match tls.protocol_version()? {
        ProtocolVersion::TLSv1_3 => Some("1.3"),
        ProtocolVersion::TLSv1_2 => Some("1.2"),
        _ => None,
    }
}

/// The first bytes of a connection, to know what it is that is no TLS.
#[derive(Default)]
struct First(Vec<u8>);

/// Enough for the longest beginning that is looked for: a CONNECT's up to its protocol's name.
const FIRST_MAX: usize = 16;

/// Reads, and keeps the first bytes.
struct Keeping<'a> {
    first: &'a mut First,
    reader: &'a mut dyn io::Read,
}

impl First {
    fn of<'a>(&'a mut self, reader: &'a mut dyn io::Read) -> Keeping<'a> {
        Keeping { first: self, reader }
    }
}

impl io::Read for Keeping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buffer)?;
        let wanted = FIRST_MAX.saturating_sub(self.first.0.len()).min(len);
        self.first.0.extend_from_slice(&buffer[..wanted]);
        Ok(len)
    }
}

/// rustls' alert, or the right one where it has none: for records that are no handshake, and messages that are too long.
fn alert_for(error: &rustls::Error, alert: Vec<u8>) -> Vec<u8> {
    if !alert.is_empty() {
        return alert;
    }
    plain_alert(match error {
        rustls::Error::InvalidMessage(_) => AlertDescription::DecodeError,
        rustls::Error::InappropriateMessage { .. } | rustls::Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        _ => AlertDescription::HandshakeFailure,
    })
}

fn bytes(mut alert: AcceptedAlert) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail; if it did, there would be nothing to send.
    let _ = alert.write_all(&mut bytes);
    bytes
}

/// A fatal alert in a record of its own (RFC 8446 §6): no connection exists yet that could send one.
fn plain_alert(description: AlertDescription) -> Vec<u8> {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    vec![ALERT, 3, 3, 0, 2, FATAL, description.into()]
}

impl Failed {
    fn silent(cause: Cause) -> Self {
        Self { cause, farewell: Farewell::Nothing }
    }

    fn alert(cause: Cause, alert: Vec<u8>, client: TcpStream) -> Self {
        Self { cause, farewell: Farewell::Alert(alert, client) }
    }
}
