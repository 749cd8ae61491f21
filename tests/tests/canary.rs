//! No byte of a key and no API secret appears in an answer, a trace log, an error or a file.

use std::{fs, path::Path};

use aho_corasick::AhoCorasick;
use base64::{Engine, prelude::BASE64_STANDARD};
use certward_store::{Clock as _, SystemClock};
use certward_tests::{Authority, PostgresServer, Scene, Setup, recipe, run};
use serde_json::json;

/// A secret and its search patterns.
struct Canary {
    name: &'static str,
    needles: Vec<Vec<u8>>,
}

impl Canary {
    /// The public part of a PEM key is in the certificate as well.
    fn key(name: &'static str, pem: &str) -> Self {
        let body: String =
            pem.lines().filter(|line| !line.starts_with("-----") && !line.contains(':')).collect();
        let der = BASE64_STANDARD.decode(&body).unwrap();
        // RSA: all after modulus and public exponent. P-256 in PKCS#8: the private scalar.
        let secret = if der.len() > 1000 { 310..der.len() } else { 36..68 };
        let text = &body.as_bytes()[secret.start * 4 / 3 + 1..secret.end * 4 / 3];
        let needles = [forms(&der[secret]), forms(text)].concat();
        assert!(!needles.is_empty());
        Self { name, needles }
    }

    fn text(name: &'static str, text: &str) -> Self {
        Self { name, needles: vec![text.as_bytes().to_vec(), BASE64_STANDARD.encode(text).into_bytes()] }
    }
}

/// The first canary found, and its pattern.
fn find(canaries: &[Canary], places: &[(String, Vec<u8>)]) -> Option<String> {
    let needles: Vec<(&str, &Vec<u8>)> = canaries
        .iter()
        .flat_map(|canary| canary.needles.iter().map(|needle| (canary.name, needle)))
        .collect();
    let search = AhoCorasick::new(needles.iter().map(|(_, needle)| needle)).unwrap();
    places.iter().find_map(|(place, bytes)| {
        // Line breaks, also escaped ones, may interrupt it.
        let text = String::from_utf8_lossy(bytes).replace("\\n", "").replace(['\n', '\r'], "");
        let found = search.find(bytes).or_else(|| search.find(&text))?;
        let (name, needle) = needles[found.pattern().as_usize()];
        Some(format!("{name} came out in {place}: {:?}", String::from_utf8_lossy(needle)))
    })
}

/// A secret's pieces in the forms in which programs print bytes.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    // A leak of 24 bytes contains a piece whole.
    for piece in bytes.chunks_exact(12) {
        let list = |separator: &str, form: &dyn Fn(&u8) -> String| {
            piece.iter().map(form).collect::<Vec<_>>().join(separator).into_bytes()
        };
        forms.push(piece.to_vec());
        forms.push(list("", &|byte| format!("{byte:02x}")));
        forms.push(list("", &|byte| format!("{byte:02X}")));
        forms.push(list(":", &|byte| format!("{byte:02x}")));
        forms.push(list(", ", &|byte| byte.to_string()));
        forms.push(list(",", &|byte| byte.to_string()));
    }
    forms
}

