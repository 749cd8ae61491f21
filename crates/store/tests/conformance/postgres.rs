//! PostgreSQL only: a server that several nodes share and can lose.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use certward_store::{Generation, MasterKey, ProjectId, Replica, Store, StoreError, SystemClock, WakeUp};
use certward_test_support::PostgresServer;

use crate::{
    block_on,
    world::{World, deployment, id, master_key, node, postgres},
};

#[test]
fn a_lost_server_is_unavailable_and_its_return_is_found() {
    block_on(async {
        let mut server = PostgresServer::start();
        let address = postgres(&server.database());
        let clock = Arc::new(SystemClock);
        assert!(!Store::is_initialised(&address).await.expect("answered"));
        let error = Store::open(&address, &master_key(), clock.clone()).await.expect_err("nothing there");
        assert!(matches!(error, StoreError::NotInitialised), "{error}");
        let store = Store::init(&address, &master_key(), clock).await.expect("made");
        let mut tx = store.begin().await.expect("a transaction");
        tx.draw_generation(&id("a")).await.expect("a generation");
        server.stop();
        let error = tx.commit().await.expect_err("lost");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        let started = Instant::now();
        let error = store.read().newest_generation().await.expect_err("lost");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(!error.to_string().contains("postgres://"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10), "bounded");
        server.resume();
        assert_eq!(found_again(&store).await, Generation(0));
        let mut tx = store.begin().await.expect("a transaction");
        tx.draw_generation(&id("a")).await.expect("a generation");
        tx.commit().await.expect("committed");
    });
}

/// A node, or its machine, that stops in the middle of a write.
#[test]
fn a_transaction_that_is_left_alone_keeps_others_for_two_seconds() {
    block_on(async {
        let world = World::postgres().await;
        let a = world.deployment("a").await.id;
        for hold in ["nodes", "a deployment"] {
            let mut stopped = world.begin().await;
            match hold {
                "nodes" => stopped.hold_nodes().await.expect("held"),
                _ => drop(stopped.deployment(&a).await.expect("read").expect("there")),
            }
            // Others wait five seconds for a lock.
            let mut other = world.begin().await;
            other.hold_nodes().await.expect("it is not waited for longer");
            assert!(other.deployment(&a).await.expect("read").is_some(), "{hold}");
            other.commit().await.expect("committed");
            let error = stopped.commit().await.expect_err("it was ended");
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        }
    });
}

/// A joining node does not wait for a hanging change.
#[test]
fn a_join_gives_up_before_it_keeps_changes_waiting() {
    block_on(async {
        let world = World::postgres().await;
        let a = world.deployment("a").await.id;
        let mut changing = world.begin().await;
        changing.deployment(&a).await.expect("read").expect("there");
        let mut joining = world.begin().await;
        let error = joining.hold_changes().await.expect_err("a change is under way");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        drop(joining);
        changing.commit().await.expect("committed");
        let mut joining = world.begin().await;
        joining.hold_changes().await.expect("held");
    });
}

