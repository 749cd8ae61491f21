use std::{net::SocketAddr, path::Path};

use anyhow::Result;
use tempfile::TempDir;

use crate::load::{Credentials, EchoBroker};

/// What all servers share: a folder, the certificates and the broker.
pub(crate) struct Testbed {
    folder: TempDir,
    pub(crate) credentials: Credentials,
    broker: EchoBroker,
}

impl Testbed {
    pub(crate) fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("certward-bench-")?;
        Ok(Self { credentials: Credentials::make(folder.path())?, broker: EchoBroker::start(0)?, folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn broker(&self) -> SocketAddr {
        self.broker.address()
    }
}
