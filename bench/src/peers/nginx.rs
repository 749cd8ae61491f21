use std::{fmt::Write as _, fs, path::Path, process::Command};

use anyhow::Result;

use super::{Endpoints, Stage, line_with, on_server_core, own_folder};
use crate::process::program::Program;

const PROGRAM: &str = "/usr/sbin/nginx";

pub(crate) fn version() -> String {
    line_with(Command::new(PROGRAM).arg("-v"), "version").replace("nginx version: ", "")
}

/// `tuned`: AES-128-GCM alone, one ticket.
pub(crate) fn start(stage: &Stage<'_>, tuned: bool) -> Result<(Program, Endpoints)> {
    let (folder, endpoints) =
        (own_folder(stage, if tuned { "nginx-tuned" } else { "nginx" })?, Endpoints::free());
    let mut text = preamble(&folder);
    if tuned {
        text.push_str(
            "ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256;\n\
             ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;\nssl_conf_command NumTickets 1;\n",
        );
    }
    for (_, address, shown, two_way) in endpoints.each(stage.credentials) {
        let verification = if two_way {
            let file = stage.credentials.client_ca_file.display();
            format!("ssl_verify_client on; ssl_client_certificate {file};")
        } else {
            String::new()
        };
        writeln!(
            text,
            "server {{ listen {address} ssl; ssl_certificate {}; ssl_certificate_key {}; {verification} \
             proxy_pass {}; }}",
            shown.cert.display(),
            shown.key.display(),
            stage.broker,
        )?;
    }
    text.push_str("}\n");
    fs::write(folder.join("nginx.conf"), text)?;
    Ok((launch(&folder)?, endpoints))
}

/// `stream` stays open for the caller.
pub(crate) fn preamble(folder: &Path) -> String {
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

pub(crate) fn launch(folder: &Path) -> Result<Program> {
    let mut command = on_server_core(PROGRAM);
    command.arg("-p").arg(folder).arg("-e").arg("stderr").arg("-c").arg(folder.join("nginx.conf"));
    Program::start(folder, &mut command)
}
