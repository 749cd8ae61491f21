//! Client verification, resumption, and live connections when trust changes.

use std::time::Duration;

use crate::stage::{Authority, Broker, Device, TLS12, TLS13, World, eventually, from_now};

const HOST: &str = "d.test";

#[tokio::test]
async fn two_way_accepts_its_own_clients_only() {
    let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let (clients, strangers) = (Authority::new("same name"), Authority::new("same name"));
    let deployment = world.deploy("d", broker.address, &[HOST]).await;
    world.run(&deployment, &servers.server(&[HOST]), &[&clients]).await;
    for version in [TLS12, TLS13] {
        let own = Device::new(&servers, Some(&clients.client("device")), &[version]);
        own.talk(world.mqtts(), HOST).await.unwrap();
        let stranger = Device::new(&servers, Some(&strangers.client("device")), &[version]);
        assert!(stranger.talk(world.mqtts(), HOST).await.is_err());
        let nobody = Device::new(&servers, None, &[version]);
        let refused = nobody.talk(world.mqtts(), HOST).await.err().unwrap().to_string();
        assert!(refused.contains("CertificateRequired"), "the alert says why: {refused}");
        eventually("both are listed", || async { world.failures(&deployment).len() >= 2 }).await;
        assert_eq!(world.failures(&deployment)[0], "certificate_required");
    }
    assert_eq!(world.failures(&deployment).len(), 4);
    world.shut_down().await;
}

#[tokio::test]
async fn a_one_way_ticket_does_not_resume_into_two_way() {
    for version in [TLS12, TLS13] {
        let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
        let deployment = world.deploy("d", broker.address, &[HOST]).await;
        let leaf = servers.server(&[HOST]);
        world.run(&deployment, &leaf, &[]).await;
        let device = Device::new(&servers, None, &[version]);
        device.talk(world.mqtts(), HOST).await.unwrap();
        assert!(device.talk(world.mqtts(), HOST).await.unwrap().resumed(), "within its scope it resumes");
        world.run(&deployment, &leaf, &[&Authority::new("clients")]).await;
        assert!(device.talk(world.mqtts(), HOST).await.is_err(), "{version:?}");
        world.shut_down().await;
    }
}

#[tokio::test]
async fn a_ticket_of_a_client_whose_ca_is_gone_does_not_resume() {
    for version in [TLS12, TLS13] {
        let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
        let (old, new) = (Authority::new("old"), Authority::new("new"));
        let deployment = world.deploy("d", broker.address, &[HOST]).await;
        let leaf = servers.server(&[HOST]);
        world.run(&deployment, &leaf, &[&old]).await;
        let device = Device::new(&servers, Some(&old.client("device")), &[version]);
        device.talk(world.mqtts(), HOST).await.unwrap();
        assert!(device.talk(world.mqtts(), HOST).await.unwrap().resumed(), "within its scope it resumes");
        world.run(&deployment, &leaf, &[&new]).await;
        assert!(device.talk(world.mqtts(), HOST).await.is_err(), "{version:?}");
        world.shut_down().await;
    }
}

#[tokio::test]
async fn a_client_whose_certificate_has_expired_does_not_resume() {
    for version in [TLS12, TLS13] {
        let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
        let clients = Authority::new("clients");
        let deployment = world.deploy("d", broker.address, &[HOST]).await;
        world.run(&deployment, &servers.server(&[HOST]), &[&clients]).await;
        let hour = Duration::from_secs(3600);
        let device = |name: &str, valid: Duration| {
            let leaf = clients.client_with(name, |params| params.not_after = from_now(valid));
            Device::new(&servers, Some(&leaf), &[version])
        };
        let (short, long) = (device("short", hour), device("long", hour * 24));
        short.talk(world.mqtts(), HOST).await.unwrap();
        long.talk(world.mqtts(), HOST).await.unwrap();
        world.clock.advance(hour * 2);
        // Tickets last twelve hours.
        assert!(long.talk(world.mqtts(), HOST).await.unwrap().resumed(), "{version:?}");
        assert!(short.talk(world.mqtts(), HOST).await.is_err(), "{version:?}");
        assert_eq!(world.failures(&deployment), ["certificate_expired"]);
        world.shut_down().await;
    }
}

#[tokio::test]
async fn a_ticket_outlasts_a_new_leaf() {
    for version in [TLS12, TLS13] {
        let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
        let clients = Authority::new("clients");
        for (name, cas, identity) in
            [("one.test", vec![], None), ("two.test", vec![&clients], Some(clients.client("device")))]
        {
            let deployment = world.deploy(&name.replace('.', "-"), broker.address, &[name]).await;
            world.run(&deployment, &servers.server(&[name]), &cas).await;
            let device = Device::new(&servers, identity.as_ref(), &[version]);
            device.talk(world.mqtts(), name).await.unwrap();
            world.run(&deployment, &servers.server(&[name]), &cas).await;
            assert!(device.talk(world.mqtts(), name).await.unwrap().resumed(), "{name} {version:?}");
        }
        world.shut_down().await;
    }
}

