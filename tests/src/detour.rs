use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// A way to PostgreSQL that a test can block: a socket of its own before the server's.
///
/// While it is blocked it swallows what is said and passes nothing on, as a network that has gone silent; when it is freed, the
/// connections of that time are broken off, and new ones pass.
#[derive(Debug)]
pub struct Detour {
    /// Of its socket.
    _folder: TempDir,
    url: String,
    blocked: Arc<AtomicBool>,
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
        let blocked = Arc::<AtomicBool>::default();
        let own = folder.path().display().to_string().replace('/', "%2F");
        let detour = Self { url: url.replace(host, &own), _folder: folder, blocked: Arc::clone(&blocked) };
        thread::spawn(move || accept(&listener, &server, &blocked));
        detour
    }

    /// The database's URL by this way.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Nothing passes from now on.
    pub fn block(&self) {
        self.blocked.store(true, Ordering::SeqCst);
    }

    /// New connections pass again.
    pub fn free(&self) {
        self.blocked.store(false, Ordering::SeqCst);
    }
}

/// Ends with the test's process: it holds nothing but sockets.
fn accept(listener: &UnixListener, server: &Path, blocked: &Arc<AtomicBool>) {
    for client in listener.incoming() {
        let Ok(client) = client else { return };
        let Ok(server) = UnixStream::connect(server) else { continue };
        let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { continue };
        let (there, back) = (Arc::clone(blocked), Arc::clone(blocked));
        thread::spawn(move || carry(from_client, server, &there));
        thread::spawn(move || carry(from_server, client, &back));
    }
}

fn carry(mut from: UnixStream, mut to: UnixStream, blocked: &AtomicBool) {
    let mut buffer = [0; 16 * 1024];
    let mut swallowed = false;
    let _ = from.set_read_timeout(Some(LOOK));
    loop {
        let read = from.read(&mut buffer);
        match read {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(0) | Err(_) => break,
            Ok(length) if !blocked.load(Ordering::SeqCst) && !swallowed => {
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            Ok(_) => swallowed = true,
        }
        if swallowed && !blocked.load(Ordering::SeqCst) {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
