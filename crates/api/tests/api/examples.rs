//! The examples of the OpenAPI document are what this server is sent and answers.
//!
//! What is drawn (ids, secrets) is replaced by fixed texts. `CERTWARD_UPDATE_SNAPSHOTS=1` writes
//! the answers; the requests are written by hand.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::atomic::Ordering, time::Duration};

use certward_lifecycle::LiveEvidence;
use certward_pki::DenyKey;
use certward_store::{NodeId, NodeProcess, Role};
use serde_json::Value;

use crate::{
    conformance::{DOCUMENT, assert_valid},
    devices,
    support::{Request, World},
};

fn path_of(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("src/openapi/examples/{name}.json"))
}

fn kept(name: &str) -> String {
    fs::read_to_string(path_of(name)).unwrap()
}

/// What differs from run to run, by field, and what the examples have instead.
const DRAWN: [(&str, &str); 12] = [
    ("putBy", "abcdefgh12345678"),
    ("revokedBy", "abcdefgh12345678"),
    ("acceptedBy", "abcdefgh12345678"),
    ("apiKey", "abcdefgh12345678"),
    ("secretKey", "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"),
    ("secret", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ("channelID", "k3v9x2m1p0q8r7s6"),
    ("alertID", "a7d2k9s4m3n5b6v8"),
    ("requestID", "9f86d081884c7d65"),
    ("masterKey", "7c9e6679f4b1d2a3"),
    ("prev", "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"),
    ("mac", "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"),
];

/// Of a revocation; a device's id is not drawn.
const REVOCATION: &str = "c4ca4238a0b923820dcc509a6f75849b";

/// The drawn texts of all answers so far: an id appears in several.
#[derive(Default)]
struct Examples {
    drawn: BTreeMap<String, String>,
    faults: Vec<String>,
}

impl Examples {
    async fn answered(&mut self, name: &str, status: u16, request: Request) {
        let answer = request.send().await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
        self.note(&answer.json());
        let mut text = answer.text.clone();
        for (drawn, instead) in &self.drawn {
            text = text.replace(drawn, instead);
        }
        let text = pretty(&text);
        if std::env::var_os("CERTWARD_UPDATE_SNAPSHOTS").is_some() {
            fs::write(path_of(name), &text).unwrap();
        }
        if kept(name) != text {
            self.faults.push(format!("{name}: {text}"));
        }
    }

    fn note(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    let drawn = DRAWN.iter().find(|(name, _)| name == field);
                    let is_revocation = field == "id" && fields.contains_key("revokedBy");
                    let drawn = drawn.or(Some(&("id", REVOCATION)).filter(|_| is_revocation));
                    if let (Some((_, instead)), Some(text)) = (drawn, value.as_str()) {
                        self.drawn.entry(text.to_owned()).or_insert_with(|| (*instead).to_owned());
                    }
                    self.note(value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.note(item)),
            _ => {}
        }
    }
}

/// In the server's order of fields.
fn pretty(json: &str) -> String {
    let (mut text, mut depth, mut in_text, mut escaped) = (String::new(), 0, false, false);
    let mut characters = json.chars().peekable();
    while let Some(c) = characters.next() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
            text.push(c);
            continue;
        }
        let line = |depth: usize| format!("\n{}", "  ".repeat(depth));
        match c {
            '{' | '[' if characters.peek().is_some_and(|next| ['}', ']'].contains(next)) => text.push(c),
            '}' | ']' if text.ends_with(['{', '[']) => text.push(c),
            '{' | '[' => {
                depth += 1;
                text.push(c);
                text.push_str(&line(depth));
            }
            '}' | ']' => {
                depth -= 1;
                text.push_str(&line(depth));
                text.push(c);
            }
            ',' => {
                text.push(c);
                text.push_str(&line(depth));
            }
            ':' => text.push_str(": "),
            '"' => {
                in_text = true;
                text.push(c);
            }
            c => text.push(c),
        }
    }
    text.push('\n');
    text
}

