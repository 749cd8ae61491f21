use std::{fmt::Write as _, fs, process::Command};

use anyhow::Result;

use super::{Doors, Stage, first_line, folder, on_server_core};
use crate::program::Program;

const PROGRAM: &str = "/usr/sbin/hitch";

pub(crate) fn version() -> String {
    first_line(Command::new(PROGRAM).arg("--version"))
}

/// One worker.
pub(crate) fn start(stage: &Stage<'_>) -> Result<(Program, Doors)> {
    let (folder, doors) = (folder(stage, "hitch")?, Doors::free());
    let mut text = preamble(stage);
    for (_, address, shown, two_way) in doors.each(stage.credentials) {
        writeln!(
            text,
            "frontend = {{\n host = \"{}\"\n port = \"{}\"\n pem-file = \"{}\"\n{}}}",
            address.ip(),
            address.port(),
            shown.both.display(),
            if two_way {
                let file = stage.credentials.client_ca_file.display();
                format!(" client-verify = required\n client-verify-ca = \"{file}\"\n")
            } else {
                String::new()
            },
        )?;
    }
    let file = folder.join("hitch.conf");
    fs::write(&file, text)?;
    let mut command = on_server_core(PROGRAM);
    command.arg("--config").arg(&file);
    Ok((Program::start(&folder, &mut command)?, doors))
}

/// One worker before the broker.
pub(crate) fn preamble(stage: &Stage<'_>) -> String {
    format!(
        "backend = \"[{}]:{}\"\nworkers = 1\ndaemon = off\nuser = \"root\"\nsyslog = off\nlog-level = 0\n\
         tls-protos = TLSv1.2 TLSv1.3\necdh-curve = \"X25519\"\n",
        stage.broker.ip(),
        stage.broker.port()
    )
}
