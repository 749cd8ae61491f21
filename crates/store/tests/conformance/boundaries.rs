//! Project boundaries and upstream addresses: CONTRACT.md ("Project boundaries").

use std::time::Duration;

use certward_store::{
    Boundary, FeedPage, HostSuffix, MasterKey, Project, Replica, SuffixRefused, Timestamp, Upstream,
    UpstreamAllow, UpstreamList,
};

use crate::{
    on_both_engines,
    world::{MASTER_KEY, World, deployment, host, id, project},
};

on_both_engines![
    a_boundary_is_read_as_it_was_written_and_can_be_taken_away,
    suffixes_of_two_projects_never_overlap,
    suffixes_that_hosts_break_are_refused_with_their_number,
    a_host_is_under_anothers_suffix_also_where_a_wildcard_covers_it,
    of_two_overlapping_suffixes_set_at_once_one_passes,
    a_host_and_a_suffix_over_it_set_at_once_do_not_both_pass,
    a_change_is_in_the_feed_and_draws_another_stamp,
    an_address_is_taken_by_deployments_of_other_projects_only,
    what_a_node_of_the_release_before_wrote_counts_at_once_and_is_made_up_for,
    a_removed_project_leaves_no_suffix_and_a_removed_deployment_no_claim,
    a_nodes_copy_has_the_boundaries,
    an_unreadable_list_allows_nothing,
];

fn suffixes(texts: &[&str]) -> Vec<HostSuffix> {
    texts.iter().map(|text| HostSuffix::parse(text).expect("a suffix")).collect()
}

fn allow(texts: &[&str]) -> Option<UpstreamAllow> {
    Some(UpstreamAllow::parse(texts).expect("a list"))
}

fn boundary(suffix_texts: &[&str]) -> Boundary {
    Boundary { upstream_allow: None, host_suffixes: suffixes(suffix_texts) }
}

impl World {
    async fn projects(&self, ids: &[&str]) {
        let mut tx = self.begin().await;
        for name in ids {
            let made = Project {
                id: project(name),
                name: String::new(),
                description: String::new(),
                created_at: Timestamp(1),
                boundary: Boundary::default(),
            };
            assert!(tx.insert_project(&made).await.expect("written"));
        }
        tx.commit().await.expect("committed");
    }

    async fn set(&self, of: &str, boundary: &Boundary) -> Result<(), SuffixRefused> {
        let mut tx = self.begin().await;
        tx.project_to_change(&project(of)).await.expect("read").expect("there");
        let verdict = tx.set_boundary(&project(of), boundary).await.expect("decided");
        if verdict.is_ok() {
            tx.commit().await.expect("committed");
        }
        verdict
    }

    async fn boundary_of(&self, of: &str) -> Boundary {
        self.store.read().project(&project(of)).await.expect("read").expect("there").boundary
    }

    async fn deployment_with(&self, name: &str, of: &str, upstream: &str, hosts: &[&str]) {
        let mut tx = self.begin().await;
        let mut made = deployment(name, of, hosts);
        made.spec.upstream = UpstreamList::parse(upstream).expect("upstreams");
        made.generation = tx.draw_generation(&made.id).await.expect("a generation");
        tx.insert_deployment(&made).await.expect("written").expect("free");
        tx.commit().await.expect("committed");
    }

    async fn taken(&self, of: &str, address: &str) -> bool {
        let upstream = Upstream::parse(address).expect("an upstream");
        let mut tx = self.begin().await;
        tx.taken_upstream(&[&upstream], &project(of)).await.expect("read").is_some()
    }
}

async fn a_boundary_is_read_as_it_was_written_and_can_be_taken_away(world: World) {
    world.projects(&["fleet"]).await;
    assert_eq!(world.boundary_of("fleet").await, Boundary::default());
    let given = Boundary {
        upstream_allow: allow(&["10.0.0.0/8", "broker.example:1883"]),
        host_suffixes: suffixes(&["z.example.com", "a.example.com"]),
    };
    assert_eq!(world.set("fleet", &given).await, Ok(()));
    assert_eq!(world.boundary_of("fleet").await, given);
    let listed = world.store.read().projects().await.expect("read");
    assert_eq!(
        listed.iter().map(|project| &project.boundary).collect::<Vec<_>>(),
        [&Boundary::default(), &given]
    );
    let mut tx = world.begin().await;
    assert_eq!(tx.boundary(&project("fleet")).await.expect("read"), given);
    drop(tx);
    let known = world.store.read().boundaries(None).await.expect("read").expect("not known");
    assert_eq!(known.upstream_allow, [(project("fleet"), given.upstream_allow.clone().expect("given"))]);
    assert_eq!(known.host_suffixes.len(), 2);
    assert_eq!(world.set("fleet", &Boundary::default()).await, Ok(()));
    assert_eq!(world.boundary_of("fleet").await, Boundary::default());
}

