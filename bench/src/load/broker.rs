use std::{cell::RefCell, io, net::SocketAddr, rc::Rc, thread};

use anyhow::{Context, Result};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    runtime,
    task::{LocalSet, spawn_local},
};

/// CONNACK on CONNECT, close on DISCONNECT, else an echo. It shares the load generator's core.
#[derive(Debug)]
pub(crate) struct EchoBroker {
    address: SocketAddr,
}

const CONNECT: u8 = 0x10;
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const DISCONNECT: [u8; 2] = [0xe0, 0];
const BUFFER: usize = 256 * 1024;

impl EchoBroker {
    /// Port 0: a free one.
    pub(crate) fn start(port: u16) -> Result<Self> {
        let listener =
            std::net::TcpListener::bind(("127.0.0.1", port)).context("the broker's port is taken")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        thread::Builder::new().name("broker".into()).spawn(move || {
            let _inside = runtime.enter();
            let listener = TcpListener::from_std(listener).expect("a runtime is there");
            LocalSet::new().block_on(&runtime, accept(listener));
        })?;
        Ok(Self { address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener) {
    let buffer = Rc::new(RefCell::new(vec![0; BUFFER]));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let buffer = Rc::clone(&buffer);
        spawn_local(async move {
            // Ignored: the client notices.
            let _ = serve(stream, &buffer).await;
        });
    }
}

async fn serve(mut stream: TcpStream, buffer: &RefCell<Vec<u8>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connected = false;
    loop {
        stream.readable().await?;
        // Shared by all connections: no content across an await.
        let rest = {
            let buffer = &mut *buffer.borrow_mut();
            let length = match stream.try_read(buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            let answer = match &buffer[..length] {
                // A short CONNECT arrives in one piece.
                [CONNECT, ..] if !connected => &CONNACK[..],
                bytes if bytes == DISCONNECT => return Ok(()),
                bytes => bytes,
            };
            connected = true;
            match stream.try_write(answer) {
                Ok(written) => answer[written..].to_vec(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => answer.to_vec(),
                Err(error) => return Err(error),
            }
        };
        stream.write_all(&rest).await?;
    }
}
