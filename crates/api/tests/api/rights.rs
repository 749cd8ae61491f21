//! Rights are checked where the change is made: events during a request count.

use std::{
    sync::{LazyLock, atomic::Ordering},
    time::{Duration, Instant},
};

use certward_pki::fingerprint;
use certward_store::{
    ApiKey, ApiKeyRecord, AuditPage, AuditRecord, Deployment, Generation, ListedAudit, Project, RequestLimit,
    Scope,
};
use certward_test_support::Authority;
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection};

use crate::support::{Answer, Login, World, upload};

#[derive(Debug, Clone, Copy)]
enum Meanwhile {
    KeyRevoked,
    ScopesNarrowed,
    ProjectsNarrowed,
    DeploymentRemoved,
    /// In `p2`, with its certificate.
    DeploymentMadeAgainElsewhere,
    /// In its project, with its certificate.
    DeploymentMadeAgain,
    ProjectRemoved,
}
use Meanwhile::*;

/// The columns of [`routes`].
const COLUMNS: [Meanwhile; 7] = [
    KeyRevoked,
    ScopesNarrowed,
    ProjectsNarrowed,
    DeploymentRemoved,
    DeploymentMadeAgainElsewhere,
    DeploymentMadeAgain,
    ProjectRemoved,
];

struct Route {
    method: &'static str,
    /// [`Stage`] fills in `{id}`, `{key}`, `{version}` (in the body, too), `{revocation}`, `{crl}`.
    path: &'static str,
    scope: Scope,
    projects: Option<&'static [&'static str]>,
    project: &'static str,
    certificate: bool,
    body: Option<Value>,
    expected: [Expected; COLUMNS.len()],
}