#[tokio::test]
async fn every_example_is_what_the_server_answers() {
    let world = World::bound(|_| {}, |_| {}).await;
    let mut it = Examples::default();
    let with = |request: Request, name: &str| {
        let body: Value = serde_json::from_str(&kept(&format!("{name}.request"))).unwrap();
        request.json(&body)
    };
    let tls = "/deployments/ge6a1a75/tls";
    let member = world.node().await;
    let process = NodeProcess { role: Role::All, version: "0.1.0" };
    world.lifecycle.store().record_process(&NodeId::parse("node-1").unwrap(), process, None).await.unwrap();

    it.answered("health.answer", 200, world.request("GET", "/healthz")).await;
    it.answered("ready.answer", 200, world.request("GET", "/readyz")).await;
    it.answered("createProject.answer", 201, with(world.post("/projects"), "createProject")).await;
    it.answered("changeProject.answer", 200, with(world.patch("/projects/north"), "changeProject")).await;
    it.answered("getProject.answer", 200, world.get("/projects/north")).await;
    it.answered("listProjects.answer", 200, world.get("/projects")).await;
    let created = with(world.post("/alert-channels"), "createAlertChannel");
    it.answered("createAlertChannel.answer", 201, created).await;
    it.answered("listAlertChannels.answer", 200, world.get("/alert-channels")).await;
    let channels = world.get("/alert-channels").send().await.json();
    let test = format!("/alert-channels/{}/test", channels[0]["channelID"].as_str().unwrap());
    it.answered("testAlertChannel.answer", 200, world.post(&test)).await;

    it.answered("createDeployment.answer", 201, with(world.post("/deployments"), "createDeployment")).await;
    let changed = with(world.patch("/deployments/ge6a1a75"), "changeDeployment");
    it.answered("changeDeployment.answer", 200, changed).await;
    let mut mixed: Value = serde_json::from_str(&kept("createTls.request")).unwrap();
    mixed["key"] = crate::support::upload()["key"].clone();
    it.answered("createTls.refused", 422, world.post(tls).json(&mixed)).await;
    it.answered("createTls.answer", 200, with(world.post(tls), "createTls")).await;
    world.report(&member, Ok(())).await;
    it.answered("getTls.answer", 200, world.get(tls)).await;
    *world.gateway.live.lock().unwrap() = LiveEvidence { sessions: 50, ..LiveEvidence::default() };
    it.answered("checkTls.answer", 200, with(world.post(&format!("{tls}/check")), "checkTls")).await;
    it.answered("replaceTls.answer", 200, with(world.put(tls), "replaceTls")).await;
    world.report(&member, Ok(())).await;
    it.answered("getDeployment.answer", 200, world.get("/deployments/ge6a1a75")).await;
    it.answered("listDeployments.answer", 200, world.get("/deployments")).await;
    devices::connect(&world).await;
    it.answered("listDevices.answer", 200, world.get("/deployments/ge6a1a75/devices")).await;
    it.answered("getDeviceSummary.answer", 200, world.get("/deployments/ge6a1a75/devices/summary")).await;
    *world.gateway.denied.lock().unwrap() = vec![DenyKey::issued("CN=Meters", "0a01")];
    let revocations = "/deployments/ge6a1a75/tls/revocations";
    it.answered("addRevocations.answer", 201, with(world.post(revocations), "addRevocations")).await;
    // Those of one change are in the order of their ids, which are drawn: one is left.
    let listed = world.get(revocations).send().await.json();
    let named = listed.as_array().unwrap().iter().find(|it| it["by"] == "name").unwrap();
    let named = format!("{revocations}/{}", named["id"].as_str().unwrap());
    assert_eq!(world.delete(&named).send().await.status, 204);
    it.answered("listRevocations.answer", 200, world.get(revocations)).await;
    world.gateway.fetches.store(true, Ordering::SeqCst);
    let crl = "/deployments/ge6a1a75/tls/crls/meters";
    it.answered("setCrl.answer", 200, with(world.put(crl), "setCrl")).await;
    it.answered("getCrl.answer", 200, world.get(crl)).await;
    it.answered("listCrls.answer", 200, world.get("/deployments/ge6a1a75/tls/crls")).await;
    let sessions = "/deployments/ge6a1a75/sessions";
    it.answered("listSessions.answer", 200, world.get(sessions)).await;
    let closed = world.delete(&format!("{sessions}?address=192.0.2.8"));
    it.answered("closeSessions.answer", 200, closed).await;
    it.answered("listTlsFailures.answer", 200, world.get(&format!("{tls}/failures"))).await;
    let cas = format!("{tls}/client-cas");
    let old = world.get(&cas).send().await.json()[0]["fingerprint"].as_str().unwrap().to_owned();
    devices::straggle(&world, &old).await;
    it.answered("addClientCAs.answer", 200, with(world.post(&cas), "addClientCAs")).await;
    it.answered("listClientCAs.answer", 200, world.get(&cas)).await;
    it.answered("listStragglers.answer", 200, world.get(&format!("{cas}/{old}/stragglers"))).await;
    it.answered("removeClientCA.answer", 200, world.delete(&format!("{cas}/{old}"))).await;
    world.report(&member, Ok(())).await;
    let rolled_back = with(world.post(&format!("{tls}/rollback")), "rollbackTls");
    it.answered("rollbackTls.answer", 200, rolled_back).await;
    world.report(&member, Ok(())).await;
    it.answered("listTlsVersions.answer", 200, world.get(&format!("{tls}/versions"))).await;
    // Keys of one moment are listed at random.
    world.clock.advance(Duration::from_secs(60));
    it.answered("createKey.answer", 201, with(world.post("/keys"), "createKey")).await;
    it.answered("listKeys.answer", 200, world.get("/keys")).await;
    it.answered("listNodes.answer", 200, world.get("/nodes")).await;
    it.answered("listAudit.answer", 200, world.get("/audit?action=tls.&limit=2&order=oldest")).await;

    // The API key ends within 9 days then.
    world.clock.advance(Duration::from_secs(58 * 24 * 60 * 60));
    let now = world.lifecycle.store().clock().now();
    world.lifecycle.expiry_watch().turn(now).await.unwrap();
    world.lifecycle.alert_delivery().turn().await.unwrap();
    it.answered("listExpiring.answer", 200, world.get("/expiring")).await;
    it.answered("listAlerts.answer", 200, world.get("/alerts")).await;
    assert!(it.faults.is_empty(), "run with CERTWARD_UPDATE_SNAPSHOTS=1 and look: {:#?}", it.faults);
}

#[test]
fn every_example_is_what_its_schema_says() {
    let mut count = 0;
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap().iter();
            let bodies = responses.map(|(status, response)| (status.as_str(), response));
            let bodies = bodies.chain([("request", &operation["requestBody"])]);
            for (part, body) in bodies {
                let content = &crate::conformance::resolved(body)["content"]["application/json"];
                let examples = content["examples"].as_object().into_iter().flatten();
                let examples = examples.map(|(_, example)| &example["value"]).chain(content.get("example"));
                for example in examples {
                    count += 1;
                    assert_valid(&format!("{method} {path} {part}"), &content["schema"], example);
                }
            }
        }
    }
    assert!(count > 100, "{count}");
}
