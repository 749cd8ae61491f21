use certward_store::{
    ApiKey, AuditEntry, AuditFault, AuditHead, AuditOrigin, AuditPage, AuditReport, CertificateChange,
    ListedAudit, RequestId, Store, Timestamp,
};
use tokio::task::JoinSet;

use crate::{
    on_both_engines,
    world::{World, id, master_key, project},
};

on_both_engines![
    the_list_gives_the_newest_first_and_what_is_asked_for,
    rows_form_a_chain_that_verifies_and_whose_heads_stay,
    whatever_is_done_to_a_row_of_whatever_kind_is_found,
    a_tail_cut_off_is_found_by_a_head_noted_elsewhere,
    a_chain_replayed_from_an_older_copy_is_found_by_a_head_noted_since,
    pruned_rows_leave_a_checkpoint_from_which_the_rest_verifies,
    whatever_is_done_to_the_checkpoint_is_found,
    what_is_missing_is_not_hidden_by_pruning,
    rows_of_the_release_before_are_listed_and_counted,
    stores_that_append_at_once_make_one_chain,
    the_chain_goes_on_after_a_restart,
];

/// A row of each kind, with all columns set in some.
fn kinds() -> Vec<AuditEntry> {
    let key = ApiKey::parse("abcdefgh12345678").expect("a key");
    let origin = AuditOrigin {
        address: Some("192.0.2.7".parse().expect("an address")),
        request: Some(RequestId::draw()),
        ..AuditOrigin::key(&key)
    };
    let by_key = |action, subject: &str| AuditEntry {
        detail: format!("a detail of {action}"),
        project: Some(project("default")),
        ..AuditEntry::new(origin.clone(), action, subject)
    };
    let of_deployment = |action| AuditEntry { deployment: Some(id("north")), ..by_key(action, "north") };
    let (before, after) = (Some("0a".repeat(32)), Some("0b".repeat(32)));
    let of_certificate = |action, before: &Option<String>, after: &Option<String>| AuditEntry {
        certificate: CertificateChange { before: before.clone(), after: after.clone() },
        ..of_deployment(action)
    };
    let by_certward = |action| AuditEntry { origin: AuditOrigin::certward(), ..of_deployment(action) };
    let refused = |action, code: &str| AuditEntry { refusal: Some(code.into()), ..of_deployment(action) };
    vec![
        by_key("project.create", "default"),
        by_key("project.change", "default"),
        by_key("project.remove", "default"),
        of_deployment("deployment.create"),
        of_deployment("deployment.change"),
        of_certificate("deployment.remove", &before, &None),
        of_certificate("tls.create", &None, &after),
        of_certificate("tls.replace", &before, &after),
        of_certificate("tls.delete", &before, &None),
        by_certward("tls.running"),
        by_certward("tls.failed"),
        by_certward("tls.deleted"),
        by_key("key.create", "k2"),
        by_key("key.revoke", "k2"),
        by_key("alert-channel.create", "c1"),
        by_key("alert-channel.remove", "c1"),
        refused("tls.replace", "KEY_MISMATCH"),
        AuditEntry { detail: "41 more within 60 s".into(), ..refused("tls.replace", "RATE_LIMITED") },
        AuditEntry {
            refusal: Some("UNAUTHORIZED".into()),
            ..AuditEntry::new(AuditOrigin::certward(), "login", "api")
        },
    ]
}

async fn append(store: &Store, entries: impl IntoIterator<Item = AuditEntry>) {
    for entry in entries {
        let mut tx = store.begin().await.expect("a transaction");
        tx.audit(entry);
        tx.commit().await.expect("committed");
    }
}

fn filler(number: usize) -> AuditEntry {
    AuditEntry::new(AuditOrigin::certward(), "fill", format!("d{number}"))
}

async fn listed(world: &World, page: AuditPage) -> Vec<ListedAudit> {
    let limit = if page.limit == 0 { 1_000 } else { page.limit };
    world.store.read().audit(&AuditPage { limit, ..page }).await.expect("read")
}

async fn verify(world: &World, noted: &[AuditHead]) -> Result<AuditReport, AuditFault> {
    world.store.verify_audit(noted.to_vec(), 0).await.expect("read")
}

