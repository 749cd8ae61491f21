//! Running the real program, a folder, a scripted API.

#![allow(dead_code, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

pub(crate) mod pseudo_terminal;

use std::{
    fs,
    io::{Read, Seek, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

/// Far above the need.
const DEADLINE: Duration = Duration::from_secs(30);

/// Without the test run's environment.
pub(crate) fn certward(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_certward"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CERTWARD_")) {
        command.env_remove(name);
    }
    // No logins of the user.
    command.current_dir(folder).env("XDG_CONFIG_HOME", folder.join("config"));
    command
}

pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The output must fit a pipe.
#[track_caller]
pub(crate) fn finish(command: &mut Command) -> Run {
    finish_from(command, Stdio::null())
}

#[track_caller]
fn finish_from(command: &mut Command, stdin: Stdio) -> Run {
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            let stderr = child.wait_with_output().unwrap().stderr;
            panic!("{command:?} does not end:\n{}", String::from_utf8_lossy(&stderr));
        }
        thread::sleep(Duration::from_millis(5));
    }
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Run {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Readable for its user alone.
pub(crate) fn make_private(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// As [`finish`], with this on stdin.
#[track_caller]
pub(crate) fn finish_with_input(command: &mut Command, text: &str) -> Run {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    finish_from(command, file.into())
}

/// Killed on drop.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_as(certward(folder).arg("serve"), &folder.join("log"))
    }

    pub(crate) fn start_as(command: &mut Command, log: &Path) -> Self {
        let stderr = fs::File::create(log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        Self { child, log: log.to_owned() }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// From the log.
    pub(crate) fn address(&mut self, listener: &str) -> SocketAddr {
        let name = format!("listener=\"{listener}\"");
        wait_until(&format!("{listener} in the log"), || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains("listening") && line.contains(&name));
            if line.is_none() && self.child.try_wait().unwrap().is_some() {
                panic!("it has ended:\n{log}");
            }
            line?.split("address=").nth(1)?.split(' ').next()?.parse().ok()
        })
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// With its stdout.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let status = wait_until("its end", || self.child.try_wait().unwrap());
        let mut stdout = String::new();
        if let Some(pipe) = &mut self.child.stdout {
            pipe.read_to_string(&mut stdout).unwrap();
        }
        (status, stdout)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

#[track_caller]
pub(crate) fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Status, further header fields, body.
pub(crate) type Answer = (u16, &'static str, &'static str);

/// One answer per connection; records the requests.
pub(crate) struct Script {
    pub(crate) address: SocketAddr,
    requests: Receiver<String>,
}

impl Script {
    pub(crate) fn new(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            for (status, fields, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_request(&mut stream);
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
                );
                // The program may exit before this thread runs again.
                if sender.send(request).is_err() {
                    return;
                }
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { address, requests }
    }

    pub(crate) fn client(&self, folder: &Path) -> Command {
        let mut command = certward(folder);
        command
            .env("CERTWARD_URL", format!("http://{}/public_api/v1", self.address))
            .env("CERTWARD_API_KEY", "key1")
            .env("CERTWARD_SECRET_KEY", "hunter2");
        command
    }

    /// Head and body.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }

    /// Without the version.
    pub(crate) fn asked_lines(&self) -> Vec<String> {
        let line = |request: String| request.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        self.asked().into_iter().map(line).collect()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned)
                })
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the request ended early: {text}");
        bytes.extend_from_slice(&buffer[..count]);
    }
}
