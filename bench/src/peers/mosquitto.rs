use std::{fmt::Write as _, fs, process::Command};

use anyhow::Result;

use super::{Endpoints, Stage, first_line, on_server_core, own_folder};
use crate::process::program::Program;

const PROGRAM: &str = "/usr/sbin/mosquitto";

pub(crate) fn version() -> String {
    first_line(Command::new(PROGRAM).arg("-h"))
}

/// Its own TLS, without a relay.
pub(crate) fn start(stage: &Stage<'_>) -> Result<(Program, Endpoints)> {
    let (folder, endpoints) = (own_folder(stage, "mosquitto")?, Endpoints::free());
    let mut text = "user root\nallow_anonymous true\nmax_connections -1\nlog_dest stderr\nlog_type error\n\
                    set_tcp_nodelay true\n"
        .to_owned();
    for (_, address, shown, two_way) in endpoints.each(stage.credentials) {
        writeln!(
            text,
            "listener {} {}\ncertfile {}\nkeyfile {}",
            address.port(),
            address.ip(),
            shown.cert.display(),
            shown.key.display(),
        )?;
        if two_way {
            let file = stage.credentials.client_ca_file.display();
            writeln!(text, "cafile {file}\nrequire_certificate true")?;
        }
    }
    let file = folder.join("mosquitto.conf");
    fs::write(&file, text)?;
    let mut command = on_server_core(PROGRAM);
    command.arg("-c").arg(&file);
    Ok((Program::start(&folder, &mut command)?, endpoints))
}
