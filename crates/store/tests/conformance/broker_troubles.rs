use std::time::Duration;

use certward_store::{BrokerTrouble, DeploymentId, ReportedTrouble, Timestamp, TroubleReport};

use crate::{
    on_both_engines,
    world::{World, id, node, project},
};

on_both_engines![
    a_report_is_listed_until_it_is_withdrawn,
    a_report_that_is_not_repeated_expires,
    each_node_reports_for_itself_and_forgets_its_own,
    a_removed_deployment_has_no_reports_and_gets_none,
];

const COUNT: &str = "SELECT CAST(count(*) AS TEXT) FROM broker_trouble";

fn trouble(deployment: &DeploymentId, listener: &str, turned_away: u64) -> BrokerTrouble {
    BrokerTrouble {
        deployment: deployment.clone(),
        listener: listener.to_owned(),
        upstream: "127.0.0.1:1883".to_owned(),
        reason: "refused".to_owned(),
        error: "Connection refused".to_owned(),
        since: Timestamp(1),
        last_at: Timestamp(2),
        turned_away,
        disconnected: 3,
    }
}

async fn report(world: &World, from: &str, present: Vec<BrokerTrouble>, over: &[(&DeploymentId, &str)]) {
    let over = over.iter().map(|(id, listener)| ((*id).clone(), (*listener).to_owned())).collect();
    let report = TroubleReport { present, over };
    world.store.report_broker_troubles(&node(from), &report).await.expect("written");
}

async fn listed(world: &World, first: &str, last: &str) -> Vec<ReportedTrouble> {
    world.store.broker_troubles(&project("default"), &id(first), &id(last), 100).await.expect("read")
}

async fn names(world: &World) -> Vec<String> {
    let listed = listed(world, "0", "z").await;
    let name = |ReportedTrouble { node, trouble }: &ReportedTrouble| {
        format!("{} {} {node} {}", trouble.deployment, trouble.listener, trouble.turned_away)
    };
    listed.iter().map(name).collect()
}

async fn a_report_is_listed_until_it_is_withdrawn(world: World) {
    let (a, b) = (world.deployment("a").await.id, world.deployment("b").await.id);
    report(&world, "n1", vec![trouble(&b, "mqtts", 1), trouble(&a, "wss", 1), trouble(&a, "mqtts", 1)], &[])
        .await;
    assert_eq!(names(&world).await, ["a mqtts n1 1", "a wss n1 1", "b mqtts n1 1"]);
    let of_b = listed(&world, "b", "b").await;
    assert_eq!(of_b, [ReportedTrouble { node: node("n1"), trouble: trouble(&b, "mqtts", 1) }]);
    report(&world, "n1", vec![trouble(&b, "mqtts", 7)], &[(&a, "wss"), (&a, "never")]).await;
    assert_eq!(names(&world).await, ["a mqtts n1 1", "b mqtts n1 7"]);
}

async fn a_report_that_is_not_repeated_expires(world: World) {
    let (a, b) = (world.deployment("a").await.id, world.deployment("b").await.id);
    let age =
        |minutes: u32| format!("UPDATE broker_trouble SET reported_at = reported_at - {minutes} * 60000");
    report(&world, "n1", vec![trouble(&a, "mqtts", 1), trouble(&b, "mqtts", 1)], &[]).await;
    world.tamper(&age(2)).await;
    report(&world, "n1", vec![trouble(&a, "mqtts", 2)], &[]).await;
    assert_eq!(names(&world).await, ["a mqtts n1 2", "b mqtts n1 1"]);
    world.tamper(&age(2)).await;
    assert_eq!(names(&world).await, ["a mqtts n1 2"]);
    world.store.prune(Duration::from_secs(60)).await.expect("pruned");
    assert_eq!(world.asked(COUNT).await, "1");
}

async fn each_node_reports_for_itself_and_forgets_its_own(world: World) {
    let a = world.deployment("a").await.id;
    report(&world, "n1", vec![trouble(&a, "mqtts", 1)], &[]).await;
    report(&world, "n2", vec![trouble(&a, "mqtts", 2)], &[]).await;
    report(&world, "n1", vec![], &[(&a, "wss")]).await;
    assert_eq!(names(&world).await, ["a mqtts n1 1", "a mqtts n2 2"]);
    world.store.forget_broker_troubles(&node("n1")).await.expect("written");
    assert_eq!(names(&world).await, ["a mqtts n2 2"]);
}

async fn a_removed_deployment_has_no_reports_and_gets_none(world: World) {
    let a = world.deployment("a").await.id;
    report(&world, "n1", vec![trouble(&a, "mqtts", 1)], &[]).await;
    let mut tx = world.begin().await;
    tx.remove_deployment(&a).await.expect("removed");
    tx.commit().await.expect("committed");
    report(&world, "n1", vec![trouble(&a, "mqtts", 2)], &[]).await;
    assert_eq!(world.asked(COUNT).await, "0");
}
