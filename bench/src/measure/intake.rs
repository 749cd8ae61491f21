//! What judging an upload costs: normal and hostile ones, and its share of a PUT.

use std::time::{Duration, Instant};

use certward_pki::{Circumstances, HostName, Judgement, Profile, Text, Upload, judge};
use certward_tests::{Authority, Scene};
use rcgen::KeyPair;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    judge::Series,
    results::{Report, Table, Value},
};

const SPAN: Duration = Duration::from_secs(2);
const CHANGES: usize = 100;

pub(crate) fn measure() -> Report {
    let mut report = Report::new("intake");
    let root = Authority::new("Root");
    let intermediate = root.intermediate("Intermediate");
    let leaf = intermediate.server(&[Scene::HOST]);
    let rsa_key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let rsa = intermediate.server_for(Scene::HOST, &[Scene::HOST], rsa_key);
    let full = |chain: &str| format!("{chain}{}", root.pem());
    let hundred_cas: String =
        (0..100).map(|n| Authority::new(&format!("Clients {n}")).pem().to_owned()).collect();
    let stranger = intermediate.server(&[Scene::HOST]).key_pem;
    let size = 80 * 1024;
    let uploads = [
        ("leaf, intermediate and root, P-256", upload(&full(&leaf.chain_pem), &leaf.key_pem, "")),
        ("leaf, intermediate and root, RSA 2048", upload(&full(&rsa.chain_pem), &rsa.key_pem, "")),
        (
            "the same with P-256 and 100 client CAs",
            upload(&full(&leaf.chain_pem), &leaf.key_pem, &hundred_cas),
        ),
        ("refused: another key", upload(&full(&leaf.chain_pem), &stranger, "")),
        (
            "refused: 80 KiB of dashes in each field",
            upload(&"-".repeat(size), &"-".repeat(size), &"-".repeat(size)),
        ),
        (
            "refused: 80 KiB of base64 in each field",
            upload(&"A".repeat(size), &"A".repeat(size), &"A".repeat(size)),
        ),
        ("refused: ten CAs of one name", upload(&same_name(10), &leaf.key_pem, "")),
    ];
    report.text("In process, on one core.");
    let mut table = Table::default();
    for (name, upload) in &uploads {
        let times = Series::ms(judged_over_and_over(upload));
        table.row([
            ("upload", (*name).into()),
            ("a second", (1e3 * times.len() as f64 / times.sum()).into()),
            ("ms", Value::Percentiles(times)),
        ]);
    }
    report.table(table);
    share_of_a_put(&mut report);
    report
}

fn judged_over_and_over(upload: &Upload) -> Vec<Duration> {
    let (begun, mut times) = (Instant::now(), vec![]);
    while begun.elapsed() < SPAN {
        let begun = Instant::now();
        std::hint::black_box(judged(upload));
        times.push(begun.elapsed());
    }
    times
}

fn judged(upload: &Upload) -> Judgement {
    let hosts = [HostName::parse(Scene::HOST).expect("a host")];
    // Within the tests' certificates' validity, without the cost of the clock.
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time");
    judge(
        upload,
        &Circumstances { now, hosts: &hosts, entry_point: Ok(()), replaces: None, profile: Profile::Default },
    )
}

fn share_of_a_put(report: &mut Report) {
    let scene = Scene::new();
    scene.run_one_way();
    let (mut refused, mut accepted, mut judgements) = (vec![], vec![], vec![]);
    for _ in 0..CHANGES {
        let (leaf, other) = (scene.leaf(), scene.leaf());
        let mut body = leaf.one_way();
        body["key"] = other.key_pem.into();
        let begun = Instant::now();
        scene.api().put_tls(Scene::DEPLOYMENT, &body).expect(422);
        refused.push(begun.elapsed());
        let begun = Instant::now();
        scene.api().put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
        accepted.push(begun.elapsed());
        let upload = upload(&leaf.chain_pem, &leaf.key_pem, "");
        let begun = Instant::now();
        std::hint::black_box(judged(&upload));
        judgements.push(begun.elapsed());
    }
    let [refused, accepted, judgements] = [refused, accepted, judgements].map(Series::ms);
    let share = 100.0 * judgements.sum() / accepted.sum();
    report.text(format!(
        "The whole program, {CHANGES} PUTs of each kind, a new connection for each, one P-256 leaf."
    ));
    let mut table = Table::default();
    let mut row = |name: &str, times| table.row([("", name.into()), ("ms", Value::Percentiles(times))]);
    row("a PUT that is refused (another key)", refused);
    row("a PUT that is accepted, durable", accepted);
    row("the judgement alone", judgements);
    report.table(table);
    report.text(format!("The judgement is {share:.1} % of an accepted PUT."));
}

/// Every signature is tried with every key.
fn same_name(count: usize) -> String {
    (0..count).map(|_| Authority::new("One Name").pem().to_owned()).collect()
}

fn upload(cert: &str, key: &str, cacert: &str) -> Upload {
    let text = |text: &str| Text::Given(Zeroizing::new(text.to_owned()));
    Upload {
        tls_type: text(if cacert.is_empty() { "one-way" } else { "two-way" }),
        cert: text(cert),
        key: text(key),
        cacert: text(cacert),
        ..Upload::default()
    }
}
