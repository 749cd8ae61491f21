use std::{fmt::Write as _, fs, process::Command};

use anyhow::Result;

use super::{Endpoints, Stage, line_with, on_server_core, own_folder};
use crate::process::program::Program;

const PROGRAM: &str = "/usr/bin/stunnel4";

pub(crate) fn version() -> String {
    let line = line_with(Command::new(PROGRAM).arg("-version"), "stunnel 5");
    line.split(" on ").next().unwrap_or_default().to_owned()
}

/// One thread per connection, its only mode.
pub(crate) fn start(stage: &Stage<'_>) -> Result<(Program, Endpoints)> {
    let (folder, endpoints) = (own_folder(stage, "stunnel")?, Endpoints::free());
    let mut text = format!(
        "foreground = yes\npid =\nsyslog = no\ndebug = err\noutput = {}/stunnel.log\n\
         socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\ncurves = X25519\n",
        folder.display()
    );
    for (name, address, shown, two_way) in endpoints.each(stage.credentials) {
        writeln!(
            text,
            "[{name}]\naccept = {address}\nconnect = {}\ncert = {}\nkey = {}",
            stage.broker,
            shown.cert.display(),
            shown.key.display(),
        )?;
        if two_way {
            writeln!(text, "verifyChain = yes\nCAfile = {}", stage.credentials.client_ca_file.display())?;
        }
    }
    let file = folder.join("stunnel.conf");
    fs::write(&file, text)?;
    let mut command = on_server_core(PROGRAM);
    command.arg(&file);
    Ok((Program::start(&folder, &mut command)?, endpoints))
}
