//! Uploads: a refused one changes nothing, an accepted one is served, a hostile one is cheap.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use certward_tests::{Api, Authority, Leaf, Scene};
use rcgen::KeyPair;
use serde_json::{Value, json};

#[test]
fn a_refused_upload_changes_neither_the_state_nor_the_served_certificate() {
    let scene = Scene::new();
    let served = scene.run_one_way();
    let before = scene.api().tls(Scene::DEPLOYMENT).json();
    for (body, code) in refused(&scene) {
        let answer = scene.api().put_tls(Scene::DEPLOYMENT, &body).expect(422);
        assert_eq!(answer.code(), code);
        assert_eq!(scene.api().tls(Scene::DEPLOYMENT).json(), before, "{code}");
    }
    let session = scene.connect(&scene.device(), "device").unwrap();
    assert_eq!(session.leaf(), served.der);
}

fn refused(scene: &Scene) -> Vec<(Value, &'static str)> {
    let good = scene.leaf();
    let other = scene.leaf();
    let expired = scene
        .authority
        .server_with(&[Scene::HOST], |params| params.not_after = rcgen::date_time_ymd(2024, 2, 1));
    let with = |field: &str, value: Value| {
        let mut body = good.one_way();
        body[field] = value;
        body
    };
    // The scalar is 1, 2, 3, …; the curve is secp256k1.
    let other_curve = "-----BEGIN EC PRIVATE KEY-----\nMC4CAQEEIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8goAcGBSuBBAAK\n-----END EC PRIVATE KEY-----\n";
    vec![
        (with("tlsType", json!("both-ways")), "TLS_TYPE_INVALID"),
        (with("tlsType", json!("two-way")), "CA_MISSING"),
        (with("cacert", json!(scene.authority.pem())), "CA_UNEXPECTED"),
        (with("cert", json!("")), "CERT_MISSING"),
        (with("cert", json!(["a"])), "NOT_TEXT"),
        (with("cert", json!("/etc/ssl/server.pem")), "FORMAT_PATH"),
        (with("cert", json!(good.chain_pem.replace("MII", "MII...").as_str())), "PEM_SHORTENED"),
        (with("cert", json!(good.chain_pem.repeat(300))), "TOO_MANY_BLOCKS"),
        (expired.one_way(), "LEAF_EXPIRED"),
        (with("key", json!(other.key_pem)), "KEY_MISMATCH"),
        (with("key", json!(other_curve)), "KEY_CURVE_UNSUPPORTED"),
        (
            with(
                "key",
                json!("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----"),
            ),
            "KEY_ENCRYPTED",
        ),
        (scene.authority.client("a client").one_way(), "LEAF_NOT_FOR_SERVERS"),
    ]
}

#[test]
fn an_encrypted_key_is_served_with_its_password_and_the_password_is_kept_nowhere() {
    const PASSWORD: &str = "correct horse battery staple";
    let scene = Scene::new();
    scene.run_one_way();
    let leaf = scene.leaf();
    let mut body = leaf.one_way();
    body["key"] = encrypted(&leaf, PASSWORD).into();
    let refused = scene.api().put_tls(Scene::DEPLOYMENT, &body).expect(422);
    assert_eq!(refused.code(), "KEY_ENCRYPTED");
    body["keyPassword"] = "wrong".into();
    assert_eq!(scene.api().put_tls(Scene::DEPLOYMENT, &body).expect(422).code(), "KEY_PASSWORD_WRONG");
    body["keyPassword"] = PASSWORD.into();
    scene.api().put_tls(Scene::DEPLOYMENT, &body).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    assert_eq!(scene.connect(&scene.device(), "device").unwrap().leaf(), leaf.der);
    assert!(!scene.certward.log().contains("horse"));
    let files = files(&scene.certward.data());
    assert!(files.iter().any(|file| file.ends_with("store.db")), "{files:?}");
    for file in files {
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(!bytes.windows(5).any(|window| window == b"horse"), "{}", file.display());
    }
}

