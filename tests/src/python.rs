use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{certward_binary, run, workspace_root};

/// The Python programs of `tests/python/requirements.txt`, in a virtual environment.
#[derive(Debug)]
pub struct PythonTools {
    folder: PathBuf,
}

impl PythonTools {
    /// Installs them once, beside the program under test; again when the file has changed.
    pub fn installed() -> Self {
        let requirements = Self::file("requirements.txt");
        let wanted = fs::read_to_string(&requirements).unwrap();
        let folder = certward_binary().parent().unwrap().join("python-tools");
        fs::create_dir_all(&folder).unwrap();
        // Tests are processes of their own, and may want it at the same time.
        let lock = File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let tools = Self { folder };
        let mark = tools.folder.join("installed.txt");
        if fs::read_to_string(&mark).unwrap_or_default() != wanted {
            let make = ["-m", "venv", "--clear"];
            succeed(Command::new("python3").args(make).arg(tools.folder.join("venv")));
            let install = ["install", "--quiet", "--disable-pip-version-check", "--requirement"];
            succeed(tools.program("pip").args(install).arg(requirements));
            fs::write(mark, wanted).unwrap();
        }
        tools
    }

    /// One of the programs, without a command yet.
    pub fn program(&self, name: &str) -> Command {
        Command::new(self.folder.join("venv/bin").join(name))
    }

    /// A file of `tests/python`.
    pub fn file(name: &str) -> PathBuf {
        workspace_root().join("tests/python").join(name)
    }
}

fn succeed(command: &mut Command) {
    let output = run(command);
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{error}", output.status);
}

/// Writes the document that the program prints.
pub fn write_openapi(file: &Path) {
    let output = run(Command::new(certward_binary()).arg("openapi"));
    assert!(output.status.success());
    fs::write(file, output.stdout).unwrap();
}
