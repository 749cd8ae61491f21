//! An embedded store is copied to PostgreSQL; clients, devices and keys keep working.

use std::process::{Command, Output, Stdio};

use certward_tests::{Authority, EmbeddedDatabase, PostgresServer, Scene, Setup, run, wait_until};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const TABLES: &str = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND n.nspname = 'public'";

struct Onlooker {
    runtime: tokio::runtime::Runtime,
    connection: PgConnection,
}

impl Onlooker {
    fn at(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(PgConnection::connect(url)).unwrap();
        Self { runtime, connection }
    }

    fn count(&mut self, sql: &'static str) -> i64 {
        self.runtime.block_on(sqlx::query_scalar(sql).fetch_one(&mut self.connection)).unwrap()
    }

    fn run(&mut self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        self.runtime.block_on(sqlx::raw_sql(sql).execute(&mut self.connection)).unwrap();
    }
}

fn migrate(scene: &Scene) -> Command {
    let mut command = scene.certward.cli_without_key(&["migrate-store", "--config"]);
    command.arg(scene.certward.config());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn devices_and_programs_go_on_with_what_they_have() {
    let mut scene = Scene::with(Setup { changes: 6, ..Setup::default() });
    let api = scene.api();
    let clients = Authority::new("Device CA");
    let leaf = scene.run_two_way(&clients);
    for _ in 0..4 {
        api.put_tls(Scene::DEPLOYMENT, &leaf.two_way(clients.pem())).expect(200);
    }
    api.wait_running(Scene::DEPLOYMENT);
    let upstream = scene.broker.upstream();
    api.create_deployment("wild", &upstream, &["*.example.org"]);
    let wild = scene.authority.server(&["*.example.org"]);
    api.post_tls("wild", &wild.one_way()).expect(200);
    api.wait_running("wild");
    api.create_deployment_with(json!({
        "deploymentID": "full", "upstream": format!("{upstream},127.0.0.1:1"), "hosts": ["full.example.net"],
        "connections": 7, "connectionRate": 3, "recordBytes": 512, "proxyProtocol": "v2",
    }));
    // No entry point: it fails at once.
    api.create_deployment("nowhere", &upstream, &[]);
    api.post_tls("nowhere", &scene.leaf().one_way()).expect(200);
    wait_until("a failure", || (api.tls("nowhere").tls_status() == "failed").then_some(()));
    let device = scene.device().with_identity(&clients.client("device")).with_resumption();
    assert!(!scene.connect(&device, "first").unwrap().is_resumed());
    let views = |ids: [&str; 4]| ids.map(|id| api.send("GET", &format!("/deployments/{id}"), None).json());
    let all = [Scene::DEPLOYMENT, "wild", "full", "nowhere"];
    let before = views(all);
    assert!(scene.certward.stop().success());

    let server = PostgresServer::shared();
    let database = server.database();
    let with_password = database.replacen("certward@", "certward:CANARY@", 1);
    let output = run(migrate(&scene).env("CERTWARD_MIGRATE_TO", &with_password));
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("set store in the configuration") && said.contains("deployment: 4 rows"), "{said}");
    assert!(!said.contains("CANARY") && !said.contains("postgres://"), "{said}");

    scene.certward.use_store(database);
    scene.certward.serve();
    assert_eq!(views(all), before);
    for (id, status) in [(Scene::DEPLOYMENT, "running"), ("wild", "running"), ("nowhere", "failed")] {
        assert_eq!(api.tls(id).tls_status(), status, "{id}");
    }
    let again = scene.connect(&device, "again").unwrap();
    assert!(again.is_resumed(), "its ticket is from before");
    let newcomer = scene.device().with_identity(&clients.client("newcomer"));
    assert_eq!(scene.connect(&newcomer, "newcomer").unwrap().leaf(), leaf.der);
    let other = scene.device().connect(scene.certward.mqtts(), "a.example.org", "other").unwrap();
    assert_eq!(other.leaf(), wild.der);
    scene.connect(&scene.device(), "without").expect_err("two-way");

    // Of six changes, four were used before.
    let statuses = [0; 3].map(|_| api.put_tls(Scene::DEPLOYMENT, &leaf.two_way(clients.pem())).status);
    assert_eq!(statuses, [200, 200, 429]);
    api.wait_running(Scene::DEPLOYMENT);
}

