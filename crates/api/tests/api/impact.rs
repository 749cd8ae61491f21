//! What a change does to devices, in the answers; and `Prefer: handling=strict`.

use certward_lifecycle::{LiveEvidence, LiveOffer, RejectedDevice};
use certward_pki::{ClientOffer, ClientRefusal, DeviceId};
use certward_store::{DeploymentId, Scope};
use certward_test_support::{Authority, Leaf, server_params};
use serde_json::{Value, json};

use crate::support::{Request, TLS, World};

const CHECK: &str = "/public_api/v1/deployments/ge6a1a75/tls/check";
const HOST: &str = "ge6a1a75.example.com";

/// With a certificate of the authority, and this seen of its devices.
async fn world(ca: &Authority, live: LiveEvidence) -> World {
    let world = World::new().await;
    let made = world.request("POST", TLS).json(&ca.server(&[HOST]).one_way()).send().await;
    assert_eq!((made.status, made.json().get("impact")), (200, None), "there was no certificate");
    *world.gateway.live.lock().unwrap() = live;
    world
}

fn connected() -> LiveEvidence {
    let offer = ClientOffer {
        versions: vec![0x0304],
        signature_schemes: vec![0x0403, 0x0804],
        certificate_schemes: vec![0x0403],
        ..ClientOffer::default()
    };
    let offers = vec![LiveOffer { offer, sessions: 50, weight: 1_000_000, largest: 1_000_000 }];
    LiveEvidence { sessions: 50, hosts: vec![(HOST.into(), 50)], offers, ..LiveEvidence::default() }
}

fn strict(request: Request) -> Request {
    request.header("Prefer", "handling=strict")
}

#[tokio::test]
async fn an_ordinary_renewal_has_no_impact_and_is_never_stopped() {
    let ca = Authority::new("root");
    let world = world(&ca, connected()).await;
    let renewal = ca.server(&[HOST]).one_way();
    for request in [world.request("POST", CHECK), world.request("PUT", TLS)] {
        let answer = strict(request).json(&renewal).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.header("preference-applied"), Some("handling=strict"));
        let expected = json!({
            "severity": "none",
            "connected": {"refused": 0, "of": 50},
            "known": {"refused": 0, "of": 0},
            "named": [],
            "hostsLost": [],
            "asOf": "2026-11-25 12:00:00",
        });
        assert_eq!(answer.json()["impact"], expected);
    }
    assert_eq!(world.request("GET", TLS).send().await.json().get("impact"), None);
}

#[tokio::test]
async fn a_severe_impact_is_a_warning_unless_a_strict_request_is_refused_for_it() {
    let world = world(&Authority::new("old root"), connected()).await;
    let before = world.request("GET", TLS).send().await.text;
    let id = DeploymentId::parse("ge6a1a75").unwrap();
    let stored = world.lifecycle.store().read().deployment(&id).await.unwrap();
    let other = Authority::new("new root").server(&[HOST]).one_way();
    for request in [world.request("POST", CHECK), world.request("PUT", TLS)] {
        let refused = strict(request).json(&other).send().await;
        assert_eq!((refused.status, refused.code()), (422, "IMPACT_SEVERE".to_owned()));
        assert_eq!(refused.header("preference-applied"), Some("handling=strict"));
        let refused = refused.json();
        assert_eq!(refused["impact"]["rootChanged"], json!({"from": "CN=old root", "to": "CN=new root"}));
        assert_eq!(
            refused["message"],
            "The impact of the change is severe: the root would be CN=new root instead of CN=old root."
        );
        assert_eq!(refused["details"], json!([]));
    }
    assert_eq!(world.request("GET", TLS).send().await.text, before);
    assert_eq!(world.lifecycle.store().read().deployment(&id).await.unwrap(), stored);
    for preference in [None, Some("handling=lenient"), Some("handling=whatever")] {
        let mut request = world.request("PUT", TLS);
        if let Some(preference) = preference {
            request = request.header("Prefer", preference);
        }
        let root = format!("new root, {preference:?}");
        let answer = request.json(&Authority::new(&root).server(&[HOST]).one_way()).send().await;
        assert_eq!((answer.status, &answer.json()["impact"]["severity"]), (200, &json!("severe")));
        let applied = preference.filter(|preference| *preference == "handling=lenient");
        assert_eq!(answer.header("preference-applied"), applied);
    }
}

/// A change like any other.
#[tokio::test]
async fn a_rollback_has_an_impact_and_a_strict_one_is_refused_for_it() {
    let world = world(&Authority::new("old root"), connected()).await;
    let other = Authority::new("new root").server(&[HOST]).one_way();
    let put = world.request("PUT", TLS).json(&other).send().await;
    assert_eq!(put.status, 200, "{}", put.text);
    let first = world.get("/deployments/ge6a1a75/tls/versions").send().await.json();
    let first = json!({"version": first[1]["version"]});
    let roll_back = || world.post("/deployments/ge6a1a75/tls/rollback").json(&first);
    let refused = strict(roll_back()).send().await;
    assert_eq!((refused.status, refused.code()), (422, "IMPACT_SEVERE".to_owned()));
    let done = roll_back().send().await;
    assert_eq!((done.status, &done.json()["impact"]["severity"]), (200, &json!("severe")), "{}", done.text);
}

