use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::Args;
use rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime,
    task::{LocalSet, spawn_local},
};
use tokio_rustls::TlsAcceptor;

use super::{Doors, Stage, on_server_core, own_folder};
use crate::program::Program;

/// What a forwarder needs: it is this program, started again.
#[derive(Debug, Clone, Args)]
pub(crate) struct Forward {
    /// Where to listen
    #[arg(long)]
    listen: Vec<SocketAddr>,
    /// The certificate and key of each listener, in one file
    #[arg(long)]
    shown: Vec<PathBuf>,
    /// The client CA of each listener; `-` for none
    #[arg(long, allow_hyphen_values = true)]
    client_ca: Vec<PathBuf>,
    /// Where the broker is
    #[arg(long)]
    upstream: SocketAddr,
}

pub(crate) fn version() -> String {
    "rustls with aws-lc-rs, tokio-rustls, `copy_bidirectional`, one thread, all defaults".to_owned()
}

pub(crate) fn start(stage: &Stage<'_>) -> Result<(Program, Doors)> {
    let (folder, doors) = (own_folder(stage, "rustls")?, Doors::free());
    let mut command = on_server_core(std::env::current_exe()?);
    command.arg("forward").arg("--upstream").arg(stage.broker.to_string());
    for (_, address, shown, two_way) in doors.each(stage.credentials) {
        let client_ca = if two_way { stage.credentials.client_ca_file.clone() } else { "-".into() };
        command.arg("--listen").arg(address.to_string()).arg("--shown").arg(&shown.both);
        command.arg("--client-ca").arg(client_ca);
    }
    Ok((Program::start(&folder, &mut command)?, doors))
}

/// Forwards until it is ended: the plainest gateway that can be made of the same parts.
pub(crate) fn forward(forward: &Forward) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut listeners = Vec::new();
        for ((address, shown), client_ca) in forward.listen.iter().zip(&forward.shown).zip(&forward.client_ca)
        {
            let listener = TcpListener::bind(address).await?;
            let acceptor = TlsAcceptor::from(Arc::new(config(shown, client_ca)?));
            listeners.push(spawn_local(accept(listener, acceptor, forward.upstream)));
        }
        for listener in listeners {
            listener.await?;
        }
        Ok(())
    })
}

fn config(shown: &PathBuf, client_ca: &PathBuf) -> Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = if client_ca.as_os_str() == "-" {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_file_iter(client_ca)? {
            roots.add(ca?)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        builder.with_client_cert_verifier(verifier)
    };
    let text = fs::read(shown).with_context(|| shown.display().to_string())?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>()?;
    Ok(builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(&text)?)?)
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, upstream: SocketAddr) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let acceptor = acceptor.clone();
        spawn_local(async move {
            // However it ends: whoever measures notices by himself.
            let _ = relay(client, acceptor, upstream).await;
        });
    }
}

async fn relay(client: TcpStream, acceptor: TlsAcceptor, upstream: SocketAddr) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut tls = acceptor.accept(client).await?;
    let mut broker = TcpStream::connect(upstream).await?;
    broker.set_nodelay(true)?;
    copy_bidirectional(&mut tls, &mut broker).await?;
    Ok(())
}
