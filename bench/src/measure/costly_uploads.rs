//! A PUT beside costly uploads of another API key.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use certward_tests::{Api, Leaf, Scene, Setup, run};
use serde_json::json;

use crate::results::{Report, Table, Value};

/// The limit of an encrypted key (PBKDF2 with HMAC-SHA-256).
const ITERATIONS: &str = "600000";
const UPLOADS: usize = 32;

pub(crate) fn measure() -> Report {
    let mut report = Report::new("costly-uploads");
    let scene = Scene::with(Setup { log_level: "warn", ..Setup::default() });
    scene.run_one_way();
    let (put, costly, other) = (scene.leaf().one_way(), costly(&scene), other_key(&scene));
    let timed = |api: &Api| {
        let begun = Instant::now();
        api.put_tls(Scene::DEPLOYMENT, &put).expect(200);
        milliseconds(begun)
    };
    let put_alone_ms = timed(&scene.api());
    let path = format!("/deployments/{}/tls/check", Scene::DEPLOYMENT);
    let begun = Instant::now();
    let put_beside_ms = thread::scope(|scope| {
        for _ in 0..UPLOADS {
            scope.spawn(|| other.send("POST", &path, Some(&costly)).expect(200));
        }
        // All are sent and few are judged by then.
        thread::sleep(Duration::from_millis(200));
        timed(&scene.api())
    });
    let uploads = format!("{UPLOADS} costly uploads of another key, ms");
    let mut table = Table::default();
    let mut row = |when: &str, put: f64, all| {
        table.row([("", when.into()), ("a PUT of one key, ms", put.into()), (&uploads, all)]);
    };
    row("alone", put_alone_ms, Value::Missing);
    row("beside them", put_beside_ms, milliseconds(begun).into());
    report.table(table);
    report
}

fn costly(scene: &Scene) -> serde_json::Value {
    let leaf: Leaf = scene.leaf();
    let folder = tempfile::tempdir().expect("a folder");
    let (_, key) = leaf.write(folder.path(), "costly");
    let encrypted = folder.path().join("encrypted.key");
    let mut command = Command::new("openssl");
    command.args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-iter", ITERATIONS, "-passout", "pass:secret"]);
    let output = run(command.arg("-in").arg(&key).arg("-out").arg(&encrypted));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut upload = leaf.one_way();
    upload["key"] = fs::read_to_string(&encrypted).expect("openssl has written it").into();
    upload["keyPassword"] = "secret".into();
    upload
}

fn other_key(scene: &Scene) -> Api {
    let body = json!({"name": "other", "scopes": ["tls"]});
    let made = scene.api().send("POST", "/keys", Some(&body)).expect(201).json();
    let text = |name: &str| made[name].as_str().expect("a new key").to_owned();
    Api { key: text("apiKey"), secret: text("secretKey"), ..scene.api() }
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}
