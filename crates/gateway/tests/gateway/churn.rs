//! Created, used and deleted deployments leave nothing in memory.

use std::{net::SocketAddr, time::Duration};

use certward_gateway::{Listener, Protocol, Settings};
use certward_pki::HostName;
use certward_store::{ConnectionLimit, DeploymentPatch};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::stage::{Authority, Broker, Connection, Device, TLS12, TLS13, World, any, eventually, settings};

const ROUNDS: usize = 2;
const DEPLOYMENTS: usize = 4;

/// Empty without deployments; `client_chains` and `ticket_keys` apart.
const EMPTY: [&str; 14] = [
    "addresses",
    "brokers",
    "changes",
    "configurations",
    "connected_deployments",
    "deployments",
    "failed_deployments",
    "hosts",
    "look_ups",
    "probes",
    "proofs",
    "replica_pending",
    "unknown_hosts",
    "upstreams",
];

fn entries(world: &World, table: &str) -> u64 {
    world.metric(&format!("certward_gateway_entries{{table=\"{table}\"}}"))
}

struct Cast {
    world: World,
    servers: Authority,
    clients: Authority,
    broker: Broker,
    nowhere: SocketAddr,
}

impl Cast {
    /// Its last connection stays open.
    async fn use_up(&self, number: usize) -> Connection {
        let Self { world, servers, clients, broker, nowhere } = self;
        let (name, host) = (format!("d{number}"), format!("d{number}.test"));
        let upstream = if number % 3 == 2 { *nowhere } else { broker.address };
        let id = world.deploy(&name, upstream, &[&host]).await;
        let limits = DeploymentPatch {
            connections_at_once: Some(ConnectionLimit::parse(100).unwrap()),
            connections_per_second: Some(ConnectionLimit::parse(100).unwrap()),
            ..DeploymentPatch::default()
        };
        world.change(&id, limits).await;
        let cas: &[&Authority] = if number % 2 == 1 { &[clients] } else { &[] };
        world.run(&id, &servers.server(&[&host]), cas).await;

        let own = clients.client("device");
        let mut connection = None;
        for version in [TLS12, TLS13] {
            let device = Device::new(servers, Some(&own), &[version]);
            for _ in 0..2 {
                // Only the handshake succeeds.
                let _ = device.talk(world.mqtts(), &host).await;
            }
            let stranger = Device::new(servers, Some(&servers.client("stranger")), &[version]);
            let _ = stranger.talk(world.mqtts(), &host).await;
            let distrusting = Device::trusting(&Authority::new("others"));
            assert!(distrusting.connect(world.mqtts(), &host).await.is_err());
            connection = Some(device.connect(world.mqtts(), &host).await.unwrap());
        }
        eventually("a failure is listed", || async { !world.failures(&id).is_empty() }).await;
        assert!(Device::trusting(servers).connect(world.mqtts(), &format!("not-{host}")).await.is_err());
        let mut garbage = TcpStream::connect(world.mqtts()).await.unwrap();
        garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();

        let hosts =
            [host.clone(), format!("*.{host}")].iter().map(|host| HostName::parse(host).unwrap()).collect();
        world.change(&id, DeploymentPatch { hosts: Some(hosts), ..DeploymentPatch::default() }).await;
        world.run(&id, &servers.server(&[&host, &format!("*.{host}")]), cas).await;
        connection.unwrap()
    }

    async fn remove(&self, number: usize) {
        let id = crate::stage::id(&format!("d{number}"));
        if number % 2 == 1 {
            self.world.delete_tls(&id).await;
        }
        self.world.remove(&id).await;
    }
}

#[tokio::test]
async fn of_deployments_that_are_gone_nothing_stays_in_memory() {
    let world = World::keeping(Settings {
        listeners: vec![Listener::shared(any(), Protocol::Mqtts)],
        connections_per_address_max: Some(1_000),
        ..settings()
    })
    .await;
    let nowhere = std::net::TcpListener::bind(any()).unwrap().local_addr().unwrap();
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let cast = Cast { world, servers, clients, broker: Broker::echo().await, nowhere };
    for _ in 0..ROUNDS {
        let mut connections = Vec::new();
        for number in 0..DEPLOYMENTS {
            connections.push(cast.use_up(number).await);
        }
        for (table, least) in [
            ("addresses", 1),
            ("client_chains", 1),
            ("configurations", DEPLOYMENTS),
            ("connected_deployments", 1),
            ("deployments", DEPLOYMENTS),
            ("failed_deployments", DEPLOYMENTS),
            ("hosts", 2 * DEPLOYMENTS),
            ("ticket_keys", 2),
            ("upstreams", 2),
        ] {
            assert!(entries(&cast.world, table) >= least as u64, "{table} counts");
        }
        for number in 0..DEPLOYMENTS {
            cast.remove(number).await;
        }
    }
    // A handshake during the deletion fails after it.
    for _ in 0..4 {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(31)).await;
        tokio::time::resume();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for table in EMPTY {
        eventually(&format!("the table of {table} is empty"), || async { entries(&cast.world, table) == 0 })
            .await;
    }
    assert!((2..=4).contains(&entries(&cast.world, "ticket_keys")));
    let chains = (2 * ROUNDS * DEPLOYMENTS) as u64;
    assert!(entries(&cast.world, "client_chains") <= chains, "it has its bound, and no deployments in it");
    cast.world.shut_down().await;
}
