use std::{fmt::Write as _, net::SocketAddr, path::Path};

use anyhow::Result;
use rustix::process::Signal;

use super::{
    Member, Testbed,
    fleet::FileFleet,
    site::{Site, on_server_core, output_line},
};
use crate::process::Program;

const PROGRAM: &str = "/usr/sbin/hitch";
const FILE: &str = "hitch.conf";

pub(crate) fn version() -> String {
    output_line(PROGRAM, "--version", "")
}

pub(crate) fn start(site: &Site<'_>) -> Result<Program> {
    let mut text = preamble(site.broker());
    for bind in site.binds() {
        let verification = bind
            .client_ca
            .map(|file| format!(" client-verify = required\n client-verify-ca = \"{}\"\n", file.display()));
        let file = bind.credential.both.display();
        let more = format!(" pem-file = \"{file}\"\n{}", verification.unwrap_or_default());
        text.push_str(&frontend(bind.address, &more));
    }
    site.launch(FILE, &text, launch)
}

/// A folder of certificates, read again on SIGHUP; the signal counts as the answer.
pub(crate) fn fleet(testbed: &Testbed) -> Result<FileFleet> {
    let fleet = FileFleet::new(testbed, "hitch-fleet", launch, replace)?;
    let mut text = preamble(testbed.broker());
    writeln!(text, "pem-dir = \"{}\"\n{}", fleet.certificates().display(), frontend(fleet.address, ""))?;
    fleet.configure(FILE, &text)
}

fn replace(fleet: &FileFleet, program: &Program, member: &Member) -> Result<()> {
    fleet.write(member)?;
    program.signal(Signal::HUP);
    Ok(())
}

fn launch(folder: &Path) -> Result<Program> {
    Program::start(folder, on_server_core(PROGRAM).arg("--config").arg(folder.join(FILE)))
}

fn preamble(broker: SocketAddr) -> String {
    format!(
        "backend = \"[{}]:{}\"\nworkers = 1\ndaemon = off\nuser = \"root\"\nsyslog = off\nlog-level = 0\n\
         tls-protos = TLSv1.2 TLSv1.3\necdh-curve = \"X25519\"\n",
        broker.ip(),
        broker.port()
    )
}

fn frontend(address: SocketAddr, more: &str) -> String {
    format!("frontend = {{\n host = \"{}\"\n port = \"{}\"\n{more}}}\n", address.ip(), address.port())
}
