//! The commands in the documents work, and their links have targets.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use certward_tests::{Authority, Broker, certward_binary, free_port, run, workspace_root};
use tempfile::TempDir;

fn commands(document: &str) -> String {
    let text = fs::read_to_string(workspace_root().join(document)).unwrap();
    let blocks = text.split("\n```sh\n").skip(1).map(|block| block.split("\n```").next().unwrap());
    let commands = blocks.collect::<Vec<_>>().join("\n");
    assert!(!commands.is_empty(), "{document} has no commands");
    commands
}

/// A fresh machine with a broker on "port 1883".
struct Machine {
    folder: TempDir,
    broker: Broker,
    ports: [u16; 3],
}

impl Machine {
    fn new() -> Self {
        let folder = TempDir::with_prefix("certward-documents-").unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        let broker = Broker::start(folder.path());
        let ports @ [api, mqtts, wss] = std::array::from_fn(|_| free_port());
        // The default ports may be taken.
        let configuration = format!(
            "[api]\nlisten = \"127.0.0.1:{api}\"\n\
             [[gateway.listener]]\nlisten = \"127.0.0.1:{mqtts}\"\nprotocol = \"mqtts\"\n\
             [[gateway.listener]]\nlisten = \"127.0.0.1:{wss}\"\nprotocol = \"wss\"\n"
        );
        fs::write(folder.path().join("certward.toml"), configuration).unwrap();
        // So that the deploy hook finds the API.
        fs::create_dir(folder.path().join("etc")).unwrap();
        let url = format!("CERTWARD_URL = http://127.0.0.1:{api}/public_api/v1\n");
        fs::write(folder.path().join("etc/deploy.conf"), url).unwrap();
        Self { folder, broker, ports }
    }

    /// A folder of the machine's root.
    fn place(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The shell stops at the first failure and ends its jobs.
    fn types(&self, commands: &str) {
        let [api, mqtts, wss] = self.ports.map(|port| port.to_string());
        let broker = self.broker.upstream();
        let text = commands
            .replace("127.0.0.1:1883", &broker)
            .replace("8080", &api)
            .replace("8883", &mqtts)
            .replace("8084", &wss)
            .replace("/etc/certward", &self.place("etc"))
            .replace("/usr/local/bin", &self.place("bin"))
            .replace("contrib/", &format!("{}/contrib/", workspace_root().display()));
        let script = format!("set -eu -o pipefail\ntrap 'kill $(jobs -p)' EXIT\n{text}\n");
        let path = format!(
            "{}:{}:{}",
            certward_binary().parent().unwrap().display(),
            self.place("bin"),
            std::env::var("PATH").unwrap_or_default()
        );
        let mut bash = Command::new("timeout");
        bash.args(["120", "bash", "-x", "-c", &script]).current_dir(self.folder.path()).env("PATH", path);
        for name in ["CERTWARD_API_KEY", "CERTWARD_SECRET_KEY", "CERTWARD_CA_FILE"] {
            bash.env_remove(name);
        }
        bash.env("CERTWARD_DEPLOY_CONF", format!("{}/deploy.conf", self.place("etc")));
        let output = run(bash.env("CERTWARD_URL", format!("http://127.0.0.1:{api}/public_api/v1")));
        assert!(
            output.status.success(),
            "{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn the_commands_of_the_readme_work() {
    let machine = Machine::new();
    Authority::new("Test CA").server(&["localhost"]).write(machine.folder.path(), "server");
    machine.types(&commands("README.md"));
}

#[test]
fn the_commands_of_the_guide_and_of_its_sequel_work() {
    let pages = ["docs/guide.md", "docs/renewals.md"].map(commands);
    Machine::new().types(&pages.join("\n"));
}

#[test]
fn the_commands_of_the_pages_for_operators_work() {
    let begin = "certward init > admin.json\ncertward serve &\n\
                 curl -sf --retry 20 --retry-delay 1 --retry-all-errors http://127.0.0.1:8080/readyz\n\
                 export CERTWARD_API_KEY=$(jq -r .apiKey admin.json) CERTWARD_SECRET_KEY=$(jq -r .secretKey admin.json)\n";
    let pages = ["docs/backup.md", "docs/monitoring.md", "docs/audit.md", "docs/rekey.md", "docs/upgrade.md"]
        .map(commands);
    Machine::new().types(&format!("{begin}{}", pages.join("\n")));
}

#[test]
fn every_metric_is_explained() {
    let scene = certward_tests::Scene::new();
    scene.run_one_way();
    let _session = scene.connect(&scene.device(), "device").unwrap();
    scene.device().handshake(scene.certward.mqtts(), "unknown.example").expect_err("an unknown name");
    let metrics = scene.api().try_send_at("GET", "/metrics", "", "").unwrap().expect(200).body;
    let page = fs::read_to_string(workspace_root().join("docs/metrics.md")).unwrap();
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let unexplained: Vec<&str> = names.filter(|name| !page.contains(&format!("\n| `{name}` | "))).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}

#[test]
fn links_lead_somewhere() {
    let root = workspace_root();
    let mut documents: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(PathBuf::from).into();
    let docs = ["docs", "docs/lab"].into_iter().flat_map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let docs = docs.map(|entry| entry.unwrap().path());
    documents.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    for document in documents {
        let path = root.join(document);
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            if target.contains("://") {
                continue;
            }
            let target = match target {
                "" => path.clone(),
                _ => path.parent().unwrap_or(Path::new("")).join(target),
            };
            assert!(target.exists(), "{} points to {link}", path.display());
            let found = anchor.is_empty() || anchors(&target).contains(anchor);
            assert!(found, "{} points to {link}, and no heading there has this name", path.display());
        }
    }
}

/// The names that GitHub gives to the headings of a document.
fn anchors(document: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(document).unwrap();
    let mut seen = BTreeMap::<String, usize>::new();
    let mut names = BTreeSet::new();
    // Every second part is a block of code, where `#` begins a comment.
    for heading in text.split("\n```").step_by(2).flat_map(str::lines).filter(|line| line.starts_with('#')) {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = |character: &char| character.is_alphanumeric() || " -_".contains(*character);
        let name: String = title.chars().filter(kept).collect::<String>().replace(' ', "-");
        let count = seen.entry(name.clone()).or_default();
        names.insert(if *count == 0 { name } else { format!("{name}-{count}") });
        *count += 1;
    }
    names
}

#[test]
fn an_anchor_is_the_heading_in_lower_case_without_punctuation() {
    let folder = TempDir::new().unwrap();
    let document = folder.path().join("page.md");
    let text = "# `a b`, c/d\n```sh\n# no heading\n```\n## Twice\n## Twice\n";
    fs::write(&document, text).unwrap();
    assert_eq!(anchors(&document), ["a-b-cd", "twice", "twice-1"].map(str::to_owned).into());
}
