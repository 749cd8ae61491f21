use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{Device, Noticed, Packet};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Each pause doubles up to the longest, with jitter.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const FAILURES_KEPT: usize = 10;

/// Target and sources of devices.
#[derive(Debug, Clone)]
pub struct Route {
    /// A listener of certward.
    pub target: SocketAddr,
    /// The SNI.
    pub host: String,
    /// Source addresses: each has 28,000 ports only.
    pub addresses: Vec<IpAddr>,
    /// TLS settings.
    pub device: Device,
}

/// Many idle devices, which reconnect by themselves.
#[derive(Debug)]
pub struct Fleet {
    runtime: Runtime,
    devices: JoinSet<()>,
    over: watch::Sender<bool>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    walk: ResolvedRoute,
    /// One machine plays all devices.
    shaking: Semaphore,
    connected: AtomicUsize,
    failed: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

struct ResolvedRoute {
    route: Route,
    connector: TlsConnector,
    next: AtomicUsize,
}

impl Fleet {
    /// Starts the devices, at most `shaking_at_once` handshakes at a time.
    pub fn start(route: Route, devices: usize, shaking_at_once: usize) -> Self {
        let runtime = runtime();
        let (over, watching) = watch::channel(false);
        let shared = Arc::new(Shared {
            walk: ResolvedRoute::new(route),
            shaking: Semaphore::new(shaking_at_once),
            connected: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            failures: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for number in 0..devices {
            let (shared, over) = (Arc::clone(&shared), watching.clone());
            tasks.spawn_on(async move { shared.live(number, over).await }, runtime.handle());
        }
        Self { runtime, devices: tasks, over, shared }
    }

    /// Devices connected now.
    pub fn connected(&self) -> usize {
        self.shared.connected.load(Ordering::SeqCst)
    }

    /// Failed attempts.
    pub fn failed(&self) -> usize {
        self.shared.failed.load(Ordering::SeqCst)
    }

    /// Some failures as text.
    pub fn failures(&self) -> Vec<String> {
        self.shared.failures.lock().unwrap().clone()
    }

    /// Closes all devices.
    pub fn stop(mut self) {
        let _ = self.over.send(true);
        self.runtime.block_on(async { while self.devices.join_next().await.is_some() {} });
    }
}

impl Shared {
    async fn live(&self, number: usize, mut over: watch::Receiver<bool>) {
        let mut pause = PAUSE_MIN;
        loop {
            let connected = tokio::select! {
                _ = over.wait_for(|over| *over) => return,
                connected = self.connect(number) => connected,
            };
            if let Ok(mut stream) = connected {
                pause = PAUSE_MIN;
                self.connected.fetch_add(1, Ordering::SeqCst);
                let mut nothing = [0; 16];
                let told = tokio::select! {
                    _ = over.wait_for(|over| *over) => true,
                    _ = stream.read(&mut nothing) => false,
                };
                self.connected.fetch_sub(1, Ordering::SeqCst);
                if told {
                    // Ignored: the peer may have closed.
                    let _ = stream.shutdown().await;
                    return;
                }
            }
            tokio::select! {
                _ = over.wait_for(|over| *over) => return,
                () = sleep(pause.mul_f64(0.5 + scatter())) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn connect(&self, number: usize) -> io::Result<TlsStream<TcpStream>> {
        let _shaking = self.shaking.acquire().await;
        let connected = self.walk.connect(&format!("fleet-{}-{number}", std::process::id())).await;
        if let Err(error) = &connected {
            self.failed.fetch_add(1, Ordering::SeqCst);
            let mut failures = self.failures.lock().unwrap();
            if failures.len() < FAILURES_KEPT {
                failures.push(error.to_string());
            }
        }
        connected
    }
}

impl std::fmt::Debug for ResolvedRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.route.fmt(f)
    }
}

impl ResolvedRoute {
    fn new(route: Route) -> Self {
        let connector = TlsConnector::from(route.device.config());
        Self { route, connector, next: AtomicUsize::new(0) }
    }

    async fn connect(&self, client_id: &str) -> io::Result<TlsStream<TcpStream>> {
        let connecting = async {
            let socket = TcpSocket::new_v4()?;
            let addresses = &self.route.addresses;
            let address = addresses[self.next.fetch_add(1, Ordering::Relaxed) % addresses.len()];
            socket.bind(SocketAddr::new(address, 0))?;
            let tcp = socket.connect(self.route.target).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from(self.route.host.clone()).map_err(io::Error::other)?;
            let mut stream = self.connector.connect(name, tcp).await?;
            exchange(&mut stream, &Packet::connect(client_id), &Packet::CONNACK).await?;
            Ok(stream)
        };
        timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// The time up to the ping's answer.
    async fn visit(&self, client_id: &str) -> io::Result<Duration> {
        let begin = Instant::now();
        let mut stream = self.connect(client_id).await?;
        timeout(CONNECT_TIMEOUT, exchange(&mut stream, &Packet::ping(), &Packet::PINGRESP)).await??;
        let took = begin.elapsed();
        stream.shutdown().await?;
        Ok(took)
    }
}

async fn exchange(stream: &mut TlsStream<TcpStream>, packet: &Packet, answer: &[u8]) -> io::Result<()> {
    stream.write_all(packet.bytes()).await?;
    stream.flush().await?;
    let mut got = vec![0; answer.len()];
    stream.read_exact(&mut got).await?;
    if got == answer { Ok(()) } else { Err(io::Error::other(format!("{got:02x?} instead of {answer:02x?}"))) }
}

/// Opens devices at a fixed rate for `span`, however slow the earlier ones are; each pings once.
pub fn newcomers(route: Route, a_second: u32, span: Duration) -> Noticed {
    runtime().block_on(async {
        let walk = Arc::new(ResolvedRoute::new(route));
        let mut visits = JoinSet::new();
        let mut ticks = interval(Duration::from_secs(1) / a_second);
        let begin = Instant::now();
        while begin.elapsed() < span {
            ticks.tick().await;
            let walk = Arc::clone(&walk);
            let id = format!("new-{}", visits.len());
            visits.spawn(async move { walk.visit(&id).await });
        }
        let mut noticed = Noticed::default();
        while let Some(visit) = visits.join_next().await {
            match visit.expect("a visit") {
                Ok(took) => noticed.times.push(took),
                Err(error) => noticed.failures.push(error.to_string()),
            }
        }
        noticed
    })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads")
}

/// Between 0 and 1.
fn scatter() -> f64 {
    // A fresh `RandomState` is random.
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}
