use std::{
    cell::RefCell,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use anyhow::{Context, Result};
use clap::Args;
use rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    runtime,
    task::{LocalSet, spawn_local},
};
use tokio_rustls::TlsAcceptor;

use super::site::{Site, on_server_core};
use crate::process::Program;

/// The forwarder is this program started again.
#[derive(Debug, Clone, Args)]
pub(crate) struct Forward {
    /// Where to listen
    #[arg(long)]
    listen: Vec<SocketAddr>,
    /// The certificate and key of each listener, in one file
    #[arg(long)]
    credential: Vec<PathBuf>,
    /// The client CA of each listener; `-` for none
    #[arg(long, allow_hyphen_values = true)]
    client_ca: Vec<PathBuf>,
    /// Plain TCP, on the first listener
    #[arg(long)]
    plain: bool,
    /// Where the broker is
    #[arg(long)]
    upstream: SocketAddr,
}

pub(crate) fn version() -> String {
    "rustls with aws-lc-rs, tokio-rustls, `copy_bidirectional`, one thread, all defaults".to_owned()
}

pub(crate) fn start(site: &Site<'_>, tls: bool) -> Result<Program> {
    let mut command = on_server_core(std::env::current_exe()?);
    command.arg("forward").arg("--upstream").arg(site.broker().to_string());
    for bind in site.binds() {
        command.arg("--listen").arg(bind.address.to_string());
        command.arg("--credential").arg(&bind.credential.both);
        command.arg("--client-ca").arg(bind.client_ca.unwrap_or(Path::new("-")));
    }
    if !tls {
        command.arg("--plain");
    }
    Program::start(&site.folder, &mut command)
}

/// The plainest gateway of the same parts.
pub(crate) fn forward(forward: &Forward) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut listeners = Vec::new();
        for ((address, credential), client_ca) in
            forward.listen.iter().zip(&forward.credential).zip(&forward.client_ca)
        {
            let listener = TcpListener::bind(address).await?;
            let acceptor = TlsAcceptor::from(Arc::new(config(credential, client_ca)?));
            let buffer = Rc::new(RefCell::new(vec![0; BUFFER]));
            let how = if forward.plain { How::Plain(buffer) } else { How::Tls(acceptor) };
            listeners.push(spawn_local(accept(listener, how, forward.upstream)));
        }
        for listener in listeners {
            listener.await?;
        }
        Ok(())
    })
}

fn config(credential: &Path, client_ca: &Path) -> Result<ServerConfig> {
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
    let text = fs::read(credential).with_context(|| credential.display().to_string())?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>()?;
    Ok(builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(&text)?)?)
}

#[derive(Clone)]
enum How {
    Tls(TlsAcceptor),
    Plain(Rc<RefCell<Vec<u8>>>),
}

const BUFFER: usize = 64 * 1024;

async fn accept(listener: TcpListener, how: How, upstream: SocketAddr) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let how = how.clone();
        spawn_local(async move {
            // Ignored: the client notices.
            let _ = match how {
                How::Tls(acceptor) => relay(client, acceptor, upstream).await,
                How::Plain(buffer) => relay_plain(client, &buffer, upstream).await,
            };
        });
    }
}

async fn relay(client: TcpStream, acceptor: TlsAcceptor, upstream: SocketAddr) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut tls = acceptor.accept(client).await?;
    let mut broker = TcpStream::connect(upstream).await?;
    broker.set_nodelay(true)?;
    copy_bidirectional(&mut tls, &mut broker).await?;
    Ok(())
}

async fn relay_plain(
    mut client: TcpStream,
    buffer: &RefCell<Vec<u8>>,
    upstream: SocketAddr,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut broker = TcpStream::connect(upstream).await?;
    broker.set_nodelay(true)?;
    let ((from_client, to_client), (from_broker, to_broker)) = (client.split(), broker.split());
    tokio::select! {
        ended = pass(from_client, to_broker, buffer) => ended,
        ended = pass(from_broker, to_client, buffer) => ended,
    }
}

async fn pass(from: ReadHalf<'_>, mut to: WriteHalf<'_>, buffer: &RefCell<Vec<u8>>) -> io::Result<()> {
    loop {
        from.readable().await?;
        // Shared by all connections: no content across an await.
        let rest = {
            let buffer = &mut *buffer.borrow_mut();
            let length = match from.try_read(buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            match to.try_write(&buffer[..length]) {
                Ok(written) => buffer[written..length].to_vec(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => buffer[..length].to_vec(),
                Err(error) => return Err(error),
            }
        };
        to.write_all(&rest).await?;
    }
}
