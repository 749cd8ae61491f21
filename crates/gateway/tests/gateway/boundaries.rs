//! Project boundaries hold at once, for dials and for the default deployment's names.

use certward_gateway::Settings;
use certward_lifecycle::{NewDeployment, ProjectChange};
use certward_pki::HostName;
use certward_store::{Boundary, DeploymentSpec, HostSuffix, ProjectId, UpstreamAllow, UpstreamList};

use crate::stage::{Authority, Broker, Device, World, eventually, id, settings};

const UNKNOWN: &str = "received fatal alert: UnrecognisedName";

fn project(id: &str) -> ProjectId {
    ProjectId::parse(id).unwrap()
}

pub(crate) fn suffixes(names: &[&str]) -> ProjectChange {
    let names = names.iter().map(|name| HostSuffix::parse(name).unwrap()).collect();
    ProjectChange { host_suffixes: Some(names), ..ProjectChange::default() }
}

pub(crate) fn allow(places: &[&str]) -> ProjectChange {
    let list = (!places.is_empty()).then(|| UpstreamAllow::parse(places).unwrap());
    ProjectChange { upstream_allow: Some(list), ..ProjectChange::default() }
}

impl World {
    pub(crate) async fn change_project(&self, of: &str, change: ProjectChange) {
        if self.lifecycle.store().read().project(&project(of)).await.unwrap().is_none() {
            let made = self.lifecycle.create_project(
                &self.admin,
                Some(project(of)),
                String::new(),
                String::new(),
                Boundary::default(),
            );
            made.await.unwrap();
        }
        self.lifecycle.change_project(&self.admin, &project(of), change).await.unwrap();
    }
}

async fn reaches(device: &Device, to: std::net::SocketAddr, name: &str) -> String {
    match device.talk(to, name).await {
        Ok(_) => "served".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn the_default_deployment_takes_no_name_that_belongs_to_another_project() {
    let world = World::with(Settings { default_deployment: Some(id("fallback")), ..settings() }).await;
    let (ca, broker) = (Authority::new("servers"), Broker::echo().await);
    let fallback = world.deploy("fallback", broker.address, &[]).await;
    let names = ["x.fleet.test", "fleet.test", "a.b.fleet.test", "other.test"];
    world.run(&fallback, &ca.server(&names), &[]).await;
    let device = Device::trusting(&ca);
    for name in names {
        assert_eq!(reaches(&device, world.mqtts(), name).await, "served", "{name}");
    }

    world.change_project("fleet", suffixes(&["fleet.test"])).await;
    eventually("the names are the project's", || async {
        reaches(&device, world.mqtts(), "x.fleet.test").await == UNKNOWN
    })
    .await;
    for name in &names[..3] {
        assert_eq!(reaches(&device, world.mqtts(), name).await, UNKNOWN, "{name}");
    }
    assert_eq!(reaches(&device, world.mqtts(), "other.test").await, "served");
    assert_eq!(reaches(&device.without_sni(), world.mqtts(), "other.test").await, "served");

    // The project's deployment owns what it claims; the rest has no owner.
    let new = NewDeployment {
        id: Some(id("fleet")),
        project: Some(project("fleet")),
        spec: DeploymentSpec {
            hosts: vec![HostName::parse("x.fleet.test").unwrap()],
            ..DeploymentSpec::new(UpstreamList::parse(&broker.address.to_string()).unwrap())
        },
    };
    world.lifecycle.create_deployment(&world.admin, new).await.unwrap();
    world.run(&id("fleet"), &ca.server(&names), &[]).await;
    assert_eq!(reaches(&device, world.mqtts(), "x.fleet.test").await, "served");
    assert_eq!(reaches(&device, world.mqtts(), "fleet.test").await, UNKNOWN);

    world.change_project("fleet", suffixes(&[])).await;
    eventually("the names are nobody's again", || async {
        reaches(&device, world.mqtts(), "fleet.test").await == "served"
    })
    .await;
    world.shut_down().await;
}

#[tokio::test]
async fn a_changed_rule_holds_for_new_connections_to_brokers_and_live_ones_stay() {
    let world = World::new().await;
    let (ca, broker) = (Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    let device = Device::trusting(&ca);
    let mut live = device.talk(world.mqtts(), "d.test").await.unwrap();

    world.change_project("default", allow(&["10.0.0.0/8", "broker.test:1883"])).await;
    eventually("the broker is not connected to", || async {
        reaches(&device, world.mqtts(), "d.test").await != "served"
    })
    .await;
    let refused = "certward_gateway_upstream_failures_total{reason=\"not_allowed_by_project\"} ";
    assert!(world.metric(refused) >= 1);
    live.echo(b"still here").await.unwrap();

    world.change_project("default", allow(&[&broker.address.to_string()])).await;
    eventually("the broker is connected to", || async {
        reaches(&device, world.mqtts(), "d.test").await == "served"
    })
    .await;
    world.shut_down().await;
}
