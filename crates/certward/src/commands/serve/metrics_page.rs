//! docs/metrics.md is made from the metrics themselves; contrib/ names metrics that exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

use certward_gateway::NodeReplica;
use certward_lifecycle::SystemEntropy;
use certward_store::{
    Address, DeploymentId, EndingCount, FirstExpiries, MasterKey, Replica, StatusCounts, Store, SystemClock,
    Timestamp,
};
use prometheus_client::encoding::text::encode;

use super::{bound_node::BoundNode, takeover::InheritedSockets};
use crate::{config::Config, node_id::HeldNodeId};

const NOT_GENERATED: &str = "docs/metrics.md is not what the program says; run CERTWARD_WRITE_DOCS=1 cargo test -p certward metrics_md";

/// Their values are not all there from the start.
const OPEN_LABELS: [(&str, &str); 5] = [
    ("certward_api_requests", "method"),
    ("certward_api_requests", "route"),
    ("certward_api_requests", "status"),
    ("certward_build", "version"),
    ("certward_deployment_certificate_expiry_timestamp_seconds", "deployment"),
];

/// Longer lists of values are elsewhere, or long.
const VALUES_MAX: usize = 24;

#[derive(Debug, Default)]
struct MetricDoc {
    help: String,
    kind: String,
    unit: String,
    /// Values of each label.
    labels: BTreeMap<String, BTreeSet<LabelValue>>,
}

/// `7d` stands before `30d`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LabelValue(u64, String);

impl LabelValue {
    fn of(text: &str) -> Self {
        let number = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        Self(number.parse().unwrap_or(0), text.to_owned())
    }
}

/// The metrics of a node with everything on, as OpenMetrics.
async fn page_of_everything() -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    config.api.listen = any;
    let listeners = "[[listener]]\nlisten = \"127.0.0.1:0\"\nprotocol = \"mqtts\"\n";
    config.gateway = toml::from_str(listeners).unwrap();
    config.metrics.per_deployment = true;
    let master_key = MasterKey::generate();
    let address = Address::Embedded(config.data_dir.clone());
    let store = Store::init(&address, &master_key, Arc::new(SystemClock)).await.unwrap();
    let node = HeldNodeId::take(&config.data_dir, &SystemEntropy).unwrap();
    let replica = NodeReplica { replica: Replica::at(folder.path(), &master_key), mark: None };
    let sockets = InheritedSockets::from_systemd();
    let bound = BoundNode::bind(&config, &store, node, Some(replica), sockets).unwrap();
    let counts = StatusCounts { earliest_not_after: Some(Timestamp(1)), ..StatusCounts::default() };
    let first = vec![(DeploymentId::parse("ge6a1a75").unwrap(), Timestamp(1))];
    bound.counts.set(&counts, &EndingCount::none(), Timestamp(1), Some(FirstExpiries { first, left_out: 0 }));
    let mut text = String::new();
    encode(&mut text, &bound.registry).unwrap();
    store.close().await;
    text
}

/// Metrics by their name in OpenMetrics.
fn described(page: &str) -> BTreeMap<String, MetricDoc> {
    let mut metrics = BTreeMap::<String, MetricDoc>::new();
    let mut current = String::new();
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), help) => {
                name.clone_into(&mut current);
                let known = metrics.insert(current.clone(), MetricDoc::default());
                assert!(known.is_none(), "{name} is registered twice");
                metrics.get_mut(name).unwrap().help = help.unwrap_or_default().to_owned();
            }
            (Some("#"), Some("TYPE"), Some(_), Some(kind)) => {
                kind.clone_into(&mut metrics.get_mut(&current).unwrap().kind);
            }
            (Some("#"), Some("UNIT"), Some(_), Some(unit)) => {
                unit.clone_into(&mut metrics.get_mut(&current).unwrap().unit);
            }
            (Some("#"), ..) => {}
            _ => {
                let metric = metrics.get_mut(&current).unwrap();
                assert!(line.starts_with(current.as_str()), "{line} is not of {current}");
                for (name, value) in labels(line) {
                    metric.labels.entry(name).or_default().insert(LabelValue::of(&value));
                }
            }
        }
    }
    metrics
}

/// No value has a comma or an escape.
fn labels(line: &str) -> Vec<(String, String)> {
    let Some((_, rest)) = line.split_once('{') else { return Vec::new() };
    let (labels, _) = rest.rsplit_once('}').unwrap();
    let labels = labels.split(',').map(|label| label.split_once('=').unwrap());
    labels.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}

/// The name that queries use; of a histogram, without the suffixes of its three.
fn sample_name(name: &str, kind: &str) -> String {
    match kind {
        "counter" => format!("{name}_total"),
        "info" => format!("{name}_info"),
        _ => name.to_owned(),
    }
}

