use std::{
    ffi::OsStr,
    fs::File,
    io::{Read, Write},
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use rustix::{
    fs::OFlags,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

use super::{Run, wait_until};

/// A terminal for stdin and stderr of a program, with the person before it.
pub(crate) struct PseudoTerminal {
    person: File,
    shown: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    child: Child,
}

impl PseudoTerminal {
    pub(crate) fn start(command: &mut Command) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let terminal = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(OsStr::from_bytes(name.as_bytes()))
            .unwrap();
        let child = command
            .stdin(terminal.try_clone().unwrap())
            .stderr(terminal)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The program alone holds the terminal: its end is that of the output.
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let person = File::from(controller);
        let (mut output, shown) = (person.try_clone().unwrap(), Arc::new(Mutex::new(String::new())));
        let of_thread = Arc::clone(&shown);
        let reader = thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                of_thread.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { person, shown, reader: Some(reader), child }
    }

    pub(crate) fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Whether what is typed is shown.
    pub(crate) fn is_echoing(&self) -> bool {
        tcgetattr(&self.person).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Types a line once the question is shown.
    #[track_caller]
    pub(crate) fn answer(&mut self, question: &str, line: &str) {
        self.types(question, &format!("{line}\n"));
    }

    /// As [`PseudoTerminal::answer`], without the end of the line.
    #[track_caller]
    pub(crate) fn types(&mut self, question: &str, text: &str) {
        wait_until(question, || self.shown().contains(question).then_some(()));
        self.person.write_all(text.as_bytes()).unwrap();
    }

    /// stderr is all that the terminal showed.
    #[track_caller]
    pub(crate) fn finish(&mut self) -> Run {
        let status = wait_until("its end", || self.child.try_wait().unwrap());
        // No process holds the terminal: the thread has read all that was shown.
        self.reader.take().unwrap().join().unwrap();
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        Run { code: status.code().unwrap_or(-1), stdout, stderr: self.shown() }
    }
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
