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

const START: Duration = Duration::from_secs(30);
const USER: &str = "certward";

/// A PostgreSQL server of one's own, from the installed binaries: in a temporary folder, on a Unix socket only (so
/// that it needs no port), mostly without fsync. It ends when it is dropped, and also when the test's process is killed.
///
/// Run as root it becomes another user, for PostgreSQL refuses root.
#[derive(Debug)]
pub struct PostgresServer {
    folder: TempDir,
    binaries: PathBuf,
    databases: AtomicU32,
    running: Option<Running>,
    /// On loopback; without one there is the socket only.
    port: Option<u16>,
    /// Whether what it commits is on the disk, as it should be where it is measured.
    durable: bool,
}

/// The server's process belongs to a thread that lives as long as it: the death signal that ends the server with the
/// test's process is bound to the thread that started it.
#[derive(Debug)]
struct Running {
    stop: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
    pid: u32,
}

impl PostgresServer {
    /// The server that the tests of this process share; it is started for the first and ends with the last.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// Starts one, for a test that stops it.
    pub fn start() -> Self {
        Self::start_at(None, false)
    }

    /// Starts one with fsync, to be measured.
    pub fn start_durable() -> Self {
        Self::start_at(None, true)
    }

    /// Starts one that listens on loopback, too, so that it can be one of two.
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

    /// A standby of this server, which from then on acknowledges no commit that the standby does not have.
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
        let deadline = Instant::now() + START;
        while self.query("postgres", "SELECT sync_state FROM pg_stat_replication") != "sync" {
            assert!(Instant::now() < deadline, "the standby does not follow: {}", standby.log());
            thread::sleep(Duration::from_millis(20));
        }
        standby
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        self.query("postgres", "SELECT pg_promote()");
    }

    /// What a statement gives, as text.
    pub fn query(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database).args(["--command", sql]).output().expect("psql can be started");
        assert!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// `psql`, connected to a database, that prints nothing but what statements give.
    pub fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(self.binaries.join("psql"));
        psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--username", USER, "--host"]);
        psql.arg(self.folder.path()).args(["--port", &self.socket_port().to_string(), "--dbname", database]);
        psql
    }

    /// From now on connections over TCP are encrypted or refused; certificate and key are PEM.
    pub fn require_tls(&self, certificate: &str, key: &str) {
        self.write("server.crt", certificate);
        self.write("server.key", key);
        self.write("pg_hba.conf", "local all all trust\nhostssl all all 127.0.0.1/32 trust\n");
        self.query("postgres", "ALTER SYSTEM SET ssl = on");
        self.query("postgres", "SELECT pg_reload_conf()");
        let deadline = Instant::now() + START;
        while self.query("postgres", "SHOW ssl") != "on" {
            assert!(Instant::now() < deadline, "no TLS: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// From now on whoever comes over TCP needs this password.
    pub fn require_password(&self, password: &str) {
        self.query("postgres", &format!("ALTER ROLE {USER} PASSWORD '{password}'"));
        self.write("pg_hba.conf", "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
        self.query("postgres", "SELECT pg_reload_conf()");
        let deadline = Instant::now() + START;
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

    /// A file of the server's own.
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

    /// Sends a signal to the server and all of its children, as one sends it to a whole machine.
    pub fn signal_all(&self, signal: Signal) {
        let server = self.pid().expect("it runs");
        let children = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // After the name, which may hold anything: state, parent.
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

    /// Makes an empty database and gives its `postgres://` URL.
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

    /// Stops it at once, as a crash would: connections break off.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            // The thread waits for this or for the sender's end; either way it stops the server.
            let _ = running.stop.send(());
            let _ = running.thread.join();
        }
    }

    /// Kills every process of it, as a machine does that loses its power. [`PostgresServer::resume`] it, or a few bytes of shared memory
    /// are left behind.
    pub fn kill(&mut self) {
        self.signal_all(Signal::KILL);
        self.stop();
    }

    /// Starts it again where it was stopped.
    pub fn resume(&mut self) {
        let running = self.run();
        let deadline = Instant::now() + START;
        while !self.answers() {
            assert!(Instant::now() < deadline, "PostgreSQL does not answer: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        self.running = Some(running);
    }

    /// The server's process.
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
            let _ = stopped.recv();
            end(child);
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

/// For one server, which may become another user.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("certward-pg-").tempdir().expect("a temporary folder");
    if let Some((uid, gid)) = other_user() {
        chown(folder.path(), Some(uid), Some(gid)).expect("the folder can be given to the server's user");
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).expect("its mode can be set");
    folder
}

/// SIGQUIT: it breaks off at once. Its children go with it.
fn end(mut child: Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::QUIT);
    }
    let _ = child.wait();
}

/// The newest installed version, else whatever is in the path.
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

/// Becomes the other user where there is one, and dies with the thread that started it.
fn as_other_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if let Some((uid, gid)) = other_user() {
        command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups");
    }
    command.args(["--pdeathsig", "QUIT", "--"]).arg(program);
    command
}

/// Whom to become: nobody where one is not root; else `postgres`, or `nobody` where that is missing.
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
