//! CRLs: their rows and DER, the deployment's mark, and the schedule of fetches.

use certward_pki::StalePolicy;
use certward_store::{
    ApiKey, CrlContent, CrlFetchFailure, CrlFetching, CrlId, CrlRevision, CrlUrl, DeploymentCrl,
    DeploymentId, FetchConditions, Generation, RevocationChange, RevocationMark, ServedCrl, StoreError,
    Timestamp,
};

use crate::{
    on_both_engines,
    revocations::{add, key, since, stored},
    world::{World, id},
};

on_both_engines![
    a_crl_reads_as_it_was_stored,
    the_mark_follows_revisions_beside_revocations,
    another_crl_takes_the_place_of_the_one_before,
    a_due_fetch_is_claimed_once,
    the_outcome_of_a_fetch_changes_no_mark,
    a_crl_with_a_part_missing_is_an_error,
    crls_go_with_the_deployment,
];

pub(crate) fn crl_id(text: &str) -> CrlId {
    CrlId::parse(text).expect("an id")
}

pub(crate) fn der(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| seed ^ (at % 251) as u8).collect()
}

pub(crate) fn content(revision: u8, der: &[u8]) -> CrlContent {
    CrlContent {
        revision: CrlRevision([revision; 16]),
        bytes: der.len() as u64,
        fingerprint: format!("{revision:02x}").repeat(32),
        signer_spki: vec![0x30, 0, revision],
        issuer: "CN=Devices".to_owned(),
        number: Some("7".to_owned()),
        entries: 3,
        this_update: Timestamp(1_700_000_000_000),
        next_update: Some(Timestamp(1_800_000_000_000)),
    }
}

pub(crate) fn crl(name: &str, content: Option<CrlContent>) -> DeploymentCrl {
    DeploymentCrl {
        id: crl_id(name),
        generation: Generation(1),
        content,
        stale_policy: StalePolicy::Soft,
        fetching: None,
        put_by: ApiKey::parse("someKey1").expect("a key"),
        put_at: Timestamp(1_700_000_000_001),
    }
}

fn fetching(next_at: Timestamp) -> CrlFetching {
    CrlFetching {
        url: CrlUrl::parse("http://crl.example.com/devices.crl").expect("a URL"),
        conditions: FetchConditions::default(),
        fetched_at: None,
        next_at,
        failure: None,
    }
}

/// As a change of it does.
pub(crate) async fn put(world: &World, of: &DeploymentId, crl: DeploymentCrl, der: Option<&[u8]>) {
    let mut tx = world.begin().await;
    let deployment = tx.deployment(of).await.expect("read").expect("there");
    let generation = tx.draw_generation(of).await.expect("a generation");
    tx.put_crl(of, &DeploymentCrl { generation, ..crl }, der).await.expect("written");
    tx.set_tls(of, generation, &deployment.tls).await.expect("written");
    tx.commit().await.expect("committed");
}

pub(crate) async fn take_away(world: &World, of: &DeploymentId, crl: &str) -> bool {
    let mut tx = world.begin().await;
    let deployment = tx.deployment(of).await.expect("read").expect("there");
    let removed = tx.remove_crl(of, &crl_id(crl)).await.expect("removed");
    let generation = tx.draw_generation(of).await.expect("a generation");
    tx.set_tls(of, generation, &deployment.tls).await.expect("written");
    tx.commit().await.expect("committed");
    removed
}

