//! The failed handshakes of all nodes, asked for through the store.

use std::{sync::Arc, time::Duration};

use certward_lifecycle::{
    FAILURES_KEPT, FailedHandshake, FailuresOfNodes, Lifecycle, LifecycleSettings, SilentNodes, SystemEntropy,
};
use certward_pki::{ClientCertificate, ClientCertificateFacts, NeededCa};
use certward_store::{Address, Clock, MasterKey, NodeProcess, Role, Store, SystemClock, Timestamp};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::cluster::{ANSWERED_WITHIN, Cluster, FakeGateway, deployment, name, names};

fn failed(at: i64) -> FailedHandshake {
    let facts = ClientCertificateFacts {
        subject: "CN=\\u{1b}[31m', O=\\\"$1\\\"; --".into(),
        issuer: "CN=Other CA".into(),
        serial: "0a1b".into(),
        not_after: OffsetDateTime::UNIX_EPOCH,
    };
    let needed_ca = NeededCa { name: "CN=Other CA".into(), is_name_known: false };
    FailedHandshake {
        at: Timestamp(at),
        peer: "192.0.2.7:50123".parse().unwrap(),
        cause: "certificate_unknown_issuer".into(),
        meaning: "No client CA issued it.".into(),
        remedy: "Add its CA.".into(),
        server_name: Some("a.test".into()),
        tls_version: Some("1.3".into()),
        detail: None,
        client_certificate: Some(Box::new(ClientCertificate {
            fingerprint: "9f86".into(),
            facts: Some(facts),
            needed_ca: Some(needed_ca),
        })),
    }
}

/// Node and time.
fn seen(answer: &FailuresOfNodes) -> Vec<(&str, i64)> {
    answer.failures.iter().map(|failed| (failed.node.as_str(), failed.failure.at.0)).collect()
}

#[tokio::test]
async fn failures_of_all_nodes_are_listed_newest_first_and_nothing_is_left_in_the_store() {
    let cluster = Cluster::new().await;
    let first = cluster.joined("n1", vec![failed(30), failed(10)]).await;
    let second = cluster.joined("n2", vec![failed(40), failed(20)]).await;
    let without_gateway = cluster.node(None, vec![]).await;
    cluster.reported("api", Role::Api).await;
    let _answering = [first.answers(None), second.answers(None)];
    for (node, asked) in [("n1", &first), ("n2", &second), ("api", &without_gateway)] {
        let answer = asked.failures().await;
        assert_eq!(seen(&answer), [("n2", 40), ("n1", 30), ("n2", 20), ("n1", 10)], "{node}");
        assert_eq!(answer.silent, names(&[]), "{node}");
        let expected: Vec<_> = [40, 30, 20, 10].map(failed).into();
        let failures: Vec<_> = answer.failures.into_iter().map(|failed| failed.failure).collect();
        assert_eq!(failures, expected, "{node}: as they were noted");
        let remedy = failures[0].remedy_for(&deployment());
        assert_eq!(remedy, expected[0].remedy_for(&deployment()));
        let add = format!("certward trust add {} --client-ca FILE", deployment());
        assert!(remedy.contains("Add the CA \"CN=Other CA\"") && remedy.contains(&add), "{remedy}");
    }
    let left = "SELECT (SELECT count(*) FROM node_question) + (SELECT count(*) FROM node_answer)";
    assert_eq!(cluster.tamper(left), "0");
}