async fn found_again(store: &Store) -> Generation {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match store.read().newest_generation().await {
            Ok(generation) => return generation,
            Err(error) => assert!(Instant::now() < deadline, "not found again: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_store_that_is_away_refuses_at_once_until_it_is_reached() {
    block_on(async {
        let mut server = PostgresServer::start();
        let address = postgres(&server.database());
        let clock = Arc::new(SystemClock);
        Store::init(&address, &master_key(), clock.clone()).await.expect("made").close().await;
        server.stop();
        let store = Store::away(address, &master_key(), clock);
        let error = store.begin().await.expect_err("away");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        let error = store.reach().await.expect_err("away");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        server.resume();
        let error = store.authenticate("a", "b").await.expect_err("nobody has looked for it");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        let changed = store.changed();
        store.reach().await.expect("it is back");
        store.reach().await.expect("once is enough");
        changed.await;
        assert_eq!(store.read().newest_generation().await.expect("read"), Generation(0));
        store.close().await;
    });
}

#[test]
fn a_store_that_comes_back_with_another_master_key_is_not_taken() {
    block_on(async {
        let server = PostgresServer::shared();
        let address = postgres(&server.database());
        let clock = Arc::new(SystemClock);
        let away = Store::away(address.clone(), &MasterKey::generate(), clock.clone());
        let error = away.reach().await.expect_err("nothing there");
        assert!(matches!(error, StoreError::NotInitialised), "{error}");
        Store::init(&address, &master_key(), clock).await.expect("made");
        let error = away.reach().await.expect_err("another's");
        assert!(matches!(error, StoreError::WrongMasterKey), "{error}");
        let error = away.read().newest_generation().await.expect_err("not reached");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    });
}

#[test]
fn several_nodes_work_on_one_database() {
    block_on(async {
        let server = PostgresServer::shared();
        let address = postgres(&server.database());
        let starts = (0..4).map(|_| {
            let address = address.clone();
            tokio::spawn(async move {
                Store::init(&address, &master_key(), Arc::new(SystemClock)).await.expect("opens")
            })
        });
        let mut nodes = Vec::new();
        for start in starts {
            nodes.push(start.await.expect("no panic"));
        }
        assert_eq!(nodes[0].read().projects().await.expect("read").len(), 1);
        // One creates it, the others find it.
        let makers: Vec<_> = nodes
            .iter()
            .cloned()
            .map(|store| {
                tokio::spawn(async move {
                    let mut tx = store.begin().await.expect("a transaction");
                    if tx.deployment(&id("a")).await.expect("read").is_some() {
                        return false;
                    }
                    tx.insert_deployment(&deployment("a", "default", &[]))
                        .await
                        .expect("written")
                        .expect("free");
                    tx.commit().await.expect("committed");
                    true
                })
            })
            .collect();
        let mut made = 0;
        for maker in makers {
            made += u32::from(maker.await.expect("no panic"));
        }
        assert_eq!(made, 1);
    });
}

#[test]
fn a_transaction_that_failed_is_not_taken_for_committed() {
    block_on(async {
        let world = World::postgres().await;
        let mut tx = world.begin().await;
        tx.draw_generation(&id("a")).await.expect("a generation");
        let error = tx.insert_deployment(&deployment("a", "none", &[])).await.expect_err("refused");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        let error = tx.commit().await.expect_err("refused");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert_eq!(world.store.read().newest_generation().await.expect("read"), Generation(0));
    });
}

#[test]
fn a_server_that_is_not_there_is_told_without_its_password() {
    block_on(async {
        World::sqlite().await;
        for url in
            ["postgres://u:CANARY@127.0.0.1:1/d", "postgres://u:CANARY@127.0.0.1:1/d?sslrootcert=/CANARY"]
        {
            let address = postgres(url);
            let error =
                Store::open(&address, &master_key(), Arc::new(SystemClock)).await.expect_err("refused");
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
            assert!(!format!("{error} {error:?} {address:?}").contains("CANARY"), "{error:?}");
        }
    });
}

#[test]
fn a_commit_through_one_process_wakes_another() {
    block_on(async {
        let world = World::postgres().await;
        let other = another(&world).await;
        for _ in 0..5 {
            wakes(&world.store, &other).await;
        }
        wakes(&other, &world.store).await;
    });
}

#[test]
fn a_process_whose_listening_connection_is_lost_is_woken_again() {
    block_on(async {
        let world = World::postgres().await;
        let other = another(&world).await;
        wakes(&world.store, &other).await;
        world
            .tamper(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
            )
            .await;
        for _ in 0..5 {
            wakes(&world.store, &other).await;
        }
    });
}

async fn another(world: &World) -> Store {
    Store::open(&world.address, &master_key(), world.clock.clone()).await.expect("it opens")
}

/// A store that does not listen misses wake-ups.
async fn wakes(committing: &Store, listening: &Store) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline, "a commit wakes nobody");
        let changed = listening.changed();
        if let Ok(mut tx) = committing.begin().await
            && tx.draw_generation(&id("a")).await.is_ok()
            && tx.commit().await.is_ok()
            && tokio::time::timeout(Duration::from_millis(500), changed).await.is_ok()
        {
            return;
        }
    }
}