#[test]
fn killed_midway_it_leaves_the_target_empty_and_the_source_complete() {
    let mut scene = Scene::new();
    let leaf = scene.run_one_way();
    assert!(scene.certward.stop().success());
    EmbeddedDatabase::with_table(&scene.certward.data(), "audit").execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
         INSERT INTO audit (at, actor, action, subject, detail) SELECT i, 'a', 'b', 'c', hex(randomblob(50)) FROM n",
    );
    let server = PostgresServer::start();
    let database = server.database();
    let mut onlooker = Onlooker::at(&database);
    let mut child = migrate(&scene)
        .args(["--to", &database])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Written in part: most rows are of the audit.
    wait_until("rows on their way", || {
        assert!(child.try_wait().unwrap().is_none(), "it has ended already");
        let writing = onlooker.count(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND query LIKE 'INSERT INTO \"audit\"%'",
        );
        (writing > 0).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the end of its transaction", || {
        let left = onlooker.count("SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL");
        (left == 0).then_some(())
    });
    assert_eq!(onlooker.count(TABLES), 0);
    // A second try finds an empty database.
    let output = run(migrate(&scene).args(["--json", "--to", &database]));
    assert!(output.status.success(), "{}", text(&output));
    let copied: Value = serde_json::from_slice(&output.stdout).unwrap();
    let audit = copied["tables"].as_array().unwrap().iter().find(|table| table["table"] == "audit").unwrap();
    assert!(audit["rows"].as_u64().unwrap() > 60_000, "{audit}");
    // The embedded store still works.
    scene.certward.serve();
    assert_eq!(scene.connect(&scene.device(), "still").unwrap().leaf(), leaf.der);
}

#[test]
fn what_stands_in_the_way_is_named_with_a_remedy() {
    let mut scene = Scene::new();
    scene.run_one_way();
    let server = PostgresServer::start();
    let database = server.database();
    let mut onlooker = Onlooker::at(&database);
    onlooker.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE poor LOGIN");
    let poor = database.replacen("certward@", "poor@", 1);
    let refused = |command: &mut Command, code: i32, words: &[&str]| {
        let output = run(command);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said} has not {words:?}");
        assert!(!said.contains("postgres://certward@") && !said.contains("CANARY"), "{said}");
    };
    refused(migrate(&scene).args(["--to", &database]), 1, &["stop it first"]);
    refused(&mut migrate(&scene), 2, &["--to"]);
    refused(migrate(&scene).args(["--to", "mysql://u:CANARY@h/d"]), 2, &["must be postgres://"]);
    refused(migrate(&scene).args(["--to-file", "/nowhere"]), 2, &["cannot read /nowhere"]);
    refused(migrate(&scene).args(["--to", "postgres://u:CANARY@127.0.0.1:1/d"]), 1, &["stop it first"]);
    assert!(scene.certward.stop().success());
    let nobody = "postgres://u:CANARY@127.0.0.1:1/d";
    refused(migrate(&scene).args(["--to", nobody]), 1, &["PostgreSQL", "nothing was copied"]);
    refused(migrate(&scene).args(["--to", &poor]), 1, &["permission denied", "may make tables"]);
    let wrong_key = "00".repeat(32);
    let mut with_wrong_key = migrate(&scene);
    with_wrong_key.env("CERTWARD_MASTER_KEY", wrong_key).args(["--to", &database]);
    refused(&mut with_wrong_key, 1, &["master key is not the one"]);
    let elsewhere = scene.certward.folder().join("elsewhere");
    let mut from_elsewhere = migrate(&scene);
    from_elsewhere.env("CERTWARD_DATA_DIR", &elsewhere).env("CERTWARD_MASTER_KEY", "11".repeat(32));
    refused(from_elsewhere.args(["--to", &database]), 1, &["there is no store in", "data_dir"]);
    assert_eq!(onlooker.count(TABLES), 0);

    // By a file, and again by the configuration.
    let file = scene.certward.folder().join("url");
    std::fs::write(&file, format!("{database}\n")).unwrap();
    let output = run(migrate(&scene).arg("--to-file").arg(&file));
    assert!(output.status.success(), "{}", text(&output));
    scene.certward.use_store(database);
    refused(&mut migrate(&scene), 1, &["has a table", "make an empty database"]);
}
