use std::time::Duration;

use certward_store::{
    CloseRate, ConnectionLimit, ConnectionLimits, Deployment, Generation, NodeId, RecordBytes, Session,
    SessionAge, Timestamp, TlsState, UpstreamList, VersionId,
};

use crate::{
    on_both_engines,
    world::{World, deployment, host, id, project},
};

on_both_engines![
    a_deployment_is_read_as_it_was_written,
    every_state_of_the_certificate_is_kept,
    a_dropped_transaction_leaves_no_trace,
    an_update_changes_names_upstreams_and_hosts_but_not_the_certificate,
    removal_takes_hosts_versions_and_counts_along,
    deployments_come_by_id_with_their_hosts_in_order,
    only_pending_ones_past_their_deadline_are_overdue,
    each_node_ends_its_share_of_a_changes_rate,
];

fn limits(at_once: i64, per_second: i64) -> ConnectionLimits {
    let limit = |number| ConnectionLimit::parse(number).expect("a limit");
    ConnectionLimits { at_once: limit(at_once), per_second: limit(per_second) }
}

async fn a_deployment_is_read_as_it_was_written(world: World) {
    let mut wanted = deployment("ge6a1a75", "default", &["mqtt.example.com", "*.example.org", "localhost"]);
    wanted.spec.ws_upstream = Some(UpstreamList::parse("[::1]:8083").expect("an upstream"));
    wanted.spec.limits = limits(5000, 0);
    wanted.spec.record_bytes = RecordBytes::parse(1024).expect("a size");
    // PostgreSQL has no NUL in texts, and a client may send one.
    wanted.spec.name = "a \u{1f512} name\0".into();
    let mut tx = world.begin().await;
    tx.insert_deployment(&wanted).await.expect("written").expect("free");
    wanted.spec.name = "a \u{1f512} name\u{fffd}".into();
    assert_eq!(tx.deployment(&wanted.id).await.expect("read"), Some(wanted.clone()), "reads its own writes");
    assert_eq!(
        world.store.read().deployment(&wanted.id).await.expect("read"),
        None,
        "others do not see it yet"
    );
    tx.commit().await.expect("committed");
    assert_eq!(world.store.read().deployment(&wanted.id).await.expect("read"), Some(wanted.clone()));
    let reopened = world.reopen().await;
    assert_eq!(reopened.read().deployment(&wanted.id).await.expect("read"), Some(wanted));
}

async fn every_state_of_the_certificate_is_kept(world: World) {
    let made = world.deployment("a").await;
    let version = Generation(7);
    for tls in [
        TlsState::Pending { version: version.into(), deadline: Timestamp(8) },
        TlsState::Running { version: version.into() },
        TlsState::Failed { version: version.into(), reason: "the node n1 could not, for a \0".into() },
        TlsState::Terminated,
        TlsState::Absent,
    ] {
        let mut tx = world.begin().await;
        tx.set_tls(&made.id, Generation(9), &tls).await.expect("written");
        tx.commit().await.expect("committed");
        let read = world.store.read().deployment(&made.id).await.expect("read").expect("there");
        let wanted = match tls {
            TlsState::Failed { .. } => TlsState::Failed {
                version: version.into(),
                reason: "the node n1 could not, for a \u{fffd}".into(),
            },
            tls => tls,
        };
        assert_eq!(read, Deployment { generation: Generation(9), tls: wanted, ..made.clone() });
    }
}

async fn a_dropped_transaction_leaves_no_trace(world: World) {
    let generation = world.store.read().newest_generation().await.expect("read");
    let mut tx = world.begin().await;
    tx.draw_generation(&id("a")).await.expect("a generation");
    tx.insert_deployment(&deployment("a", "default", &["a.example.com"]))
        .await
        .expect("written")
        .expect("free");
    drop(tx);
    assert_eq!(world.store.read().deployment(&id("a")).await.expect("read"), None);
    assert_eq!(world.store.read().newest_generation().await.expect("read"), generation);
    world.deployment("a").await;
}

async fn an_update_changes_names_upstreams_and_hosts_but_not_the_certificate(world: World) {
    let mut made = world.deployment("a").await;
    made.tls = TlsState::Running { version: VersionId(3) };
    let mut tx = world.begin().await;
    tx.set_tls(&made.id, made.generation, &made.tls).await.expect("written");
    made.spec.name = "other".into();
    made.spec.profile = certward_pki::Profile::EmqxCloud;
    made.spec.upstream = UpstreamList::parse("broker:1884").expect("an upstream");
    made.spec.ws_upstream = Some(UpstreamList::parse("broker:8083").expect("an upstream"));
    made.spec.limits = limits(1_000_000, 20);
    made.spec.hosts = vec![host("b.example.com"), host("a.example.com")];
    made.generation = tx.draw_generation(&made.id).await.expect("a generation");
    let update = Deployment { tls: TlsState::Absent, ..made.clone() };
    tx.update_deployment(&update).await.expect("written").expect("free");
    tx.commit().await.expect("committed");
    assert_eq!(world.store.read().deployment(&made.id).await.expect("read"), Some(made));
}

