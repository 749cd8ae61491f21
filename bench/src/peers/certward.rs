use std::net::SocketAddr;

use anyhow::Result;
use certward_tests::{Certward, Setup};

use super::{Endpoints, ON_SERVER_CORE, Peer, Running, Server, Stage};
use crate::{
    load::credentials::{ONE_WAY, RSA, TWO_WAY},
    process::meter::Meter,
};

/// With limits above the load.
pub(crate) fn new_certward() -> Certward {
    Certward::start_with(Setup {
        log_level: "info",
        prove_within: "1h",
        through: ON_SERVER_CORE,
        ..Setup::default()
    })
}

pub(crate) fn start(stage: &Stage<'_>) -> Result<Server> {
    let (mut certward, credentials) = (new_certward(), stage.credentials);
    let broker = stage.broker.to_string();
    let (p256, rsa) = (&credentials.p256.leaf, &credentials.rsa.leaf);
    let uploads = [
        ("one-way", ONE_WAY, p256.one_way()),
        ("two-way", TWO_WAY, p256.two_way(credentials.client_ca.pem())),
        ("rsa", RSA, rsa.one_way()),
    ];
    let api = certward.api();
    for (id, host, upload) in uploads {
        api.create_deployment(id, &broker, &[host]);
        api.post_tls(id, &upload).expect(200);
        api.wait_running(id);
    }
    let shared: SocketAddr = certward.mqtts();
    let endpoints = Endpoints { one_way: shared, two_way: shared, rsa: shared };
    let meter = Meter::of(certward.process().id());
    Ok(Server { peer: Peer::Certward, endpoints, meter, running: Running::Certward(Box::new(certward)) })
}
