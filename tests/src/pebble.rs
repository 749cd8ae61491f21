use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::{Authority, Process, free_port, run, wait_until};

/// Let's Encrypt's ACME server for tests, which validates nothing here.
#[derive(Debug)]
pub struct Pebble {
    _process: Process,
    port: u16,
    root: Vec<u8>,
    ca_file: PathBuf,
}

impl Pebble {
    /// Starts it on free loopback ports, with all files in `folder`.
    pub fn start(folder: &Path) -> Self {
        let folder = folder.join("pebble");
        fs::create_dir(&folder).unwrap();
        let authority = Authority::new("CA of the ACME server");
        let ca_file = authority.write(&folder, "ca.pem");
        let (certificate, key) = authority.server(&["localhost"]).write(&folder, "server");
        let (port, management) = (free_port(), free_port());
        let configuration = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": certificate,
            "privateKey": key,
        }});
        let file = folder.join("pebble.json");
        fs::write(&file, configuration.to_string()).unwrap();
        let mut command = Command::new("pebble");
        command.arg("-config").arg(&file).env("PEBBLE_VA_ALWAYS_VALID", "1").env("PEBBLE_VA_NOSLEEP", "1");
        // It refuses a share of the nonces otherwise, to try its clients.
        command.env("PEBBLE_WFE_NONCEREJECT", "0");
        let process = Process::start("pebble", &folder, &mut command);
        let root = wait_until("Pebble", || root(&ca_file, management));
        Self { _process: process, port, root, ca_file }
    }

    /// The address of its directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The CA of its own certificate.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The root of what it issues (DER), another one at each start.
    pub fn root(&self) -> &[u8] {
        &self.root
    }
}

fn root(ca_file: &Path, management: u16) -> Option<Vec<u8>> {
    let mut curl = Command::new("curl");
    curl.args(["-sSf", "--cacert"]).arg(ca_file).arg(format!("https://localhost:{management}/roots/0"));
    let output = run(&mut curl);
    output.status.success().then_some(())?;
    CertificateDer::from_pem_slice(&output.stdout).ok().map(|root| root.to_vec())
}
