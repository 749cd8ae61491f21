use std::{
    cell::Cell,
    future::Future,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use certward_tests::{Authority, Leaf, Packet};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{self, Runtime},
    task::{LocalSet, spawn_local},
};

use super::{Client, Credentials, Endpoint, Handshake, Session, Workload};
use crate::process::Meter;

const PARALLEL_HANDSHAKES: usize = 16;
const OPEN_CONNECTIONS: usize = 500;
/// Several per client.
const WARM_UP_CONNECTIONS: usize = 4 * PARALLEL_HANDSHAKES;
const MESSAGE_CONNECTIONS: usize = 64;
const BULK_CONNECTIONS: usize = 4;
const WRITE_BYTES: usize = 64 * 1024;
const MEGABYTE: usize = 1_000_000;
const MESSAGE_BYTES: usize = 100;
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// One thread, which alternates with the broker's.
#[derive(Debug)]
pub(crate) struct Generator {
    runtime: Runtime,
    identity: Option<Leaf>,
    /// For new clients.
    client_ca: Option<Rc<Authority>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// In the test's unit.
    pub(crate) value: f64,
    /// Per second of wall time, generator and broker included; none for memory tests.
    pub(crate) rate: Option<f64>,
}

impl Generator {
    pub(crate) fn new(identity: Option<Leaf>) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, identity, client_ca: None })
    }

    pub(crate) fn of(credentials: &Credentials) -> Result<Self> {
        let generator = Self::new(Some(credentials.client.clone()))?;
        Ok(Self { client_ca: Some(Rc::clone(&credentials.client_ca)), ..generator })
    }

    /// Runs `count` units, and reads the cost from `meter`.
    pub(crate) fn measure(
        &self,
        test: Workload,
        endpoint: &Endpoint,
        meter: &Meter,
        count: usize,
    ) -> Result<Measured> {
        match test {
            Workload::Throughput => self.throughput(endpoint, meter, count),
            Workload::Small => self.small(endpoint, meter, count),
            Workload::Idle | Workload::IdleTwoWay => self.idle(test, endpoint, meter, count),
            Workload::TwoWayFirst => self.once_each(&self.first_clients(endpoint, count)?, meter),
            _ => self.handshakes(test, endpoint, meter, count),
        }
    }

    fn handshakes(
        &self,
        test: Workload,
        endpoint: &Endpoint,
        meter: &Meter,
        count: usize,
    ) -> Result<Measured> {
        let clients = self.clients(test, endpoint, PARALLEL_HANDSHAKES)?;
        let resumed = test == Workload::Resumed;
        // Warms caches, and fetches tickets.
        let (sessions, _) = self.run(connect_all(&clients, WARM_UP_CONNECTIONS))?;
        self.run(end_all(sessions))?;
        let (mut cpu, mut took) = (Duration::ZERO, Duration::ZERO);
        let mut left = count;
        while left > 0 {
            let batch = left.min(OPEN_CONNECTIONS);
            let cost = Cost::begin(meter)?;
            let (sessions, _) = self.run(connect_all(&clients, batch))?;
            took += cost.began.elapsed();
            cpu += cost.cpu()?;
            ensure!(!resumed || sessions.iter().all(Session::is_resumed), "it does not resume");
            // Nothing is counted after CONNACK.
            self.run(end_all(sessions))?;
            left -= batch;
        }
        let rate = Some(count as f64 / took.as_secs_f64());
        Ok(Measured { value: cpu.as_secs_f64() * 1e6 / count as f64, rate })
    }

    pub(crate) fn measure_each(&self, endpoints: &[Endpoint], meter: &Meter) -> Result<Measured> {
        let clients = endpoints.iter().map(|endpoint| Client::new(endpoint, Handshake::Full, None));
        self.once_each(&clients.collect::<Result<Vec<_>>>()?, meter)
    }

    /// Each client with a new certificate.
    pub(crate) fn first_clients(&self, endpoint: &Endpoint, count: usize) -> Result<Vec<Client>> {
        let ca = self.client_ca.as_ref().context("the clients' authority is needed")?;
        let client =
            |number| Client::new(endpoint, Handshake::Full, Some(&ca.client(&format!("device {number}"))));
        (0..count).map(client).collect()
    }

    fn once_each(&self, clients: &[Client], meter: &Meter) -> Result<Measured> {
        let cost = Cost::begin(meter)?;
        let mut sessions = Vec::new();
        for some in clients.chunks(PARALLEL_HANDSHAKES) {
            sessions.extend(self.run(connect_all(some, some.len()))?.0);
        }
        let measured = cost.per(clients.len(), 1e6);
        self.run(end_all(sessions))?;
        measured
    }

    fn small(&self, endpoint: &Endpoint, meter: &Meter, count: usize) -> Result<Measured> {
        let clients = self.clients(Workload::Small, endpoint, MESSAGE_CONNECTIONS)?;
        let (sessions, _) = self.run(connect_all(&clients, MESSAGE_CONNECTIONS))?;
        let message = message();
        let sessions = self.run(talk(sessions, &message, MESSAGE_CONNECTIONS * 20))?;
        let cost = Cost::begin(meter)?;
        let sessions = self.run(talk(sessions, &message, count))?;
        let measured = cost.per(count, 1e6);
        self.run(end_all(sessions))?;
        measured
    }

    fn throughput(&self, endpoint: &Endpoint, meter: &Meter, megabytes: usize) -> Result<Measured> {
        let clients = self.clients(Workload::Throughput, endpoint, BULK_CONNECTIONS)?;
        let (sessions, _) = self.run(connect_all(&clients, BULK_CONNECTIONS))?;
        let sessions = self.run(carry(sessions, 20 * MEGABYTE))?;
        let cost = Cost::begin(meter)?;
        let sessions = self.run(carry(sessions, megabytes * MEGABYTE))?;
        let measured = cost.per(megabytes, 1000.0);
        self.run(end_all(sessions))?;
        measured
    }

    fn idle(&self, test: Workload, endpoint: &Endpoint, meter: &Meter, count: usize) -> Result<Measured> {
        let clients = self.clients(test, endpoint, PARALLEL_HANDSHAKES)?;
        // Excludes one-time allocations. Few connections: freed memory is reused.
        let (sessions, _) = self.run(connect_all(&clients, PARALLEL_HANDSHAKES))?;
        self.run(end_all(sessions))?;
        let before = meter.settled_memory_kib()?;
        let (sessions, _) = self.run(connect_all(&clients, count))?;
        let sessions = self.run(talk(sessions, Packet::ping().bytes(), count))?;
        let after = meter.settled_memory_kib()?;
        self.run(async move {
            drop(sessions);
            Ok(())
        })?;
        Ok(Measured { value: (after - before) / count as f64, rate: None })
    }

    pub(crate) fn clients(&self, test: Workload, endpoint: &Endpoint, count: usize) -> Result<Vec<Client>> {
        let client = || Client::new(endpoint, test.handshake(), self.identity.as_ref());
        if test.handshake() == Handshake::Resumed {
            // A ticket is used once.
            (0..count).map(|_| client()).collect()
        } else {
            Ok(vec![client()?; count])
        }
    }

    pub(crate) fn run<T>(&self, load: impl Future<Output = Result<T>>) -> Result<T> {
        let bounded = async { tokio::time::timeout(LOAD_TIMEOUT, load).await.context("it takes too long")? };
        LocalSet::new().block_on(&self.runtime, bounded)
    }
}

