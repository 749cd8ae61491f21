use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::free_port;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const USER: &str = "certward";

/// A PostgreSQL server from the installed binaries: in a temporary folder, on a Unix socket only,
/// by default without fsync. It ends on drop, and with the test's process.
///
/// PostgreSQL refuses root, so root's server runs as another user.
#[derive(Debug)]
pub struct PostgresServer {
    folder: TempDir,
    binaries: PathBuf,
    databases: AtomicU32,
    running: Option<Running>,
    /// On loopback.
    port: Option<u16>,
    /// With fsync.
    durable: bool,
}

/// The thread lives as long as the server: the death signal that ends the server with the test's
/// process is bound to the thread that started it.
#[derive(Debug)]
struct Running {
    stop: mpsc::Sender<Signal>,
    thread: thread::JoinHandle<()>,
    pid: u32,
}

impl PostgresServer {
    /// Shared by this process's tests.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// Starts one, to be stopped.
    pub fn start() -> Self {
        Self::start_at(None, false)
    }

    /// Starts one with fsync.
    pub fn start_durable() -> Self {
        Self::start_at(None, true)
    }

    /// Starts one that also listens on loopback.
    pub fn start_on_tcp() -> Self {
        Self::start_at(Some(free_port()), false)
    }

    fn start_at(port: Option<u16>, durable: bool) -> Self {
        let (binaries, folder) = (binaries(), folder());
        let output = as_other_user(&binaries.join("initdb"))
            .args([
                "--no-sync",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--username",
                USER,
                "--pgdata",
            ])
            .arg(folder.path().join("data"))
            .stdin(Stdio::null())
            .current_dir(folder.path())
            .output()
            .expect("initdb can be started (it needs setpriv, of util-linux)");
        assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
        let mut server =
            Self { folder, binaries, databases: AtomicU32::new(0), running: None, port, durable };
        server.resume();
        server
    }

    /// Starts a synchronous standby.
    pub fn start_synchronous_standby(&self) -> Self {
        let (binaries, folder) = (binaries(), folder());
        let output = as_other_user(&binaries.join("pg_basebackup"))
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--username", USER, "--host"])
            .arg(self.folder.path())
            .args(["--port", &self.socket_port().to_string(), "--pgdata"])
            .arg(folder.path().join("data"))
            .stdin(Stdio::null())
            .current_dir(folder.path())
            .output()
            .expect("pg_basebackup can be started");
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        let (databases, port) = (AtomicU32::new(1_000), Some(free_port()));
        let mut standby = Self { folder, binaries, databases, running: None, port, durable: self.durable };
        standby.resume();
        self.query("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.query("postgres", "SELECT pg_reload_conf()");
        let deadline = Instant::now() + START_TIMEOUT;
        while self.query("postgres", "SELECT sync_state FROM pg_stat_replication") != "sync" {
            assert!(Instant::now() < deadline, "the standby does not follow: {}", standby.log());
            thread::sleep(Duration::from_millis(20));
        }
        standby
    }

    /// Promotes a standby.
    pub fn promote(&self) {
        self.query("postgres", "SELECT pg_promote()");
    }

    /// A query's result as text.
    pub fn query(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database).args(["--command", sql]).output().expect("psql can be started");
        assert!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// `psql` on a database, printing results only.
    pub fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(self.binaries.join("psql"));
        psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--username", USER, "--host"]);
        psql.arg(self.folder.path()).args(["--port", &self.socket_port().to_string(), "--dbname", database]);
        psql
    }

