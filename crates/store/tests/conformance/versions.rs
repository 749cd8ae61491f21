use certward_pki::TlsType;
use certward_store::{ApiKey, Generation, StoreError, TrustScope, Version, VersionId};

use crate::{
    on_both_engines,
    world::{
        WITHOUT_DEVICES, WITHOUT_REQUESTS, WITHOUT_REVOCATIONS, WITHOUT_ROLLBACK, WITHOUT_STOPPED_CHANGES,
        World, id, private_key, version,
    },
};

on_both_engines![
    an_upload_is_read_as_it_was_written,
    a_private_key_comes_back_byte_for_byte,
    the_newest_ten_versions_are_kept,
    the_last_proven_version_outlives_any_number_of_failures,
    the_fallback_is_the_newest_proven_one_with_a_key,
    erased_keys_are_gone_and_the_versions_stay,
    one_key_is_erased_and_the_list_says_so,
    what_a_release_without_rollbacks_wrote_is_read,
    a_sealed_key_moved_to_another_row_does_not_open,
];

async fn an_upload_is_read_as_it_was_written(world: World) {
    let made = world.deployment("a").await;
    let generation = world.upload(&made.id, b"key").await;
    assert_eq!(
        world.store.read().version(&made.id, generation.into()).await.expect("read"),
        Some(version(&made.id, generation))
    );
    let mut tx = world.begin().await;
    let one_way = Version {
        tls_type: TlsType::OneWay,
        client_cas: Vec::new(),
        trust_scope: TrustScope([255; 16]),
        common_name: None,
        proven: true,
        accepted_by: ApiKey::parse("abcdefgh12345678"),
        restores: Some(generation.into()),
        ..version(&made.id, Generation(1_000))
    };
    tx.insert_version(&one_way, &private_key(b"key")).await.expect("written");
    assert_eq!(tx.version(&made.id, one_way.version).await.expect("read"), Some(one_way.clone()));
    tx.commit().await.expect("committed");
    let store = world.reopen().await;
    assert_eq!(store.read().version(&made.id, one_way.version).await.expect("read"), Some(one_way));
    assert_eq!(store.read().version(&made.id, VersionId(999)).await.expect("read"), None);
    assert_eq!(store.read().version(&id("b"), generation.into()).await.expect("read"), None);
}

async fn a_private_key_comes_back_byte_for_byte(world: World) {
    let made = world.deployment("a").await;
    for key in [vec![], vec![0], vec![7; 121], (0..=255).cycle().take(2400).collect()] {
        let generation = world.upload(&made.id, &key).await;
        let opened =
            world.store.read().private_key(&made.id, generation.into()).await.expect("opens").expect("there");
        assert_eq!(opened.expose_pkcs8_der(), key);
    }
    assert!(world.store.read().private_key(&made.id, VersionId(99_999)).await.expect("read").is_none());
}

async fn the_newest_ten_versions_are_kept(world: World) {
    let (a, b) = (world.deployment("a").await.id, world.deployment("b").await.id);
    let other = world.upload(&b, b"key").await;
    let mut generations = Vec::new();
    for _ in 0..12 {
        generations.push(world.upload(&a, b"key").await);
    }
    for (n, generation) in generations.iter().enumerate() {
        let found = world.store.read().version(&a, VersionId::from(*generation)).await.expect("read");
        assert_eq!(found.is_some(), n >= 2, "number {n}");
    }
    assert!(
        world.store.read().version(&b, other.into()).await.expect("read").is_some(),
        "each deployment has its own ten"
    );
}

async fn the_last_proven_version_outlives_any_number_of_failures(world: World) {
    let a = world.deployment("a").await.id;
    let proven = world.upload(&a, b"good").await;
    let mut tx = world.begin().await;
    let accepted = tx.version(&a, proven.into()).await.expect("read").expect("there").created_at;
    assert_eq!(tx.mark_proven(&a, proven.into()).await.expect("written"), Some(accepted));
    assert_eq!(tx.mark_proven(&a, proven.into()).await.expect("written"), None, "only the first time");
    tx.commit().await.expect("committed");
    let mut newest = proven;
    for _ in 0..15 {
        newest = world.upload(&a, b"bad").await;
    }
    let fallback =
        world.store.read().last_proven_version(&a, newest.into()).await.expect("read").expect("there");
    assert_eq!((fallback.version, fallback.proven), (proven.into(), true));
    assert!(world.store.read().private_key(&a, proven.into()).await.expect("opens").is_some());
}

async fn the_fallback_is_the_newest_proven_one_with_a_key(world: World) {
    let a = world.deployment("a").await.id;
    let mut generations = Vec::new();
    for _ in 0..4 {
        generations.push(world.upload(&a, b"key").await);
    }
    let before = async |generation| {
        world
            .store
            .read()
            .last_proven_version(&a, generation)
            .await
            .expect("read")
            .map(|version| version.version)
    };
    assert_eq!(before(generations[3].into()).await, None);
    let mut tx = world.begin().await;
    for n in [0, 2, 3] {
        tx.mark_proven(&a, generations[n].into()).await.expect("written");
    }
    tx.commit().await.expect("committed");
    assert_eq!(before(generations[3].into()).await, Some(generations[2].into()));
    assert_eq!(before(generations[2].into()).await, Some(generations[0].into()));
    assert_eq!(before(generations[0].into()).await, None);
}

