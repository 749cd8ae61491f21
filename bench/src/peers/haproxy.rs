use std::{fmt::Write as _, fs, path::Path, process::Command};

use anyhow::Result;

use super::{Endpoints, Stage, first_line, on_server_core, own_folder};
use crate::process::program::Program;

const PROGRAM: &str = "/usr/sbin/haproxy";

pub(crate) fn version() -> String {
    let line = first_line(Command::new(PROGRAM).arg("-v"));
    line.split(" 20").next().unwrap_or_default().to_owned()
}

/// `tuned`: AES-128-GCM alone (2.6 has no setting for the number of tickets).
pub(crate) fn start(stage: &Stage<'_>, tuned: bool) -> Result<(Program, Endpoints)> {
    let (folder, endpoints) =
        (own_folder(stage, if tuned { "haproxy-tuned" } else { "haproxy" })?, Endpoints::free());
    let mut text = preamble();
    let ciphers = if tuned {
        "ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256 ciphersuites TLS_AES_128_GCM_SHA256"
    } else {
        ""
    };
    for (name, address, shown, two_way) in endpoints.each(stage.credentials) {
        let verification = if two_way {
            format!("ca-file {} verify required", stage.credentials.client_ca_file.display())
        } else {
            String::new()
        };
        writeln!(
            text,
            "frontend {name}\n bind {address} ssl crt {} curves X25519 {ciphers} {verification}\n \
             default_backend broker",
            shown.both.display(),
        )?;
    }
    writeln!(text, "backend broker\n server broker {}", stage.broker)?;
    fs::write(folder.join("haproxy.cfg"), text)?;
    Ok((launch(&folder)?, endpoints))
}

pub(crate) fn launch(folder: &Path) -> Result<Program> {
    let mut command = on_server_core(PROGRAM);
    command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg"));
    Program::start(folder, &mut command)
}

/// One thread, no logs, idle timeout of ten minutes.
pub(crate) fn preamble() -> String {
    "global\n nbthread 1\n maxconn 9000\n ssl-default-bind-options ssl-min-ver TLSv1.2\n\
     defaults\n mode tcp\n timeout connect 5s\n timeout client 10m\n timeout server 10m\n"
        .to_owned()
}