#[tokio::test]
async fn each_node_has_its_newest_and_a_loud_one_hides_no_other() {
    let cluster = Cluster::new().await;
    let quiet = cluster.joined("n1", vec![failed(1)]).await;
    let loud = cluster.joined("n2", (100..200).rev().map(failed).collect()).await;
    let _answering = loud.answers(None);
    let answer = quiet.failures().await;
    assert_eq!(answer.failures.len(), FAILURES_KEPT + 1);
    assert_eq!((seen(&answer)[0], seen(&answer)[FAILURES_KEPT]), (("n2", 199), ("n1", 1)));
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named_and_hides_no_other() {
    let cluster = Cluster::new().await;
    let first = cluster.joined("n1", vec![failed(1)]).await;
    let second = cluster.joined("n2", vec![failed(2)]).await;
    let newer = cluster.joined("n3", vec![]).await;
    // Of a release that reports nothing and never answers.
    let _older = cluster.joined("n4", vec![failed(4)]).await;
    cluster.reported("draining", Role::All).await;
    cluster.reported("api", Role::Api).await;
    let _answering = [second.answers(None), newer.answers(Some(r#"{"version": 2, "list": "another"}"#))];
    let answer = first.failures().await;
    assert_eq!(seen(&answer), [("n2", 2), ("n1", 1)]);
    assert_eq!(answer.silent, names(&["draining", "n3", "n4"]));
}

#[tokio::test]
async fn a_lost_node_is_named_without_a_wait_and_no_question() {
    let cluster = Cluster::new().await;
    let first = cluster.joined("n1", vec![failed(1)]).await;
    cluster.reported("n2", Role::Gateway).await;
    cluster.tamper("UPDATE node_process SET heard_at = heard_at - 60000");
    cluster.tamper("DROP TABLE node_question");
    let answer = first.failures().await;
    assert_eq!((seen(&answer), answer.silent.clone()), (vec![("n1", 1)], names(&["n2"])));
}

#[tokio::test]
async fn what_this_node_knows_is_said_while_the_store_fails() {
    let cluster = Cluster::new().await;
    let first = cluster.joined("n1", vec![failed(1)]).await;
    let _second = cluster.joined("n2", vec![failed(2)]).await;
    let without_gateway = cluster.node(None, vec![]).await;
    cluster.tamper("DROP TABLE node_question");
    let answer = first.failures().await;
    assert_eq!((seen(&answer), answer.silent.clone()), (vec![("n1", 1)], names(&["n2"])));
    cluster.tamper("ALTER TABLE node_process RENAME TO elsewhere");
    let answer = first.failures().await;
    assert_eq!((seen(&answer), answer.silent.clone()), (vec![("n1", 1)], SilentNodes::AllOthers));
    without_gateway.asked().await.expect_err("it knows of none, and cannot ask");
}

/// A lock on the table holds the question.
#[tokio::test]
async fn a_store_that_hangs_holds_no_answer() {
    let cluster = Cluster::new().await;
    let first = cluster.joined("n1", vec![failed(1)]).await;
    let _second = cluster.joined("n2", vec![failed(2)]).await;
    let mut holding = cluster.server.psql(&cluster.database);
    holding.args(["-c", "BEGIN; LOCK TABLE node_question; SELECT pg_sleep(600); COMMIT"]);
    let mut holding = holding.stdout(std::process::Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + ANSWERED_WITHIN;
    let held = "SELECT count(*) FROM pg_locks WHERE relation = 'node_question'::regclass AND granted";
    while cluster.tamper(held) == "0" {
        assert!(Instant::now() < deadline, "it is not locked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = first.failures().await;
    holding.kill().unwrap();
    holding.wait().unwrap();
    assert_eq!((seen(&answer), answer.silent.clone()), (vec![("n1", 1)], names(&["n2"])));
}

#[tokio::test]
async fn no_gateway_node_is_not_an_empty_list() {
    let cluster = Cluster::new().await;
    let without_gateway = cluster.node(None, vec![]).await;
    cluster.reported("api", Role::Api).await;
    assert_eq!(without_gateway.asked().await.unwrap(), None);
    cluster.reported("n1", Role::Gateway).await;
    let answer = without_gateway.failures().await;
    assert_eq!((seen(&answer), answer.silent.clone()), (vec![], names(&["n1"])));
}

#[tokio::test]
async fn with_an_embedded_store_there_is_nothing_to_ask() {
    let folder = tempfile::tempdir().unwrap();
    let address = Address::Embedded(folder.path().join("data"));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::init(&address, &MasterKey::generate(), clock).await.unwrap();
    let gateway =
        Arc::new(FakeGateway { node: Some(name("n1")), failures: vec![failed(1)], ..FakeGateway::default() });
    let view = Arc::clone(&gateway);
    let lifecycle =
        Lifecycle::new(store.clone(), gateway, view, Arc::new(SystemEntropy), LifecycleSettings::default());
    // A row of an earlier name of this node.
    store.record_process(&name("n0"), NodeProcess { role: Role::All, version: "1.2.3" }, None).await.unwrap();
    let answer = lifecycle.failures_of_nodes(&deployment()).await.unwrap().unwrap();
    assert_eq!((seen(&answer), answer.silent.clone()), (vec![("n1", 1)], names(&[])));
    assert_eq!(store.open_questions(&name("n0"), 10).await.unwrap(), []);
}
