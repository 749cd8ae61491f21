//! Core dumps would contain keys: the program disables them before it reads the first key. The
//! files in `/proc/PID` then belong to root (proc(5)); so the program runs as another user if the
//! tests are root's.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    io::ErrorKind,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(30);
const NOBODY: u32 = 65_534;
const CONFIG: &str = r#"
    [api]
    listen = "127.0.0.1:0"
    [[gateway.listener]]
    listen = "127.0.0.1:0"
    protocol = "mqtts"
"#;

/// Where another user can run it.
struct Stage {
    folder: TempDir,
    is_root: bool,
    /// Never answers.
    silent: TcpListener,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let is_root = chown(folder.path(), Some(NOBODY), Some(NOBODY)).is_ok();
        let program = folder.path().join("certward");
        fs::copy(env!("CARGO_BIN_EXE_certward"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, is_root, silent: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command.env_clear().current_dir(self.folder.path()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if self.is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("certward")
    }

    fn database(&self) -> String {
        let address = self.silent.local_addr().unwrap();
        format!("postgres://certward:password@{address}/certward?sslmode=disable")
    }

    fn is_closed(&self, process: &Child) -> bool {
        let file = format!("/proc/{}/environ", process.id());
        match self.is_root {
            true => fs::metadata(file).is_ok_and(|found| found.uid() == 0),
            false => fs::read(file).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied),
        }
    }
}

#[test]
fn the_commands_that_have_keys_in_memory_can_not_be_dumped() {
    let stage = Stage::new();
    assert!(stage.command(&["init"]).status().unwrap().success());
    fs::write(stage.folder.path().join("certward.toml"), CONFIG).unwrap();
    let database = stage.database();
    for (arguments, store) in [
        (vec!["serve"], None),
        (vec!["init"], Some(&database)),
        (vec!["migrate-store", "--to", &database], None),
    ] {
        let mut process =
            stage.command(&arguments).envs(store.map(|url| ("CERTWARD_STORE", url))).spawn().unwrap();
        let begin = Instant::now();
        while !stage.is_closed(&process) {
            assert!(process.try_wait().unwrap().is_none(), "{arguments:?} has ended before it was seen");
            assert!(begin.elapsed() < DEADLINE, "{arguments:?} can be dumped");
            thread::sleep(Duration::from_millis(1));
        }
        process.kill().unwrap();
        process.wait().unwrap();
    }
}