async fn suffixes_of_two_projects_never_overlap(world: World) {
    world.projects(&["one", "two"]).await;
    world.set("one", &boundary(&["b_c.example.com"])).await.expect("free");
    for (wanted, free) in [
        ("b_c.example.com", false),
        ("a.b_c.example.com", false),
        ("example.com", false),
        ("com", false),
        ("bxc.example.com", true),
        ("a-b_c.example.com", true),
        ("example.org", true),
    ] {
        let verdict = world.set("two", &boundary(&["free.example.net", wanted])).await;
        let expected = if free { Ok(()) } else { Err(SuffixRefused::Taken(suffixes(&[wanted]).remove(0))) };
        assert_eq!(verdict, expected, "{wanted}");
    }
    // A project may set again what it already has.
    let own = boundary(&["b_c.example.com", "example.com"]);
    world.set("two", &Boundary::default()).await.expect("nothing");
    world.set("one", &own).await.expect("its own");
    world.set("one", &own).await.expect("again");
}

async fn suffixes_that_hosts_break_are_refused_with_their_number(world: World) {
    world.projects(&["one", "two"]).await;
    world.deployment_with("a", "one", "a:1", &["a.example.com", "*.b.example.com", "x.example.net"]).await;
    world.deployment_with("b", "two", "b:1", &["*.plant.org", "other.example.net"]).await;
    for (wanted, outside, of_others) in [
        (&["example.com"][..], 1, 0),
        (&["example.com", "x.example.net"], 0, 0),
        (&["a.example.com"], 2, 0),
        (&["example.com", "example.net"], 0, 1),
        (&["example.com", "x.example.net", "plant.org"], 0, 1),
        // The other's wildcard covers it.
        (&["example.com", "x.example.net", "line1.plant.org"], 0, 1),
        (&["example.com", "x.example.net", "a.line1.plant.org"], 0, 0),
    ] {
        let verdict = world.set("one", &boundary(wanted)).await;
        let expected =
            if outside + of_others == 0 { Ok(()) } else { Err(SuffixRefused::InUse { outside, of_others }) };
        assert_eq!(verdict, expected, "{wanted:?}");
    }
}

async fn a_host_is_under_anothers_suffix_also_where_a_wildcard_covers_it(world: World) {
    world.projects(&["one", "two"]).await;
    world.set("one", &boundary(&["line1.plant.org", "local"])).await.expect("free");
    for (name, expected) in [
        ("line1.plant.org", true),
        ("a.line1.plant.org", true),
        ("*.line1.plant.org", true),
        ("*.plant.org", true),
        ("plant.org", false),
        ("line2.plant.org", false),
        ("*.a.plant.org", false),
        ("broker.local", true),
        ("local", true),
    ] {
        let mut tx = world.begin().await;
        let found = tx.is_under_anothers_suffix(&host(name), &project("two")).await.expect("read");
        assert_eq!(found, expected, "{name}");
        assert!(!tx.is_under_anothers_suffix(&host(name), &project("one")).await.expect("read"), "{name}");
    }
}

async fn of_two_overlapping_suffixes_set_at_once_one_passes(world: World) {
    world.projects(&["one", "two"]).await;
    for round in 0..10 {
        let (long, short) = (format!("a.r{round}.example"), format!("r{round}.example"));
        let (first, second) = (boundary(&[&long]), boundary(&[&short]));
        let (first, second) = tokio::join!(world.set("one", &first), world.set("two", &second));
        assert_eq!(u8::from(first.is_ok()) + u8::from(second.is_ok()), 1, "{first:?} {second:?}");
    }
}

