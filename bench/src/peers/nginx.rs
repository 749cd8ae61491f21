use std::{fmt::Write as _, path::Path};

use anyhow::Result;

use super::{
    Testbed,
    fleet::FileFleet,
    site::{Site, on_server_core, output_line},
};
use crate::process::Program;

const PROGRAM: &str = "/usr/sbin/nginx";
const FILE: &str = "nginx.conf";

pub(crate) fn version() -> String {
    output_line(PROGRAM, "-v", "version").replace("nginx version: ", "")
}

/// `tuned`: AES-128-GCM alone, one ticket.
pub(crate) fn start(site: &Site<'_>, tuned: bool) -> Result<Program> {
    let mut text = preamble(&site.folder);
    if tuned {
        text.push_str(
            "ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256;\n\
             ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;\nssl_conf_command NumTickets 1;\n",
        );
    }
    for bind in site.binds() {
        let verification = bind
            .client_ca
            .map(|file| format!("ssl_verify_client on; ssl_client_certificate {};", file.display()));
        writeln!(
            text,
            "server {{ listen {} ssl; ssl_certificate {}; ssl_certificate_key {}; {} proxy_pass {}; }}",
            bind.address,
            bind.credential.cert.display(),
            bind.credential.key.display(),
            verification.unwrap_or_default(),
            site.broker(),
        )?;
    }
    text.push_str("}\n");
    site.launch(FILE, &text, launch)
}

/// This version's stream module chooses by SNI only by reading the file at every handshake: no
/// cache.
pub(crate) fn fleet(testbed: &Testbed) -> Result<FileFleet> {
    let fleet = FileFleet::new(testbed, "nginx-fleet", launch, |fleet, _, member| fleet.write(member))?;
    let file = fleet.file("$ssl_server_name");
    let text = format!(
        "{}server {{ listen {} ssl; ssl_certificate {file}; ssl_certificate_key {file}; proxy_pass {}; }}\n}}\n",
        preamble(&fleet.folder),
        fleet.address,
        testbed.broker(),
        file = file.display(),
    );
    fleet.configure(FILE, &text)
}

fn launch(folder: &Path) -> Result<Program> {
    let mut command = on_server_core(PROGRAM);
    command.arg("-p").arg(folder).arg("-e").arg("stderr").arg("-c").arg(folder.join(FILE));
    Program::start(folder, &mut command)
}

/// `stream` stays open for the caller.
fn preamble(folder: &Path) -> String {
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
         daemon off;\nuser root;\nworker_processes 1;\nworker_rlimit_nofile 20000;\n\
         pid {folder}/nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 19000; }}\n\
         stream {{\n\
         ssl_protocols TLSv1.2 TLSv1.3;\nssl_ecdh_curve X25519;\n",
        folder = folder.display(),
    )
}