async fn head(world: &World) -> AuditHead {
    world.store.read().audit_head().await.expect("read").expect("a head")
}

async fn the_list_gives_the_newest_first_and_what_is_asked_for(world: World) {
    for (number, mut entry) in kinds().into_iter().enumerate() {
        world.clock.set(Timestamp(1_700_000_000_000 + number as i64));
        entry.detail.push('\0');
        append(&world.store, [entry]).await;
    }
    let all = listed(&world, AuditPage::default()).await;
    let rows: Vec<i64> = all.iter().map(|listed| listed.record.row).collect();
    assert!(rows.is_sorted_by(|a, b| a > b));
    assert_eq!(all.len(), kinds().len() + 1, "with the chain's first row");
    let replaced =
        all.iter().find(|listed| listed.record.action == "tls.replace" && listed.record.refusal.is_none());
    let replaced = &replaced.expect("there").record;
    assert_eq!(replaced.actor, "abcdefgh12345678");
    assert_eq!(replaced.detail, "a detail of tls.replace\u{fffd}");
    assert_eq!(replaced.address.as_deref(), Some("192.0.2.7"));
    assert_eq!(replaced.request.as_ref().map(String::len), Some(16));
    assert_eq!(replaced.certificate.before, Some("0a".repeat(32)));
    assert_eq!(replaced.certificate.after, Some("0b".repeat(32)));
    // Each row gives the MAC of the one before.
    for pair in all.windows(2) {
        assert_eq!(pair[0].before, pair[1].record.link.as_ref().map(|link| link.mac.clone()));
    }

    let count = async |page: AuditPage| listed(&world, page).await.len();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(count(AuditPage { actor: text("certward"), ..AuditPage::default() }).await, 5);
    assert_eq!(count(AuditPage { action: text("tls.replace"), ..AuditPage::default() }).await, 3);
    assert_eq!(count(AuditPage { action: text("tls."), ..AuditPage::default() }).await, 8);
    assert_eq!(count(AuditPage { action: text("tls"), ..AuditPage::default() }).await, 0);
    assert_eq!(count(AuditPage { deployment: text("north"), ..AuditPage::default() }).await, 11);
    assert_eq!(count(AuditPage { refused: Some(true), ..AuditPage::default() }).await, 3);
    assert_eq!(count(AuditPage { refused: Some(false), ..AuditPage::default() }).await, kinds().len() - 2);
    assert_eq!(count(AuditPage { projects: Some(vec![]), ..AuditPage::default() }).await, 0);
    let default = Some(vec![project("default"), project("other")]);
    assert_eq!(count(AuditPage { projects: default, ..AuditPage::default() }).await, kinds().len() - 1);
    if !world.is_postgres() {
        let (since, until) = (Some(Timestamp(1_700_000_000_002)), Some(Timestamp(1_700_000_000_004)));
        assert_eq!(count(AuditPage { since, until, ..AuditPage::default() }).await, 3);
    }
    for oldest_first in [false, true] {
        let (mut paged, mut beyond) = (Vec::new(), None);
        loop {
            let page =
                listed(&world, AuditPage { oldest_first, beyond, limit: 7, ..AuditPage::default() }).await;
            beyond = page.last().map(|listed| listed.record.row);
            paged.extend(page);
            if beyond.is_none() {
                break;
            }
        }
        if oldest_first {
            paged.reverse();
        }
        assert_eq!(paged, all);
    }
}

async fn rows_form_a_chain_that_verifies_and_whose_heads_stay(world: World) {
    let empty = verify(&world, &[]).await.expect("sound");
    assert_eq!((empty.head, empty.rows, empty.first), (None, 0, None));
    let mut heads = Vec::new();
    for entry in kinds() {
        append(&world.store, [entry]).await;
        heads.push(head(&world).await);
    }
    let report = verify(&world, &heads).await.expect("sound");
    assert_eq!(report.head.as_ref(), heads.last());
    assert_eq!((report.rows, report.first), (kinds().len() as u64 + 1, Some(1)));
    assert_eq!((report.before_chain, report.without_mac), (0, 0));
    assert!(report.too_old.is_empty());

    let mut tx = world.begin().await;
    (0..3).for_each(|number| tx.audit(filler(number)));
    drop(tx);
    assert_eq!(head(&world).await, heads[heads.len() - 1], "what is not committed leaves no gap");
    let mut tx = world.begin().await;
    (0..3).for_each(|number| tx.audit(filler(number)));
    tx.commit().await.expect("committed");
    assert_eq!(head(&world).await.number, heads[heads.len() - 1].number + 3);
    verify(&world, &heads).await.expect("sound");
}

