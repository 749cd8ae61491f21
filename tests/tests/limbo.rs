//! x509-limbo's client certificates against the running program.
//!
//! Tier A must match x509-limbo. docs/lab/limbo.md lists the other tiers' deviations, with reasons;
//! this test writes it (`CERTWARD_WRITE_DOCS=1 cargo test -p certward-tests --test limbo`) and
//! checks it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    process::Command,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use certward_tests::{Api, Authority, Device, Leaf, Scene, reaches_broker, workspace_root};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::Value;

const WORKERS: usize = 4;
/// A busy machine gets three tries.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
const TRIES: usize = 3;

/// A deviation on purpose: version 1, issued directly by a client CA, as in the public EMQX recipe.
const VERSION_1: &str = "webpki::v1-cert";

/// From tests/limbo/client_cases.jsonl.
struct Case {
    id: String,
    tier: String,
    expect: String,
    client_cas: String,
    chain: String,
    key: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Accepted,
    /// Refused before it was stored.
    Upload(String),
    Handshake,
}

impl Verdict {
    fn word(&self) -> &'static str {
        if *self == Self::Accepted { "accept" } else { "reject" }
    }

    fn how(&self) -> String {
        match self {
            Self::Accepted => "let in".to_owned(),
            Self::Upload(code) => {
                format!("client CA refused: [{code}](../findings.md#{})", code.to_lowercase())
            }
            Self::Handshake => "refused in the handshake".to_owned(),
        }
    }
}

fn cases() -> Vec<Case> {
    let text = fs::read_to_string(workspace_root().join("tests/limbo/client_cases.jsonl")).unwrap();
    let case = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        Case {
            id: text("id"),
            tier: text("tier"),
            expect: text("expect"),
            client_cas: text("cacert"),
            chain: text("chain"),
            key: text("key"),
        }
    };
    text.lines().map(case).collect()
}

struct Worker {
    api: Api,
    deployment: String,
    host: String,
    leaf: Leaf,
    device: Device,
    gateway: SocketAddr,
}

impl Worker {
    fn new(scene: &Scene, number: usize) -> Self {
        let (deployment, host) = (format!("limbo-{number}"), format!("limbo-{number}.example"));
        scene.api().create_deployment(&deployment, &scene.broker.upstream(), &[&host]);
        let leaf = scene.authority.server(&[&host]);
        scene.api().post_tls(&deployment, &leaf.one_way()).expect(200);
        let (api, device, gateway) = (scene.api(), scene.device(), scene.certward.mqtts());
        Self { api, deployment, host, leaf, device, gateway }
    }

    /// Sets the client trust, and connects with TLS 1.2 and 1.3.
    fn try_case(&self, case: &Case) -> Verdict {
        let answer = self.api.put_tls(&self.deployment, &self.leaf.two_way(&case.client_cas));
        if answer.status == 422 {
            return Verdict::Upload(answer.code());
        }
        answer.expect(200);
        self.api.wait_running(&self.deployment);
        let [new, old] = [true, false].map(|tls13| self.knock_in_time(case, tls13));
        assert_eq!(new, old, "{}: TLS 1.3 and 1.2 do not agree", case.id);
        if new { Verdict::Accepted } else { Verdict::Handshake }
    }

    fn knock_in_time(&self, case: &Case, tls13: bool) -> bool {
        for _ in 0..TRIES {
            let began = Instant::now();
            let let_in = self.connects(case, tls13);
            if began.elapsed() < ANSWER_WITHIN {
                return let_in;
            }
        }
        panic!("{}: {TRIES} times no answer within {ANSWER_WITHIN:?}", case.id);
    }

    fn connects(&self, case: &Case, tls13: bool) -> bool {
        let usable = PrivateKeyDer::from_pem_slice(case.key.as_bytes())
            .is_ok_and(|key| any_supported_type(&key).is_ok());
        if !usable {
            return self.connects_with_openssl(case, tls13);
        }
        let device = self.device.clone().with_identity(&Leaf::from_pem(&case.chain, &case.key));
        let device = if tls13 { device.with_tls13() } else { device.with_tls12() };
        device.connect(self.gateway, &self.host, "limbo").is_ok()
    }

