use certward_store::{ApiKey, ApiKeyRecord, Scope, Store, StoreError};

use crate::{
    on_both_engines,
    world::{World, id, project},
};

on_both_engines![
    a_key_opens_with_its_own_secret_only,
    what_is_no_key_is_refused_and_is_no_fault,
    a_digest_moved_to_another_key_opens_nothing,
    keys_and_secrets_are_letters_and_digits,
    keys_are_listed_oldest_first_and_removed,
    only_admins_of_everything_count_as_admins,
    of_two_revocations_at_once_one_sees_the_other,
    a_change_acts_with_the_key_as_it_is_now,
    a_revocation_waits_for_a_change_under_way_and_ends_the_next_one,
    a_change_waits_for_a_revocation_under_way_and_is_not_made,
    a_key_is_not_narrowed_while_a_change_is_under_way,
    changes_in_the_name_of_one_key_do_not_wait_for_each_other,
    two_keys_that_revoke_each_other_do_not_wait_in_a_circle,
    a_project_is_not_taken_from_a_key_while_it_acts,
];

async fn make(
    world: &World,
    name: &str,
    scopes: &[Scope],
    projects: Option<&[&str]>,
) -> (ApiKeyRecord, certward_store::ApiSecret) {
    let projects: Option<Vec<_>> = projects.map(|projects| projects.iter().map(|id| project(id)).collect());
    let mut tx = world.begin().await;
    let made = tx.insert_api_key(name, scopes, projects.as_deref(), None).await.expect("written");
    tx.commit().await.expect("committed");
    made
}

async fn a_key_opens_with_its_own_secret_only(world: World) {
    let (first, first_secret) = make(&world, "a \0 name", &[Scope::Tls, Scope::Deployments], None).await;
    let (second, second_secret) = make(&world, "second", &[Scope::TlsRead], Some(&["default"])).await;
    assert_eq!(first.name, "a \u{fffd} name");
    let store = world.reopen().await;
    let open = async |key: &str, secret: &str| store.authenticate(key, secret).await.expect("answered");
    assert_eq!(open(first.key.as_str(), first_secret.expose()).await, Some(first.clone()));
    assert_eq!(open(second.key.as_str(), second_secret.expose()).await, Some(second.clone()));
    let wrong = [
        (first.key.as_str(), second_secret.expose().to_owned()),
        (second.key.as_str(), first_secret.expose().to_owned()),
        (first.key.as_str(), String::new()),
        (first.key.as_str(), first_secret.expose().to_uppercase()),
        (first.key.as_str(), format!("{}0", first_secret.expose())),
        (first.key.as_str(), first_secret.expose()[1..].to_owned()),
        ("0", first_secret.expose().to_owned()),
        ("nosuchkey0000000", first_secret.expose().to_owned()),
    ];
    for (key, secret) in wrong {
        assert_eq!(open(key, &secret).await, None, "{key}");
    }
    let upper = first.key.as_str().to_uppercase();
    if upper != first.key.as_str() {
        assert_eq!(open(&upper, first_secret.expose()).await, None, "keys are matched exactly");
    }
}

async fn what_is_no_key_is_refused_and_is_no_fault(world: World) {
    let long = "a".repeat(70_000);
    for key in ["", "\0", "a\0b", "a b", "ä", "' OR 1=1 --", long.as_str()] {
        for secret in ["", "\0", "secret", long.as_str()] {
            assert_eq!(world.store.authenticate(key, secret).await.expect("answered"), None);
        }
    }
}

async fn a_digest_moved_to_another_key_opens_nothing(world: World) {
    let (admin, _) = make(&world, "admin", &[Scope::Admin], None).await;
    let (own, secret) = make(&world, "own", &[Scope::TlsRead], None).await;
    world
        .tamper(&format!(
            "UPDATE api_key SET digest = (SELECT digest FROM api_key WHERE key = '{}') WHERE key = '{}'",
            own.key, admin.key
        ))
        .await;
    assert_eq!(world.store.authenticate(admin.key.as_str(), secret.expose()).await.expect("answered"), None);
}

async fn keys_and_secrets_are_letters_and_digits(world: World) {
    let (record, secret) = make(&world, "k", &[Scope::Tls], None).await;
    assert_eq!(record.key.as_str().len(), 16);
    assert_eq!(secret.expose().len(), 64);
    assert!(record.key.as_str().bytes().chain(secret.expose().bytes()).all(|b| b.is_ascii_alphanumeric()));
    assert_eq!(format!("{secret:?}"), "ApiSecret(redacted)");
}