const KEEP: &str = "DROP TABLE IF EXISTS kept_row; DROP TABLE IF EXISTS kept_mark;
    CREATE TABLE kept_row AS SELECT * FROM audit; CREATE TABLE kept_mark AS SELECT * FROM audit_mark;";
const PUT_BACK: &str = "DELETE FROM audit; INSERT INTO audit SELECT * FROM kept_row;
    DELETE FROM audit_mark; INSERT INTO audit_mark SELECT * FROM kept_mark;";

const TEXTS: [&str; 11] = [
    "actor",
    "action",
    "subject",
    "detail",
    "project",
    "deployment",
    "address",
    "request",
    "refusal",
    "fingerprint_before",
    "fingerprint_after",
];

/// What is done to the row at `$N` of the chain, and the fault that is found; `None`: none, for
/// the row has it already.
fn manipulations(number: i64, last: i64) -> Vec<(String, AuditFault)> {
    let changed = || AuditFault::Changed(number);
    let gone = || match number == last {
        true => AuditFault::CutOff { after: number - 1, until: last },
        false => AuditFault::Missing(number),
    };
    let set = |what: &str| format!("UPDATE audit SET {what} WHERE position = {number}");
    let mut table: Vec<(String, AuditFault)> = Vec::new();
    for text in TEXTS {
        table.push((set(&format!("{text} = coalesce({text}, '') || 'x'")), changed()));
        table.push((set(&format!("{text} = coalesce({text}, '') || ' '")), changed()));
    }
    table.extend([
        (set("at = at + 1"), changed()),
        (set("number = number + 1000000"), changed()),
        (set("(subject, detail) = (subject || '.', detail || ',')"), changed()),
        (set("mac = master_key"), changed()),
        (set("mac = NULL"), changed()),
        (set("position = position + 1000000"), AuditFault::Missing(number)),
        (set("position = NULL"), gone()),
        (set("position = NULL, mac = NULL, master_key = NULL"), gone()),
        (format!("DELETE FROM audit WHERE position = {number}"), gone()),
    ]);
    if number < last {
        let next = number + 1;
        let swap = format!(
            "UPDATE audit SET position = 0 WHERE position = {number};
             UPDATE audit SET position = {number} WHERE position = {next};
             UPDATE audit SET position = {next} WHERE position = 0;"
        );
        table.push((swap, changed()));
        // Contents of the next row in this one's place, with its MAC.
        let copied = format!(
            "UPDATE audit SET at = n.at, actor = n.actor, action = n.action, subject = n.subject, detail = n.detail,
                 project = n.project, deployment = n.deployment, address = n.address, request = n.request,
                 refusal = n.refusal, fingerprint_before = n.fingerprint_before,
                 fingerprint_after = n.fingerprint_after, mac = n.mac
             FROM kept_row n WHERE audit.position = {number} AND n.position = {next}"
        );
        table.push((copied, changed()));
    }
    // A copy at the end, with the head moved to it.
    let inserted = format!(
        "INSERT INTO audit SELECT * FROM kept_row WHERE 1 = 0;
         UPDATE kept_row SET position = {after}, number = number + 1000000 WHERE position = {number};
         INSERT INTO audit SELECT * FROM kept_row WHERE position = {after};
         UPDATE kept_row SET position = {number}, number = number - 1000000 WHERE position = {after};
         UPDATE audit_mark SET position = {after},
             row_mac = (SELECT mac FROM audit WHERE position = {after}) WHERE name = 'head';",
        after = last + 1
    );
    table.push((inserted, AuditFault::Changed(last + 1)));
    table
}

