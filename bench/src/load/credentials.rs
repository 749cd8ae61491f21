use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, Result};
use certward_tests::{Authority, Leaf};
use rcgen::KeyPair;

use super::Listener;

/// The same for every server.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// One-way and two-way.
    pub(crate) p256: Credential,
    pub(crate) rsa: Credential,
    pub(crate) server_ca: Authority,
    pub(crate) client_ca: Rc<Authority>,
    pub(crate) client_ca_file: PathBuf,
    pub(crate) client: Leaf,
}

#[derive(Debug)]
pub(crate) struct Credential {
    pub(crate) leaf: Leaf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// For haproxy and hitch.
    pub(crate) both: PathBuf,
}

impl Credentials {
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let server_ca = Authority::new("Bench CA");
        let client_ca = Rc::new(Authority::new("Bench Clients CA"));
        let names = Listener::ALL.map(Listener::host);
        let rsa_key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).context("an RSA key")?;
        Ok(Self {
            p256: Credential::write(folder, "p256", server_ca.server(&names))?,
            rsa: Credential::write(
                folder,
                "rsa",
                server_ca.server_for(Listener::Rsa.host(), &names, rsa_key),
            )?,
            client: client_ca.client("device"),
            client_ca_file: client_ca.write(folder, "client-ca.pem"),
            server_ca,
            client_ca,
        })
    }

    pub(crate) fn of(&self, listener: Listener) -> &Credential {
        if listener == Listener::Rsa { &self.rsa } else { &self.p256 }
    }
}

impl Credential {
    /// Writes `<name>.pem`, `<name>.key` and `<name>.both.pem`.
    pub(crate) fn write(folder: &Path, name: &str, leaf: Leaf) -> Result<Self> {
        let (cert, key) = leaf.write(folder, name);
        let both = folder.join(format!("{name}.both.pem"));
        std::fs::write(&both, format!("{}{}", leaf.chain_pem, leaf.key_pem))?;
        Ok(Self { leaf, cert, key, both })
    }
}