fn uploads(cert: &str, key: &str, other: &str, encrypted: &str, public: &str) -> Vec<(&'static str, String)> {
    let one_way = |cert: &str, key: &str| json!({"tlsType": "one-way", "cert": cert, "key": key}).to_string();
    let one_line = key.replace('\n', "");
    let body: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
    let whole = one_way(cert, key);
    vec![
        ("key of another certificate", one_way(cert, other)),
        ("key on one line", one_way(cert, &one_line)),
        ("key with spaces for line breaks", one_way(cert, &key.replace('\n', " "))),
        ("key with literal line breaks", one_way(cert, &key.replace('\n', "\\n"))),
        ("key without its frame", one_way(cert, &body)),
        ("key without its end", one_way(cert, &key[..key.len() - 40])),
        ("key without its beginning", one_way(cert, &key[20..])),
        ("key with a broken line", one_way(cert, &key.replacen('M', "*", 2))),
        ("key with a begin inside", one_way(cert, &key.replacen('\n', "\n-----BEGIN X-----\n", 3))),
        ("key in the place of the certificate", one_way(key, key)),
        ("key on one line in the place of the certificate", one_way(&one_line, cert)),
        ("key behind the certificate", one_way(&format!("{cert}{key}"), key)),
        ("key twice", one_way(cert, &format!("{key}{other}"))),
        (
            "key as the client CA",
            json!({"tlsType": "two-way", "cert": cert, "key": key, "cacert": key}).to_string(),
        ),
        ("key as the type", json!({"tlsType": key, "cert": cert, "key": key}).to_string()),
        (
            "key as a field's name",
            json!({"tlsType": "one-way", "cert": cert, "key": key, key: 1}).to_string(),
        ),
        ("key as a list", json!({"tlsType": "one-way", "cert": cert, "key": [key]}).to_string()),
        ("key as an object", json!({"tlsType": "one-way", "cert": cert, "key": {key: key}}).to_string()),
        ("key as the whole body", json!(key).to_string()),
        ("key as no JSON", key.to_owned()),
        ("key under a wrong label", one_way(cert, &key.replace("PRIVATE KEY", "CERTIFICATE"))),
        ("key as PKCS#7", one_way(cert, &key.replace("PRIVATE KEY", "PKCS7"))),
        ("key with a null byte", one_way(cert, &format!("\0{key}"))),
        ("encrypted key", one_way(cert, encrypted)),
        ("public key", one_way(cert, public)),
        ("body cut off in the key", whole[..whole.len() - 60].to_owned()),
        ("body with a raw line break", whole.replacen("\\n", "\n", 1)),
        ("field twice", whole.replacen('{', &format!("{{\"key\":{},", json!(key)), 1)),
        ("key as it should be", whole),
    ]
}

#[test]
fn no_key_and_no_secret_comes_out() {
    nothing_comes_out(Setup::default());
}

#[test]
fn no_key_and_no_secret_comes_out_with_postgres_nor_stands_in_the_snapshot() {
    let server = PostgresServer::shared();
    let places = nothing_comes_out(Setup { store: Some(server.database()), ..Setup::default() });
    let snapshot = places.iter().find(|(place, _)| place.ends_with("/snapshot.db"));
    assert!(snapshot.is_some_and(|(_, bytes)| bytes.len() > 10_000), "it was looked into");
}

