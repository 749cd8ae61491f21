use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{
    Member, Testbed,
    fleet::FileFleet,
    site::{Site, on_server_core, output_line},
};
use crate::process::Program;

const PROGRAM: &str = "/usr/sbin/haproxy";
const FILE: &str = "haproxy.cfg";

pub(crate) fn version() -> String {
    output_line(PROGRAM, "-v", "").split(" 20").next().unwrap_or_default().to_owned()
}

/// `tuned`: AES-128-GCM alone (2.6 has no setting for the number of tickets).
pub(crate) fn start(site: &Site<'_>, tuned: bool) -> Result<Program> {
    let mut text = preamble("");
    let ciphers = if tuned {
        "ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256 ciphersuites TLS_AES_128_GCM_SHA256"
    } else {
        ""
    };
    for bind in site.binds() {
        let verification = bind.client_ca.map(|file| format!("ca-file {} verify required", file.display()));
        writeln!(
            text,
            "frontend {}\n bind {} ssl crt {} curves X25519 {ciphers} {}\n default_backend broker",
            bind.listener.name(),
            bind.address,
            bind.credential.both.display(),
            verification.unwrap_or_default(),
        )?;
    }
    writeln!(text, "backend broker\n server broker {}", site.broker())?;
    site.launch(FILE, &text, launch)
}

/// A certificate list, replaced by commands on the socket.
pub(crate) fn fleet(testbed: &Testbed) -> Result<FileFleet> {
    let fleet = FileFleet::new(testbed, "haproxy-fleet", launch, replace)?;
    let text = format!(
        "{}frontend fleet\n bind {} ssl crt-list {} curves X25519\n default_backend broker\n\
         backend broker\n server broker {}\n",
        preamble(&format!(" stats socket {} mode 600 level admin\n", fleet.folder.join("socket").display())),
        fleet.address,
        fleet.list().display(),
        testbed.broker(),
    );
    fleet.configure(FILE, &text)
}

fn replace(fleet: &FileFleet, _: &Program, member: &Member) -> Result<()> {
    let file = fleet.file(&member.host);
    let file = file.display();
    command(fleet, &format!("set ssl cert {file} <<\n{}\n\n", member.pem()))?;
    let answer = command(fleet, &format!("commit ssl cert {file}\n"))?;
    ensure!(answer.contains("Success"), "commit ssl cert: {answer}");
    Ok(())
}

fn command(fleet: &FileFleet, command: &str) -> Result<String> {
    let mut socket = UnixStream::connect(fleet.folder.join("socket")).context("HAProxy's socket")?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    socket.write_all(command.as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

fn launch(folder: &Path) -> Result<Program> {
    Program::start(folder, on_server_core(PROGRAM).arg("-db").arg("-f").arg(folder.join(FILE)))
}

/// One thread, no logs, idle timeout of ten minutes.
fn preamble(global: &str) -> String {
    format!(
        "global\n{global} nbthread 1\n maxconn 9000\n ssl-default-bind-options ssl-min-ver TLSv1.2\n\
         defaults\n mode tcp\n timeout connect 5s\n timeout client 10m\n timeout server 10m\n"
    )
}
