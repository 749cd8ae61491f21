use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Process, run, wait_until};

/// A Debian with systemd, in a container of its own files and processes; its network is that of the
/// test. Needs root and systemd-nspawn.
#[derive(Debug)]
pub struct DebianMachine {
    // Dropped first: it must end before its files are removed.
    container: Process,
    /// Its first process, as the host counts.
    init: u32,
    folder: TempDir,
}

impl DebianMachine {
    /// Boots the files of an archive, as `mmdebstrap` makes it.
    pub fn boot(archive: &Path) -> Self {
        let folder = TempDir::with_prefix("certward-machine-").unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let unpacked = run(Command::new("tar").arg("-C").arg(&root).arg("-xf").arg(archive));
        assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
        let mut command = Command::new("systemd-nspawn");
        command.args(["--quiet", "--boot", "--keep-unit", "--register=no", "--console=pipe"]);
        command.arg(format!("--machine=certward-{}", std::process::id())).arg("-D").arg(&root);
        let container = Process::start("machine", folder.path(), &mut command);
        let mut machine = Self { container, init: 0, folder };
        wait_until("the end of the boot", || {
            assert!(machine.container.is_running(), "it ended:\n{}", machine.container.output());
            // Before its first process, there is one that prepares the container.
            machine.init = child_of(machine.container.id())?;
            let state = machine.sh("systemctl is-system-running").stdout;
            ["running\n", "degraded\n"].iter().any(|up| up.as_bytes() == state).then_some(())
        });
        machine
    }

    /// A path of the machine, as the host has it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path.trim_start_matches('/'))
    }

    /// The folder of the test, beside the machine's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a line of shell there, as root.
    pub fn sh(&self, line: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string()]);
        command.args(["--mount", "--uts", "--ipc", "--pid", "--root", "--wd", "--"]);
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]);
        run(command.args(["DEBIAN_FRONTEND=noninteractive", "sh", "-c", line]))
    }

    /// As [`DebianMachine::sh`]; it must succeed. Returns what it printed.
    #[track_caller]
    pub fn must(&self, line: &str) -> String {
        let output = self.sh(line);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{line}\n{text}\n{}", self.journal());
        text
    }

    /// The newest lines of certward's journal.
    pub fn journal(&self) -> String {
        let output = self.sh("journalctl --no-pager --lines=200 --unit='certward*'");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for DebianMachine {
    /// Shuts down, so that no process of it stays.
    fn drop(&mut self) {
        self.container.signal(Signal::TERM);
        let _ = crate::came_within(crate::DEADLINE, || (!self.container.is_running()).then_some(()));
    }
}

fn child_of(process: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
