use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Leaf;

/// Debian's, which has its package python3-aiosmtpd.
const PYTHON: &str = "/usr/bin/python3";
/// Far above the need, as the cores are busy.
const DEADLINE: Duration = Duration::from_secs(30);
/// In every text that a receiver answers.
pub const CANARY: &str = "canary-7f3a";

/// A receiver of alerts in a process of its own; killed on drop.
#[derive(Debug)]
pub struct Receiver {
    child: Child,
    folder: TempDir,
    /// Of 127.0.0.1.
    pub port: u16,
}

impl Receiver {
    /// A receiver of webhooks, which answers 204 unless `more` says otherwise.
    pub fn http(tls: Option<&Leaf>, secret: &str, more: &Value) -> Self {
        let mut settings = json!({"tls": tls.is_some(), "secret": secret, "answer": 204});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Self::start("http_receiver.py", tls, settings)
    }

    /// A mail server, by `security` `tls`, `starttls` or `plain`.
    pub fn smtp(leaf: &Leaf, security: &str, more: &Value) -> Self {
        let mut settings = json!({"security": security, "behaviour": "good", "login": null, "excluded": []});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Self::start("smtp_receiver.py", Some(leaf), settings)
    }

    fn start(script: &str, leaf: Option<&Leaf>, mut settings: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some(leaf) = leaf {
            leaf.write(folder.path(), "server");
        }
        settings["canary"] = json!(CANARY);
        fs::write(folder.path().join("settings.json"), settings.to_string()).unwrap();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("receivers").join(script);
        let mut child = Command::new(PYTHON)
            .arg(script)
            .arg(folder.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{PYTHON} does not start: {error}"));
        let until = Instant::now() + DEADLINE;
        let port = loop {
            if let Ok(port) = fs::read_to_string(folder.path().join("port")) {
                break port.parse().unwrap();
            }
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the receiver ended ({ended:?}); is python3-aiosmtpd installed?");
            assert!(Instant::now() < until, "the receiver does not listen");
            sleep(Duration::from_millis(10));
        };
        Self { child, folder, port }
    }

    /// What it has recorded: it records before it answers.
    pub fn record(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("record")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Of one kind.
    pub fn events(&self, event: &str) -> Vec<Value> {
        self.record().into_iter().filter(|line| line["event"] == event).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