async fn keys_are_listed_oldest_first_and_removed(world: World) {
    let mut made = Vec::new();
    for (name, projects) in [("a", None), ("b", Some(&["default"][..])), ("c", Some(&[][..]))] {
        made.push(make(&world, name, &[Scope::Tls], projects).await.0);
        world.clock.advance(std::time::Duration::from_secs(1));
        if world.is_postgres() {
            // Keys of one millisecond are ordered by name, which is random.
            world.tamper("UPDATE api_key SET created_at = created_at - 1000").await;
        }
    }
    let ids = |records: &[ApiKeyRecord]| records.iter().map(|record| record.key.clone()).collect::<Vec<_>>();
    let listed = world.store.read().api_keys().await.expect("read");
    assert_eq!(ids(&listed), ids(&made));
    assert_eq!(listed[0].projects, None);
    assert_eq!(listed[1].projects, Some(vec![project("default")]));
    assert_eq!(listed[2].projects, Some(Vec::new()));
    let mut tx = world.begin().await;
    tx.remove_api_key(&made[1].key).await.expect("removed");
    assert_eq!(tx.api_key(&made[1].key).await.expect("read"), None);
    tx.commit().await.expect("committed");
    assert_eq!(
        ids(&world.store.read().api_keys().await.expect("read")),
        [made[0].key.clone(), made[2].key.clone()]
    );
}

async fn only_admins_of_everything_count_as_admins(world: World) {
    make(&world, "admin", &[Scope::Admin, Scope::Tls], None).await;
    make(&world, "of one project", &[Scope::Admin], Some(&["default"])).await;
    make(&world, "no admin", &[Scope::Tls, Scope::Deployments], None).await;
    let mut tx = world.begin().await;
    assert_eq!(tx.admin_keys().await.expect("counted"), 1);
}

async fn of_two_revocations_at_once_one_sees_the_other(world: World) {
    let keys = [
        make(&world, "one", &[Scope::Admin], None).await.0.key,
        make(&world, "two", &[Scope::Admin], None).await.0.key,
    ];
    let revocations = keys.map(|key| {
        let store = world.store.clone();
        tokio::spawn(async move {
            let mut tx = store.begin().await.expect("a transaction");
            if tx.admin_keys().await.expect("counted") < 2 {
                return false;
            }
            tx.remove_api_key(&key).await.expect("removed");
            tx.commit().await.expect("committed");
            true
        })
    });
    let mut revoked = 0;
    for revocation in revocations {
        revoked += u32::from(revocation.await.expect("no panic"));
    }
    assert_eq!(revoked, 1);
    assert_eq!(world.store.read().api_keys().await.expect("read").len(), 1);
}

async fn a_change_acts_with_the_key_as_it_is_now(world: World) {
    let (before, _) = make(&world, "k", &[Scope::Tls], Some(&["default"])).await;
    let acting = async || world.store.begin_as(&before.key).await.expect("answered").map(|(_, key)| key);
    assert_eq!(acting().await, Some(before.clone()));
    world.tamper(&narrowed(&before.key)).await;
    let narrowed = ApiKeyRecord { scopes: vec![Scope::TlsRead], ..before.clone() };
    assert_eq!(acting().await, Some(narrowed.clone()));
    world.tamper("DELETE FROM api_key_project").await;
    assert_eq!(acting().await, Some(ApiKeyRecord { projects: Some(Vec::new()), ..narrowed }));
    world.tamper("DELETE FROM api_key").await;
    assert_eq!(acting().await, None);
    assert!(world.store.begin_on_keys_as(&before.key).await.expect("answered").is_none());
}

fn narrowed(key: &ApiKey) -> String {
    format!("UPDATE api_key SET scopes = '[\"tls:read\"]' WHERE key = '{key}'")
}

async fn a_revocation_waits_for_a_change_under_way_and_ends_the_next_one(world: World) {
    let (actor, _) = make(&world, "actor", &[Scope::Tls], None).await;
    let (mut change, _) = world.store.begin_as(&actor.key).await.expect("answered").expect("it is there");
    let revocation = tokio::spawn(revoked(world.store.clone(), actor.key.clone()));
    world.until_one_waits().await;
    assert!(!revocation.is_finished());
    change.draw_generation(&id("a")).await.expect("a generation");
    change.commit().await.expect("committed");
    revocation.await.expect("no panic").expect("revoked");
    assert!(world.store.begin_as(&actor.key).await.expect("answered").is_none());
}