async fn a_host_and_a_suffix_over_it_set_at_once_do_not_both_pass(world: World) {
    world.projects(&["one", "two"]).await;
    for round in 0..10 {
        let name = format!("a.r{round}.example");
        let claim = async {
            let mut tx = world.begin().await;
            let mut claimer = deployment(&format!("d{round}"), "two", &[&name]);
            claimer.generation = tx.draw_generation(&claimer.id).await.expect("a generation");
            tx.boundary(&claimer.project).await.expect("read");
            let free = !tx.is_under_anothers_suffix(&host(&name), &claimer.project).await.expect("read");
            if free {
                tx.insert_deployment(&claimer).await.expect("written").expect("free");
                tx.commit().await.expect("committed");
            }
            free
        };
        let wanted = boundary(&[&format!("r{round}.example")]);
        let (claimed, set) = tokio::join!(claim, world.set("one", &wanted));
        assert!(claimed != set.is_ok(), "{claimed} {set:?}");
    }
}

async fn a_change_is_in_the_feed_and_draws_another_stamp(world: World) {
    world.projects(&["one"]).await;
    let before = world.store.read_as_member().newest_position().await.expect("read");
    let none = world.store.read().boundaries(None).await.expect("read").expect("not known");
    assert!(world.store.read().boundaries(Some(none.stamp)).await.expect("read").is_none());
    world.set("one", &boundary(&["example.com"])).await.expect("free");
    let page = world.store.read_as_member().feed_after(before, before, 10).await.expect("read");
    let FeedPage::Rows(rows) = page else { panic!("not pruned") };
    assert_eq!(rows.iter().map(|row| row.deployment.as_str()).collect::<Vec<_>>(), ["one"]);
    let some = world.store.read().boundaries(Some(none.stamp)).await.expect("read").expect("changed");
    world.set("one", &boundary(&["example.org"])).await.expect("free");
    assert!(world.store.read().boundaries(Some(some.stamp)).await.expect("read").is_some());
    let newest = world.store.read().newest_generation().await.expect("read");
    world.projects(&["two"]).await;
    world.set("two", &boundary(&["org"])).await.expect_err("taken");
    assert_eq!(world.store.read().newest_generation().await.expect("read"), newest);
}

async fn an_address_is_taken_by_deployments_of_other_projects_only(world: World) {
    world.projects(&["a", "b", "c"]).await;
    world.deployment_with("one", "b", "Broker.Example.:1883,[::ffff:10.0.0.1]:1883", &[]).await;
    let held = [
        ("broker.example:01883", true),
        ("10.0.0.1:1883", true),
        ("10.0.0.1:1884", false),
        ("broker.exampl:1883", false),
    ];
    for (address, taken) in held {
        assert_eq!(world.taken("a", address).await, taken, "{address}");
        assert_eq!(world.taken("c", address).await, taken, "{address}");
        assert!(!world.taken("b", address).await, "{address}");
    }
    // Its WebSocket address counts; one that it gives up does not.
    let mut tx = world.begin().await;
    let mut changed = tx.deployment(&id("one")).await.expect("read").expect("there");
    changed.spec.upstream = UpstreamList::parse("other:1").expect("an upstream");
    changed.spec.ws_upstream = Some(UpstreamList::parse("other:2").expect("an upstream"));
    tx.update_deployment(&changed).await.expect("written").expect("free");
    tx.commit().await.expect("committed");
    for (address, taken) in [("other:1", true), ("other:2", true), ("10.0.0.1:1883", false)] {
        assert_eq!(world.taken("a", address).await, taken, "{address}");
    }
    let shared = |of: &'static str| {
        let mut probe = deployment("probe", of, &[]);
        probe.spec.upstream = UpstreamList::parse("other:2,free:1").expect("upstreams");
        let world = &world;
        async move { world.store.read().shared_upstreams(&probe).await.expect("read") }
    };
    assert_eq!(shared("a").await, [Upstream::parse("other:2").expect("an upstream")]);
    assert!(shared("b").await.is_empty());
}