/// Returns the places searched.
fn nothing_comes_out(setup: Setup) -> Vec<(String, Vec<u8>)> {
    let mut scene = Scene::with(Setup { log_level: "trace", ..setup });
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe::make(folder.path());
    let openssl = |arguments: &str| recipe::openssl(folder.path(), arguments);
    openssl("pkey -in server.key -traditional -out rsa.key");
    openssl("pkey -in server.key -aes256 -passout pass:xyzzy -out encrypted.key");
    openssl("pkey -in server.key -pubout -out public.key");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let (api, ec) = (scene.api(), scene.leaf());

    let mut canaries = vec![
        Canary::key("the RSA key", &recipe.server.key_pem),
        Canary::key("the RSA key of PKCS#1", &read("rsa.key")),
        Canary::key("the P-256 key", &ec.key_pem),
        Canary::key("the client's key", &recipe.client.key_pem),
        Canary::text("the API secret", &api.secret),
    ];
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    let path = format!("/deployments/{}/tls", Scene::DEPLOYMENT);
    let kinds = [
        (&recipe.server.chain_pem, recipe.server.key_pem.clone(), &recipe.client.key_pem),
        (&recipe.server.chain_pem, read("rsa.key"), &recipe.client.key_pem),
        (&ec.chain_pem, ec.key_pem.clone(), &recipe.client.key_pem),
    ];
    for (cert, key, other) in &kinds {
        for (what, body) in uploads(cert, key, other, &read("encrypted.key"), &read("public.key")) {
            for (method, path) in
                [("PUT", path.clone()), ("POST", path.clone()), ("POST", format!("{path}/check"))]
            {
                let answer = api.try_send(method, &path, "Content-Type: application/json\r\n", &body);
                let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(answer.status < 500, "{what}: {answer:?}");
                places.push((
                    format!("the answer to {method} with {what}"),
                    format!("{answer:?}").into_bytes(),
                ));
            }
        }
        api.delete_tls(Scene::DEPLOYMENT);
    }
    let wrong = certward_tests::Api { key: api.secret.clone(), secret: api.key.clone(), ..api.clone() };
    places.push(("a 401".into(), format!("{:?}", wrong.tls(Scene::DEPLOYMENT).expect(401)).into_bytes()));
    let answer = api.get(&format!("/deployments/{}/tls?secret={}", Scene::DEPLOYMENT, api.secret));
    places.push(("an answer to a query".into(), format!("{answer:?}").into_bytes()));
    let created = api.send("POST", "/keys", Some(&json!({"name": "other", "scopes": ["tls"]}))).expect(201);
    let secret = created.json()["secretKey"].as_str().expect("a secret, shown once").to_owned();
    canaries.push(Canary::text("another API secret", &secret));
    places.push(("the list of keys".into(), format!("{:?}", api.get("/keys").expect(200)).into_bytes()));

    let files = |cert: &str, key: &str| {
        let (cert_file, key_file) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        fs::write(&cert_file, cert).unwrap();
        fs::write(&key_file, key).unwrap();
        (cert_file, key_file)
    };
    for (cert, key) in [
        (&ec.chain_pem, ec.key_pem.replace('\n', "")),
        (&ec.key_pem, ec.key_pem.clone()),
        (&ec.chain_pem, recipe.server.key_pem.clone()),
        (&ec.chain_pem, ec.key_pem.clone()),
    ] {
        let (cert, key) = files(cert, &key);
        let mut check = scene.certward.cli_command(&["check"]);
        places
            .push(("certward check".into(), said(&run(check.arg(&cert).arg(&key).env("RUST_LOG", "trace")))));
        let mut set = scene.certward.cli_command(&["tls", "set", Scene::DEPLOYMENT]);
        let set = set.arg("--cert").arg(&cert).arg("--key").arg(&key);
        places.push(("certward tls set".into(), said(&run(set))));
    }

    // The keys of earlier versions are opened again, and one is erased.
    let versions = format!("{path}/versions");
    api.put_tls(Scene::DEPLOYMENT, &recipe.server.one_way()).expect(200);
    for version in [1, 1] {
        let listed = api.get(&versions).expect(200);
        let to = listed.json()[version]["version"].clone();
        let back = api.send("POST", &format!("{path}/rollback"), Some(&json!({"version": to}))).expect(200);
        places.push((
            "the list of versions, and a rollback".into(),
            format!("{listed:?}{back:?}").into_bytes(),
        ));
    }
    for arguments in
        [&["tls", "versions", Scene::DEPLOYMENT][..], &["tls", "rollback", Scene::DEPLOYMENT, "--wait"]]
    {
        places.push((format!("certward {arguments:?}"), said(&scene.certward.cli(arguments))));
    }
    let erased = api.get(&versions).json()[1]["version"].to_string();
    let erased = api.send("DELETE", &format!("{versions}/{erased}"), None).expect(204);
    places.push(("an erasure".into(), format!("{erased:?}").into_bytes()));

    gather(&scene.certward.data(), &mut places);
    scene.certward.stop();
    places.push(("the log".into(), scene.certward.log().into_bytes()));
    gather(&scene.certward.data(), &mut places);
    assert!(scene.certward.log().contains(" DEBUG "), "the log tells more than it does by default");
    assert_eq!(find(&canaries, &places), None);

    // The search works: each canary is found in its own key.
    for (canary, pem) in canaries.iter().zip([&recipe.server.key_pem, &read("rsa.key"), &ec.key_pem]) {
        let one = |bytes: Vec<u8>| find(std::slice::from_ref(canary), &[("itself".into(), bytes)]);
        assert!(one(pem.clone().into_bytes()).is_some(), "{} as PEM", canary.name);
        assert!(
            one(format!("{:?}", pem.replace('\n', "").as_bytes()).into_bytes()).is_some(),
            "{}",
            canary.name
        );
    }
    places
}