fn metrics_md(metrics: &BTreeMap<String, MetricDoc>) -> String {
    let mut page = "# Metrics\n\n\
        All metrics of `/metrics` ([monitoring.md](monitoring.md#metrics)). A histogram `x` has the series\n\
        `x_bucket`, `x_sum` and `x_count`. Labels are closed lists: their series exist from the start, at 0,\n\
        except where a row says otherwise. Counters begin at 0 with each start of the program.\n\n\
        This page is made from the program: `CERTWARD_WRITE_DOCS=1 cargo test -p certward metrics_md`.\n"
        .to_owned();
    for (title, prefixes) in [
        (
            "Certificates",
            &["certward_certificate", "certward_change", "certward_crl", "certward_deployment"][..],
        ),
        ("Alerts", &["certward_alert"]),
        ("Gateway", &["certward_gateway"]),
        ("API", &["certward_api"]),
        ("Store", &["certward_store"]),
        ("Process", &["certward_build", "process_"]),
    ] {
        let _ = write!(
            page,
            "\n## {title}\n\n| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n"
        );
        let here = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        for (name, metric) in metrics.iter().filter(|(name, _)| here(name)) {
            let shown = sample_name(name, &metric.kind);
            let kind = if metric.kind == "info" { "gauge" } else { &metric.kind };
            let labels = metric.labels.iter().filter(|(label, _)| *label != "le").map(|(label, values)| {
                if OPEN_LABELS.contains(&(name.as_str(), label.as_str())) {
                    return format!("`{label}`");
                }
                if values.len() > VALUES_MAX {
                    return format!("`{label}`: {} values", values.len());
                }
                let values: Vec<&str> = values.iter().map(|LabelValue(_, text)| text.as_str()).collect();
                format!("`{label}`: {}", values.join(", "))
            });
            let labels = labels.collect::<Vec<_>>().join("; ");
            let MetricDoc { help, unit, .. } = metric;
            let _ = writeln!(page, "| `{shown}` | {kind} | {unit} | {labels} | {help} |");
        }
    }
    page
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

/// `CERTWARD_WRITE_DOCS=1 cargo test -p certward metrics_md` writes docs/metrics.md.
#[tokio::test]
async fn metrics_md_is_what_the_program_says() {
    let metrics = described(&page_of_everything().await);
    for (name, metric) in &metrics {
        let help = metric.help.as_str();
        assert!(help.len() > 5 && help.ends_with('.') && !help.ends_with(".."), "{name}: {help:?}");
        // The text format and OpenMetrics escape them differently.
        assert!(!help.contains(['"', '\\', '|']), "{name}: {help:?}");
        assert!(!["", "unknown"].contains(&metric.kind.as_str()), "{name}");
        let named_unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
        assert_eq!(metric.unit, named_unit.unwrap_or_default(), "{name}");
    }
    let page = metrics_md(&metrics);
    let missing = metrics.iter().map(|(name, metric)| sample_name(name, &metric.kind));
    let missing: Vec<_> = missing.filter(|name| !page.contains(&format!("| `{name}` |"))).collect();
    assert!(missing.is_empty(), "no section has {missing:?}");
    let path = repository("docs/metrics.md");
    if std::env::var_os("CERTWARD_WRITE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert!(fs::read_to_string(path).unwrap_or_default() == page, "{NOT_GENERATED}");
}

/// Labels of queries with their values, of metrics whose labels are closed lists.
fn unknown_labels(text: &str, metrics: &BTreeMap<String, MetricDoc>) -> Vec<String> {
    let text = text.replace("\\\"", "\"");
    let mut unknown = Vec::new();
    for (name, metric) in metrics {
        let sample_name = sample_name(name, &metric.kind);
        let selectors = text.split(&sample_name).skip(1);
        let selectors = selectors.filter_map(|rest| rest.strip_prefix('{')?.split('}').next());
        for matcher in selectors.flat_map(|selector| selector.split(',')) {
            let (label, values) = matcher.split_once(['=', '!']).unwrap();
            let (label, values) = (label.trim(), values.trim_start_matches(['=', '~']).trim_matches('"'));
            if ["job", "instance"].contains(&label) || OPEN_LABELS.contains(&(name.as_str(), label)) {
                continue;
            }
            let known = metric.labels.get(label);
            let is_known = |value: &str| known.is_some_and(|known| known.contains(&LabelValue::of(value)));
            unknown.extend(
                values
                    .split('|')
                    .filter(|value| !is_known(value))
                    .map(|value| format!("{name}: {label}={value}")),
            );
        }
    }
    unknown
}

#[test]
fn a_label_or_value_that_does_not_exist_is_found() {
    let page = "# HELP a A.\n# TYPE a counter\na_total{cause=\"x\"} 0\na_total{cause=\"y\"} 0\n# EOF\n";
    let metrics = described(page);
    let unknown = |query: &str| unknown_labels(query, &metrics);
    assert!(unknown("rate(a_total{cause=~\"x|y\", job=\"certward\"}[5m])").is_empty());
    assert_eq!(unknown("a_total{cause!~\"x|z\"} > a_total{reason=\"x\"}"), ["a: cause=z", "a: reason=x"]);
    assert_eq!(unknown(r#""expr": "a_total{cause=\"none\"}""#), ["a: cause=none"]);
}

#[tokio::test]
async fn dashboard_and_alert_rules_name_metrics_that_exist() {
    let metrics = described(&page_of_everything().await);
    let mut known = BTreeSet::new();
    for (name, metric) in &metrics {
        match metric.kind.as_str() {
            "histogram" => known.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}"))),
            kind => _ = known.insert(sample_name(name, kind)),
        }
    }
    for file in
        ["contrib/prometheus/certward.rules.yml", "contrib/grafana/certward.json", "docs/monitoring.md"]
    {
        let text = fs::read_to_string(repository(file)).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: BTreeSet<&str> =
            words.filter(|word| word.starts_with("certward_") || word.starts_with("process_")).collect();
        assert!(named.len() > 5, "{file} names {named:?}");
        // A page names a histogram as a whole.
        let is_page = file.ends_with(".md");
        let is_known = |name: &str| known.contains(name) || (is_page && metrics.contains_key(name));
        let unknown: Vec<_> = named.into_iter().filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
        if !is_page {
            assert_eq!(unknown_labels(&text, &metrics), Vec::<String>::new(), "{file}");
        }
    }
}
