//! Claims of hosts: CONTRACT.md ("Hosts").

use certward_store::{HostTaken, Project, Timestamp};

use crate::{
    on_both_engines,
    world::{World, deployment, host, id, project},
};

on_both_engines![
    between_projects_nothing_may_cover_and_within_one_only_equal_is_refused,
    a_refused_claim_writes_nothing,
    a_freed_host_can_be_claimed_and_an_own_one_kept,
    a_host_given_twice_counts_once,
    of_many_who_claim_at_once_one_gets_it,
    wildcard_and_covered_name_claimed_at_once_do_not_both_pass,
];

async fn with_others(world: &World) {
    let mut tx = world.begin().await;
    let others = Project {
        id: project("others"),
        name: String::new(),
        description: String::new(),
        created_at: Timestamp(1),
        boundary: certward_store::Boundary::default(),
    };
    tx.insert_project(&others).await.expect("written");
    tx.commit().await.expect("committed");
}

async fn between_projects_nothing_may_cover_and_within_one_only_equal_is_refused(world: World) {
    with_others(&world).await;
    // Owned in `default`, claimed in the same and in another project.
    let cases = [
        ("a.example.com", "a.example.com", false, false),
        ("a.example.com", "b.example.com", true, true),
        ("*.example.com", "a.example.com", true, false),
        ("a.example.com", "*.example.com", true, false),
        ("*.example.com", "*.example.com", false, false),
        // A wildcard covers one label.
        ("*.example.com", "a.b.example.com", true, true),
        ("a.b.example.com", "*.example.com", true, true),
        ("*.example.com", "example.com", true, true),
        ("*.b.example.com", "*.example.com", true, true),
        ("b.example.com", "*.b.example.com", true, true),
        // No LIKE patterns.
        ("a_b.example.com", "axb.example.com", true, true),
        ("localhost", "localhost", false, false),
        ("localhost", "com", true, true),
    ];
    for (held, wanted, within, between) in cases {
        for (of, may) in [("default", within), ("others", between)] {
            let mut tx = world.begin().await;
            tx.insert_deployment(&deployment("holder", "default", &[held]))
                .await
                .expect("written")
                .expect("free");
            let claim = deployment("claimer", of, &["free.example.net", wanted]);
            let verdict = tx.insert_deployment(&claim).await.expect("decided");
            let expected = if may { Ok(()) } else { Err(HostTaken(host(wanted))) };
            assert_eq!(verdict, expected, "{wanted} of {of} beside {held}");
        }
    }
}

async fn a_refused_claim_writes_nothing(world: World) {
    let mut tx = world.begin().await;
    tx.insert_deployment(&deployment("holder", "default", &["a.example.com"]))
        .await
        .expect("written")
        .expect("free");
    let mut other = deployment("other", "default", &["b.example.com"]);
    tx.insert_deployment(&other).await.expect("written").expect("free");
    let claim = deployment("claimer", "default", &["c.example.com", "a.example.com"]);
    assert!(tx.insert_deployment(&claim).await.expect("decided").is_err());
    other.spec.hosts = vec![host("d.example.com"), host("a.example.com")];
    other.spec.name = "renamed".into();
    assert!(tx.update_deployment(&other).await.expect("decided").is_err());
    tx.commit().await.expect("committed");
    assert_eq!(world.store.read().deployment(&id("claimer")).await.expect("read"), None);
    let other = world.store.read().deployment(&id("other")).await.expect("read").expect("there");
    assert_eq!(other.spec.hosts, [host("b.example.com")]);
    assert_eq!(other.spec.name, "other for people");
}

async fn a_freed_host_can_be_claimed_and_an_own_one_kept(world: World) {
    let mut tx = world.begin().await;
    let mut first = deployment("first", "default", &["a.example.com", "b.example.com"]);
    tx.insert_deployment(&first).await.expect("written").expect("free");
    first.spec.hosts = vec![host("b.example.com"), host("c.example.com")];
    tx.update_deployment(&first).await.expect("written").expect("b is its own");
    let second = deployment("second", "default", &["a.example.com"]);
    tx.insert_deployment(&second).await.expect("written").expect("a was freed");
    tx.remove_deployment(&second.id).await.expect("removed");
    first.spec.hosts.push(host("a.example.com"));
    tx.update_deployment(&first).await.expect("written").expect("a was freed again");
    tx.commit().await.expect("committed");
    assert_eq!(
        world.store.read().deployment(&first.id).await.expect("read").expect("there").spec.hosts,
        first.spec.hosts
    );
}

async fn a_host_given_twice_counts_once(world: World) {
    let mut tx = world.begin().await;
    let twice = deployment("a", "default", &["a.example.com", "b.example.com", "a.example.com"]);
    tx.insert_deployment(&twice).await.expect("written").expect("free");
    tx.commit().await.expect("committed");
    let read = world.store.read().deployment(&twice.id).await.expect("read").expect("there");
    assert_eq!(read.spec.hosts, [host("a.example.com"), host("b.example.com")]);
}

async fn of_many_who_claim_at_once_one_gets_it(world: World) {
    let claims = (0..12).map(|n| claim(&world, format!("d{n}"), "default", "a.example.com"));
    let won = futures_util::future::join_all(claims).await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1);
    assert_eq!(world.store.read().deployments_after(None, u32::MAX).await.expect("read").len(), 1);
}

async fn wildcard_and_covered_name_claimed_at_once_do_not_both_pass(world: World) {
    with_others(&world).await;
    let claims = (0..12).map(|n| {
        let (of, name) = if n % 2 == 0 { ("default", "*.example.com") } else { ("others", "a.example.com") };
        claim(&world, format!("d{n}"), of, name)
    });
    let won = futures_util::future::join_all(claims).await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1);
}

fn claim(world: &World, name: String, of: &'static str, host: &'static str) -> impl Future<Output = bool> {
    let store = world.store.clone();
    let task = tokio::spawn(async move {
        let mut tx = store.begin().await.expect("a transaction");
        let claim = deployment(&name, of, &[host]);
        assert_eq!(tx.deployment(&claim.id).await.expect("read"), None);
        let verdict = tx.insert_deployment(&claim).await.expect("decided");
        if verdict.is_ok() {
            tx.commit().await.expect("committed");
        }
        verdict.is_ok()
    });
    async { task.await.expect("no panic") }
}
