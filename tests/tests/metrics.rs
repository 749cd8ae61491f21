//! `/metrics` as Prometheus' own tool sees it, and what is in contrib/ for it.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    process::{Command, Stdio},
};

use certward_tests::{Process, Scene, Setup, free_port, run, wait_until, workspace_root};
use serde_json::Value;

fn page(scene: &Scene) -> String {
    scene.api().try_send_at("GET", "/metrics", "", "").unwrap().expect(200).body
}

/// Names with labels.
fn series(page: &str) -> BTreeSet<&str> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').expect("a value").0).collect()
}

fn value(page: &str, series: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap_or_else(|_| panic!("{series}: {line}")))
}

/// A device that is served, one that names an unknown host, and requests that are refused.
fn make_traffic(scene: &Scene) {
    let mut session = scene.connect(&scene.device(), "device").unwrap();
    session.ping().unwrap();
    scene.device().handshake(scene.certward.mqtts(), "unknown.example").expect_err("an unknown name");
    scene.api().get("/deployments/none").expect(404);
    scene.api().get("/nothing").expect(404);
}

fn promtool(arguments: &[&str], input: Option<&str>) {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(workspace_root().join("contrib/prometheus"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool is installed (scripts/test)");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.unwrap_or_default().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    assert!(input.is_none() || said.is_empty(), "promtool {arguments:?}: {said}");
}

#[test]
fn promtool_finds_nothing_to_say_about_the_metrics() {
    let scene = Scene::with(Setup { per_deployment_metrics: true, ..Setup::default() });
    promtool(&["check", "metrics"], Some(&page(&scene)));
    scene.run_one_way();
    make_traffic(&scene);
    promtool(&["check", "metrics"], Some(&page(&scene)));
}

#[test]
fn the_alert_rules_are_right_and_each_fires_in_a_test() {
    promtool(&["check", "rules", "certward.rules.yml"], None);
    promtool(&["test", "rules", "certward.rules.test.yml"], None);
    let read =
        |name: &str| fs::read_to_string(workspace_root().join("contrib/prometheus").join(name)).unwrap();
    let (rules, tests) = (read("certward.rules.yml"), read("certward.rules.test.yml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 15, "{alerts:?}");
    for alert in alerts {
        let fires = tests
            .split("- name: ")
            .any(|test| test.starts_with(&format!("{alert}\n")) && test.contains("exp_alerts:"));
        assert!(fires, "{alert} fires in no test");
    }
}

#[test]
fn the_dashboard_can_be_imported() {
    let text = fs::read_to_string(workspace_root().join("contrib/grafana/certward.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(dashboard["title"], "certward");
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has its own id");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
    }
}

/// Each query of the dashboard, in Prometheus itself: those that filter by `> 0` may be empty.
#[test]
fn each_panel_of_the_dashboard_has_data() {
    let scene = Scene::new();
    scene.run_one_way();
    make_traffic(&scene);
    let folder = tempfile::tempdir().unwrap();
    let (port, target) = (free_port(), scene.api().address);
    let config = format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs: [{{job_name: certward, static_configs: [{{targets: [\"{target}\"]}}]}}]\n"
    );
    fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    let mut command = Command::new("prometheus");
    command.current_dir(folder.path()).args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let _prometheus = Process::start("prometheus", folder.path(), &mut command);
    let answer = |query: &str| -> Option<Value> {
        let url = format!("http://127.0.0.1:{port}/api/v1/query");
        let query = format!("query={query}");
        let output = run(Command::new("curl").args(["-s", "--get", &url, "--data-urlencode", &query]));
        serde_json::from_slice(&output.stdout).ok()
    };
    let points = |query: &str| Some(answer(query)?["data"]["result"].as_array()?.len());
    wait_until("scrapes", || {
        make_traffic(&scene);
        let scrapes = answer("count_over_time(certward_build_info[1m])")?;
        let count: f64 = scrapes["data"]["result"][0]["value"][1].as_str()?.parse().ok()?;
        (count >= 4.0).then_some(())
    });
    let text = fs::read_to_string(workspace_root().join("contrib/grafana/certward.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let targets =
        dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array());
    // Of the API's HTTPS, and counted at most every 30 s.
    let may_be_empty = ["certward_api_certificate_expiry", "certward_certificate_earliest_expiry"];
    let mut empty = Vec::new();
    for target in targets.flatten() {
        let query = target["expr"].as_str().unwrap();
        let query =
            query.replace("$job", "certward").replace("$instance", ".*").replace("$__rate_interval", "30s");
        let filtered = query.ends_with(" > 0") || may_be_empty.iter().any(|name| query.contains(name));
        match points(&query) {
            None => panic!("{query}: {:?}", answer(&query)),
            Some(0) if !filtered => empty.push(query),
            Some(_) => {}
        }
    }
    assert!(empty.is_empty(), "{empty:#?}");
}

#[test]
fn every_series_but_the_statuses_of_requests_exists_before_its_first_event() {
    let scene = Scene::new();
    let before = page(&scene);
    scene.run_one_way();
    make_traffic(&scene);
    let after = page(&scene);
    let known = series(&before);
    // Absent until there are certificates, which a later count finds.
    let may_come = [
        "certward_api_requests_total",
        "certward_certificate_earliest_expiry",
        "certward_certificates_counted",
    ];
    let new: Vec<_> = series(&after)
        .into_iter()
        .filter(|series| !known.contains(series) && !may_come.iter().any(|name| series.starts_with(name)))
        .collect();
    assert!(new.is_empty(), "{new:#?}");
}

#[test]
fn traffic_changes_and_the_process_itself_are_measured() {
    let scene = Scene::new();
    scene.run_one_way();
    make_traffic(&scene);
    let page = page(&scene);
    let positive = [
        "certward_build_info{version=\"0.1.0\"}",
        "certward_change_to_running_seconds_count",
        "certward_gateway_handshake_seconds_count{resumed=\"false\"}",
        "certward_gateway_proof_seconds_count{result=\"ok\"}",
        "certward_gateway_relayed_bytes_total{direction=\"to_broker\"}",
        "certward_gateway_relayed_bytes_total{direction=\"to_device\"}",
        "certward_gateway_upstream_connect_seconds_count",
        "certward_store_operation_seconds_count{kind=\"read\"}",
        "certward_store_operation_seconds_count{kind=\"write\"}",
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_threads",
        "process_virtual_memory_bytes",
    ];
    for series in positive {
        assert!(value(&page, series).is_some_and(|value| value > 0.0), "{series}: {page}");
    }
    assert_eq!(value(&page, "certward_change_to_running_seconds_count"), Some(1.0));
    assert_eq!(value(&page, "certward_store_errors_total{kind=\"read\"}"), Some(0.0));
    assert_eq!(value(&page, "certward_store_errors_total{kind=\"write\"}"), Some(0.0));
    let unknown = "certward_gateway_handshake_failures_total{cause=\"unknown_name\"}";
    assert_eq!(value(&page, unknown), Some(1.0));
}

#[test]
fn what_ends_is_counted_and_shown_for_each_deployment_if_wanted() {
    let mut scene = Scene::with(Setup { per_deployment_metrics: true, ..Setup::default() });
    let counted = |scene: &Scene| {
        wait_until("the first count", || {
            let page = page(scene);
            value(&page, "certward_certificates_counted_timestamp_seconds").map(|_| page)
        })
    };
    let earliest = "certward_certificate_earliest_expiry_timestamp_seconds";
    let of_the_api = "certward_api_certificate_expiry_timestamp_seconds";
    let of_it = "certward_deployment_certificate_expiry_timestamp_seconds{deployment=\"ge6a1a75\"}";
    let before = counted(&scene);
    // A 0 would fire an alert.
    for absent in [earliest, of_the_api, of_it] {
        assert_eq!(value(&before, absent), None, "{absent}");
    }
    scene.run_one_way();
    // It counts at its start.
    assert!(scene.certward.stop().success());
    scene.certward.serve();
    let after = counted(&scene);
    assert_eq!(value(&after, "certward_certificates{status=\"running\"}"), Some(1.0));
    assert_eq!(value(&after, "certward_certificates_expired{kind=\"leaf\"}"), Some(0.0));
    assert!(value(&after, earliest).is_some_and(|ends| ends > 1e9), "{after}");
    assert_eq!(value(&after, of_it), value(&after, earliest));
    assert_eq!(value(&after, "certward_deployment_certificates_left_out"), Some(0.0));
}
