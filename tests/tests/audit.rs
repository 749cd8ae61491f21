//! The audit of docs/audit.md.

use std::{
    path::Path,
    process::{Command, Output},
};

use aws_lc_rs::digest::{SHA256, digest};
use certward_tests::{Certward, PostgresServer, Scene, Setup, run, wait_until};
use serde_json::Value;

fn verify(certward: &Certward, heads: &[&str]) -> Output {
    let mut command = certward.cli_without_key(&["audit", "verify", "--config"]);
    command.arg(certward.config());
    for head in heads {
        command.args(["--head", head]);
    }
    run(&mut command)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn fingerprint(der: &[u8]) -> String {
    digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn sound(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    let head = text(output).lines().find_map(|line| line.strip_prefix("head ").map(str::to_owned));
    head.expect("a head")
}

#[track_caller]
fn unsound(output: &Output, expected: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    assert!(
        text(output).contains("the audit is not sound: ") && text(output).contains(expected),
        "{}",
        text(output)
    );
}

/// As the log has them, oldest first.
fn logged_heads(certward: &Certward) -> Vec<String> {
    let log = certward.log();
    let heads = log.lines().filter_map(|line| line.split("audit.head=").nth(1));
    heads.map(|rest| rest.split(' ').next().unwrap_or_default().to_owned()).collect()
}

fn listed(certward: &Certward, arguments: &[&str]) -> Vec<Value> {
    let all: Vec<&str> = ["audit", "list", "--json"].iter().chain(arguments).copied().collect();
    let output = certward.cli(&all);
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn sqlite3(store: &Path, sql: &str) {
    let mut command = Command::new("sqlite3");
    let output = run(command.arg(store).arg(sql));
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn changes_and_refusals_are_listed_exported_and_logged() {
    let scene = Scene::new();
    let first = scene.run_one_way();
    let second = scene.leaf();
    let answer = scene.api().put_tls(Scene::DEPLOYMENT, &second.one_way()).expect(200);
    let request = answer.header("x-request-id").unwrap().to_owned();
    scene.api().send("DELETE", "/projects/default", None).expect(409);
    scene.api().wait_running(Scene::DEPLOYMENT);

    let (before, after) = (fingerprint(&first.der), fingerprint(&second.der));
    let rows = listed(&scene.certward, &["--deployment", Scene::DEPLOYMENT, "--action", "tls.replace"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["requestID"], &rows[0]["address"]),
        (&Value::from(request.as_str()), &"127.0.0.1".into())
    );
    assert_eq!(rows[0]["fingerprintBefore"], before.as_str());
    assert_eq!(rows[0]["fingerprintAfter"], after.as_str());
    wait_until("the refusal is recorded", || {
        let refused = listed(&scene.certward, &["--result", "refused"]);
        refused.into_iter().find(|row| row["result"] == "PROJECT_DEFAULT")
    });
    let table = text(&scene.certward.cli(&["audit", "list", "--since", "1h"]));
    assert!(table.contains(&format!("{} > {}", &before[..12], &after[..12])), "{table}");

    let log = scene.certward.log();
    let line = log.lines().find(|line| line.contains(&format!("request.id={request}"))).expect("logged");
    let key = rows[0]["actor"].as_str().unwrap();
    for part in [
        format!("key=\"{key}\""),
        format!("deployment.id={}", Scene::DEPLOYMENT),
        "client.address=127.0.0.1".to_owned(),
        format!("fingerprint.before=\"{before}\""),
        format!("fingerprint.after=\"{after}\""),
    ] {
        assert!(line.contains(&part), "{part}: {line}");
    }

    let exported = scene.certward.cli(&["audit", "export"]);
    let exported: Vec<Value> =
        exported.stdout.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(exported[0]["action"], "audit.start");
    for (pair, number) in exported.windows(2).zip(1..) {
        assert_eq!(pair[0]["number"], number);
        assert_eq!(pair[1]["prev"], pair[0]["mac"]);
    }
}

#[test]
fn what_is_done_to_the_store_behind_its_back_is_found() {
    let mut scene = Scene::new();
    scene.run_one_way();
    let early = sound(&verify(&scene.certward, &[]));
    scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    let late = sound(&verify(&scene.certward, &[&early]));
    assert_ne!(early, late);
    assert!(scene.certward.stop().success());
    let logged = logged_heads(&scene.certward);
    assert!(logged.len() >= 2, "at the start and at the end: {logged:?}");
    assert_eq!(logged.last(), Some(&late));
    let heads: Vec<&str> = logged.iter().map(String::as_str).chain([early.as_str()]).collect();
    assert_eq!(sound(&verify(&scene.certward, &heads)), late);

    let (store, kept) = (scene.certward.data().join("store.db"), scene.certward.folder().join("kept.db"));
    std::fs::copy(&store, &kept).unwrap();
    let last: i64 = late.split(':').next().unwrap().parse().unwrap();
    let cut = format!(
        "DELETE FROM audit WHERE position > {end}; UPDATE audit_mark SET position = {end},
         row_mac = (SELECT mac FROM audit WHERE position = {end}) WHERE name = 'head'",
        end = last - 1
    );
    for (sql, heads, expected) in [
        (
            "UPDATE audit SET subject = 'south' WHERE action = 'tls.replace'",
            &[] as &[&str],
            "is not as it was written",
        ),
        ("DELETE FROM audit WHERE position = 3", &[], "row 3 is missing"),
        (
            "INSERT INTO audit (at, actor, action, subject, detail) VALUES (1, 'k', 'tls.replace', 'a', '')",
            &[],
            "rows without a MAC are among those of the chain: 1, of which 0 are known; the first is tls.replace a",
        ),
        (&cut, &[late.as_str()], &format!("rows {last} to {last} are missing: the end was cut off")),
        ("UPDATE audit SET at = 'x' WHERE position = 2", &[], "row 2 is not as it was written"),
    ] {
        sqlite3(&store, sql);
        unsound(&verify(&scene.certward, heads), expected);
        std::fs::copy(&kept, &store).unwrap();
    }
    let json = {
        let mut command =
            scene.certward.cli_without_key(&["audit", "verify", "--json", "--head", "1:", "--config"]);
        run(command.arg(scene.certward.config()))
    };
    assert_eq!(json.status.code(), Some(2), "a head that is none: {}", text(&json));
    let json = {
        let mut command = scene.certward.cli_without_key(&["audit", "verify", "--json", "--config"]);
        run(command.arg(scene.certward.config()))
    };
    let said: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&said["sound"], &said["head"], &said["first"]),
        (&true.into(), &late.as_str().into(), &1.into())
    );
}

#[test]
fn a_chain_outlives_a_move_to_postgresql_and_a_head_tells_of_a_restored_backup() {
    let mut scene = Scene::new();
    scene.run_one_way();
    let file = scene.certward.folder().join("backup.db");
    let backup =
        run(scene.certward.cli_without_key(&["backup", "--config"]).arg(scene.certward.config()).arg(&file));
    assert!(backup.status.success(), "{}", text(&backup));
    let of_backup = sound(&verify(&scene.certward, &[]));
    scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    let since = sound(&verify(&scene.certward, &[]));
    assert!(scene.certward.stop().success());

    let restored = Certward::prepare(Setup::default());
    let mut command = restored.cli_without_key(&["restore", "--config"]);
    command
        .arg(restored.config())
        .arg(&file)
        .arg("--master-key")
        .arg(scene.certward.data().join("master.key"));
    let output = run(&mut command);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(sound(&verify(&restored, &[&of_backup])), of_backup);
    unsound(&verify(&restored, &[&since]), "a restored backup does that too");

    let server = PostgresServer::shared();
    let url = server.database();
    let mut migrate = scene.certward.cli_without_key(&["migrate-store", "--to", &url, "--config"]);
    let output = run(migrate.arg(scene.certward.config()));
    assert!(output.status.success(), "{}", text(&output));
    scene.certward.use_store(url);
    assert_eq!(sound(&verify(&scene.certward, &[&since, &of_backup])), since);
    scene.certward.serve();
    scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
    let head = sound(&verify(&scene.certward, &[&since]));
    assert_ne!(head, since);
}
