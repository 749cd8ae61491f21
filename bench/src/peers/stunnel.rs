use std::{fmt::Write as _, path::Path};

use anyhow::Result;

use super::site::{Site, on_server_core, output_line};
use crate::process::Program;

const PROGRAM: &str = "/usr/bin/stunnel4";
const FILE: &str = "stunnel.conf";

pub(crate) fn version() -> String {
    output_line(PROGRAM, "-version", "stunnel 5").split(" on ").next().unwrap_or_default().to_owned()
}

/// One thread per connection, its only mode.
pub(crate) fn start(site: &Site<'_>) -> Result<Program> {
    let mut text = format!(
        "foreground = yes\npid =\nsyslog = no\ndebug = err\noutput = {}/stunnel.log\n\
         socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\ncurves = X25519\n",
        site.folder.display()
    );
    for bind in site.binds() {
        writeln!(
            text,
            "[{}]\naccept = {}\nconnect = {}\ncert = {}\nkey = {}",
            bind.listener.name(),
            bind.address,
            site.broker(),
            bind.credential.cert.display(),
            bind.credential.key.display(),
        )?;
        if let Some(file) = bind.client_ca {
            writeln!(text, "verifyChain = yes\nCAfile = {}", file.display())?;
        }
    }
    site.launch(FILE, &text, launch)
}

fn launch(folder: &Path) -> Result<Program> {
    Program::start(folder, on_server_core(PROGRAM).arg(folder.join(FILE)))
}
