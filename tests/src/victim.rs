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

/// A device that connects, pings and closes in a loop, and must not notice attacks on others.
#[derive(Debug)]
pub struct Victim {
    over: Arc<AtomicBool>,
    noticed: Arc<Mutex<Noticed>>,
    worker: JoinHandle<()>,
}

/// The measurements of a victim.
#[derive(Debug, Clone, Default)]
pub struct Noticed {
    /// Time of each connection up to the ping's answer.
    pub times: Vec<Duration>,
    /// Errors of the failed ones.
    pub failures: Vec<String>,
}

impl Victim {
    /// The victim is one device, not a load.
    const PAUSE: Duration = Duration::from_millis(5);

    /// Starts at a listener and host of certward.
    pub fn start(device: Device, address: SocketAddr, host: &str) -> Self {
        Self::start_pausing(device, address, host, Self::PAUSE)
    }

    /// The same with this pause.
    pub fn start_pausing(device: Device, address: SocketAddr, host: &str, pause: Duration) -> Self {
        let host = host.to_owned();
        let once = move || device.connect(address, &host, "victim").and_then(|mut session| session.ping());
        Self::repeating_pausing(once, pause)
    }

    /// As [`Victim::start`], repeating another action.
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

    /// The measurements so far.
    pub fn noticed(&self) -> Noticed {
        self.noticed.lock().unwrap().clone()
    }

    /// Stops and returns the measurements.
    pub fn stop(self) -> Noticed {
        self.over.store(true, Ordering::SeqCst);
        self.worker.join().expect("the victim");
        self.noticed.lock().unwrap().clone()
    }
}

impl Noticed {
    /// The time of this share of the connections.
    pub fn within(&self, share: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let index = (times.len() as f64 * share) as usize;
        times.get(index.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}
