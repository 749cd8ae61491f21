use std::{fmt::Write as _, fs, path::Path, process::Command};

use anyhow::Result;

use super::{Endpoints, Stage, first_line, on_server_core, own_folder};
use crate::process::program::Program;

const PROGRAM: &str = "/usr/sbin/hitch";

pub(crate) fn version() -> String {
    first_line(Command::new(PROGRAM).arg("--version"))
}

pub(crate) fn start(stage: &Stage<'_>) -> Result<(Program, Endpoints)> {
    let (folder, endpoints) = (own_folder(stage, "hitch")?, Endpoints::free());
    let mut text = preamble(stage);
    for (_, address, shown, two_way) in endpoints.each(stage.credentials) {
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
    fs::write(folder.join("hitch.conf"), text)?;
    Ok((launch(&folder)?, endpoints))
}

pub(crate) fn launch(folder: &Path) -> Result<Program> {
    let mut command = on_server_core(PROGRAM);
    command.arg("--config").arg(folder.join("hitch.conf"));
    Program::start(folder, &mut command)
}

pub(crate) fn preamble(stage: &Stage<'_>) -> String {
    format!(
        "backend = \"[{}]:{}\"\nworkers = 1\ndaemon = off\nuser = \"root\"\nsyslog = off\nlog-level = 0\n\
         tls-protos = TLSv1.2 TLSv1.3\necdh-curve = \"X25519\"\n",
        stage.broker.ip(),
        stage.broker.port()
    )
}
