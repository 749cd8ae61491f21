//! Which nodes have carried a change out, and how many sessions deny keys find.

use certward_lifecycle::SilentNodes;
use certward_pki::DenyKey;
use certward_store::{Generation, Role};

use crate::cluster::{Cluster, FakeGateway, deployment, name, names};

const CHANGE: Generation = Generation(7);

fn at(id: &str, carried_out: i64) -> FakeGateway {
    let carried_out = Some(Generation(carried_out));
    FakeGateway { node: Some(name(id)), carried_out, ..FakeGateway::default() }
}

#[tokio::test]
async fn nodes_that_have_not_carried_a_change_out_are_named() {
    let cluster = Cluster::new().await;
    let first = cluster.joined_with(at("n1", 7)).await;
    let second = cluster.joined_with(at("n2", 8)).await;
    let behind = cluster.joined_with(at("n3", 6)).await;
    // Of a release that knows nothing but failed handshakes.
    let older = cluster.joined_with(at("n4", 9)).await;
    // It says nothing.
    let _silent = cluster.joined_with(FakeGateway { node: Some(name("n5")), ..FakeGateway::default() }).await;
    cluster.reported("lost", Role::Gateway).await;
    cluster.tamper("UPDATE node_process SET heard_at = heard_at - 60000 WHERE node = 'lost'");
    let without_gateway = cluster.node(None, vec![]).await;
    cluster.reported("api", Role::Api).await;
    let _answering = [
        first.answers(None),
        second.answers(None),
        behind.answers(None),
        older.answers(Some(r#"{"version":1,"failures":[]}"#)),
    ];
    for (node, asked) in [("n1", &first), ("n2", &second), ("n3", &behind), ("api", &without_gateway)] {
        let without = asked.lifecycle.nodes_without(&deployment(), CHANGE).await.unwrap();
        assert_eq!(without, Some(names(&["lost", "n3", "n4", "n5"])), "{node}");
    }
}

#[tokio::test]
async fn when_all_have_carried_a_change_out_none_is_named() {
    let cluster = Cluster::new().await;
    let first = cluster.joined_with(at("n1", 7)).await;
    let second = cluster.joined_with(at("n2", 7)).await;
    let _answering = second.answers(None);
    let without = first.lifecycle.nodes_without(&deployment(), CHANGE).await.unwrap();
    assert_eq!(without, Some(names(&[])));
}

#[tokio::test]
async fn without_the_list_of_nodes_all_others_are_named_and_without_a_gateway_none() {
    let cluster = Cluster::new().await;
    let without_gateway = cluster.node(None, vec![]).await;
    assert_eq!(without_gateway.lifecycle.nodes_without(&deployment(), CHANGE).await.unwrap(), None);
    let first = cluster.joined_with(at("n1", 7)).await;
    cluster.tamper("ALTER TABLE node_process RENAME TO elsewhere");
    let without = first.lifecycle.nodes_without(&deployment(), CHANGE).await.unwrap();
    assert_eq!(without, Some(SilentNodes::AllOthers));
    without_gateway.lifecycle.nodes_without(&deployment(), CHANGE).await.expect_err("it knows of none");
}

#[tokio::test]
async fn sessions_that_deny_keys_find_are_summed_over_nodes() {
    let cluster = Cluster::new().await;
    let keys = ["one", "other", "absent"].map(DenyKey::named);
    let with = |id: &str, denied: &[DenyKey]| FakeGateway {
        node: Some(name(id)),
        denied: denied.to_vec(),
        ..FakeGateway::default()
    };
    let first = cluster.joined_with(with("n1", &keys[..2])).await;
    let second = cluster.joined_with(with("n2", &keys[1..2])).await;
    let _silent = cluster.joined_with(with("n3", &keys)).await;
    let _answering = second.answers(None);
    let found = first.lifecycle.denied_sessions(&deployment(), &keys).await.unwrap().unwrap();
    assert_eq!((found.by_key, found.silent), (vec![1, 2, 0], names(&["n3"])));
}
