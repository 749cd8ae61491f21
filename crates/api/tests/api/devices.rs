//! The devices of a deployment, and their sessions.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use certward_lifecycle::LiveSession;
use certward_pki::{ClientOffer, DeviceCertificate, DeviceId, IssuerPath, IssuerPathId};
use certward_store::{
    AuditPage, DeploymentId, DeploymentRef, DeviceBatch, DeviceSighting, Generation, HostSighting, OfferHour,
    ProjectId, Scope, Timestamp,
};
use serde_json::{Value, json};

use crate::support::{Answer, World};

const DEVICES: &str = "/deployments/ge6a1a75/devices";
const SESSIONS: &str = "/deployments/ge6a1a75/sessions";
const HOST: &str = "ge6a1a75.example.com";

fn deployment() -> DeploymentId {
    DeploymentId::parse("ge6a1a75").unwrap()
}

fn reference() -> DeploymentRef {
    // The store's first.
    DeploymentRef { id: deployment(), project: ProjectId::default_project(), born: Generation(1) }
}

fn device_id(number: u8) -> DeviceId {
    DeviceId([number; 16])
}

fn device(number: u8, now: Timestamp) -> DeviceCertificate {
    let path = IssuerPath {
        id: IssuerPathId([9; 16]),
        example: vec![vec![number]],
        example_not_after: now.after(Duration::from_secs(86_400)).to_time(),
        client_ca: "c0de".repeat(16).into(),
    };
    DeviceCertificate {
        id: device_id(number),
        name: format!("meter-{number}").into(),
        issuer: "CN=Meters".into(),
        serial: format!("0a{number:02x}").into(),
        fingerprint: "9f86".repeat(16).into(),
        not_before: now.before(Duration::from_secs(86_400)).to_time(),
        not_after: now.after(Duration::from_secs(86_400)).to_time(),
        path: Arc::new(path),
    }
}

fn sighting(number: u8, now: Timestamp) -> DeviceSighting {
    DeviceSighting {
        deployment: reference(),
        device: Arc::new(device(number, now)),
        at: now,
        host: (number != 2).then(|| HOST.into()),
        tls_version: "1.3",
        address: [192, 0, 2, number].into(),
    }
}

fn session(number: u8, port: u16, now: Timestamp) -> (DeploymentId, LiveSession) {
    let session = LiveSession {
        device: (number != 0).then(|| device_id(number)),
        name: (number != 0).then(|| format!("meter-{number}").into()),
        address: ([192, 0, 2, 7 + u8::from(number == 0)], port).into(),
        host: (number != 2).then(|| HOST.into()),
        listener: "mqtts".to_owned(),
        tls_version: "1.3".to_owned(),
        since: now.before(Duration::from_secs(u64::from(port) % 100)),
    };
    (deployment(), session)
}

fn offer(day: i64, groups: &[u16], weight: u64) -> OfferHour {
    OfferHour {
        deployment: reference(),
        day,
        offer: ClientOffer {
            versions: vec![0x0303, 0x0304],
            signature_schemes: vec![0x0403, 0x0804],
            groups: groups.to_vec(),
            cipher_suites: vec![0x1301, 0xc02b],
            has_server_name: true,
            ..ClientOffer::default()
        },
        sessions: 2,
        networks: 1,
        weight,
        largest: weight,
    }
}

/// Devices 1 and 2 are known and 1 is connected, and so is one without a certificate.
pub(crate) async fn connect(world: &World) {
    let store = world.lifecycle.store();
    let now = store.clock().now();
    let batch = DeviceBatch {
        devices: vec![sighting(1, now), sighting(2, now)],
        offers: vec![offer(now.day(), &[29], 900_000), offer(now.day(), &[23, 0x11ec], 100_000)],
        hosts: vec![HostSighting { deployment: reference(), host: HOST.into(), at: now }],
    };
    store.record_devices(&batch).await.unwrap();
    *world.gateway.sessions.lock().unwrap() = vec![session(1, 50_123, now), session(0, 50_124, now)];
}

/// Device 3 was admitted by this client CA an hour ago.
pub(crate) async fn straggle(world: &World, client_ca: &str) {
    let now = world.lifecycle.store().clock().now();
    let at = now.before(Duration::from_secs(3_600));
    // Without an example the path is not recorded.
    let path = IssuerPath {
        id: IssuerPathId([3; 16]),
        example: Vec::new(),
        example_not_after: now.to_time(),
        client_ca: client_ca.into(),
    };
    let device = DeviceCertificate { path: Arc::new(path), ..device(3, now) };
    let found = world.lifecycle.store().read().deployment(&deployment()).await.unwrap().unwrap();
    let deployment = found.reference();
    let sighting = DeviceSighting { deployment, device: Arc::new(device), at, ..sighting(3, now) };
    let batch = DeviceBatch { devices: vec![sighting], ..DeviceBatch::default() };
    world.lifecycle.store().record_devices(&batch).await.unwrap();
}

