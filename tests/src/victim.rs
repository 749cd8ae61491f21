use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::Device;

/// What a device does all the time while others attack, and must not notice: a new handshake, CONNECT, CONNACK, a ping through
/// to the broker, and again.
#[derive(Debug)]
pub struct Victim {
    over: Arc<AtomicBool>,
    noticed: Arc<Mutex<Noticed>>,
    worker: JoinHandle<()>,
}

/// What a victim has noticed.
#[derive(Debug, Clone, Default)]
pub struct Noticed {
    /// How long each connection took up to the ping's answer.
    pub times: Vec<Duration>,
    /// Why others failed.
    pub failures: Vec<String>,
}

impl Victim {
    /// A pause between two connections, so that the victim is one device and not a load.
    const PAUSE: Duration = Duration::from_millis(5);

    /// Begins, against a listener of certward and for one of its hosts.
    pub fn start(device: Device, address: SocketAddr, host: &str) -> Self {
        Self::start_pausing(device, address, host, Self::PAUSE)
    }

    /// The same with a pause of its own between two connections.
    pub fn start_pausing(device: Device, address: SocketAddr, host: &str, pause: Duration) -> Self {
        let host = host.to_owned();
        let once = move || device.connect(address, &host, "victim").and_then(|mut session| session.ping());
        Self::repeating_pausing(once, pause)
    }

    /// As [`Victim::start`], but what it does all the time is something else.
    pub fn repeating(once: impl FnMut() -> io::Result<()> + Send + 'static) -> Self {
        Self::repeating_pausing(once, Self::PAUSE)
    }

    fn repeating_pausing(mut once: impl FnMut() -> io::Result<()> + Send + 'static, pause: Duration) -> Self {
        let (over, noticed) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Noticed>>::default());
        let (ending, noticing) = (Arc::clone(&over), Arc::clone(&noticed));
        let worker = std::thread::spawn(move || {
            while !ending.load(Ordering::SeqCst) {
                let begin = Instant::now();
                let done = once();
                let mut noticed = noticing.lock().unwrap();
                match done {
                    Ok(()) => noticed.times.push(begin.elapsed()),
                    Err(error) => noticed.failures.push(error.to_string()),
                }
                drop(noticed);
                std::thread::sleep(pause);
            }
        });
        Self { over, noticed, worker }
    }

    /// What it has noticed so far.
    ///
    /// # Panics
    /// Never: the worker does not panic while it holds the lock.
    pub fn noticed(&self) -> Noticed {
        self.noticed.lock().unwrap().clone()
    }

    /// Ends, and tells.
    ///
    /// # Panics
    /// When the victim's thread did.
    pub fn stop(self) -> Noticed {
        self.over.store(true, Ordering::SeqCst);
        self.worker.join().expect("the victim");
        self.noticed.lock().unwrap().clone()
    }
}

impl Noticed {
    /// The time that this share of all connections stayed within.
    pub fn within(&self, share: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let index = (times.len() as f64 * share) as usize;
        times.get(index.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}