#[test]
fn what_is_revoked_and_why_is_in_no_log() {
    let mut scene = Scene::with(Setup { log_level: "trace", ..Setup::default() });
    let clients = Authority::new("Device CA");
    scene.run_two_way(&clients);
    let (revoked, on_crl) = (clients.client("canary-subject"), clients.client("canary-of-the-crl"));
    let now = SystemClock.now().to_time();
    let crl = clients.crl_and_issuer(1, &[&on_crl], now - time::Duration::HOUR, now + time::Duration::DAY);
    let base64_of = |pem: &str| pem.lines().nth(2).expect("a PEM has lines").to_owned();
    let canaries = [
        Canary::text("the certificate", &base64_of(&revoked.pem)),
        Canary::text("its subject", "canary-subject"),
        Canary::text("a name", "canary-name"),
        Canary::text("a reason", "canary-reason"),
        Canary::text("the CRL", &base64_of(&crl)),
    ];
    let path = format!("/deployments/{}/tls/revocations", Scene::DEPLOYMENT);
    let revocations = [
        json!({"certificate": revoked.pem, "reason": "canary-reason"}),
        json!({"name": "canary-name", "reason": "canary-reason-of-a-name"}),
    ];
    let api = scene.api();
    for (wanted, status) in [
        (json!(revocations), 201),
        (json!([{"certificate": revoked.pem, "name": "canary-name", "reason": "canary-reason"}]), 422),
        (json!([{"certificate": revoked.pem.replace('M', "*"), "reason": "canary-reason"}]), 422),
    ] {
        api.send("POST", &path, Some(&json!({"revocations": wanted}))).expect(status);
    }
    for (body, status) in [(&crl, 200), (&revoked.pem, 422), (&crl.replace('M', "*"), 422)] {
        let path = format!("/deployments/{}/tls/crls/devices", Scene::DEPLOYMENT);
        let set = api.try_send("PUT", &path, "Content-Type: application/x-pem-file\r\n", body);
        set.unwrap().expect(status);
    }
    let listed = api.get(&path).expect(200).json();
    let text = listed.to_string();
    assert!(text.contains("canary-name") && text.contains("canary-reason"), "{text}");
    let removed = listed[0]["id"].as_str().expect("an id");
    api.send("DELETE", &format!("{path}/{removed}"), None).expect(204);
    scene.certward.stop();
    let log = scene.certward.log();
    assert!(log.contains(" DEBUG "), "the log tells more than it does by default");
    assert_eq!(find(&canaries, &[("the log".into(), log.into_bytes())]), None);
}

fn said(output: &std::process::Output) -> Vec<u8> {
    [&output.stdout[..], &output.stderr[..]].concat()
}

fn gather(folder: &Path, places: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, places);
        } else if path.is_file() {
            places.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

#[test]
fn the_files_are_for_their_owner_only() {
    for_their_owner_only(Setup::default());
    let server = PostgresServer::shared();
    for_their_owner_only(Setup { store: Some(server.database()), ..Setup::default() });
}

fn for_their_owner_only(setup: Setup) {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::with(setup);
    scene.run_one_way();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&scene.certward.data()), 0o700);
    for entry in fs::read_dir(scene.certward.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}