#[tokio::test]
async fn a_ticket_of_one_deployment_does_not_resume_into_another() {
    let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    // The host moves: the ticket is for the same name.
    let first = world.deploy("first", broker.address, &[HOST]).await;
    let second = world.deploy("second", broker.address, &["x.test"]).await;
    let leaf = servers.server(&[HOST, "x.test"]);
    world.run(&first, &leaf, &[]).await;
    world.run(&second, &leaf, &[]).await;
    let device = Device::trusting(&servers);
    device.talk(world.mqtts(), HOST).await.unwrap();
    let change = |host: &str| certward_store::DeploymentPatch {
        hosts: Some(vec![certward_pki::HostName::parse(host).unwrap()]),
        ..Default::default()
    };
    world.change(&first, change("y.test")).await;
    world.change(&second, change(HOST)).await;
    assert_eq!(world.settled(&second).await, "running");
    assert!(!device.talk(world.mqtts(), HOST).await.unwrap().resumed());
    world.shut_down().await;
}

#[tokio::test]
async fn a_ticket_shown_under_another_name_never_resumes_there() {
    let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    for (name, host, client_cas) in
        [("a", "a.test", &[][..]), ("b", "b.test", &[]), ("c", "c.test", &[&Authority::new("c")])]
    {
        let deployment = world.deploy(name, broker.address, &[host]).await;
        world.run(&deployment, &servers.server(&[host]), client_cas).await;
    }
    for version in [TLS12, TLS13] {
        let device = Device::new(&servers, None, &[version]).with_one_drawer();
        device.talk(world.mqtts(), "a.test").await.unwrap();
        assert!(
            device.talk(world.mqtts(), "a.test").await.unwrap().resumed(),
            "the drawer works: {version:?}"
        );
        assert!(!device.talk(world.mqtts(), "b.test").await.unwrap().resumed(), "{version:?}");
        device.talk(world.mqtts(), "a.test").await.unwrap();
        assert!(
            device.talk(world.mqtts(), "c.test").await.is_err(),
            "two-way, without a certificate: {version:?}"
        );
    }
    world.shut_down().await;
}

#[tokio::test]
async fn no_ticket_allows_early_data() {
    let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &[HOST]).await;
    world.run(&deployment, &servers.server(&[HOST]), &[]).await;
    let device = Device::new(&servers, None, &[TLS13]);
    // Two tickets: one to inspect, one to prove that there was one.
    let mut both = [
        device.connect(world.mqtts(), HOST).await.unwrap(),
        device.connect(world.mqtts(), HOST).await.unwrap(),
    ];
    for connection in &mut both {
        connection.echo(crate::stage::CONNECT).await.unwrap();
    }
    let mut config = rustls::ClientConfig::clone(&device.config());
    config.enable_early_data = true;
    let name = rustls_pki_types::ServerName::try_from(HOST).unwrap();
    let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
    // RFC 8446 §4.6.1: early data is limited by the ticket.
    assert!(client.early_data().is_none());
    assert!(device.talk(world.mqtts(), HOST).await.unwrap().resumed(), "there were tickets");
    world.shut_down().await;
}

#[tokio::test]
async fn live_connections_stay_exactly_as_long_as_they_are_trusted() {
    let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let deployment = world.deploy("d", broker.address, &[HOST]).await;
    let leaf = servers.server(&[HOST]);
    world.run(&deployment, &leaf, &[&first, &second]).await;
    let device = |ca: &Authority| Device::new(&servers, Some(&ca.client("device")), &[TLS13, TLS12]);
    let mut of_first = device(&first).talk(world.mqtts(), HOST).await.unwrap();
    let mut of_second = device(&second).talk(world.mqtts(), HOST).await.unwrap();

    world.run(&deployment, &leaf, &[&second]).await;
    of_first.ends_cleanly().await;
    of_second.echo(b"still trusted").await.unwrap();

    world.run(&deployment, &servers.server(&[HOST]), &[]).await;
    of_second.echo(b"one-way trusts everybody").await.unwrap();
    let mut of_nobody = Device::trusting(&servers).talk(world.mqtts(), HOST).await.unwrap();

    world.run(&deployment, &leaf, &[&second]).await;
    of_nobody.ends_cleanly().await;
    of_second.echo(b"trusted again").await.unwrap();
    world.shut_down().await;
}

#[tokio::test]
async fn ticket_keys_are_random_records_that_are_forgotten_when_their_time_is_over() {
    let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &[HOST]).await;
    world.run(&deployment, &servers.server(&[HOST]), &[]).await;
    let store = world.lifecycle.store();
    let period = |clock: &dyn certward_store::Clock| clock.now().0.div_euclid(6 * 3600 * 1000);
    let record =
        async |period: i64| store.read().secret(&format!("session-tickets.{period:012}")).await.unwrap();
    let now = period(&*world.clock);
    let kept = record(now).await.expect("the key of now");
    assert_ne!(Some(kept), record(now + 1).await, "each period has a key of its own");

    let device = Device::new(&servers, None, &[TLS12]);
    device.talk(world.mqtts(), HOST).await.unwrap();
    world.clock.advance(Duration::from_secs(12 * 3600));
    eventually("the keys are turned", || async { record(now + 3).await.is_some() }).await;
    assert!(device.talk(world.mqtts(), HOST).await.unwrap().resumed(), "two older keys are accepted");
    let fresh = Device::new(&servers, None, &[TLS12]);
    fresh.talk(world.mqtts(), HOST).await.unwrap();
    world.clock.advance(Duration::from_secs(18 * 3600));
    eventually("the keys are forgotten", || async { record(now + 1).await.is_none() }).await;
    assert!(record(now).await.is_none() && record(now + 2).await.is_none());
    assert!(!fresh.talk(world.mqtts(), HOST).await.unwrap().resumed());
    world.shut_down().await;
}
