//! Trial handshakes in memory, before an upload is stored.

use std::{io, sync::Arc};

use certward_pki::Material;
use certward_store::{TrustScope, VersionId};
use rustls::{ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion, version};
use rustls_pki_types::ServerName;

use crate::{Protocol, config::tls_config::TlsConfigFactory, proof::recording_client::RecordingClient};

/// A full handshake takes three flights.
const FLIGHTS_MAX: usize = 8;

pub(crate) fn rehearse(tls_configs: &TlsConfigFactory, material: &Material) -> Result<(), String> {
    let identity = tls_configs
        .identity(material, VersionId(0), TrustScope([0; 16]))
        .map_err(|unservable| unservable.to_string())?;
    for version in [&version::TLS13, &version::TLS12] {
        let recorder = RecordingClient::new(Arc::clone(tls_configs.provider()));
        let outcome = handshake(identity.config(Protocol::Mqtts), &recorder, version);
        let seen = recorder.record();
        // Two-way must fail without a client certificate, but after the server's signature.
        let two_way = identity.verifier.is_some();
        match outcome {
            Err(error) if !two_way || !seen.signature_verified => {
                return Err(format!("a trial handshake failed: {error}"));
            }
            _ if seen.asked_by.is_some() != two_way => {
                return Err("a trial handshake asked for a client certificate wrongly".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

fn handshake(
    config: &Arc<ServerConfig>,
    recorder: &Arc<RecordingClient>,
    version: &'static SupportedProtocolVersion,
) -> Result<(), rustls::Error> {
    let mut server = ServerConnection::new(Arc::clone(config))?;
    let name = ServerName::try_from("rehearsal.invalid").map_err(|_| general("no name"))?;
    let mut client = ClientConnection::new(Arc::new(recorder.config(version, None, true)?), name)?;
    for _ in 0..FLIGHTS_MAX {
        carry(
            |out| client.write_tls(out),
            |mut bytes| {
                while !bytes.is_empty() {
                    server.read_tls(&mut bytes)?;
                }
                Ok(())
            },
        )?;
        server.process_new_packets()?;
        carry(
            |out| server.write_tls(out),
            |mut bytes| {
                while !bytes.is_empty() {
                    client.read_tls(&mut bytes)?;
                }
                Ok(())
            },
        )?;
        client.process_new_packets()?;
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
    }
    Err(general("it does not end"))
}

fn carry(
    mut write: impl FnMut(&mut dyn io::Write) -> io::Result<usize>,
    read: impl FnOnce(&[u8]) -> io::Result<()>,
) -> Result<(), rustls::Error> {
    let mut bytes = Vec::new();
    while write(&mut bytes).map_err(|_| general("a buffer is full"))? > 0 {}
    read(&bytes).map_err(|_| general("a buffer is full"))
}

fn general(text: &str) -> rustls::Error {
    rustls::Error::General(text.to_owned())
}