async fn whatever_is_done_to_a_row_of_whatever_kind_is_found(world: World) {
    append(&world.store, kinds()).await;
    let last = head(&world).await.number;
    world.tamper(KEEP).await;
    for number in 1..=last {
        for (sql, fault) in manipulations(number, last) {
            world.tamper(&sql).await;
            let found = verify(&world, &[]).await.expect_err(&sql);
            let unknown = matches!(found, AuditFault::UnknownKey { number: at, .. } if at == number);
            assert!(found == fault || unknown, "{sql}: {found:?}");
            world.tamper(PUT_BACK).await;
        }
        let other_key = format!("UPDATE audit SET master_key = mac WHERE position = {number}");
        world.tamper(&other_key).await;
        let found = verify(&world, &[]).await.expect_err(&other_key);
        assert!(matches!(found, AuditFault::UnknownKey { number: at, .. } if at == number), "{found:?}");
        world.tamper(PUT_BACK).await;
    }
    for sql in [
        "UPDATE audit_mark SET row_mac = NULL WHERE name = 'head'",
        "UPDATE audit_mark SET position = position - 1 WHERE name = 'head'",
        "UPDATE audit_mark SET row_mac = (SELECT mac FROM audit WHERE position = 1) WHERE name = 'head'",
        "DELETE FROM audit_mark",
    ] {
        world.tamper(sql).await;
        assert_eq!(verify(&world, &[]).await, Err(AuditFault::Head(last)), "{sql}");
        world.tamper(PUT_BACK).await;
    }
    verify(&world, &[]).await.expect("sound");
}

async fn a_tail_cut_off_is_found_by_a_head_noted_elsewhere(world: World) {
    append(&world.store, kinds()).await;
    let noted = head(&world).await;
    let (end, cut) = (noted.number, noted.number - 4);
    world
        .tamper(&format!(
            "DELETE FROM audit WHERE position > {cut}; UPDATE audit_mark SET position = {cut},
             row_mac = (SELECT mac FROM audit WHERE position = {cut}) WHERE name = 'head';"
        ))
        .await;
    verify(&world, &[]).await.expect("without a noted head a cut tail cannot be found");
    let fault = Err(AuditFault::CutOff { after: cut, until: end });
    assert_eq!(verify(&world, std::slice::from_ref(&noted)).await, fault);
    // Rows appended since do not hide it.
    append(&world.store, kinds()).await;
    verify(&world, &[]).await.expect("sound without the head");
    assert_eq!(verify(&world, std::slice::from_ref(&noted)).await, Err(AuditFault::Rewritten(noted)));
    // Nor does removing all of it.
    world.tamper("DELETE FROM audit; UPDATE audit_mark SET position = 0, row_mac = NULL").await;
    let noted = [head_of(3), head_of(2)];
    assert_eq!(verify(&world, &noted).await, Err(AuditFault::CutOff { after: 0, until: 3 }));
}

fn head_of(number: i64) -> AuditHead {
    AuditHead::of(number, &[7; 32])
}

async fn a_chain_replayed_from_an_older_copy_is_found_by_a_head_noted_since(world: World) {
    append(&world.store, kinds()).await;
    let (older, known_before) = (head(&world).await, head(&world).await);
    world.tamper(KEEP).await;
    append(&world.store, (0..3).map(filler)).await;
    let noted = head(&world).await;
    world.tamper(PUT_BACK).await;
    verify(&world, &[known_before]).await.expect("as it was then");
    let fault = AuditFault::CutOff { after: older.number, until: noted.number };
    assert_eq!(verify(&world, std::slice::from_ref(&noted)).await, Err(fault));
    append(&world.store, (10..13).map(filler)).await;
    assert_eq!(verify(&world, std::slice::from_ref(&noted)).await, Err(AuditFault::Rewritten(noted)));
}