async fn what_a_node_of_the_release_before_wrote_counts_at_once_and_is_made_up_for(world: World) {
    world.projects(&["a", "b"]).await;
    world.deployment_with("one", "b", "first:1", &[]).await;
    world.deployment_with("two", "b", "second:1", &[]).await;
    // An older node does not write claims.
    world.tamper("UPDATE deployment SET upstream = 'Third.:01' WHERE id = 'one'").await;
    world.tamper("DELETE FROM upstream_claim WHERE deployment = 'two'").await;
    world.tamper("UPDATE deployment SET claimed = NULL, ws_upstream = 'unreadable' WHERE id = 'two'").await;
    assert!(world.taken("a", "third:1").await);
    assert!(world.taken("a", "second:1").await);
    assert!(!world.taken("b", "third:1").await);
    world.store.prune(Duration::from_secs(60)).await.expect("pruned");
    let missing = "SELECT CAST(count(*) AS TEXT) FROM deployment WHERE coalesce(claimed, '') <> upstream || ' ' || coalesce(ws_upstream, '')";
    assert_eq!(world.asked(missing).await, "0");
    assert!(world.taken("a", "third:1").await);
    assert!(world.taken("a", "second:1").await);
    assert!(!world.taken("a", "first:1").await);
}

async fn a_removed_project_leaves_no_suffix_and_a_removed_deployment_no_claim(world: World) {
    world.projects(&["one", "two"]).await;
    world.set("one", &boundary(&["example.com"])).await.expect("free");
    world.deployment_with("d", "one", "broker:1", &["a.example.com"]).await;
    let mut tx = world.begin().await;
    tx.remove_deployment(&id("d")).await.expect("removed");
    tx.remove_project(&project("one")).await.expect("removed");
    tx.commit().await.expect("committed");
    assert!(!world.taken("two", "broker:1").await);
    world.set("two", &boundary(&["com"])).await.expect("free");
}

async fn a_nodes_copy_has_the_boundaries(world: World) {
    world.projects(&["one", "two"]).await;
    let given = Boundary {
        upstream_allow: allow(&["10.0.0.0/8"]),
        host_suffixes: suffixes(&["b.example", "a.example"]),
    };
    world.set("one", &given).await.expect("free");
    let folder = tempfile::tempdir().expect("a folder");
    let snapshot = Replica::at(folder.path(), &MasterKey::parse(MASTER_KEY).expect("a key"));
    snapshot.make(&world.store).await.expect("made");
    let copied = || async {
        let (here, there) = (
            snapshot.read().boundaries(None).await.expect("read").unwrap_or_default(),
            world.store.read().boundaries(None).await,
        );
        let there = there.expect("read").expect("not known");
        assert_eq!(here.upstream_allow, there.upstream_allow);
        assert_eq!(here.host_suffixes, there.host_suffixes);
        assert_eq!(here.stamp, there.stamp);
        here
    };
    let row = world.store.read_as_member().newest_position().await.expect("read");
    snapshot.copy(&world.store, &[], Some(row)).await.expect("copied");
    assert_eq!(copied().await.host_suffixes.len(), 2);
    world.set("two", &boundary(&["c.example"])).await.expect("free");
    snapshot.copy_boundaries(&world.store).await.expect("copied");
    assert_eq!(copied().await.host_suffixes.len(), 3);
    world.set("one", &Boundary::default()).await.expect("nothing");
    snapshot.copy(&world.store, &[id("one")], None).await.expect("copied");
    let here = copied().await;
    assert_eq!((here.upstream_allow.len(), here.host_suffixes.len()), (0, 1));
    // For another process of the node.
    snapshot.close().await;
    assert!(snapshot.open().await.expect("opened"));
    assert_eq!(
        snapshot.read().boundaries(None).await.expect("read").unwrap_or_default().host_suffixes.len(),
        1
    );
}

async fn an_unreadable_list_allows_nothing(world: World) {
    world.tamper("UPDATE project SET upstream_allow = 'of a later release' WHERE id = 'default'").await;
    let known = world.store.read().boundaries(None).await.expect("read").expect("not known");
    let (of, list) = &known.upstream_allow[0];
    let upstream = Upstream::parse("127.0.0.1:1").expect("an upstream");
    assert_eq!(of, &project("default"));
    assert!(!list.permits(
        &upstream,
        "127.0.0.1:1".parse().expect("an address"),
        &certward_store::Nat64::default()
    ));
    assert!(world.store.read().project(&project("default")).await.is_err());
}
