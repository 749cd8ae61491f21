//! A lower bound for servers built on rustls: the server's side of a handshake in memory, set up
//! for speed (AES-128-GCM, one ticket).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    crypto::{CryptoProvider, aws_lc_rs, aws_lc_rs::cipher_suite, aws_lc_rs::kx_group},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};

use crate::load::{Credential, Credentials, Handshake, Listener, Workload};

/// CPU time, µs.
#[derive(Debug)]
pub(crate) struct Floor {
    pub(crate) handshakes: Vec<(Workload, f64)>,
    pub(crate) p256_signature: f64,
    pub(crate) rsa_signature: f64,
}

impl Floor {
    pub(crate) fn measure(credentials: &Credentials, count: usize) -> Result<Self> {
        let mut handshakes = Vec::new();
        for workload in Workload::all() {
            if let Some(value) = handshake(workload, credentials, count)? {
                handshakes.push((workload, value));
            }
        }
        Ok(Self {
            handshakes,
            p256_signature: signature(&credentials.p256, count)?,
            rsa_signature: signature(&credentials.rsa, count)?,
        })
    }
}

fn handshake(workload: Workload, credentials: &Credentials, count: usize) -> Result<Option<f64>> {
    if workload.is_idle()
        || matches!(workload, Workload::TwoWayFirst | Workload::Throughput | Workload::Small)
    {
        return Ok(None);
    }
    let credential = credentials.of(workload.listener());
    let (client, server) = (client(workload, credentials)?, server(workload, credential, credentials)?);
    let resumed = workload.handshake() == Handshake::Resumed;
    let mut spent = Duration::ZERO;
    for round in 0..count + 20 {
        let (took, kind) = shake(&client, &server)?;
        if round >= 20 {
            ensure!(resumed == (kind == Some(HandshakeKind::Resumed)), "an unexpected kind of handshake");
            spent += took;
        }
    }
    Ok(Some(spent.as_secs_f64() * 1e6 / count as f64))
}

/// One signature in µs.
fn signature(credential: &Credential, count: usize) -> Result<f64> {
    let key = aws_lc_rs::sign::any_supported_type(
        &PrivatePkcs8KeyDer::from(credential.leaf.key_der.clone()).into(),
    )?;
    let provider = aws_lc_rs::default_provider();
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let signer = key.choose_scheme(&schemes).context("a scheme")?;
    // TLS 1.3 signs 98 bytes and a hash.
    let message = [0x20; 98 + 32];
    let began = Instant::now();
    for _ in 0..count {
        std::hint::black_box(signer.sign(&message)?);
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / count as f64)
}

fn provider(workload: Workload) -> Arc<CryptoProvider> {
    let group = if workload == Workload::Hybrid { kx_group::X25519MLKEM768 } else { kx_group::X25519 };
    let suites =
        vec![cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider {
        kx_groups: vec![group],
        cipher_suites: suites,
        ..aws_lc_rs::default_provider()
    })
}

fn client(workload: Workload, credentials: &Credentials) -> Result<Arc<ClientConfig>> {
    let version = if workload.handshake() == Handshake::Tls12 { &TLS12 } else { &TLS13 };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(credentials.server_ca.der().to_vec()))?;
    let builder = ClientConfig::builder_with_provider(provider(workload))
        .with_protocol_versions(&[version])?
        .with_root_certificates(roots);
    let mut config = if workload.listener() == Listener::TwoWay {
        let leaf = &credentials.client;
        builder.with_client_auth_cert(
            vec![leaf.der.clone().into()],
            PrivatePkcs8KeyDer::from(leaf.key_der.clone()).into(),
        )?
    } else {
        builder.with_no_client_auth()
    };
    if workload.handshake() != Handshake::Resumed {
        config.resumption = rustls::client::Resumption::disabled();
    }
    Ok(Arc::new(config))
}

fn server(
    workload: Workload,
    credential: &Credential,
    credentials: &Credentials,
) -> Result<Arc<ServerConfig>> {
    let provider = provider(workload);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = if workload.listener() == Listener::TwoWay {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(credentials.client_ca.der().to_vec()))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivatePkcs8KeyDer::from(credential.leaf.key_der.clone());
    let mut config = builder.with_single_cert(vec![credential.leaf.der.clone().into()], key.into())?;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(Duration, Option<HandshakeKind>)> {
    let mut client =
        ClientConnection::new(Arc::clone(client), ServerName::try_from(Listener::OneWay.host())?)?;
    let began = Instant::now();
    let mut server = ServerConnection::new(Arc::clone(server))?;
    let mut spent = began.elapsed();
    let (mut there, mut back) = (Vec::with_capacity(8192), Vec::with_capacity(8192));
    while client.wants_write() || server.wants_write() || client.is_handshaking() {
        there.clear();
        while client.wants_write() {
            client.write_tls(&mut there)?;
        }
        back.clear();
        let began = Instant::now();
        let mut unread = there.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread)?;
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut back)?;
        }
        spent += began.elapsed();
        let mut unread = back.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread)?;
            client.process_new_packets()?;
        }
    }
    Ok((spent, server.handshake_kind()))
}
