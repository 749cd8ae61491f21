//! Devices on the deny-list.

use std::io::{Read as _, Write as _};

use certward_lifecycle::{NodeView as _, RevocationTarget};
use certward_pki::{DenyKey, DeviceIdentity};
use certward_store::{CloseRate, DeploymentPatch};
use rustls::ClientConnection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Fleet, HOST, certificate};
use crate::stage::{Authority, CONNECT, Leaf, TEST_TIMEOUT, TLS12, TLS13, eventually};

fn serial(ca: &str, leaf: &Leaf) -> RevocationTarget {
    let serial = leaf.serial().iter().map(|byte| format!("{byte:02x}")).collect();
    RevocationTarget::Serial { issuer: format!("CN={ca}"), serial }
}

fn name(name: &str, issuer: Option<&str>) -> RevocationTarget {
    RevocationTarget::Name { name: name.to_owned(), issuer: issuer.map(str::to_owned) }
}

#[tokio::test]
async fn a_revoked_device_ends_and_stays_out_and_others_notice_nothing() {
    for (version, is_wss) in [(TLS12, false), (TLS12, true), (TLS13, false), (TLS13, true)] {
        let fleet = Fleet::of(version, is_wss).await;
        let leaves: Vec<_> = (0..6).map(|n| fleet.clients.client(&format!("device-{n}"))).collect();
        let devices: Vec<_> = leaves.iter().map(|leaf| fleet.device(leaf)).collect();
        let mut sessions = Vec::new();
        for device in &devices {
            sessions.push(fleet.talk(device).await.unwrap());
        }
        let ways = [
            certificate(&leaves[0]),
            serial("clients", &leaves[1]),
            name("device-2", None),
            name("device-3", Some("CN=clients")),
        ];
        let mut revocations = Vec::new();
        for (victim, target) in ways.into_iter().enumerate() {
            let session = fleet.talk(&devices[victim]).await.unwrap();
            assert!(session.resumed(), "it has tickets");
            drop(session);
            eventually("its other session has ended", || async {
                fleet.world.connections(&fleet.deployment) == 6 - victim as u64
            })
            .await;
            revocations.extend(fleet.revoke(vec![target]).await);
            sessions[victim].ends_cleanly().await;
            assert_eq!(fleet.closed("revoked"), victim as u64 + 1);
            fleet.is_refused(&devices[victim]).await;
            fleet.is_refused(&fleet.device(&leaves[victim])).await;
            for (device, session) in devices.iter().zip(&mut sessions).skip(victim + 1) {
                session.echo(b"undisturbed").await.unwrap();
                assert!(fleet.talk(device).await.unwrap().resumed(), "{version:?} {is_wss}");
            }
            let others = 5 - victim as u64;
            eventually("the others' sessions are left", || async {
                fleet.world.connections(&fleet.deployment) == others
            })
            .await;
        }
        for (id, leaf) in revocations.into_iter().zip(&leaves) {
            fleet.withdraw(id).await;
            fleet.talk(&fleet.device(leaf)).await.expect("it comes back");
        }
        assert_eq!(fleet.world.status(&fleet.deployment).await, "running");
        fleet.world.shut_down().await;
    }
}

#[tokio::test]
async fn the_twin_of_a_revoked_certificate_is_refused() {
    for version in [TLS12, TLS13] {
        let fleet = Fleet::of(version, false).await;
        let leaf = fleet.clients.client("device");
        let twin = leaf.twin();
        assert_ne!(twin.der, leaf.der);
        let mut session = fleet.talk(&fleet.device(&twin)).await.expect("it is as valid");
        fleet.revoke(vec![certificate(&leaf)]).await;
        session.ends_cleanly().await;
        fleet.is_refused(&fleet.device(&twin)).await;
        fleet.is_refused(&fleet.device(&leaf)).await;
        fleet.world.shut_down().await;
    }
}

#[tokio::test]
async fn what_does_not_match_exactly_refuses_none() {
    let fleet = Fleet::new().await;
    let leaf = fleet.clients.client("device");
    let other = Authority::new("others").client("device");
    let mut session = fleet.talk(&fleet.device(&leaf)).await.unwrap();
    let targets = vec![
        certificate(&other),
        serial("others", &leaf),
        name("Device", None),
        name("device ", None),
        name("CN=device", None),
        name("device", Some("CN=others")),
    ];
    fleet.revoke(targets).await;
    session.echo(b"undisturbed").await.unwrap();
    fleet.talk(&fleet.device(&leaf)).await.unwrap();
    assert_eq!(fleet.closed("revoked"), 0);
    fleet.world.shut_down().await;
}

/// Between the ClientHello, whose answer is made by the configuration of then, and its certificate.
#[tokio::test]
async fn a_device_that_is_revoked_during_its_handshake_does_not_get_in() {
    for version in [TLS12, TLS13] {
        let fleet = Fleet::of(version, false).await;
        let leaf = fleet.clients.client("device");
        let device = fleet.device(&leaf);
        let mut stream = TcpStream::connect(fleet.world.mqtts()).await.unwrap();
        let host = rustls_pki_types::ServerName::try_from(HOST).unwrap();
        let mut client = ClientConnection::new(device.config(), host).unwrap();
        send(&mut client, &mut stream).await;
        while !client.wants_write() {
            receive(&mut client, &mut stream).await.unwrap();
        }
        fleet.revoke(vec![certificate(&leaf)]).await;
        client.writer().write_all(CONNECT).unwrap();
        send(&mut client, &mut stream).await;
        // TLS 1.2 sends its first packet after the server's last flight.
        let ended = loop {
            match receive(&mut client, &mut stream).await {
                Ok(0) => break true,
                Ok(_) => {}
                Err(_) => break true,
            }
            send(&mut client, &mut stream).await;
            if client.reader().read(&mut [0; 64]).is_ok_and(|read| read > 0) {
                break false;
            }
        };
        assert!(ended, "{version:?}");
        eventually("it is closed", || async { fleet.closed("revoked") == 1 }).await;
        fleet.is_refused(&device).await;
        fleet.world.shut_down().await;
    }
}