struct Cost<'a> {
    meter: &'a Meter,
    before: Duration,
    began: Instant,
}

impl<'a> Cost<'a> {
    fn begin(meter: &'a Meter) -> Result<Self> {
        Ok(Self { meter, before: meter.settled_cpu()?, began: Instant::now() })
    }

    /// Once the server is idle.
    fn cpu(&self) -> Result<Duration> {
        Ok(self.meter.settled_cpu()? - self.before)
    }

    /// In seconds times `scale`.
    fn per(&self, count: usize, scale: f64) -> Result<Measured> {
        let took = self.began.elapsed().as_secs_f64();
        let value = self.cpu()?.as_secs_f64() * scale / count as f64;
        Ok(Measured { value, rate: Some(count as f64 / took) })
    }
}

fn take(left: &Cell<usize>) -> bool {
    let Some(less) = left.get().checked_sub(1) else { return false };
    left.set(less);
    true
}

/// With the time of each.
pub(crate) async fn connect_all(clients: &[Client], count: usize) -> Result<(Vec<Session>, Vec<Duration>)> {
    let left = Rc::new(Cell::new(count));
    let workers = clients.iter().cloned().map(|client| {
        let left = Rc::clone(&left);
        spawn_local(async move {
            let mut made = Vec::new();
            while take(&left) {
                let began = Instant::now();
                made.push((client.connect().await?, began.elapsed()));
            }
            Ok(made)
        })
    });
    Ok(all(workers.collect::<Vec<_>>()).await?.into_iter().flatten().unzip())
}