    /// Requires TLS over TCP, with this certificate and key (PEM).
    pub fn require_tls(&self, certificate: &str, key: &str) {
        self.write("server.crt", certificate);
        self.write("server.key", key);
        self.write("pg_hba.conf", "local all all trust\nhostssl all all 127.0.0.1/32 trust\n");
        self.query("postgres", "ALTER SYSTEM SET ssl = on");
        self.query("postgres", "SELECT pg_reload_conf()");
        let deadline = Instant::now() + START_TIMEOUT;
        while self.query("postgres", "SHOW ssl") != "on" {
            assert!(Instant::now() < deadline, "no TLS: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Requires this password over TCP.
    pub fn require_password(&self, password: &str) {
        self.query("postgres", &format!("ALTER ROLE {USER} PASSWORD '{password}'"));
        self.write("pg_hba.conf", "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
        self.query("postgres", "SELECT pg_reload_conf()");
        let deadline = Instant::now() + START_TIMEOUT;
        while self.lets_anybody_in() {
            assert!(Instant::now() < deadline, "no password is asked for: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn lets_anybody_in(&self) -> bool {
        let port = self.port.expect("it listens on loopback").to_string();
        let output = Command::new(self.binaries.join("psql"))
            .args([
                "--no-psqlrc",
                "--no-password",
                "--username",
                USER,
                "--host",
                "127.0.0.1",
                "--port",
                &port,
            ])
            .args(["--command", "SELECT 1", "postgres"])
            .env_remove("PGPASSWORD")
            .env("PGPASSFILE", "/dev/null")
            .output();
        output.expect("psql can be started").status.success()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join("data").join(name);
        fs::write(&path, text).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
        if let Some((uid, gid)) = other_user() {
            chown(&path, Some(uid), Some(gid)).expect("it can be given to the server's user");
        }
    }

    /// The URL of a database over TCP.
    pub fn tcp_url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port.expect("it listens on loopback"))
    }

    /// Signals the server and its children.
    pub fn signal_all(&self, signal: Signal) {
        let server = self.pid().expect("it runs");
        let children = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // After the name, which may contain anything: state, parent.
            let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            (parent == server).then_some(pid)
        });
        for pid in [server].into_iter().chain(children.collect::<Vec<_>>()) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// PostgreSQL names its socket by the port, with or without TCP.
    fn socket_port(&self) -> u16 {
        self.port.unwrap_or(5432)
    }

    /// Creates an empty database; its `postgres://` URL.
    pub fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let output = Command::new(self.binaries.join("createdb"))
            .arg("--host")
            .arg(self.folder.path())
            .args(["--port", &self.socket_port().to_string()])
            .args(["--username", USER, "--maintenance-db=postgres", &name])
            .output()
            .expect("createdb can be started");
        assert!(output.status.success(), "createdb failed: {}", String::from_utf8_lossy(&output.stderr));
        let host = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{host}/{name}")
    }

    /// Stops it at once, like a crash (PostgreSQL's immediate shutdown).
    pub fn stop(&mut self) {
        self.stop_with(Signal::QUIT);
    }

    /// Stops it in an orderly way, without waiting for its clients (PostgreSQL's fast shutdown).
    pub fn stop_fast(&mut self) {
        self.stop_with(Signal::INT);
    }

    fn stop_with(&mut self, signal: Signal) {
        if let Some(running) = self.running.take() {
            // The thread waits for this or for the drop.
            let _ = running.stop.send(signal);
            let _ = running.thread.join();
        }
    }

    /// Kills every process, like a power loss. Without [`PostgresServer::resume`] a little shared
    /// memory leaks.
    pub fn kill(&mut self) {
        self.signal_all(Signal::KILL);
        self.stop();
    }

    /// Starts it again.
    pub fn resume(&mut self) {
        let running = self.run();
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.answers() {
            assert!(Instant::now() < deadline, "PostgreSQL does not answer: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        self.running = Some(running);
    }

    /// The server's process id.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.pid)
    }

    fn run(&self) -> Running {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"));
        let mut command = as_other_user(&self.binaries.join("postgres"));
        command
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .arg("-k")
            .arg(self.folder.path())
            .args(["-h", if self.port.is_some() { "127.0.0.1" } else { "" }])
            .args(["-p", &self.socket_port().to_string()])
            .args(["-c", if self.durable { "fsync=on" } else { "fsync=off" }])
            .args(["-c", "max_connections=100", "-c", "shared_buffers=16MB"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("the server's log can be written"))
            .current_dir(self.folder.path());
        let (stop, stopped) = mpsc::channel();
        let (started, start) = mpsc::channel();
        let thread = thread::spawn(move || {
            let child = command.spawn().expect("postgres can be started");
            let _ = started.send(child.id());
            end(child, stopped.recv().unwrap_or(Signal::QUIT));
        });
        let pid = start.recv().expect("postgres was started");
        Running { stop, thread, pid }
    }

    fn answers(&self) -> bool {
        let status = Command::new(self.binaries.join("pg_isready"))
            .arg("--quiet")
            .arg("--host")
            .arg(self.folder.path())
            .args(["--port", &self.socket_port().to_string()])
            .status();
        status.is_ok_and(|status| status.success())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// For a server that may run as another user.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("certward-pg-").tempdir().expect("a temporary folder");
    if let Some((uid, gid)) = other_user() {
        chown(folder.path(), Some(uid), Some(gid)).expect("the folder can be given to the server's user");
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).expect("its mode can be set");
    folder
}

/// SIGQUIT and SIGINT end its children as well.
fn end(mut child: Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
    let _ = child.wait();
}

/// The newest installed, else in PATH.
fn binaries() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions =
        installed.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry)));
    let newest = versions.max_by_key(|(version, _)| *version).map(|(_, entry)| entry.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = newest.into_iter().chain(std::env::split_paths(&path));
    found
        .filter_map(|folder| folder.join("initdb").canonicalize().ok()?.parent().map(Path::to_owned))
        .find(|folder| folder.join("postgres").exists())
        .expect("these tests need PostgreSQL 14 or later: install it (on Debian: apt-get install postgresql)")
}

/// Also dies with the starting thread.
fn as_other_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if let Some((uid, gid)) = other_user() {
        command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups");
    }
    command.args(["--pdeathsig", "QUIT", "--"]).arg(program);
    command
}

/// For root: `postgres`, or `nobody` if that is missing.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).or(Some((65534, 65534)))
}