    /// Only openssl accepts DSA, P-192 and RSA of 1024 bits.
    fn connects_with_openssl(&self, case: &Case, tls13: bool) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        fs::write(&chain, &case.chain).unwrap();
        fs::write(&key, &case.key).unwrap();
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-no_ign_eof", "-connect", &self.gateway.to_string()]);
        command.args(["-servername", &self.host, "-cipher", "ALL:@SECLEVEL=0"]);
        command.arg(if tls13 { "-tls1_3" } else { "-tls1_2" });
        command.arg("-cert").arg(&chain).arg("-cert_chain").arg(&chain).arg("-key").arg(&key);
        reaches_broker(&mut command).0
    }
}

fn run_all(cases: &[Case]) -> BTreeMap<String, Verdict> {
    let scene = Scene::new();
    let workers: Vec<Worker> = (0..WORKERS).map(|number| Worker::new(&scene, number)).collect();
    let (next, verdicts) = (Mutex::new(cases.iter()), Mutex::new(BTreeMap::new()));
    let work = |worker: &Worker| {
        loop {
            let Some(case) = next.lock().unwrap().next() else { return };
            let verdict = worker.try_case(case);
            verdicts.lock().unwrap().insert(case.id.clone(), verdict);
        }
    };
    thread::scope(|scope| workers.iter().for_each(|worker| drop(scope.spawn(|| work(worker)))));
    // The program still works.
    let clients = Authority::new("Device CA");
    scene.run_two_way(&clients);
    let device = scene.device().with_identity(&clients.client("device"));
    scene.connect(&device, "after").unwrap();
    verdicts.into_inner().unwrap()
}

#[test]
fn client_certificates_are_judged_as_x509_limbo_expects() {
    let cases = cases();
    assert_eq!(cases.len(), 178);
    assert_eq!(cases.iter().filter(|case| case.tier == "A").count(), 94);
    let verdicts = run_all(&cases);
    let wrong: Vec<_> = cases
        .iter()
        .filter(|case| case.tier == "A" && case.id != VERSION_1 && verdicts[&case.id].word() != case.expect)
        .map(|case| format!("{}: {} expected, {:?}", case.id, case.expect, verdicts[&case.id]))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(verdicts[VERSION_1], Verdict::Accepted);
    let page = page(&cases, &verdicts);
    let file = workspace_root().join("docs/lab/limbo.md");
    if std::env::var_os("CERTWARD_WRITE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(written == page, "docs/lab/limbo.md is not what this run shows; see the comment of this file");
}

fn page(cases: &[Case], verdicts: &BTreeMap<String, Verdict>) -> String {
    let mut page = INTRODUCTION.to_owned();
    for (tier, what) in TIERS {
        let of_tier: Vec<_> = cases.iter().filter(|case| case.tier == tier).collect();
        let agree = of_tier.iter().filter(|case| verdicts[&case.id].word() == case.expect).count();
        let agree = if tier == "I" { "-".to_owned() } else { agree.to_string() };
        writeln!(page, "| {tier} | {what} | {} | {agree} |", of_tier.len()).unwrap();
    }
    page.push_str(ABOUT_VERSION_1);
    for tier in ["B", "C"] {
        writeln!(page, "\n## Tier {tier}\n\n| case | expected | certward | why |\n|---|---|---|---|")
            .unwrap();
        for case in cases.iter().filter(|case| case.tier == tier) {
            let verdict = &verdicts[&case.id];
            let why = if verdict.word() == case.expect { "as expected" } else { reason(&case.id) };
            writeln!(page, "| `{}` | {} | {} | {why} |", case.id, case.expect, verdict.how()).unwrap();
        }
    }
    page
}

fn reason(id: &str) -> &'static str {
    let found = REASONS.iter().find(|(part, _)| id.contains(part));
    found.unwrap_or_else(|| panic!("{id} deviates without a reason in the list")).1
}

const INTRODUCTION: &str = "\
# Client certificates: what x509-limbo finds