async fn pruned_rows_leave_a_checkpoint_from_which_the_rest_verifies(world: World) {
    append(&world.store, (0..20).map(filler)).await;
    let early = head(&world).await;
    append(&world.store, (20..40).map(filler)).await;
    let late = head(&world).await;
    assert!(world.store.prune_audit(25).await.expect("pruned"));
    let report = verify(&world, &[late.clone(), early.clone()]).await.expect("sound");
    assert_eq!((report.first, report.rows), (Some(17), 25));
    assert_eq!(report.checkpoint.expect("there").number, 16);
    assert!(report.too_old.is_empty());
    let first = listed(&world, AuditPage { oldest_first: true, limit: 1, ..AuditPage::default() }).await;
    assert!(first[0].before.is_some(), "the checkpoint has the MAC of the row before");

    append(&world.store, (40..50).map(filler)).await;
    assert!(world.store.prune_audit(5).await.expect("pruned"));
    let report = verify(&world, &[early.clone(), late.clone()]).await.expect("sound");
    assert_eq!((report.first, report.rows), (Some(47), 5));
    assert_eq!(report.too_old, [early, late], "older than the checkpoint");
    // The head of the checkpoint's own row can be compared.
    let checkpoint = report.checkpoint.expect("there").number;
    let other = head_of(checkpoint);
    assert_eq!(verify(&world, std::slice::from_ref(&other)).await, Err(AuditFault::Rewritten(other)));
    assert!(world.store.prune_audit(5).await.expect("nothing to do"));
    assert_eq!(verify(&world, &[]).await.expect("sound").rows, 5);
}

async fn whatever_is_done_to_the_checkpoint_is_found(world: World) {
    append(&world.store, (0..20).map(filler)).await;
    assert!(world.store.prune_audit(15).await.expect("pruned"));
    world.tamper("CREATE TABLE first_mark AS SELECT * FROM audit_mark WHERE name = 'checkpoint'").await;
    append(&world.store, (20..30).map(filler)).await;
    assert!(world.store.prune_audit(15).await.expect("pruned"));
    world.tamper(KEEP).await;
    let number = verify(&world, &[]).await.expect("sound").checkpoint.expect("there").number;
    let set = |what: &str| format!("UPDATE audit_mark SET {what} WHERE name = 'checkpoint'");
    for (sql, fault) in [
        (set("position = position + 1"), AuditFault::Checkpoint),
        (set("number = number + 1"), AuditFault::Checkpoint),
        (set("at = at + 1"), AuditFault::Checkpoint),
        (set("row_mac = mac"), AuditFault::Checkpoint),
        (set("master_key = mac"), AuditFault::Checkpoint),
        (set("mac = row_mac"), AuditFault::Checkpoint),
        (set("mac = NULL"), AuditFault::Checkpoint),
        (set("row_mac = NULL"), AuditFault::Checkpoint),
        // Rows removed, and the checkpoint moved to them without the key.
        (
            format!(
                "DELETE FROM audit WHERE position <= {next};
                 UPDATE audit_mark SET position = {next}, number = number + 1,
                     row_mac = (SELECT mac FROM kept_row WHERE position = {next}) WHERE name = 'checkpoint'",
                next = number + 1
            ),
            AuditFault::Checkpoint,
        ),
        ("DELETE FROM audit_mark WHERE name = 'checkpoint'".to_owned(), AuditFault::Missing(1)),
        (format!("DELETE FROM audit WHERE position = {}", number + 1), AuditFault::Missing(number + 1)),
        // A genuine but older one.
        (
            "DELETE FROM audit_mark WHERE name = 'checkpoint'; INSERT INTO audit_mark SELECT * FROM first_mark"
                .to_owned(),
            AuditFault::Missing(7),
        ),
    ] {
        world.tamper(&sql).await;
        assert_eq!(verify(&world, &[]).await, Err(fault), "{sql}");
        world.tamper(PUT_BACK).await;
    }
    verify(&world, &[]).await.expect("sound");
}

async fn what_is_missing_is_not_hidden_by_pruning(world: World) {
    append(&world.store, (0..20).map(filler)).await;
    world.tamper(KEEP).await;
    for sql in [
        "DELETE FROM audit WHERE position = 3",
        "DELETE FROM audit WHERE position <= 4",
        "UPDATE audit SET position = NULL WHERE position = 2",
    ] {
        world.tamper(sql).await;
        assert!(!world.store.prune_audit(5).await.expect("read"), "{sql}");
        assert!(listed(&world, AuditPage::default()).await.len() > 15, "the evidence stays");
        verify(&world, &[]).await.expect_err(sql);
        world.tamper(PUT_BACK).await;
    }
    assert!(world.store.prune_audit(5).await.expect("pruned"));
    world.tamper("UPDATE audit_mark SET at = 0 WHERE name = 'checkpoint'").await;
    append(&world.store, (20..30).map(filler)).await;
    assert!(!world.store.prune_audit(5).await.expect("read"), "a forged checkpoint is not replaced");
}

