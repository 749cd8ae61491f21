//! The API's delay under attacks on it, and of a PUT beside another key's costly uploads.

use std::{
    fmt::Write as _,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use certward_tests::{API_ATTACKS, Api, ApiAttacker, ApiVictims, Leaf, Noticed, Scene, Setup, run};
use clap::Args;
use serde_json::{Value, json};

use crate::render::worst_day;

/// For every probe and 99 % of other requests.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// Kept by allocators after an attack.
const GROWTH_KIB: u64 = 64 * 1024;
const ADDRESSES: [u8; 2] = [1, 50];
/// The limit of an encrypted key (PBKDF2 with HMAC-SHA-256).
const ITERATIONS: &str = "600000";
const UPLOADS: usize = 32;

#[derive(Debug, Args)]
pub(crate) struct ApiAttacks {
    /// Connections that an attacker of the API keeps
    #[arg(long, default_value_t = 3000)]
    api_connections: usize,
    /// How long the API's clients are watched under each attack
    #[arg(long, default_value_t = 15)]
    api_seconds: u64,
}

pub(crate) fn measure(attacks: &ApiAttacks) {
    let (connections, span) = (attacks.api_connections, Duration::from_secs(attacks.api_seconds));
    let mut text = format!(
        "{}\n\n{connections} connections at a time, {} s of each attack; whichever is closed is opened again, at most a thousand a second. \
         Clients at other addresses make a new connection for each request, one after the other. Times are milliseconds.\n\n\
         | attack | from addresses | its connections | client | answered | failed | 99 % | longest | within a second | MiB before, after |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
        worst_day::circumstances(),
        span.as_secs()
    );
    let mut scene = Scene::with(Setup { log_level: "warn", ..Setup::default() });
    scene.run_one_way();
    for attack in API_ATTACKS {
        for addresses in ADDRESSES {
            scene.certward.process().wait_resting();
            let before = scene.certward.process().resources();
            let attacker = ApiAttacker::of(&scene, addresses, connections, span);
            let victims = ApiVictims::start(&scene);
            let opened = attack.carry_out(&attacker).opened;
            let noticed = victims.stop();
            let (after, _) = scene.certward.process().wait_recovered(&before, GROWTH_KIB);
            for (who, noticed) in noticed {
                writeln!(
                    text,
                    "| {} | {addresses} | {opened} | {who} | {} | {:.1}, {:.1} |",
                    attack.name,
                    cells(&noticed),
                    before.resident_mib(),
                    after.resident_mib()
                )
                .expect("memory");
            }
            eprintln!("{}, {addresses} addresses", attack.name);
        }
    }
    worst_day::write("attacks on the API", &text);
    worst_day::write("costly uploads", &costly_uploads(&scene));
}

fn cells(noticed: &Noticed) -> String {
    let all = noticed.times.len() + noticed.failures.len();
    let in_time = noticed.times.iter().filter(|time| **time <= ANSWERED_WITHIN).count();
    format!(
        "{} | {} | {:.1} | {:.1} | {:.2} %",
        noticed.times.len(),
        noticed.failures.len(),
        milliseconds(noticed.within(0.99)),
        milliseconds(noticed.within(1.0)),
        100.0 * in_time as f64 / all.max(1) as f64
    )
}

fn costly_uploads(scene: &Scene) -> String {
    let (put, costly) = (scene.leaf().one_way(), costly(scene));
    let other = other_key(scene);
    let timed = |api: &Api| {
        let begun = Instant::now();
        api.put_tls(Scene::DEPLOYMENT, &put).expect(200);
        milliseconds(begun.elapsed())
    };
    let alone = timed(&scene.api());
    let path = format!("/deployments/{}/tls/check", Scene::DEPLOYMENT);
    let beside = thread::scope(|scope| {
        let begun = Instant::now();
        let uploads: Vec<_> = (0..UPLOADS)
            .map(|_| scope.spawn(|| other.send("POST", &path, Some(&costly)).expect(200)))
            .collect();
        // All are sent and few are judged by then.
        thread::sleep(Duration::from_millis(200));
        let beside = timed(&scene.api());
        for upload in uploads {
            upload.join().expect("an upload");
        }
        (beside, milliseconds(begun.elapsed()))
    });
    format!(
        "{}\n\n| a PUT of one key, ms | {UPLOADS} costly uploads of another key, ms |\n|---|---|\n| alone: {alone:.0} | none |\n\
         | beside: {:.0} | all of them: {:.0} |\n",
        worst_day::circumstances(),
        beside.0,
        beside.1
    )
}

fn costly(scene: &Scene) -> Value {
    let leaf: Leaf = scene.leaf();
    let folder = tempfile::tempdir().expect("a folder");
    let (_, key) = leaf.write(folder.path(), "costly");
    let encrypted = folder.path().join("encrypted.key");
    let mut command = Command::new("openssl");
    command.args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-iter", ITERATIONS, "-passout", "pass:secret"]);
    let output = run(command.arg("-in").arg(&key).arg("-out").arg(&encrypted));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut upload = leaf.one_way();
    upload["key"] = std::fs::read_to_string(&encrypted).expect("openssl has written it").into();
    upload["keyPassword"] = "secret".into();
    upload
}

fn other_key(scene: &Scene) -> Api {
    let body = json!({"name": "other", "scopes": ["tls"]});
    let made = scene.api().send("POST", "/keys", Some(&body)).expect(201).json();
    let text = |name: &str| made[name].as_str().expect("a new key").to_owned();
    Api { key: text("apiKey"), secret: text("secretKey"), ..scene.api() }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