[x509-limbo](https://x509-limbo.com) is a public collection of certificate chains, good and bad,
with the verdict of RFC 5280 and of the rules of the web. Its 178 cases for client authentication
are run against the program: each case's CA becomes the client trust of a two-way deployment, and a
device connects with the case's chain in TLS 1.3 and TLS 1.2. It is let in when its CONNECT reaches
the broker. No case hangs or takes half a second, and both versions of TLS agree on all. The test
`tests/tests/limbo.rs` writes this page and fails when it is no longer true.

| tier | what is in it | cases | answered as expected |
|---|---|---|---|
";

const ABOUT_VERSION_1: &str = "
The one case of tier A that is answered otherwise is `webpki::v1-cert`: a device's certificate of
X.509 version 1, issued directly by a client CA. The public EMQX recipe makes such certificates, so
certward lets them in, and only these: end entities, signed by a client CA itself and not by an
intermediate, valid now, with proof of the key.
";

const TIERS: [(&str, &str); 5] = [
    ("A", "what every server must get right"),
    ("B", "where webpki and OpenSSL disagree, or only OpenSSL's strict mode minds"),
    ("C", "where webpki and OpenSSL agree with each other and not with x509-limbo"),
    ("CRL", "revocation lists, which certward does not take yet: the certificates are judged without them"),
    ("I", "names of servers, which mean nothing for a client: no expectation"),
];

/// Part of a case's id, and the reason.
const REASONS: &[(&str, &str)] = &[
    (
        "self-issued-certs-pathlen",
        "webpki counts self-issued intermediates against the path length: stricter, never wider",
    ),
    (
        "nc-dos-3",
        "valid but for its size: 2048 constraints and many names stay within webpki's budget, and the answer comes in time",
    ),
    ("aki::critical-aki", ROOT),
    ("missing-aki", "the authority key identifier only helps to find an issuer; the signature decides"),
    ("permitted-dn-match", "webpki knows no directory name constraints and refuses what it cannot check"),
    (
        "nc::permitted-self-issued",
        "webpki holds self-issued intermediates to name constraints too: stricter, never wider",
    ),
    ("nc-permits-email", "webpki knows no email constraints and refuses what it cannot check"),
    ("ski::", "the subject key identifier only helps to find an issuer; the signature decides"),
    ("ca-empty-subject", "the operator named this CA by uploading it; the signature decides"),
    ("unknown-critical-extension-root", ROOT),
    ("root-non-critical-basic-constraints", ROOT),
    (
        "leaf-ku-keycertsign",
        "the basic constraints say that it is no CA, so it issues nothing; as a client it is what it is",
    ),
    ("webpki::aki::root-with-aki", ROOT),
    ("ignores-pathlen-in-leaf", CA_AS_DEVICE),
    (
        "permitted-dns-match-noncritical",
        "the constraint is honoured all the same; only its flag is not as it should be",
    ),
    ("invalid-dnsname-leading-period", "read as its authors mean it: all names below the domain"),
    ("not-allowed-in-ee", "a device issues nothing, so constraints in its certificate constrain nothing"),
    ("ica-noncritical-pc", "no policy is asked for, so none can be missing"),
    ("serial::", "a serial number that is odd in form takes nothing from the signature over it"),
    ("notafter-fractional", "the case was made for a day of 2024; today the CA is expired"),
    ("rfc5280::ca-as-leaf", CA_AS_DEVICE),
    ("eku::ee-anyeku", "`anyExtendedKeyUsage` includes client authentication (RFC 5280 §4.2.1.12)"),
    (
        "eku::ee-critical-eku",
        "RFC 5280 allows the extension to be critical, and it includes client authentication",
    ),
    (
        "eku::ee-without-eku",
        "without the extension a certificate is for any use (RFC 5280 §4.2.1.12), and many devices' have none",
    ),
    ("eku::root-has-eku", ROOT),
    ("intermediate-permitted-excluded-subtrees", "constraints that list nothing constrain nothing"),
    ("malformed-aia", "certward follows no address in a certificate, so it does not read them either"),
    ("forbidden-rsa", "an odd length is a rule of the web's CAs; the key is longer than 2048 bits"),
];

const ROOT: &str =
    "a client CA is trusted because the operator uploaded it: its subject and key count, not its form";
const CA_AS_DEVICE: &str =
    "a CA's certificate is no device's: the owner of that CA would pass as one of its devices";