async fn erased_keys_are_gone_and_the_versions_stay(world: World) {
    let (a, b) = (world.deployment("a").await.id, world.deployment("b").await.id);
    let of_a = [world.upload(&a, b"key").await, world.upload(&a, b"key").await];
    let of_b = world.upload(&b, b"key").await;
    let mut tx = world.begin().await;
    tx.mark_proven(&a, of_a[0].into()).await.expect("written");
    tx.erase_keys(&a).await.expect("erased");
    tx.commit().await.expect("committed");
    for generation in of_a {
        assert!(world.store.read().private_key(&a, generation.into()).await.expect("read").is_none());
        assert!(world.store.read().version(&a, generation.into()).await.expect("read").is_some());
    }
    assert_eq!(world.store.read().last_proven_version(&a, VersionId(i64::MAX)).await.expect("read"), None);
    assert!(world.store.read().private_key(&b, of_b.into()).await.expect("read").is_some());
}

async fn one_key_is_erased_and_the_list_says_so(world: World) {
    let (a, b) = (world.deployment("a").await.id, world.deployment("b").await.id);
    let mut of_a = Vec::new();
    for _ in 0..12 {
        of_a.push(world.upload(&a, b"key").await);
    }
    let of_b = world.upload(&b, b"key").await;
    let mut tx = world.begin().await;
    tx.erase_key(&a, of_a[7].into()).await.expect("erased");
    tx.erase_key(&a, of_a[7].into()).await.expect("erased already");
    tx.erase_key(&b, of_a[8].into()).await.expect("another deployment's");
    let in_transaction = tx.versions(&a).await.expect("read");
    tx.commit().await.expect("committed");
    let kept = world.store.read().versions(&a).await.expect("read");
    assert_eq!(kept, in_transaction);
    let listed: Vec<_> = kept.iter().map(|kept| (kept.version.version, kept.has_key)).collect();
    let expected: Vec<_> =
        of_a[2..].iter().rev().map(|made| (VersionId::from(*made), *made != of_a[7])).collect();
    assert_eq!(listed, expected, "newest first");
    assert_eq!(kept[4].version, version(&a, of_a[7]), "the version stays");
    for (index, made) in of_a.iter().enumerate().skip(2) {
        let key = world.store.read().private_key(&a, (*made).into()).await.expect("read");
        assert_eq!(key.is_some(), index != 7, "number {index}");
    }
    assert!(world.store.read().private_key(&b, of_b.into()).await.expect("read").is_some());
    assert_eq!(world.store.read().versions(&id("none")).await.expect("read"), []);
}

async fn what_a_release_without_rollbacks_wrote_is_read(world: World) {
    let made = world.deployment("a").await;
    let generation = world.upload(&made.id, b"key").await;
    for without in
        [WITHOUT_ROLLBACK, WITHOUT_DEVICES, WITHOUT_REQUESTS, WITHOUT_STOPPED_CHANGES, WITHOUT_REVOCATIONS]
    {
        world.tamper(without).await;
    }
    world.tamper("UPDATE schema_version SET version = 14 WHERE part = 'store'").await;
    let store = world.reopen().await;
    // As a node of that release that works beside.
    world
        .tamper(
            "INSERT INTO version (deployment, version, tls_type, chain, client_cas, trust_scope, not_after, findings,
                                  created_at, proven)
             SELECT deployment, version + 1, tls_type, chain, client_cas, trust_scope, not_after, findings, created_at,
                    proven FROM version",
        )
        .await;
    let kept = store.read().versions(&made.id).await.expect("read");
    assert_eq!(kept.len(), 2);
    assert_eq!((&kept[1].version, kept[1].has_key), (&version(&made.id, generation), true));
    assert!(kept.iter().all(|kept| (&kept.version.accepted_by, kept.version.restores) == (&None, None)));
}

async fn a_sealed_key_moved_to_another_row_does_not_open(world: World) {
    let (a, b) = (world.deployment("a").await.id, world.deployment("b").await.id);
    let first = world.upload(&a, b"key").await;
    let second = world.upload(&a, b"key").await;
    let other = world.upload(&b, b"key").await;
    for (deployment, version) in [("a", second), ("b", other)] {
        world
            .tamper(&format!(
                "UPDATE version SET sealed_key = (SELECT sealed_key FROM version WHERE version = {first})
                 WHERE deployment = '{deployment}' AND version = {version}"
            ))
            .await;
    }
    let opened = async |deployment, version| world.store.read().private_key(deployment, version).await;
    assert!(opened(&a, first.into()).await.expect("opens").is_some());
    for (deployment, version) in [(&a, second), (&b, other)] {
        let error = opened(deployment, version.into()).await.expect_err("does not open");
        assert!(matches!(&error, StoreError::Sealed(_)), "{error}");
    }
}
