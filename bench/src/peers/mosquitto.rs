use std::{fmt::Write as _, path::Path};

use anyhow::Result;

use super::site::{Site, on_server_core, output_line};
use crate::process::Program;

const PROGRAM: &str = "/usr/sbin/mosquitto";
const FILE: &str = "mosquitto.conf";

pub(crate) fn version() -> String {
    output_line(PROGRAM, "-h", "")
}

/// Its own TLS, without a relay.
pub(crate) fn start(site: &Site<'_>) -> Result<Program> {
    let mut text = "user root\nallow_anonymous true\nmax_connections -1\nlog_dest stderr\nlog_type error\n\
                    set_tcp_nodelay true\n"
        .to_owned();
    for bind in site.binds() {
        writeln!(
            text,
            "listener {} {}\ncertfile {}\nkeyfile {}",
            bind.address.port(),
            bind.address.ip(),
            bind.credential.cert.display(),
            bind.credential.key.display(),
        )?;
        if let Some(file) = bind.client_ca {
            writeln!(text, "cafile {}\nrequire_certificate true", file.display())?;
        }
    }
    site.launch(FILE, &text, launch)
}

fn launch(folder: &Path) -> Result<Program> {
    Program::start(folder, on_server_core(PROGRAM).arg("-c").arg(folder.join(FILE)))
}
