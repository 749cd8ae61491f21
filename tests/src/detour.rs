use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// A proxy before PostgreSQL's socket that a test can cut, block or slow down.
///
/// While cut it closes all connections. While blocked it discards, like a network that drops
/// packets. When freed, it closes the connections of that time.
#[derive(Debug)]
pub struct Detour {
    _folder: TempDir,
    url: String,
    way: Arc<DetourState>,
}

#[derive(Debug, Default)]
struct DetourState {
    cut: AtomicBool,
    blocked: AtomicBool,
    /// Milliseconds per direction.
    delay: AtomicU64,
    /// Blocks when a client sends this.
    trigger: Mutex<Option<&'static str>>,
}

impl DetourState {
    fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::SeqCst)
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    fn check_trigger(&self, said: &[u8]) {
        let mut trigger = self.trigger.lock().unwrap();
        if trigger.is_some_and(|text| said.windows(text.len()).any(|part| part == text.as_bytes())) {
            *trigger = None;
            self.blocked.store(true, Ordering::SeqCst);
        }
    }

    fn wait(&self) {
        thread::sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst)));
    }
}

const SOCKET: &str = ".s.PGSQL.5432";
const POLL_INTERVAL: Duration = Duration::from_millis(20);

impl Detour {
    /// Before the database of a [`crate::PostgresServer`] URL.
    pub fn before(url: &str) -> Self {
        let host = url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).expect("a URL").0;
        let server = Path::new(&host.replace("%2F", "/")).join(SOCKET);
        let folder = TempDir::with_prefix("certward-detour-").unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let way = Arc::<DetourState>::default();
        let own = folder.path().display().to_string().replace('/', "%2F");
        let detour = Self { url: url.replace(host, &own), _folder: folder, way: Arc::clone(&way) };
        thread::spawn(move || accept(&listener, &server, &way));
        detour
    }

    /// The database's URL through the proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes all connections, and each new one.
    pub fn cut(&self) {
        self.way.cut.store(true, Ordering::SeqCst);
    }

    /// Blocks both directions.
    pub fn block(&self) {
        self.way.blocked.store(true, Ordering::SeqCst);
    }

    /// Blocks once a client sends this, which is not forwarded.
    pub fn block_at(&self, said: &'static str) {
        *self.way.trigger.lock().unwrap() = Some(said);
    }

    /// Whether it is blocked.
    pub fn is_blocked(&self) -> bool {
        self.way.is_blocked()
    }

    /// Sets the shortest round trip.
    pub fn slow_down(&self, round_trip: Duration) {
        let delay = u64::try_from(round_trip.as_millis() / 2).expect("a short time");
        self.way.delay.store(delay, Ordering::SeqCst);
    }

    /// Lets new connections pass again.
    pub fn free(&self) {
        self.way.cut.store(false, Ordering::SeqCst);
        self.way.blocked.store(false, Ordering::SeqCst);
    }
}

/// Ends with the test's process.
fn accept(listener: &UnixListener, server: &Path, way: &Arc<DetourState>) {
    for client in listener.incoming() {
        let Ok(client) = client else { return };
        if way.is_cut() {
            continue;
        }
        let Ok(server) = UnixStream::connect(server) else { continue };
        let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { continue };
        let (there, back) = (Arc::clone(way), Arc::clone(way));
        thread::spawn(move || carry(from_client, server, &there, |said| there.check_trigger(said)));
        thread::spawn(move || carry(from_server, client, &back, |_| ()));
    }
}

fn carry(mut from: UnixStream, mut to: UnixStream, way: &DetourState, heard: impl Fn(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    let mut swallowed = false;
    let _ = from.set_read_timeout(Some(POLL_INTERVAL));
    loop {
        let read = from.read(&mut buffer);
        if let Ok(length) = read {
            way.wait();
            heard(&buffer[..length]);
        }
        match read {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(0) | Err(_) => break,
            Ok(length) if !way.is_blocked() && !swallowed => {
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            Ok(_) => swallowed = true,
        }
        if way.is_cut() || swallowed && !way.is_blocked() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