/// Sockets are no files.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let of_entry = |entry: std::fs::DirEntry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => files(&entry.path()),
        kind if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    };
    entries.flat_map(of_entry).collect()
}

fn encrypted(leaf: &Leaf, password: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (_, key) = leaf.write(folder.path(), "leaf");
    let output = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-passout", &format!("pass:{password}"), "-in"])
        .arg(key)
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_deployment_with_the_profile_of_emqx_cloud_takes_what_that_takes() {
    let scene = Scene::new();
    let path = format!("/deployments/{}", Scene::DEPLOYMENT);
    scene.api().send("PATCH", &path, Some(&json!({"profile": "emqx-cloud"}))).expect(200);
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let large = scene.authority.server_for(Scene::HOST, &[Scene::HOST], p521);
    assert_eq!(
        scene.api().post_tls(Scene::DEPLOYMENT, &large.one_way()).expect(422).code(),
        "PROFILE_KEY_KIND"
    );
    scene.run_one_way();
    scene.api().send("PATCH", &path, Some(&json!({"profile": "default"}))).expect(200);
    scene.api().put_tls(Scene::DEPLOYMENT, &large.one_way()).expect(200);
}

#[test]
fn a_body_of_ten_megabytes_is_refused_and_not_held() {
    let mut scene = Scene::new();
    let api = scene.api();
    let id = scene.certward.process().id();
    // The cost of a first request is not the body's.
    api.put_tls(Scene::DEPLOYMENT, &json!({})).expect(404);
    let before = resident_kib(id);
    for declared in [true, false] {
        let answer = send_ten_megabytes(&api, declared);
        assert!(answer.starts_with("HTTP/1.1 413"), "declared: {declared}: {answer}");
        assert!(answer.contains("BODY_TOO_LARGE"), "{answer}");
    }
    let grown = peak_kib(id).saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB");
}

/// Sends until the server closes.
fn send_ten_megabytes(api: &Api, declared: bool) -> String {
    let user = BASE64_STANDARD.encode(format!("{}:{}", api.key, api.secret));
    let length = if declared { "Content-Length: 10485760" } else { "Transfer-Encoding: chunked" };
    let mut stream = TcpStream::connect(api.address).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let answer = std::thread::spawn(move || {
        let mut answer = Vec::new();
        // A reset after the answer is expected: a refused body is not read.
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    });
    write!(
        stream,
        "POST /public_api/v1/deployments/{}/tls HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {user}\r\nConnection: close\r\n\
         Content-Type: application/json\r\n{length}\r\n\r\n",
        Scene::DEPLOYMENT
    )
    .unwrap();
    let piece = "a".repeat(64 * 1024);
    for _ in 0..160 {
        let sent = match declared {
            true => stream.write_all(piece.as_bytes()),
            false => write!(stream, "{:x}\r\n{piece}\r\n", piece.len()),
        };
        if sent.is_err() {
            break;
        }
    }
    answer.join().unwrap()
}

fn resident_kib(process: u32) -> u64 {
    status_kib(process, "VmRSS:")
}

fn peak_kib(process: u32) -> u64 {
    status_kib(process, "VmHWM:")
}

fn status_kib(process: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// As in the public EMQX recipe, in any order.
#[test]
fn the_issuer_is_found_among_two_authorities_of_one_name() {
    let scene = Scene::new();
    let (right, wrong) = (Authority::new("One Name"), Authority::new("One Name"));
    let intermediate = right.intermediate("Intermediate");
    let leaf = intermediate.server(&[Scene::HOST]);
    let mut body = leaf.one_way();
    body["cert"] = format!("{}{}{}", wrong.pem(), right.pem(), leaf.chain_pem).into();
    scene.api().post_tls(Scene::DEPLOYMENT, &body).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    let device = certward_tests::Device::trusting(&right);
    let session = scene.connect(&device, "device").unwrap();
    assert_eq!((session.leaf(), session.chain_length()), (leaf.der.as_slice(), 2));
}