/// Recorded once, whichever request it was, for the keys that see the deployment.
#[tokio::test]
async fn a_stopped_change_is_an_alert_of_its_project() {
    let ca = Authority::new("old root");
    let world = world(&ca, connected()).await;
    world.post("/projects").json(&json!({"projectID": "other"})).send().await;
    let others = world.key(&[Scope::Admin], Some(&["other"])).await;
    let webhook = json!({"type": "webhook", "url": "https://hooks.example.com/"});
    let channel = world.post("/alert-channels").json(&webhook).send().await.json();
    let leaf = Authority::new("new root").server(&[HOST]);
    for request in [world.request("POST", CHECK), world.request("PUT", TLS), world.request("PUT", TLS)] {
        let refused = strict(request).json(&leaf.one_way()).send().await;
        assert_eq!(refused.status, 422, "{}", refused.text);
    }
    world.lifecycle.alert_delivery().turn().await.unwrap();
    let alerts = world.get("/alerts").send().await.json();
    let id = alerts[0]["alertID"].clone();
    assert_eq!(
        alerts,
        json!([{
            "alertID": id, "at": "2026-11-25 12:00:00", "kind": "stoppedChange",
            "summary": "A change of deployment ge6a1a75 was stopped: the root would be CN=new root instead of CN=old root",
            "subject": alerts[0]["subject"], "fingerprint": certward_pki::fingerprint(&leaf.der),
            "projectID": "default", "owners": ["ge6a1a75"], "ownerCount": 1,
            "deliveries": [{"channelID": channel["channelID"], "state": "delivered", "attempts": 1}],
        }])
    );
    assert_eq!(world.get("/alerts").login(&others).send().await.json(), json!([]));
    let forced = world.request("PUT", TLS).json(&leaf.one_way()).send().await;
    assert_eq!(forced.status, 200, "{}", forced.text);
    assert_eq!(world.get("/alerts").send().await.json()[0]["withdrawnAt"], "2026-11-25 12:00:00");
}

#[tokio::test]
async fn every_part_of_an_impact_is_in_the_answer() {
    let ca = Authority::new("root");
    let device = DeviceId([0xab; 16]);
    let named = vec![
        RejectedDevice::with_certificate(device, "meter 7".into(), ClientRefusal::UnknownIssuer),
        RejectedDevice::without_certificate([192, 0, 2, 7].into()),
    ];
    let world = world(&ca, LiveEvidence { refused: 2, named, ..connected() }).await;
    let elsewhere = "elsewhere.example.com";
    let other = Leaf::self_signed(server_params(elsewhere, &[elsewhere]));
    let answer = world.request("POST", CHECK).json(&other.one_way()).send().await.json();
    let impact = &answer["impact"];
    assert_eq!(impact["connected"], json!({"refused": 2, "of": 50}));
    assert_eq!(
        impact["named"],
        json!([
            {"id": "abababababababababababababababab", "name": "meter 7",
             "reason": "No client CA issued the certificate."},
            {"name": "192.0.2.7", "reason": "It sent no certificate."},
        ])
    );
    assert_eq!(impact["hostsLost"], json!([HOST]));
    assert_eq!(impact["rootChanged"]["to"], "CN=elsewhere.example.com");
    assert_eq!(impact.get("keyKindChanged"), None);
    let refused = strict(world.request("PUT", TLS)).json(&other.one_way()).send().await.json();
    assert_eq!(
        refused["message"],
        "The impact of the change is severe: 2 of 50 connected devices would be refused; the host \
         ge6a1a75.example.com is in use and would not be covered any more; the root would be \
         CN=elsewhere.example.com instead of CN=root."
    );
}

#[tokio::test]
async fn an_upload_that_is_refused_anyway_has_no_impact() {
    let ca = Authority::new("root");
    let world = world(&ca, connected()).await;
    let mut crossed = ca.server(&[HOST]).one_way();
    crossed["key"] = ca.server(&[HOST]).one_way()["key"].clone();
    let checked = strict(world.request("POST", CHECK)).json(&crossed).send().await;
    assert_eq!((checked.status, checked.json().get("impact")), (200, None::<&Value>));
    let refused = strict(world.request("PUT", TLS)).json(&crossed).send().await;
    assert_eq!((refused.status, refused.code()), (422, "KEY_MISMATCH".to_owned()));
    assert_eq!(refused.header("preference-applied"), None);
}