async fn send(client: &mut ClientConnection, stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    // The gateway may have closed.
    let _ = stream.write_all(&bytes).await;
}

/// 0 at the end.
async fn receive(client: &mut ClientConnection, stream: &mut TcpStream) -> std::io::Result<usize> {
    let mut bytes = [0; 4096];
    let read = tokio::time::timeout(TEST_TIMEOUT, stream.read(&mut bytes)).await??;
    let mut received = &bytes[..read];
    while !received.is_empty() {
        client.read_tls(&mut received)?;
        client.process_new_packets().map_err(std::io::Error::other)?;
    }
    Ok(read)
}

#[tokio::test]
async fn revocations_outlast_a_new_leaf_and_have_no_effect_in_one_way() {
    let fleet = Fleet::new().await;
    let Fleet { world, deployment, servers, clients, .. } = &fleet;
    let (revoked, other) = (clients.client("revoked"), clients.client("other"));
    let mut session = fleet.talk(&fleet.device(&other)).await.unwrap();
    fleet.revoke(vec![name("revoked", None)]).await;
    world.run(deployment, &servers.server(&[HOST]), &[clients]).await;
    fleet.is_refused(&fleet.device(&revoked)).await;
    // As a new CA, beside the old one.
    let more = Authority::new("more");
    world.run(deployment, &servers.server(&[HOST]), &[clients, &more]).await;
    fleet.is_refused(&fleet.device(&revoked)).await;
    fleet.is_refused(&fleet.device(&more.client("revoked"))).await;

    world.run(deployment, &servers.server(&[HOST]), &[]).await;
    fleet.talk(&fleet.device(&revoked)).await.expect("it is not asked for a certificate");
    fleet.revoke(vec![name("too", None)]).await;
    session.echo(b"undisturbed").await.unwrap();

    world.run(deployment, &servers.server(&[HOST]), &[clients]).await;
    fleet.is_refused(&fleet.device(&revoked)).await;
    fleet.is_refused(&fleet.device(&clients.client("too"))).await;
    session.echo(b"undisturbed").await.unwrap();
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn names_are_those_that_the_broker_is_told_also_after_a_change_of_the_identity() {
    let fleet = Fleet::new().await;
    let leaf = fleet.clients.client("device");
    fleet.revoke(vec![name("CN=device", None)]).await;
    let mut session = fleet.talk(&fleet.device(&leaf)).await.unwrap();
    let identity =
        |identity| DeploymentPatch { proxy_identity: Some(identity), ..DeploymentPatch::default() };
    fleet.world.change(&fleet.deployment, identity(DeviceIdentity::Dn)).await;
    session.ends_cleanly().await;
    fleet.is_refused(&fleet.device(&leaf)).await;

    fleet.world.change(&fleet.deployment, identity(DeviceIdentity::Cn)).await;
    eventually("it comes back", || async { fleet.talk(&fleet.device(&leaf)).await.is_ok() }).await;
    let mut session = fleet.talk(&fleet.device(&leaf)).await.unwrap();
    // Its broker knows it by this name until it ends.
    fleet.world.change(&fleet.deployment, identity(DeviceIdentity::San)).await;
    fleet.revoke(vec![name("device", None)]).await;
    session.ends_cleanly().await;
    fleet.talk(&fleet.device(&leaf)).await.expect("its name is another now");
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn revoked_sessions_go_on_until_their_turn_at_a_rate_and_new_ones_are_refused_at_once() {
    let fleet = Fleet::new().await;
    let (device, other) =
        (fleet.device(&fleet.clients.client("device")), fleet.device(&fleet.clients.client("other")));
    let mut sessions = Vec::new();
    for _ in 0..50 {
        sessions.push(fleet.talk(&device).await.unwrap());
    }
    let mut undisturbed = fleet.talk(&other).await.unwrap();
    // 5 seconds for all.
    let ids = fleet.revoke_at(vec![name("device", None)], CloseRate::parse(10).unwrap()).await;
    fleet.is_refused(&device).await;
    eventually("the first has ended", || async { fleet.closed("revoked") > 0 }).await;
    sessions[49].echo(b"until its turn").await.unwrap();
    fleet.withdraw(ids[0]).await;
    fleet.talk(&device).await.expect("it comes back");
    eventually("none waits", || async {
        fleet.world.metric(r#"certward_gateway_entries{table="closing_sessions"}"#) == 0
    })
    .await;
    sessions[49].echo(b"trusted again before its turn").await.unwrap();
    undisturbed.echo(b"undisturbed").await.unwrap();
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn sessions_are_counted_by_deny_keys() {
    let fleet = Fleet::new().await;
    let mut sessions = Vec::new();
    for common_name in ["one", "other", "other"] {
        let device = fleet.device(&fleet.clients.client(common_name));
        sessions.push(fleet.talk(&device).await.unwrap());
    }
    let keys = ["absent", "other", "one", "other"].map(DenyKey::named);
    assert_eq!(fleet.world.gateway.denied_sessions(&fleet.deployment, &keys), [0, 2, 1, 2]);
    fleet.world.shut_down().await;
}