async fn revoked(store: Store, key: ApiKey) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    if tx.api_key(&key).await?.is_some() {
        tx.remove_api_key(&key).await?;
    }
    tx.commit().await
}

async fn a_change_waits_for_a_revocation_under_way_and_is_not_made(world: World) {
    let (actor, _) = make(&world, "actor", &[Scope::Tls], None).await;
    let mut revocation = world.begin().await;
    revocation.api_key(&actor.key).await.expect("read").expect("there");
    let change = tokio::spawn({
        let (store, key) = (world.store.clone(), actor.key.clone());
        async move { store.begin_as(&key).await.map(|begun| begun.is_some()) }
    });
    world.until_one_waits().await;
    assert!(!change.is_finished());
    revocation.remove_api_key(&actor.key).await.expect("removed");
    revocation.commit().await.expect("committed");
    assert!(!change.await.expect("no panic").expect("answered"), "the key is gone");
}

async fn a_key_is_not_narrowed_while_a_change_is_under_way(world: World) {
    let (actor, _) = make(&world, "actor", &[Scope::Tls], None).await;
    let (change, _) = world.store.begin_as(&actor.key).await.expect("answered").expect("it is there");
    let narrowing = tokio::spawn({
        let (connecting, sql) = (world.connect().await, narrowed(&actor.key));
        async move {
            let mut conn = connecting;
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.map(drop)
        }
    });
    world.until_one_waits().await;
    assert!(!narrowing.is_finished());
    change.commit().await.expect("committed");
    narrowing.await.expect("no panic").expect("narrowed");
    let (_, now) = world.store.begin_as(&actor.key).await.expect("answered").expect("it is there");
    assert_eq!(now.scopes, [Scope::TlsRead]);
}

async fn changes_in_the_name_of_one_key_do_not_wait_for_each_other(world: World) {
    if !world.is_postgres() {
        // SQLite has one writer at a time.
        return;
    }
    let (actor, _) = make(&world, "actor", &[Scope::Tls], None).await;
    let first = world.store.begin_as(&actor.key).await.expect("answered");
    let second = world.store.begin_as(&actor.key).await.expect("answered");
    assert!(first.is_some() && second.is_some());
}

async fn two_keys_that_revoke_each_other_do_not_wait_in_a_circle(world: World) {
    for _ in 0..10 {
        let keys = [
            make(&world, "one", &[Scope::Admin], None).await.0.key,
            make(&world, "two", &[Scope::Admin], None).await.0.key,
        ];
        let revocations = [(0, 1), (1, 0)].map(|(actor, other)| {
            let (store, actor, other) = (world.store.clone(), keys[actor].clone(), keys[other].clone());
            tokio::spawn(async move {
                let Some((mut tx, _)) = store.begin_on_keys_as(&actor).await? else { return Ok(false) };
                tx.api_key(&other).await?.expect("only one of the two acts");
                tx.remove_api_key(&other).await?;
                tx.commit().await?;
                Ok::<_, StoreError>(true)
            })
        });
        let mut made = 0;
        for revocation in revocations {
            made += u32::from(revocation.await.expect("no panic").expect("not given up"));
        }
        assert_eq!(made, 1, "the other key was gone before it acted");
        world.tamper("DELETE FROM api_key").await;
    }
}

async fn a_project_is_not_taken_from_a_key_while_it_acts(world: World) {
    let others = certward_store::Project {
        id: project("others"),
        name: String::new(),
        description: String::new(),
        created_at: certward_store::Timestamp(1),
        boundary: certward_store::Boundary::default(),
    };
    let mut tx = world.begin().await;
    tx.insert_project(&others).await.expect("written");
    tx.commit().await.expect("committed");
    let (actor, _) = make(&world, "actor", &[Scope::Tls], Some(&["others"])).await;
    let (change, key) = world.store.begin_as(&actor.key).await.expect("answered").expect("it is there");
    assert!(key.sees(&others.id));
    let removal = tokio::spawn({
        let (store, others) = (world.store.clone(), others.id.clone());
        async move {
            let mut tx = store.begin().await?;
            tx.project_to_remove(&others).await?;
            tx.remove_project(&others).await?;
            tx.commit().await
        }
    });
    world.until_one_waits().await;
    assert!(!removal.is_finished());
    change.commit().await.expect("committed");
    removal.await.expect("no panic").expect("removed");
    let (_, now) = world.store.begin_as(&actor.key).await.expect("answered").expect("it is there");
    assert!(!now.sees(&others.id));
}