/// As a node of the release before writes it.
const OLDER: &str = "INSERT INTO audit (at, actor, action, subject, detail)
    VALUES (1700000000000, 'k', 'tls.replace', 'north', 'version 1')";

async fn rows_of_the_release_before_are_listed_and_counted(world: World) {
    for _ in 0..3 {
        world.tamper(OLDER).await;
    }
    let report = verify(&world, &[]).await.expect("no chain yet");
    assert_eq!((report.head, report.before_chain), (None, 3));
    append(&world.store, (0..2).map(filler)).await;
    let report = verify(&world, &[]).await.expect("sound");
    assert_eq!((report.rows, report.before_chain, report.without_mac), (3, 3, 0));
    let of_north = AuditPage { deployment: Some("north".into()), ..AuditPage::default() };
    let rows = listed(&world, of_north).await;
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.record.link.is_none() && row.before.is_none()));

    world.tamper(OLDER).await;
    append(&world.store, (2..4).map(filler)).await;
    let fault = verify(&world, &[]).await.expect_err("it may have been inserted");
    assert_eq!(fault, AuditFault::WithoutMac { found: 1, known: 0, first: "tls.replace north".into() });
    let report = world.store.verify_audit(Vec::new(), 1).await.expect("read").expect("it is known");
    assert_eq!((report.rows, report.before_chain, report.without_mac), (5, 3, 1));

    // One put before the chain is not among those that its first row counted.
    world.tamper("UPDATE audit SET number = -1 WHERE position IS NULL AND number > 3").await;
    assert_eq!(verify(&world, &[]).await, Err(AuditFault::BeforeChain { found: 4, counted: 3 }));
    world.tamper("DELETE FROM audit WHERE number = -1").await;
    verify(&world, &[]).await.expect("sound");

    assert!(world.store.prune_audit(2).await.expect("pruned"));
    let report = verify(&world, &[]).await.expect("sound");
    assert_eq!((report.before_chain, report.without_mac), (0, 0));
    world.tamper("INSERT INTO audit (number, at, actor, action, subject, detail) VALUES (1, 0, 'k', 'a', 's', 'd')").await;
    assert_eq!(verify(&world, &[]).await, Err(AuditFault::BeforeChain { found: 1, counted: 0 }));
}

async fn stores_that_append_at_once_make_one_chain(world: World) {
    const EACH: usize = 25;
    let mut stores = vec![world.store.clone()];
    // An embedded store has one process.
    for _ in 0..if world.is_postgres() { 3 } else { 0 } {
        stores.push(Store::open(&world.address, &master_key(), world.clock.clone()).await.expect("open"));
    }
    let mut appending = JoinSet::new();
    for store in &stores {
        for number in 0..4 {
            let store = store.clone();
            appending.spawn(async move {
                for round in 0..EACH {
                    let mut tx = store.begin().await.expect("a transaction");
                    let deployment = id(&format!("d{}", (round + number) % 3));
                    tx.audit(filler(round));
                    // Later locks are taken before the audit's all the same.
                    tx.draw_generation(&deployment).await.expect("a generation");
                    tx.audit(filler(round));
                    tx.commit().await.expect("committed");
                }
            });
        }
    }
    appending.join_all().await;
    let report = verify(&world, &[]).await.expect("sound");
    assert_eq!(report.rows as usize, 1 + stores.len() * 4 * EACH * 2);
    for store in &stores[1..] {
        store.close().await;
    }
}

async fn the_chain_goes_on_after_a_restart(world: World) {
    append(&world.store, kinds()).await;
    let before = head(&world).await;
    let store = world.reopen().await;
    append(&store, kinds()).await;
    let report = store.verify_audit(vec![before.clone()], 0).await.expect("read").expect("sound");
    assert_eq!(report.head.expect("a head").number, before.number + kinds().len() as i64);
}
