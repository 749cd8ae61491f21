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

/// A way to PostgreSQL that a test can block: a socket of its own before the server's.
///
/// It can be made slow, too. While it is blocked it swallows what is said and passes nothing on, as a network that has gone silent; when it is freed, the
/// connections of that time are broken off, and new ones pass.
#[derive(Debug)]
pub struct Detour {
    /// Of its socket.
    _folder: TempDir,
    url: String,
    way: Arc<Way>,
}

/// What a test has done to it.
#[derive(Debug, Default)]
struct Way {
    blocked: AtomicBool,
    /// How long everything takes in each direction, in milliseconds.
    delay: AtomicU64,
    /// It is blocked as soon as a client says this.
    trigger: Mutex<Option<&'static str>>,
}

impl Way {
    fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::SeqCst)
    }

    /// Blocks the way if that is what the client must not say.
    fn hear(&self, said: &[u8]) {
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
/// How soon a block is noticed.
const LOOK: Duration = Duration::from_millis(20);

impl Detour {
    /// A detour to the database of a [`crate::PostgresServer`] with this URL.
    ///
    /// # Panics
    /// When it is another URL, or no socket can be made.
    pub fn before(url: &str) -> Self {
        let host = url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).expect("a URL").0;
        let server = Path::new(&host.replace("%2F", "/")).join(SOCKET);
        let folder = TempDir::with_prefix("certward-detour-").unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let way = Arc::<Way>::default();
        let own = folder.path().display().to_string().replace('/', "%2F");
        let detour = Self { url: url.replace(host, &own), _folder: folder, way: Arc::clone(&way) };
        thread::spawn(move || accept(&listener, &server, &way));
        detour
    }

    /// The database's URL by this way.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Nothing passes from now on.
    pub fn block(&self) {
        self.way.blocked.store(true, Ordering::SeqCst);
    }

    /// Nothing passes from the moment on at which a client says this, which does not pass either.
    pub fn block_at(&self, said: &'static str) {
        *self.way.trigger.lock().unwrap() = Some(said);
    }

    /// Whether nothing passes.
    pub fn is_blocked(&self) -> bool {
        self.way.is_blocked()
    }

    /// From now on a round trip takes so long at least.
    pub fn slow_down(&self, round_trip: Duration) {
        let delay = u64::try_from(round_trip.as_millis() / 2).expect("a short time");
        self.way.delay.store(delay, Ordering::SeqCst);
    }

    /// New connections pass again.
    pub fn free(&self) {
        self.way.blocked.store(false, Ordering::SeqCst);
    }
}

/// Ends with the test's process: it holds nothing but sockets.
fn accept(listener: &UnixListener, server: &Path, way: &Arc<Way>) {
    for client in listener.incoming() {
        let Ok(client) = client else { return };
        let Ok(server) = UnixStream::connect(server) else { continue };
        let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { continue };
        let (there, back) = (Arc::clone(way), Arc::clone(way));
        thread::spawn(move || carry(from_client, server, &there, |said| there.hear(said)));
        thread::spawn(move || carry(from_server, client, &back, |_| ()));
    }
}

fn carry(mut from: UnixStream, mut to: UnixStream, way: &Way, heard: impl Fn(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    let mut swallowed = false;
    let _ = from.set_read_timeout(Some(LOOK));
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
        if swallowed && !way.is_blocked() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