async fn each_node_ends_its_share_of_a_changes_rate(world: World) {
    let mut made = world.deployment("a").await;
    let rate = |number| CloseRate::parse(number).expect("a rate");
    for (nodes, wanted, each) in [(0, 50, 50), (1, 50, 50), (3, 50, 17), (3, 0, 0), (3, 1, 1)] {
        let mut tx = world.begin().await;
        for node in 0..nodes {
            let node = NodeId::parse(&format!("n{node}")).expect("an id");
            tx.join(&node, Session(1), tx.now().after(Duration::from_secs(60))).await.expect("joined");
        }
        tx.set_close_rate(&made.id, rate(wanted)).await.expect("written");
        tx.commit().await.expect("committed");
        made.close_rate = rate(each);
        made.close_rate_number += 1;
        assert_eq!(world.store.read().deployment(&made.id).await.expect("read"), Some(made.clone()));
    }
    // Settings, and proofs, leave it.
    let mut tx = world.begin().await;
    tx.set_close_rate(&made.id, rate(300)).await.expect("written");
    made.close_rate = rate(100);
    made.close_rate_number += 1;
    made.spec.name = "other".into();
    made.spec.max_session_age = SessionAge::parse(604_800).expect("an age");
    made.generation = tx.draw_generation(&made.id).await.expect("a generation");
    tx.update_deployment(&made).await.expect("written").expect("free");
    made.tls = TlsState::Running { version: VersionId(3) };
    tx.set_tls(&made.id, made.generation, &made.tls).await.expect("written");
    tx.commit().await.expect("committed");
    assert_eq!(world.store.read().deployment(&made.id).await.expect("read"), Some(made));
}

async fn removal_takes_hosts_versions_and_counts_along(world: World) {
    let made = world.deployment("a").await;
    let version = world.upload(&made.id, b"key").await;
    let mut tx = world.begin().await;
    tx.remove_deployment(&made.id).await.expect("removed");
    tx.commit().await.expect("committed");
    assert_eq!(world.store.read().deployment(&made.id).await.expect("read"), None);
    assert_eq!(world.store.read().version(&made.id, version.into()).await.expect("read"), None);
    assert!(world.store.read().private_key(&made.id, version.into()).await.expect("read").is_none());
    let again = world.deployment("a").await;
    assert!(again.generation > version, "a generation is never used again");
}

async fn deployments_come_by_id_with_their_hosts_in_order(world: World) {
    let mut tx = world.begin().await;
    let others = certward_store::Project {
        id: project("others"),
        name: String::new(),
        description: String::new(),
        created_at: Timestamp(1),
        boundary: certward_store::Boundary::default(),
    };
    assert!(tx.insert_project(&others).await.expect("written"));
    // Byte order in any locale: '-' before digits before letters.
    for (name, of) in [("b", "default"), ("a1", "others"), ("a-2", "default"), ("a", "default")] {
        let hosts = [format!("z.{name}.com"), format!("c.{name}.com")];
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        tx.insert_deployment(&deployment(name, of, &hosts)).await.expect("written").expect("free");
    }
    assert_eq!(tx.deployments_in(&project("default")).await.expect("counted"), 3);
    tx.commit().await.expect("committed");
    let ids = |deployments: Vec<Deployment>| -> Vec<String> {
        deployments.into_iter().map(|deployment| deployment.id.to_string()).collect()
    };
    let all = world.store.read().deployments_after(None, 10).await.expect("read");
    assert_eq!(all[1].spec.hosts, [host("z.a-2.com"), host("c.a-2.com")]);
    assert_eq!(ids(all), ["a", "a-2", "a1", "b"]);
    let of = async |name, after: Option<&str>, limit| {
        let after = after.map(crate::world::id);
        ids(world.store.read().deployments_of(&project(name), after.as_ref(), limit).await.expect("read"))
    };
    assert_eq!(of("others", None, 10).await, ["a1"]);
    assert_eq!(of("default", None, 10).await, ["a", "a-2", "b"]);
    assert_eq!(of("default", None, 2).await, ["a", "a-2"]);
    assert_eq!(of("default", Some("a-2"), 2).await, ["b"]);
    assert!(of("default", Some("b"), 2).await.is_empty());
    assert!(of("none", None, 10).await.is_empty());
    let after = async |id: Option<&str>, limit| {
        let id = id.map(crate::world::id);
        ids(world.store.read().deployments_after(id.as_ref(), limit).await.expect("read"))
    };
    assert_eq!(after(None, 2).await, ["a", "a-2"]);
    assert_eq!(after(Some("a-2"), 2).await, ["a1", "b"]);
    assert!(after(Some("b"), 2).await.is_empty());
}

async fn only_pending_ones_past_their_deadline_are_overdue(world: World) {
    let now = world.store.now().await.expect("the time");
    let version = Generation(1);
    for (name, tls) in [
        ("late", TlsState::Pending { version: version.into(), deadline: Timestamp(now.0 - 1) }),
        ("later", TlsState::Pending { version: version.into(), deadline: Timestamp(now.0 - 1000) }),
        ("soon", TlsState::Pending { version: version.into(), deadline: Timestamp(now.0 + 100_000) }),
        ("runs", TlsState::Running { version: version.into() }),
    ] {
        let made = world.deployment(name).await;
        let mut tx = world.begin().await;
        tx.set_tls(&made.id, made.generation, &tls).await.expect("written");
        tx.commit().await.expect("committed");
    }
    let mut tx = world.begin().await;
    assert_eq!(tx.overdue(10).await.expect("read"), [id("later"), id("late")]);
    assert_eq!(tx.overdue(1).await.expect("read"), [id("later")]);
}