async fn listed(world: &World, path: &str) -> Answer {
    let answer = world.get(path).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

fn ids(answer: &Answer) -> Vec<String> {
    let listed = answer.json();
    listed.as_array().unwrap().iter().map(|device| device["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn devices_are_listed_with_all_that_is_known() {
    let world = World::new().await;
    assert_eq!(listed(&world, DEVICES).await.json(), json!([]));
    connect(&world).await;
    let devices = listed(&world, DEVICES).await.json();
    let device = json!({
        "id": "01010101010101010101010101010101",
        "name": "meter-1",
        "issuer": "CN=Meters",
        "serial": "0a01",
        "fingerprint": "9f86".repeat(16),
        "clientCA": "c0de".repeat(16),
        "notAfter": "2026-11-26 12:00:00",
        "firstSeenAt": "2026-11-25 12:00:00",
        "lastSeenAt": "2026-11-25 12:00:00",
        "host": HOST,
        "tlsVersion": "1.3",
        "connected": true,
        "address": "192.0.2.1",
    });
    assert_eq!(devices[0], device);
    assert_eq!((&devices[1]["connected"], &devices[1]["host"]), (&json!(false), &Value::Null));
    // After a week, without the address.
    world.clock.advance(Duration::from_secs(8 * 86_400));
    world.lifecycle.store().prune(Duration::from_secs(1)).await.unwrap();
    assert_eq!(listed(&world, DEVICES).await.json()[0]["address"], Value::Null);
    world.gateway.absent.store(true, Ordering::SeqCst);
    assert_eq!(listed(&world, DEVICES).await.json()[0]["connected"], false);
}

#[tokio::test]
async fn devices_come_in_pages() {
    let world = World::new().await;
    let now = world.lifecycle.store().clock().now();
    let devices = (1..=5).map(|number| sighting(number, now)).collect();
    let batch = DeviceBatch { devices, ..DeviceBatch::default() };
    world.lifecycle.store().record_devices(&batch).await.unwrap();
    let mut seen = Vec::new();
    let mut path = format!("{DEVICES}?limit=2");
    loop {
        let page = listed(&world, &path).await;
        seen.extend(ids(&page));
        let Some(link) = page.header("link") else { break };
        path = link.strip_prefix("</public_api/v1").unwrap().split_once('>').unwrap().0.to_owned();
    }
    assert_eq!(seen, (1..=5).map(|number| device_id(number).to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_wrong_query_is_refused() {
    let world = World::new().await;
    connect(&world).await;
    let (device, address) = ("01".repeat(16), "192.0.2.7");
    for (method, path) in [
        ("GET", format!("{DEVICES}?limit=0")),
        ("GET", format!("{DEVICES}?after={}", "0".repeat(31))),
        ("GET", format!("{DEVICES}?after={}.1", "0".repeat(32))),
        ("GET", format!("{DEVICES}/summary?days=0")),
        ("GET", format!("{DEVICES}/summary?days=31")),
        ("GET", format!("{DEVICES}/summary?days=%2B5")),
        ("GET", format!("{SESSIONS}?limit=1001")),
        ("GET", format!("{SESSIONS}?device=meter-1")),
        ("GET", format!("{SESSIONS}?address=localhost")),
        ("GET", format!("{SESSIONS}?device={device}&address={address}")),
        ("DELETE", SESSIONS.to_owned()),
        ("DELETE", format!("{SESSIONS}?adress={address}")),
        ("DELETE", format!("{SESSIONS}?address={address}&address={address}")),
        ("DELETE", format!("{SESSIONS}?address={address}/24")),
        ("DELETE", format!("{SESSIONS}?device={device}&address={address}")),
        ("DELETE", format!("{SESSIONS}?device={}", device.replace("01", "0A"))),
    ] {
        let refused = world.request(method, &format!("/public_api/v1{path}")).outcome().await;
        assert_eq!(refused, (422, "QUERY_INVALID".to_owned()), "{method} {path}");
    }
    assert_eq!(world.gateway.sessions.lock().unwrap().len(), 2, "none was closed");
}

#[tokio::test]
async fn the_summary_has_counts_hosts_and_the_shares_of_offers() {
    let world = World::new().await;
    connect(&world).await;
    let yesterday = world.lifecycle.store().clock().now().day() - 1;
    let old = DeviceBatch {
        offers: vec![offer(yesterday, &[24], 5), offer(yesterday - 7, &[25], 5)],
        ..DeviceBatch::default()
    };
    world.lifecycle.store().record_devices(&old).await.unwrap();
    let summary = listed(&world, &format!("{DEVICES}/summary")).await.json();
    let counts = ["sessions", "known", "notRecorded"].map(|field| summary[field].as_u64().unwrap());
    assert_eq!(counts, [2, 2, 0]);
    assert_eq!(summary["hosts"], json!([{"host": HOST, "lastSeenAt": "2026-11-25 12:00:00"}]));
    assert_eq!(summary["silentNodes"], json!([]));
    let offers = summary["offers"].as_array().unwrap();
    let shares: Vec<_> =
        offers.iter().map(|offer| (&offer["day"], &offer["share"], &offer["groups"])).collect();
    assert_eq!(
        json!(shares),
        json!([
            ["2026-11-25", 0.9, ["x25519"]],
            ["2026-11-25", 0.1, ["secp256r1", "X25519MLKEM768"]],
            ["2026-11-24", 1.0, ["secp384r1"]],
        ])
    );
    assert_eq!(
        offers[0],
        json!({
            "day": "2026-11-25", "share": 0.9, "sessions": 2, "networks": 1, "versions": ["1.2", "1.3"],
            "signatureSchemes": ["ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256"], "groups": ["x25519"],
            "cipherSuites": ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"],
            "serverName": true,
        })
    );
    let longer = listed(&world, &format!("{DEVICES}/summary?days=30")).await.json();
    assert_eq!(longer["offers"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn sessions_are_listed_and_closed_by_device_and_by_address() {
    let world = World::new().await;
    connect(&world).await;
    let all = listed(&world, SESSIONS).await.json();
    assert_eq!((&all["total"], &all["silentNodes"]), (&json!(2), &json!([])));
    assert_eq!(
        all["sessions"][0],
        json!({
            "node": "node-1", "device": "01".repeat(16), "name": "meter-1", "address": "192.0.2.7", "port": 50_123,
            "host": HOST, "listener": "mqtts", "tlsVersion": "1.3", "since": "2026-11-25 11:59:37",
        })
    );
    assert_eq!((&all["sessions"][1]["device"], &all["sessions"][1]["name"]), (&Value::Null, &Value::Null));
    let one = listed(&world, &format!("{SESSIONS}?limit=1")).await.json();
    assert_eq!((&one["total"], one["sessions"].as_array().unwrap().len()), (&json!(2), 1));
    for (query, total) in [
        (format!("device={}", "01".repeat(16)), 1),
        (format!("device={}", "02".repeat(16)), 0),
        ("address=192.0.2.8".to_owned(), 1),
        ("address=::ffff:192.0.2.8".to_owned(), 1),
        ("address=192.0.2.9".to_owned(), 0),
    ] {
        assert_eq!(listed(&world, &format!("{SESSIONS}?{query}")).await.json()["total"], total, "{query}");
    }
    for (query, closed) in [
        (format!("device={}", "02".repeat(16)), 0),
        (format!("device={}", "01".repeat(16)), 1),
        (format!("device={}", "01".repeat(16)), 0),
        ("address=192.0.2.8".to_owned(), 1),
    ] {
        let answer = world.delete(&format!("{SESSIONS}?{query}")).send().await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"closed": closed, "anonymousNodes": [], "silentNodes": []})),
            "{query}"
        );
    }
    assert_eq!(listed(&world, SESSIONS).await.json()["total"], 0);
    let audit = listed(&world, "/audit?action=sessions.close").await.json();
    assert_eq!(audit.as_array().unwrap().len(), 4);
    // An address is not kept for as long as the audit.
    assert_eq!(audit[0]["detail"], "from an address");
    assert_eq!(audit[1]["detail"], format!("of device {}", "01".repeat(16)));
    world.gateway.absent.store(true, Ordering::SeqCst);
    for (method, path) in [("GET", SESSIONS.to_owned()), ("DELETE", format!("{SESSIONS}?address=192.0.2.8"))]
    {
        let refused = world.request(method, &format!("/public_api/v1{path}")).outcome().await;
        assert_eq!(refused, (404, "NOT_FOUND".to_owned()), "{method}");
    }
}

#[tokio::test]
async fn a_node_that_identifies_no_device_says_neither_connected_nor_closed() {
    let world = World::new().await;
    connect(&world).await;
    world.gateway.anonymous.store(true, Ordering::SeqCst);
    for device in listed(&world, DEVICES).await.json().as_array().unwrap() {
        assert_eq!(device.get("connected"), None);
    }
    let of_device = format!("{SESSIONS}?device={}", "01".repeat(16));
    let sessions = listed(&world, &of_device).await.json();
    assert_eq!((&sessions["total"], &sessions["anonymousNodes"]), (&json!(0), &json!(["node-1"])));
    let answer = world.delete(&of_device).send().await;
    assert_eq!(answer.json(), json!({"closed": 0, "anonymousNodes": ["node-1"], "silentNodes": []}));
    let all = listed(&world, SESSIONS).await.json();
    assert_eq!((&all["total"], &all["anonymousNodes"]), (&json!(2), &json!([])));
}

#[tokio::test]
async fn requests_that_ask_all_nodes_are_limited_each_on_its_own() {
    let world = World::new().await;
    connect(&world).await;
    let close = format!("{SESSIONS}?address=192.0.2.8");
    for (method, path, limit) in [
        ("GET", DEVICES, "600"),
        ("GET", SESSIONS, "60"),
        ("GET", &format!("{DEVICES}/summary"), "60"),
        ("DELETE", &close, "60"),
    ] {
        let send = async || world.request(method, &format!("/public_api/v1{path}")).send().await;
        let answer = send().await;
        assert_eq!(answer.header("ratelimit-limit"), Some(limit), "{method} {path}");
        for _ in 1..60 {
            assert_eq!(send().await.status, 200, "{method} {path}");
        }
        let status = if limit == "60" { 429 } else { 200 };
        assert_eq!(send().await.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn a_device_is_forgotten_once_and_the_audit_does_not_name_it() {
    let world = World::new().await;
    connect(&world).await;
    let forget = async |id: &str| world.delete(&format!("{DEVICES}/{id}")).outcome().await;
    assert_eq!(forget(&"02".repeat(16)).await.0, 204);
    for id in ["02".repeat(16), "meter-1".to_owned(), "0".repeat(33), "%30".to_owned()] {
        assert_eq!(forget(&id).await, (404, "NOT_FOUND".to_owned()), "{id}");
    }
    assert_eq!(ids(&listed(&world, DEVICES).await), ["01".repeat(16)]);
    let page = AuditPage { action: Some("device.forget".into()), limit: 9, ..AuditPage::default() };
    let rows = world.lifecycle.store().read().audit(&page).await.unwrap();
    let done: Vec<_> = rows.iter().filter(|row| row.record.refusal.is_none()).collect();
    let [row] = done.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.record.subject.as_str(), row.record.detail.as_str()), ("ge6a1a75", &*"02".repeat(16)));
    assert_eq!(row.record.deployment, Some("ge6a1a75".into()));
}

#[tokio::test]
async fn each_route_needs_its_scope_and_the_deployment_its_project() {
    let world = World::new().await;
    connect(&world).await;
    let device = format!("{DEVICES}/{}", "01".repeat(16));
    let close = format!("{SESSIONS}?address=192.0.2.8");
    let routes = [
        ("GET", DEVICES.to_owned(), Scope::TlsRead),
        ("GET", format!("{DEVICES}/summary"), Scope::TlsRead),
        ("GET", SESSIONS.to_owned(), Scope::TlsRead),
        ("DELETE", device, Scope::Tls),
        ("DELETE", close, Scope::Tls),
    ];
    world.post("/projects").json(&json!({"projectID": "p2"})).send().await;
    for (method, path, scope) in &routes {
        let path = format!("/public_api/v1{path}");
        let less = if *scope == Scope::Tls { Scope::TlsRead } else { Scope::Deployments };
        let narrow = world.key(&[less], None).await;
        let elsewhere = world.key(&[*scope], Some(&["p2"])).await;
        let outcome = world.request(method, &path).login(&narrow).outcome().await;
        assert_eq!(outcome, (403, "NO_ACCESS".to_owned()), "{method} {path}");
        let outcome = world.request(method, &path).login(&elsewhere).outcome().await;
        assert_eq!(outcome, (404, "DEPLOYMENT_NOT_FOUND".to_owned()), "{method} {path}");
    }
    assert_eq!(world.gateway.sessions.lock().unwrap().len(), 2);
    for (method, path, scope) in &routes {
        let enough = world.key(&[*scope], Some(&["default"])).await;
        let answer = world.request(method, &format!("/public_api/v1{path}")).login(&enough).send().await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.text);
    }
}
