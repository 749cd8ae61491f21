//! What the tests of the real program share: running it, a folder, a scripted API.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Output},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

/// The program, without the variables of whoever runs the tests.
pub(crate) fn certward(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_certward"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CERTWARD_")) {
        command.env_remove(name);
    }
    command.current_dir(folder);
    command
}

/// What a run came to.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn finish(command: &mut Command) -> Run {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Run {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Waits for a condition, never longer than any test should take.
#[track_caller]
pub(crate) fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// An answer of the scripted API: status, further header fields, body.
pub(crate) type Answer = (u16, &'static str, &'static str);

/// An API that gives these answers, one a connection, and tells what it was asked.
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
                stream.write_all(answer.as_bytes()).unwrap();
                if sender.send(request).is_err() {
                    return;
                }
            }
        });
        Self { address, requests }
    }

    /// The program with this API's address and a key.
    pub(crate) fn client(&self, folder: &Path) -> Command {
        let mut command = certward(folder);
        command
            .env("CERTWARD_URL", format!("http://{}/public_api/v1", self.address))
            .env("CERTWARD_API_KEY", "key1")
            .env("CERTWARD_SECRET_KEY", "hunter2");
        command
    }

    /// What it was asked so far: head and body of each request.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }

    /// The first lines of what it was asked, without the version.
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
