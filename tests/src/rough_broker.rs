use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::Packet;

/// A broker that agrees to every CONNECT and then does one thing only, so that an attack hits certward and not a broker.
#[derive(Debug)]
pub struct RoughBroker {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

/// Each of its threads only copies bytes.
const STACK: usize = 64 * 1024;

impl RoughBroker {
    /// One that takes whatever comes and says nothing.
    pub fn patient() -> Self {
        Self::start(|client| {
            let mut buffer = [0; 16 * 1024];
            while client.read(&mut buffer)? > 0 {}
            Ok(())
        })
    }

    /// One that sends messages as fast as they are taken.
    pub fn talkative() -> Self {
        let message = Packet::publish("flood", &[0x55; 4000]);
        Self::start(move |client| {
            loop {
                client.write_all(message.bytes())?;
            }
        })
    }

    fn start(talk: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a listener");
        let (over, talk) = (Arc::<AtomicBool>::default(), Arc::new(talk));
        let ending = Arc::clone(&over);
        thread::spawn(move || {
            for client in listener.incoming() {
                if ending.load(Ordering::SeqCst) {
                    return;
                }
                let talk = Arc::clone(&talk);
                let serve = move || client.and_then(|client| agree_and(client, &*talk));
                // A thread less than wanted is a connection that ends.
                drop(thread::Builder::new().stack_size(STACK).spawn(serve));
            }
        });
        Self { address, over }
    }

    /// `HOST:PORT`.
    pub fn upstream(&self) -> String {
        self.address.to_string()
    }
}

fn agree_and(
    mut client: TcpStream,
    talk: &(impl Fn(&mut TcpStream) -> io::Result<()> + ?Sized),
) -> io::Result<()> {
    client.read_exact(&mut [0; 4])?;
    client.write_all(&Packet::CONNACK)?;
    talk(&mut client)
}

impl Drop for RoughBroker {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // The listener's thread looks up when somebody comes. Those of connections end with certward's side.
        drop(TcpStream::connect(self.address));
    }
}