async fn a_crl_reads_as_it_was_stored(world: World) {
    let made = world.deployment("a").await.id;
    let reader = world.store.read();
    // Of one part, of exactly two, of more than are read at once.
    for (name, bytes) in [("small", 100), ("two-parts", 2 * 64 * 1024), ("large", 3 * 1024 * 1024 + 1)] {
        let der = der(7, bytes);
        let mut uploaded = crl(name, Some(content(bytes as u8, &der)));
        uploaded.stale_policy = StalePolicy::Hard;
        put(&world, &made, uploaded.clone(), Some(&der)).await;
        let found = reader.crls(&made).await.expect("read");
        let found = found.into_iter().find(|found| found.id == uploaded.id).expect("there");
        assert_eq!(found.generation, stored(&reader, &made).await.generation);
        assert_eq!(DeploymentCrl { generation: uploaded.generation, ..found }, uploaded);
        let content = uploaded.content.expect("there");
        let served = reader.served_crl(&made, &uploaded.id).await.expect("read").expect("there");
        let CrlContent { revision, signer_spki, .. } = content;
        let stale_policy = StalePolicy::Hard;
        assert_eq!(served, ServedCrl { id: uploaded.id, revision, der, signer_spki, stale_policy });
    }
    let mut unfetched = crl("by-address", None);
    let mut fetching = fetching(Timestamp(5));
    fetching.conditions = FetchConditions::of(Some("\"tag\""), Some("yesterday"));
    fetching.fetched_at = Some(Timestamp(3));
    let sentence = "the server did not answer".to_owned();
    let failure = CrlFetchFailure { code: "timed_out".to_owned(), sentence, count: 4, since: Timestamp(2) };
    fetching.failure = Some(failure);
    unfetched.fetching = Some(fetching);
    put(&world, &made, unfetched.clone(), None).await;
    let found = reader.crls(&made).await.expect("read");
    let ids: Vec<_> = found.iter().map(|found| found.id.as_str()).collect();
    assert_eq!(ids, ["by-address", "large", "small", "two-parts"]);
    assert_eq!(DeploymentCrl { generation: unfetched.generation, ..found[0].clone() }, unfetched);
    assert_eq!(reader.served_crl(&made, &unfetched.id).await.expect("read"), None);
    let revisions = reader.crl_revisions(&made).await.expect("read");
    let names: Vec<_> = revisions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["large", "small", "two-parts"]);
    assert!(reader.crls(&id("none")).await.expect("read").is_empty());
}

async fn the_mark_follows_revisions_beside_revocations(world: World) {
    use RevocationChange::{Added, All};
    let made = world.deployment("a").await.id;
    let reader = world.store.read();
    let mark = async || stored(&reader, &made).await.revocations;
    let of = |revisions: &[u8]| {
        revisions.iter().fold(RevocationMark::default(), |mark, revision| mark ^ [*revision; 16])
    };
    put(&world, &made, crl("one", Some(content(1, b"one"))), Some(b"one")).await;
    assert_eq!(mark().await, of(&[1]));
    assert_eq!(since(&reader, &made, None).await.0, All(vec![]));
    add(&world, &made, &[5]).await;
    let (change, known) = since(&reader, &made, None).await;
    assert_eq!(change, All(vec![key(5)]));
    put(&world, &made, crl("two", Some(content(2, b"two"))), Some(b"two")).await;
    put(&world, &made, crl("one", Some(content(3, b"three"))), Some(b"three")).await;
    let (change, known) = since(&reader, &made, Some(known)).await;
    assert_eq!(change, Added(vec![]), "CRLs are read by their revisions");
    add(&world, &made, &[6]).await;
    assert!(take_away(&world, &made, "one").await);
    assert!(!take_away(&world, &made, "one").await);
    let (change, known) = since(&reader, &made, Some(known)).await;
    assert_eq!(change, Added(vec![key(6)]));
    let mut unfetched = crl("three", None);
    unfetched.fetching = Some(fetching(Timestamp(0)));
    put(&world, &made, unfetched, None).await;
    assert_eq!(since(&reader, &made, Some(known)).await.0, Added(vec![]));
    for name in ["two", "three"] {
        assert!(take_away(&world, &made, name).await);
    }
    let listed = reader.revocations(&made, None, 10).await.expect("read");
    let expected = listed.iter().fold(RevocationMark::default(), |mark, revoked| mark ^ revoked.id.0);
    assert_eq!(mark().await, expected);
}

async fn another_crl_takes_the_place_of_the_one_before(world: World) {
    let made = world.deployment("a").await.id;
    let reader = world.store.read();
    let (long, short) = (der(1, 200_000), der(2, 10));
    put(&world, &made, crl("one", Some(content(1, &long))), Some(&long)).await;
    put(&world, &made, crl("one", Some(content(2, &short))), Some(&short)).await;
    let served = async || reader.served_crl(&made, &crl_id("one")).await.expect("read").expect("there");
    assert_eq!(served().await.der, short);
    assert_eq!(world.asked("SELECT CAST(count(*) AS TEXT) FROM crl_part").await, "1");
    // Another policy, the same CRL.
    let hard = DeploymentCrl { stale_policy: StalePolicy::Hard, ..crl("one", Some(content(3, &short))) };
    put(&world, &made, hard, None).await;
    let ServedCrl { revision, der, stale_policy, .. } = served().await;
    assert_eq!((revision.0, der, stale_policy), ([3; 16], short, StalePolicy::Hard));
}