#[test]
fn a_question_wakes_the_nodes_that_answer_and_an_answer_the_one_that_asked() {
    block_on(async {
        let world = World::postgres().await;
        let (asking, answering) = (&world.store, another(&world).await);
        // Each may have begun to listen later.
        wakes(asking, &answering).await;
        wakes(&answering, asking).await;
        let (mut questions, mut answers) = (answering.questions(), asking.answers());
        let question =
            asking.ask_nodes(&id("a"), "", certward_store::QuestionUrgency::Read).await.expect("asked");
        woken(&mut questions).await;
        answering.answer_questions(&node("n1"), &[(question, String::new())]).await.expect("answered");
        woken(&mut answers).await;
    });
}

async fn woken(wake_up: &mut WakeUp) {
    tokio::time::timeout(Duration::from_secs(30), wake_up.next()).await.expect("it wakes");
}

/// Also without statistics.
#[test]
fn a_page_of_many_deployments_takes_no_more_than_its_own_rows() {
    const ALL: usize = 100_000;
    const PAGE: u32 = 200;
    const PAGES: usize = 10;
    block_on(async {
        let world = World::postgres().await;
        world
            .tamper(&format!(
                "INSERT INTO deployment (id, project, name, upstream, created_at, generation, tls_state, tls_version)
                     SELECT 'd' || n, 'default', '', '127.0.0.1:1883', 0, n, 'running', n FROM generate_series(1, {ALL}) n;
                 INSERT INTO host (name, parent, deployment, project, position)
                     SELECT 'd' || n || '.example.com', 'example.com', 'd' || n, 'default', 0 FROM generate_series(1, {ALL}) n;
                 INSERT INTO version (deployment, version, tls_type, chain, client_cas, trust_scope, not_after, findings, created_at, proven)
                     SELECT 'd' || n, n, 'one-way', '', '', decode(repeat('00', 16), 'hex'), 0, '', 0, 1 FROM generate_series(1, {ALL}) n"
            ))
            .await;
        let default = ProjectId::default_project();
        let folder = tempfile::tempdir().expect("a folder");
        let snapshot = Replica::at(folder.path(), &master_key());
        assert!(!snapshot.open().await.expect("nothing there"));
        snapshot.make(&world.store).await.expect("made");
        // From another place, as copied rows are skipped. With few statistics, as for ten million
        // rows.
        let little = "SET default_statistics_target = 1; ANALYZE";
        for (known, from) in [("", "d3"), ("ANALYZE", "d5"), (little, "d7")] {
            world.tamper(known).await;
            let mut last = Some(id(from));
            for _ in 0..PAGES {
                let page = world.store.read().deployments_after(last.as_ref(), PAGE).await.expect("read");
                let hosts = world.store.read().hosts_after(last.as_ref(), PAGE).await.expect("read");
                let listed =
                    world.store.read().deployments_of(&default, last.as_ref(), PAGE).await.expect("read");
                assert!(page == listed && page.len() == hosts.len());
                last = snapshot.copy_page(&world.store, last.as_ref(), PAGE).await.expect("copied");
                assert_eq!(last, page.into_iter().last().map(|deployment| deployment.id));
            }
        }
        assert_eq!(world.store.read().status_counts().await.expect("counted").running, ALL as u64);
        // Counted by then: at the end of a server process.
        world.store.close().await;
        let others = "SELECT count(*)::text FROM pg_stat_activity
                      WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let deadline = Instant::now() + Duration::from_secs(30);
        while world.asked(others).await != "0" {
            assert!(Instant::now() < deadline, "the connections are closed");
        }
        let taken = "SELECT sum(seq_tup_read + idx_tup_fetch)::text FROM pg_stat_user_tables
                     WHERE relname IN ('deployment', 'host', 'version')";
        let taken: usize = world.asked(taken).await.parse().expect("a number");
        // A page: three times from two tables; for the replica the generation, both, and it with
        // its version. The status counts: all with their versions. The deployment of each host and
        // version.
        let own = 3 * (3 * 2 + 1 + 2 + 2) * PAGES * PAGE as usize + 2 * ALL + 2 * ALL;
        assert!(taken <= own + own / 10, "{taken} rows for {own}");
    });
}