/// The refusal; none if the event does not concern the request.
type Expected = Option<(u16, &'static str)>;
const DONE: Expected = None;
const NO_KEY: Expected = Some((401, "UNAUTHORIZED"));
const NO_RIGHT: Expected = Some((403, "NO_ACCESS"));
const NO_DEPLOYMENT: Expected = Some((404, "DEPLOYMENT_NOT_FOUND"));
const NOT_FOUND: Expected = Some((404, "NOT_FOUND"));
const NO_PROJECT: Expected = Some((422, "PROJECT_UNKNOWN"));

const DEPLOYMENT: &str = "ge6a1a75";
const HOST: &str = "ge6a1a75.example.com";
/// Of the newest upload, so that one can be removed.
static CLIENT_CAS: LazyLock<[Authority; 2]> = LazyLock::new(|| ["A", "B"].map(Authority::new));

/// Every event affects it.
fn of_a_deployment(
    method: &'static str,
    path: &'static str,
    scope: Scope,
    certificate: bool,
    body: Option<Value>,
) -> Route {
    Route {
        method,
        path,
        scope,
        projects: Some(&["p1"]),
        project: "p1",
        certificate,
        body,
        expected: [
            NO_KEY,
            NO_RIGHT,
            NO_DEPLOYMENT,
            NO_DEPLOYMENT,
            NO_DEPLOYMENT,
            NO_DEPLOYMENT,
            NO_DEPLOYMENT,
        ],
    }
}

fn routes() -> Vec<Route> {
    let (tls, deployment) = ("/deployments/{id}/tls", "/deployments/{id}");
    let cacert = json!({"cacert": "-----BEGIN CERTIFICATE-----"});
    let change = json!({"deploymentName": "changed"});
    let new_deployment = json!({"deploymentID": "new", "projectID": "p1", "upstream": "127.0.0.1:1884"});
    let new_channel = json!({"type": "webhook", "url": "https://hooks.example/", "projectID": "p1"});
    let new_key = json!({"name": "new", "scopes": ["tls"], "projects": ["p1"]});
    vec![
        of_a_deployment("POST", tls, Scope::Tls, false, Some(upload())),
        of_a_deployment("PUT", tls, Scope::Tls, true, Some(upload())),
        // Refusals must not reveal whether there is a certificate.
        of_a_deployment("POST", tls, Scope::Tls, true, Some(upload())),
        of_a_deployment("PUT", tls, Scope::Tls, false, Some(upload())),
        of_a_deployment("PUT", tls, Scope::Tls, true, Some(json!({"tlsType": "one-way"}))),
        of_a_deployment("DELETE", tls, Scope::Tls, true, None),
        of_a_deployment(
            "POST",
            "/deployments/{id}/tls/rollback",
            Scope::Tls,
            true,
            Some(json!({"version": "{version}"})),
        ),
        // Refusals must not reveal which versions there are.
        of_a_deployment(
            "POST",
            "/deployments/{id}/tls/rollback",
            Scope::Tls,
            false,
            Some(json!({"version": 7})),
        ),
        of_a_deployment("DELETE", "/deployments/{id}/tls/versions/{version}", Scope::Tls, true, None),
        // Refusals must not reveal the client CAs.
        of_a_deployment("POST", "/deployments/{id}/tls/client-cas", Scope::Tls, true, Some(cacert.clone())),
        of_a_deployment("POST", "/deployments/{id}/tls/client-cas", Scope::Tls, false, Some(cacert)),
        of_a_deployment("DELETE", "/deployments/{id}/tls/client-cas/{fingerprint}", Scope::Tls, true, None),
        // Authorised like a change.
        of_a_deployment("POST", "/deployments/{id}/tls/check", Scope::Tls, false, Some(upload())),
        of_a_deployment(
            "POST",
            "/deployments/{id}/tls/revocations",
            Scope::Tls,
            false,
            Some(json!({"revocations": [{"name": "meter-8"}]})),
        ),
        // Refusals must not reveal which devices are known.
        of_a_deployment(
            "POST",
            "/deployments/{id}/tls/revocations",
            Scope::Tls,
            false,
            Some(json!({"revocations": [{"fingerprint": "0a".repeat(32)}]})),
        ),
        of_a_deployment("DELETE", "/deployments/{id}/tls/revocations/{revocation}", Scope::Tls, false, None),
        of_a_deployment(
            "PUT",
            "/deployments/{id}/tls/crls/{crl}",
            Scope::Tls,
            false,
            Some(json!({"url": "http://pki.example.com/other.crl"})),
        ),
        of_a_deployment("DELETE", "/deployments/{id}/tls/crls/{crl}", Scope::Tls, false, None),
        of_a_deployment("DELETE", "/deployments/{id}/devices/{device}", Scope::Tls, false, None),
        of_a_deployment("DELETE", "/deployments/{id}/sessions", Scope::Tls, false, None),
        of_a_deployment("PATCH", deployment, Scope::Deployments, false, Some(change)),
        of_a_deployment("DELETE", deployment, Scope::Deployments, true, None),
        Route {
            method: "POST",
            path: "/deployments",
            scope: Scope::Deployments,
            projects: Some(&["p1"]),
            project: "p1",
            certificate: false,
            body: Some(new_deployment),
            expected: [NO_KEY, NO_RIGHT, NO_PROJECT, DONE, DONE, DONE, NO_PROJECT],
        },
        Route {
            method: "POST",
            path: "/projects",
            scope: Scope::Admin,
            projects: None,
            project: "p1",
            certificate: false,
            body: Some(json!({"projectID": "new"})),
            expected: [NO_KEY, NO_RIGHT, NO_RIGHT, DONE, DONE, DONE, DONE],
        },
        Route {
            method: "PATCH",
            path: "/projects/{id}",
            scope: Scope::Admin,
            projects: Some(&["empty"]),
            project: "empty",
            certificate: false,
            body: Some(json!({"projectName": "changed"})),
            expected: [NO_KEY, NO_RIGHT, NOT_FOUND, DONE, DONE, DONE, NOT_FOUND],
        },
        // Needs a key that sees all projects.
        Route {
            method: "PATCH",
            path: "/projects/{id}",
            scope: Scope::Admin,
            projects: None,
            project: "empty",
            certificate: false,
            body: Some(json!({"hostSuffixes": ["changed.example"]})),
            expected: [NO_KEY, NO_RIGHT, NOT_FOUND, DONE, DONE, DONE, NOT_FOUND],
        },
        Route {
            method: "DELETE",
            path: "/projects/{id}",
            scope: Scope::Admin,
            projects: Some(&["empty"]),
            project: "empty",
            certificate: false,
            body: None,
            expected: [NO_KEY, NO_RIGHT, NOT_FOUND, DONE, DONE, DONE, NOT_FOUND],
        },
        Route {
            method: "POST",
            path: "/keys",
            scope: Scope::Admin,
            projects: Some(&["p1"]),
            project: "p1",
            certificate: false,
            body: Some(new_key),
            expected: [NO_KEY, NO_RIGHT, NO_PROJECT, DONE, DONE, DONE, NO_PROJECT],
        },
        Route {
            method: "DELETE",
            path: "/keys/{key}",
            scope: Scope::Admin,
            projects: Some(&["p1"]),
            project: "p1",
            certificate: false,
            body: None,
            // Without its project, the key to revoke reaches no more than the caller's.
            expected: [NO_KEY, NO_RIGHT, NOT_FOUND, DONE, DONE, DONE, DONE],
        },
        Route {
            method: "POST",
            path: "/alert-channels",
            scope: Scope::Admin,
            projects: Some(&["p1"]),
            project: "p1",
            certificate: false,
            body: Some(new_channel),
            expected: [NO_KEY, NO_RIGHT, NO_PROJECT, DONE, DONE, DONE, NO_PROJECT],
        },
        Route {
            method: "DELETE",
            path: "/alert-channels/{id}",
            scope: Scope::Admin,
            projects: Some(&["p1"]),
            project: "p1",
            certificate: false,
            body: None,
            expected: [NO_KEY, NO_RIGHT, NOT_FOUND, DONE, DONE, DONE, NOT_FOUND],
        },
    ]
}

#[test]
fn every_operation_that_changes_something_is_in_the_table() {
    let document: Value = serde_json::from_str(certward_api::openapi()).unwrap();
    let mut changing = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        // Stores nothing.
        if path.ends_with("/alert-channels/{id}/test") {
            continue;
        }
        for method in item.as_object().unwrap().keys().filter(|method| *method != "get") {
            changing.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    changing.sort();
    let mut tested: Vec<_> =
        routes().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    tested.sort();
    tested.dedup();
    assert_eq!(tested, changing);
}

#[tokio::test]
async fn what_happens_while_a_status_is_waited_for_counts() {
    let (tls, scope) = ("/deployments/{id}/tls", Scope::TlsRead);
    let route = of_a_deployment("GET", tls, scope, true, None);
    let mut wrong = Vec::new();
    for (meanwhile, expected) in COLUMNS.into_iter().zip(route.expected) {
        let world = World::bound(|_| {}, |_| {}).await;
        // Without a proof.
        world.node().await;
        let stage = Stage::set(&world, &route).await;
        let waiting = tokio::spawn(stage.request(&route).header("Prefer", "wait=1").send());
        until_it_is_counted(&world).await;
        stage.happens(meanwhile, &route, &mut world.connect().await).await;
        let before = Everything::of(&world).await;
        let answer = waiting.await.unwrap();
        wrong.extend(fault(&route, meanwhile, expected, &answer, before == Everything::of(&world).await));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn what_happens_before_the_last_byte_of_a_body_counts() {
    let mut wrong = Vec::new();
    for route in routes().iter().filter(|route| route.body.is_some()) {
        for (meanwhile, expected) in COLUMNS.into_iter().zip(route.expected) {
            let world = World::bound(|_| {}, |_| {}).await;
            let stage = Stage::set(&world, route).await;
            let held = stage.request(route).send_held().await;
            let mut database = stage.world.connect().await;
            stage.happens(meanwhile, route, &mut database).await;
            let before = Everything::of(stage.world).await;
            let answer = held.finish().await;
            let after = Everything::of(stage.world).await;
            wrong.extend(fault(route, meanwhile, expected, &answer, before == after));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Held at its key's row, where rights are checked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_before_a_removal_is_made_counts() {
    let unlimited = RequestLimit { requests: 1_000_000, window: Duration::from_secs(1) };
    let world = World::on_postgres(|settings| {
        settings.limits.changes = unlimited;
        settings.limits.revocations = unlimited;
    })
    .await;
    let mut wrong = Vec::new();
    for route in routes().iter().filter(|route| route.body.is_none()) {
        for (meanwhile, expected) in COLUMNS.into_iter().zip(route.expected) {
            clear(&world).await;
            let stage = Stage::set(&world, route).await;
            let mut database = stage.world.connect().await;
            let mut transaction = database.begin().await.unwrap();
            let lock = format!("SELECT key FROM api_key WHERE key = '{}' FOR UPDATE", stage.key);
            run(&mut transaction, &lock).await;
            let asked = tokio::spawn(stage.request(route).send());
            until_it_waits(stage.world, || asked.is_finished()).await;
            if asked.is_finished() {
                wrong.push(format!("{} {}: made without its key's row", route.method, route.path));
                break;
            }
            stage.happens(meanwhile, route, &mut transaction).await;
            let before = Everything::of(stage.world).await;
            transaction.commit().await.unwrap();
            let answer = asked.await.unwrap();
            let after = Everything::of(stage.world).await;
            let unchanged = before.deployments == after.deployments && before.audit == after.audit;
            wrong.extend(fault(route, meanwhile, expected, &answer, unchanged));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// After its head was judged, before its answer.
async fn until_it_is_counted(world: &World) {
    let mut requests = world.connect_to_requests().await;
    let sql = "SELECT count(*) FROM request_scope WHERE scope LIKE '%/get/%'";
    let deadline = Instant::now() + Duration::from_secs(30);
    while sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut requests).await.unwrap() == 0 {
        assert!(Instant::now() < deadline, "no GET is counted");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn clear(world: &World) {
    let mut database = world.connect().await;
    for sql in [
        "DELETE FROM deployment",
        "DELETE FROM api_key WHERE name = 'test'",
        "DELETE FROM project WHERE id <> 'default'",
    ] {
        run(&mut database, sql).await;
    }
    database.close().await.unwrap();
}

/// For a lock, or until `over`.
async fn until_it_waits(world: &World, over: impl Fn() -> bool) {
    let mut looking = world.connect().await;
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let deadline = Instant::now() + Duration::from_secs(30);
    while sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut looking).await.unwrap() == 0 && !over() {
        assert!(Instant::now() < deadline, "nobody waits");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn fault(
    route: &Route,
    meanwhile: Meanwhile,
    expected: Expected,
    answer: &Answer,
    unchanged: bool,
) -> Option<String> {
    let right = match expected {
        Some((status, code)) => answer.status == status && answer.code() == code && unchanged,
        DONE => (200..300).contains(&answer.status) && !unchanged,
    };
    let change = if unchanged { "nothing changed" } else { "something changed" };
    (!right).then(|| {
        format!(
            "{} {}, {meanwhile:?}: {} {}, {change}; expected {expected:?}",
            route.method,
            route.path,
            answer.status,
            answer.code()
        )
    })
}

#[derive(Debug, PartialEq)]
struct Everything {
    newest: Generation,
    deployments: Vec<Deployment>,
    projects: Vec<Project>,
    keys: Vec<ApiKeyRecord>,
    audit: Vec<AuditRecord>,
}

impl Everything {
    async fn of(world: &World) -> Self {
        let store = world.lifecycle.store();
        Self {
            newest: store.read().newest_generation().await.unwrap(),
            deployments: store.read().deployments_after(None, 100).await.unwrap(),
            projects: store.read().projects().await.unwrap(),
            keys: store.read().api_keys().await.unwrap(),
            audit: done(
                &store.read().audit(&AuditPage { limit: 1000, ..AuditPage::default() }).await.unwrap(),
            ),
        }
    }
}

/// Refusals are recorded, too.
fn done(rows: &[ListedAudit]) -> Vec<AuditRecord> {
    let records = rows.iter().map(|row| row.record.clone());
    records.filter(|record| record.refusal.is_none()).collect()
}

struct Stage<'a> {
    world: &'a World,
    key: ApiKey,
    login: Login,
    /// To be revoked.
    other: ApiKey,
    /// Of `p1`, to be removed.
    channel: String,
    /// The one before the newest, if there is a certificate.
    version: String,
    /// To be removed.
    revocation: String,
}

impl<'a> Stage<'a> {
    async fn set(world: &'a World, route: &Route) -> Self {
        for id in ["p1", "p2", "empty"] {
            let made = world.post("/projects").json(&json!({"projectID": id})).send().await;
            assert_eq!(made.status, 201, "{}", made.text);
        }
        make_deployment(world, "p1", route.certificate).await;
        let (other, _) = world.key_and_login(&[Scope::Tls], Some(&["p1"])).await;
        let (key, login) = world.key_and_login(&[route.scope], route.projects).await;
        let channel = json!({"type": "webhook", "url": "https://hooks.example/", "projectID": "p1"});
        let channel = world.post("/alert-channels").json(&channel).send().await;
        assert_eq!(channel.status, 201, "{}", channel.text);
        let channel = channel.json()["channelID"].as_str().unwrap().to_owned();
        let versions = format!("/deployments/{DEPLOYMENT}/tls/versions");
        let version = world.get(&versions).send().await.json()[1]["version"].to_string();
        let revocation = json!({"revocations": [{"name": "meter-7"}]});
        let revocations = format!("/deployments/{DEPLOYMENT}/tls/revocations");
        let revocation = world.post(&revocations).json(&revocation).send().await;
        assert_eq!(revocation.status, 201, "{}", revocation.text);
        let revocation = revocation.json()["revocations"][0]["id"].as_str().unwrap().to_owned();
        let crl = json!({"url": "http://pki.example.com/meters.crl"});
        world.gateway.fetches.store(true, Ordering::SeqCst);
        let crl = world.put(&format!("/deployments/{DEPLOYMENT}/tls/crls/meters")).json(&crl).send().await;
        assert_eq!(crl.status, 200, "{}", crl.text);
        Self { world, key, login, other, channel, version, revocation }
    }

    fn request(&self, route: &Route) -> crate::support::Request {
        let id = match route.path.split('/').nth(1) {
            Some("projects") => route.project,
            Some("alert-channels") => &self.channel,
            _ => DEPLOYMENT,
        };
        let path = route.path.replace("{id}", id).replace("{key}", self.other.as_str());
        let path = path.replace("{version}", &self.version);
        let path = path
            .replace("{revocation}", &self.revocation)
            .replace("{crl}", "meters")
            .replace("{device}", &"0".repeat(32))
            .replace("{fingerprint}", &fingerprint(CLIENT_CAS[0].der()));
        let query = if path.ends_with("/sessions") { "?address=192.0.2.7" } else { "" };
        let path = format!("{}{path}{query}", crate::support::BASE);
        let request = self.world.request(route.method, &path).login(&self.login);
        match &route.body {
            Some(body) => {
                let body = body.to_string().replace("\"{version}\"", &self.version);
                request.json(&serde_json::from_str(&body).unwrap())
            }
            None => request,
        }
    }

    /// `database` may lock the key's row.
    async fn happens(&self, meanwhile: Meanwhile, route: &Route, database: &mut AnyConnection) {
        let key = &self.key;
        match meanwhile {
            KeyRevoked => run(database, &format!("DELETE FROM api_key WHERE key = '{key}'")).await,
            ScopesNarrowed => {
                let left = if route.scope == Scope::TlsRead { Scope::Deployments } else { Scope::TlsRead };
                let left = left.as_str();
                run(database, &format!("UPDATE api_key SET scopes = '[\"{left}\"]' WHERE key = '{key}'"))
                    .await;
            }
            ProjectsNarrowed => {
                for sql in [
                    format!("UPDATE api_key SET all_projects = 0 WHERE key = '{key}'"),
                    format!("DELETE FROM api_key_project WHERE key = '{key}'"),
                    format!("INSERT INTO api_key_project (key, project) VALUES ('{key}', 'p2')"),
                ] {
                    run(database, &sql).await;
                }
            }
            DeploymentRemoved => self.remove_deployment().await,
            DeploymentMadeAgainElsewhere => {
                self.remove_deployment().await;
                make_deployment(self.world, "p2", route.certificate).await;
            }
            DeploymentMadeAgain => {
                self.remove_deployment().await;
                make_deployment(self.world, "p1", route.certificate).await;
            }
            ProjectRemoved => {
                self.remove_deployment().await;
                run(database, &format!("DELETE FROM project WHERE id = '{}'", route.project)).await;
            }
        }
    }

    async fn remove_deployment(&self) {
        let removed = self.world.delete(&format!("/deployments/{DEPLOYMENT}")).send().await;
        assert_eq!(removed.status, 204, "{}", removed.text);
    }
}

async fn make_deployment(world: &World, project: &str, certificate: bool) {
    world.deployment(DEPLOYMENT, project).await;
    if certificate {
        let path = format!("/deployments/{DEPLOYMENT}/tls");
        // Two versions, so that there is one to go back to.
        let two_way =
            Authority::new("CA").server(&[HOST]).two_way(&CLIENT_CAS.each_ref().map(|ca| ca.pem()).concat());
        for (request, upload) in [(world.post(&path), upload()), (world.put(&path), two_way)] {
            let set = request.json(&upload).send().await;
            assert_eq!(set.status, 200, "{}", set.text);
        }
    }
}

async fn run(database: &mut AnyConnection, sql: &str) {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(database).await.unwrap();
}