/// Each connection awaits the echo.
async fn talk(sessions: Vec<Session>, message: &[u8], count: usize) -> Result<Vec<Session>> {
    let each = count.div_ceil(sessions.len().max(1));
    let workers = sessions.into_iter().map(|mut session| {
        let message = message.to_vec();
        spawn_local(async move {
            let mut echo = vec![0; message.len()];
            for _ in 0..each {
                session.stream.write_all(&message).await?;
                session.stream.read_exact(&mut echo).await.context("no echo")?;
            }
            Ok(session)
        })
    });
    all(workers.collect::<Vec<_>>()).await
}

async fn carry(sessions: Vec<Session>, bytes: usize) -> Result<Vec<Session>> {
    let pieces = (bytes / sessions.len().max(1)).div_ceil(WRITE_BYTES);
    let workers = sessions.into_iter().map(|session| {
        spawn_local(async move {
            let (mut reader, mut writer) = tokio::io::split(session.stream);
            let sender = spawn_local(async move {
                let piece = vec![b'x'; WRITE_BYTES];
                for _ in 0..pieces {
                    writer.write_all(&piece).await?;
                }
                writer.flush().await?;
                anyhow::Ok(writer)
            });
            let mut buffer = vec![0; WRITE_BYTES];
            let mut left = pieces * WRITE_BYTES;
            while left > 0 {
                let length = reader.read(&mut buffer).await?;
                ensure!(length > 0, "the echo has ended");
                left = left.checked_sub(length).context("more comes back than was sent")?;
            }
            Ok(Session { stream: reader.unsplit(sender.await??) })
        })
    });
    all(workers.collect::<Vec<_>>()).await
}

pub(crate) async fn end_all(sessions: Vec<Session>) -> Result<()> {
    let mut sessions = sessions.into_iter();
    loop {
        let some: Vec<_> = sessions.by_ref().take(PARALLEL_HANDSHAKES).collect();
        if some.is_empty() {
            return Ok(());
        }
        let workers = some.into_iter().map(|session| {
            spawn_local(async move {
                session.end().await;
                Ok(())
            })
        });
        all(workers.collect::<Vec<_>>()).await?;
    }
}

async fn all<T>(workers: Vec<tokio::task::JoinHandle<Result<T>>>) -> Result<Vec<T>> {
    let mut results = Vec::with_capacity(workers.len());
    for worker in workers {
        results.push(worker.await??);
    }
    Ok(results)
}

fn message() -> Vec<u8> {
    let topic = "fleet/device/1/state";
    // Two bytes of header, two of the topic's length.
    Packet::publish(topic, &vec![b'x'; MESSAGE_BYTES - 4 - topic.len()]).bytes().to_vec()
}
