use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::{DEADLINE, came_within, wait_until};

/// A running program. Its output goes to a file; when this value is dropped, the program is ended.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts `command`; what it writes to stdout and stderr is appended to `<folder>/<name>.log`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(name: &str, folder: &Path, command: &mut Command) -> Self {
        let output = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&output).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, output }
    }

    /// All it has written so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// How many times `text` stands in its output.
    pub fn count(&self, text: &str) -> usize {
        self.output().matches(text).count()
    }

    /// Waits until `text` stands in its output `times` times.
    ///
    /// # Panics
    /// When it does not come, with the output.
    pub fn wait_for(&self, text: &str, times: usize) {
        let came = came_within(DEADLINE, || (self.count(text) >= times).then_some(()));
        assert!(came.is_some(), "{} did not write {text:?} {times} times:\n{}", self.name, self.output());
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // It may have ended by itself: then there is nobody to tell.
        let _ = kill_process(self.pid(), signal);
    }

    /// Lets it have only so many files and sockets open from now on; those that are open stay.
    ///
    /// # Panics
    /// When the system does not let us.
    pub fn limit_descriptors(&self, most: u64) {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        prlimit(Some(self.pid()), Resource::Nofile, limit).expect("a lower limit");
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id")
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        wait_until(&format!("end of {name}"), || self.child.try_wait().ok().flatten())
    }

    /// Ends it without a warning, as a power cut would: `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let tail = output.len().saturating_sub(20_000);
            let tail = (tail..output.len()).find(|at| output.is_char_boundary(*at)).unwrap_or(0);
            eprintln!("--- {} said:\n{}", self.name, &output[tail..]);
        }
    }
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{name} does not start: {error}"))
}