async fn a_due_fetch_is_claimed_once(world: World) {
    let (a, b) = (world.deployment("a").await, world.deployment("b").await);
    let at = |ms: i64| Timestamp(1_000_000 + ms);
    put(&world, &a.id, crl("uploaded", Some(content(1, b"one"))), Some(b"one")).await;
    for (of, name, due) in [(&a, "later", 30), (&a, "second", 20), (&b, "first", 10)] {
        let crl = DeploymentCrl { fetching: Some(fetching(at(due))), ..crl(name, None) };
        put(&world, &of.id, crl, None).await;
    }
    let busy = std::cell::RefCell::new(Vec::new());
    let claim = async |now| {
        let without: Vec<_> = busy.borrow().clone();
        let claimed = world.store.claim_crl_fetch(at(now), at(now + 100), &without).await.expect("answered");
        claimed.map(|due| (due.deployment, due.crl.id.to_string()))
    };
    assert_eq!(claim(9).await, None);
    busy.borrow_mut().push(a.project.clone());
    assert_eq!(claim(25).await, None, "both are of a busy project");
    busy.borrow_mut().clear();
    assert_eq!(claim(25).await, Some((b.reference(), "first".to_owned())));
    assert_eq!(claim(26).await, Some((a.reference(), "second".to_owned())));
    assert_eq!(claim(26).await, None);
    assert_eq!(claim(30).await.map(|claimed| claimed.1), Some("later".to_owned()));
    assert_eq!(claim(124).await, None);
    // A node that has claimed it was killed.
    assert_eq!(claim(125).await.map(|claimed| claimed.1), Some("first".to_owned()));
    world.tamper("UPDATE crl SET url = 'nonsense' WHERE id = 'second'").await;
    assert_eq!(claim(126).await, None, "what cannot be read is left for a while");
    assert_eq!(claim(130).await.map(|claimed| claimed.1), Some("later".to_owned()));
    let nodes = (0..8).map(|_| {
        let store = world.store.clone();
        tokio::spawn(async move { store.claim_crl_fetch(at(500), at(10_000), &[]).await })
    });
    let mut claimed = Vec::new();
    for node in nodes {
        claimed.extend(node.await.expect("ended").expect("answered").map(|due| due.crl.id.to_string()));
    }
    // One that is locked by another node is left to it.
    claimed.sort();
    let all = claimed.clone();
    claimed.dedup();
    assert_eq!(claimed, all, "each by one node");
}

async fn the_outcome_of_a_fetch_changes_no_mark(world: World) {
    let made = world.deployment("a").await.id;
    let fetched =
        DeploymentCrl { fetching: Some(fetching(Timestamp(5))), ..crl("one", Some(content(1, b"x"))) };
    put(&world, &made, fetched.clone(), Some(b"x")).await;
    let reader = world.store.read();
    let before = stored(&reader, &made).await;
    let mut outcome = fetching(Timestamp(500_000));
    outcome.failure = Some(CrlFetchFailure {
        code: "refused".to_owned(),
        sentence: "no".to_owned(),
        count: 1,
        since: Timestamp(7),
    });
    let mut tx = world.begin().await;
    tx.set_crl_fetching(&made, &fetched.id, &outcome).await.expect("written");
    assert_eq!(tx.crls(&made).await.expect("read")[0].fetching.as_ref(), Some(&outcome));
    tx.commit().await.expect("committed");
    assert_eq!(stored(&reader, &made).await, before);
    assert_eq!(reader.crls(&made).await.expect("read")[0].content, fetched.content);
    let due = world.store.claim_crl_fetch(Timestamp(499_999), Timestamp(600_000), &[]).await;
    assert_eq!(due.expect("answered"), None);
}

async fn a_crl_with_a_part_missing_is_an_error(world: World) {
    let made = world.deployment("a").await.id;
    let der = der(1, 300_000);
    put(&world, &made, crl("one", Some(content(1, &der))), Some(&der)).await;
    world.tamper("DELETE FROM crl_part WHERE part = 2").await;
    let read = world.store.read().served_crl(&made, &crl_id("one")).await;
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
}

async fn crls_go_with_the_deployment(world: World) {
    let made = world.deployment("a").await.id;
    put(&world, &made, crl("one", Some(content(1, b"x"))), Some(b"x")).await;
    let mut tx = world.begin().await;
    tx.draw_generation(&made).await.expect("a generation");
    tx.remove_deployment(&made).await.expect("removed");
    tx.commit().await.expect("committed");
    for rows in ["SELECT CAST(count(*) AS TEXT) FROM crl", "SELECT CAST(count(*) AS TEXT) FROM crl_part"] {
        assert_eq!(world.asked(rows).await, "0", "{rows}");
    }
}
