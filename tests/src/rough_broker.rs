use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
};

use crate::Packet;

/// A broker that after CONNACK only reads or only sends, so that an attack loads certward and not
/// the broker.
///
/// One thread serves all connections: more would take the processor from certward and the victims.
#[derive(Debug)]
pub struct RoughBroker {
    address: SocketAddr,
    /// Ends the broker on drop.
    _end: oneshot::Sender<()>,
}

#[derive(Debug, Clone, Copy)]
enum Manner {
    /// Reads and sends nothing.
    Patient,
    /// Sends messages as fast as they are read.
    Talkative,
}

impl RoughBroker {
    /// Reads and sends nothing.
    pub fn patient() -> Self {
        Self::start(Manner::Patient)
    }

    /// Sends messages as fast as they are read.
    pub fn talkative() -> Self {
        Self::start(Manner::Talkative)
    }

    fn start(manner: Manner) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a listener");
        let address = listener.local_addr().expect("a listener");
        let (end, ended) = oneshot::channel::<()>();
        let runtime = runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        thread::spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    _ = ended => {}
                    () = accept(listener, manner) => {}
                }
            });
        });
        Self { address, _end: end }
    }

    /// `HOST:PORT`.
    pub fn upstream(&self) -> String {
        self.address.to_string()
    }
}

async fn accept(listener: TcpListener, manner: Manner) {
    loop {
        match listener.accept().await {
            // Ignored: certward and the attacker notice the close.
            Ok((client, _)) => drop(tokio::spawn(serve(client, manner))),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn serve(mut client: TcpStream, manner: Manner) -> io::Result<()> {
    client.read_exact(&mut [0; 4]).await?;
    client.write_all(&Packet::CONNACK).await?;
    match manner {
        Manner::Patient => {
            let mut buffer = vec![0; 16 * 1024];
            while client.read(&mut buffer).await? > 0 {}
            Ok(())
        }
        Manner::Talkative => {
            let message = Packet::publish("flood", &[0x55; 4000]);
            loop {
                client.write_all(message.bytes()).await?;
            }
        }
    }
}
