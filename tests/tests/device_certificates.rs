//! Faults of a device's certificate: each has a cause, and the remedy's command shows it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use certward_tests::{Leaf, Scene, reaches_broker, run, wait_until};

struct Openssl(tempfile::TempDir);

const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n";
const POLICY: &str = "certificatePolicies=critical,1.2.3.1\n";
const DEVICE: &str = "basicConstraints=CA:FALSE\n";

impl Openssl {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        this.key("ca", P256);
        this.run("req -x509 -new -key ca.key -days 3650 -out ca.pem -subj /CN=root");
        this.ca("sub", "ca", CA);
        this.key("device", P256);
        this
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn run(&self, command: &str) {
        let output = run(Command::new("openssl").args(command.split(' ')).current_dir(self.path()));
        assert!(output.status.success(), "openssl {command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn key(&self, name: &str, algorithm: &str) {
        self.run(&format!("genpkey -out {name}.key -algorithm {algorithm}"));
    }

    fn ca(&self, name: &str, issuer: &str, extensions: &str) {
        self.key(name, P256);
        self.issue(name, issuer, extensions, "-sha256");
    }

    fn issue(&self, name: &str, issuer: &str, extensions: &str, options: &str) {
        fs::write(self.path().join("extensions"), extensions).unwrap();
        let extensions = if extensions.is_empty() { "" } else { " -extfile extensions" };
        self.run(&format!("req -new -key {name}.key -subj /CN={name} -out request"));
        self.run(&format!(
            "x509 -req -in request -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days 3650 -out \
             {name}.pem{extensions} {options}"
        ));
    }

    fn device(&self, issuer: &str, extensions: &str) {
        self.issue("device", issuer, extensions, "-sha256");
    }

    /// Below an intermediate with a key of this kind.
    fn device_below(&self, algorithm: &str, extensions: &str) {
        self.key("sub", algorithm);
        self.issue("sub", "ca", extensions, "-sha256");
        self.device("sub", DEVICE);
    }

    fn chain(&self, names: &[&str]) {
        let chain: String = names.iter().map(|name| self.read(&format!("{name}.pem"))).collect();
        fs::write(self.path().join("chain"), chain).unwrap();
    }

    /// The output of the remedy's command for each certificate sent.
    fn remedy(&self, remedy: &str, chain: &[&str]) -> String {
        let Some(start) = remedy.find("openssl ") else { return format!("no command: {remedy}") };
        let command = &remedy[start..];
        let end = command.find(" shows").or(command.find(". ")).unwrap_or(command.len() - 1);
        let command =
            command["openssl ".len()..end].replace("CLIENT_CAS", "ca.pem").replace("CHAIN", "chain");
        let print = |name: &&str| {
            let command = command.replace("CERTIFICATE", &format!("{name}.pem"));
            let output = run(Command::new("openssl").args(command.split(' ')).current_dir(self.path()));
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
        };
        chain.iter().map(print).collect()
    }

    fn client(&self, scene: &Scene, version: &str) -> Command {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &scene.certward.bound().to_string()]);
        client.args(["-servername", Scene::HOST, "-cipher", "ALL:@SECLEVEL=0", version]);
        client.args(["-cert", "device.pem", "-cert_chain", "chain", "-key", "device.key"]);
        client.current_dir(self.path());
        client
    }

    fn connect(&self, scene: &Scene, version: &str) {
        run(self.client(scene, version).stdin(Stdio::null()));
    }
}

/// The certificates, the device's chain, the cause, and the remedy's output.
type Row = (&'static str, fn(&Openssl), &'static [&'static str], &'static str, &'static str);

const ROWS: &[Row] = &[
    (
        "an extension that is empty",
        |openssl| openssl.device("sub", "2.5.29.37=DER:3000\n"),
        &["device", "sub"],
        "certificate_encoding",
        "X509v3 Extended Key Usage: \n",
    ),
    (
        "an extension of another type",
        |openssl| openssl.device("sub", "2.5.29.37=critical,ASN1:NULL\n"),
        &["device", "sub"],
        "certificate_encoding",
        "X509v3 Extended Key Usage: critical\n                ..\n",
    ),
    (
        "version 1 under an intermediate",
        |openssl| openssl.device("sub", ""),
        &["device", "sub"],
        "certificate_version",
        "Version: 1",
    ),
    (
        "SHA-1",
        |openssl| openssl.issue("device", "sub", DEVICE, "-sha1"),
        &["device", "sub"],
        "certificate_weak_signature",
        "digest algorithm too weak",
    ),
    (
        "SHA-1 over an intermediate",
        |openssl| {
            openssl.issue("sub", "ca", CA, "-sha1");
            openssl.device("sub", DEVICE);
        },
        &["device", "sub"],
        "certificate_weak_signature",
        "digest algorithm too weak",
    ),
    (
        "SHA-224",
        |openssl| openssl.issue("device", "sub", DEVICE, "-sha224"),
        &["device", "sub"],
        "certificate_unsupported_signature",
        "Signature Algorithm: ecdsa-with-SHA224",
    ),
    (
        "SHA-3",
        |openssl| openssl.issue("device", "sub", DEVICE, "-sha3-256"),
        &["device", "sub"],
        "certificate_unsupported_signature",
        "Signature Algorithm: ecdsa_with_SHA3-256",
    ),
    (
        "an RSA key of 1024 bits",
        |openssl| {
            openssl.key("device", "rsa -pkeyopt rsa_keygen_bits:1024");
            openssl.device("sub", DEVICE);
        },
        &["device", "sub"],
        "certificate_unsupported_key",
        "Public-Key: (1024 bit)",
    ),
    (
        "an intermediate with an RSA key of 1024 bits",
        |openssl| openssl.device_below("rsa -pkeyopt rsa_keygen_bits:1024", CA),
        &["device", "sub"],
        "certificate_unsupported_key",
        "Public-Key: (1024 bit)",
    ),
    (
        "an intermediate with a key on secp256k1",
        |openssl| openssl.device_below("ec -pkeyopt ec_paramgen_curve:secp256k1", CA),
        &["device", "sub"],
        "certificate_unsupported_key",
        "ASN1 OID: secp256k1",
    ),
    ("a CA", |openssl| openssl.device("sub", CA), &["device", "sub"], "certificate_is_ca", "CA:TRUE"),
    (
        "an intermediate that is no CA",
        |openssl| openssl.device_below(P256, DEVICE),
        &["device", "sub"],
        "certificate_issuer_not_ca",
        "unsuitable certificate purpose",
    ),
    (
        "an intermediate without keyCertSign",
        |openssl| {
            openssl.device_below(P256, "basicConstraints=critical,CA:TRUE\nkeyUsage=digitalSignature\n")
        },
        &["device", "sub"],
        "certificate_issuer_key_usage",
        "key usage does not include certificate signing",
    ),
    (
        "a CA too many",
        |openssl| {
            openssl.ca("sub", "ca", "basicConstraints=critical,CA:TRUE,pathlen:0\n");
            openssl.ca("low", "sub", CA);
            openssl.device("low", DEVICE);
        },
        &["device", "low", "sub"],
        "certificate_path_length",
        "path length constraint exceeded",
    ),
    (
        "a name that is not permitted",
        |openssl| {
            openssl.ca("sub", "ca", &format!("{CA}nameConstraints=critical,permitted;DNS:example.com\n"));
            openssl.device("sub", "subjectAltName=DNS:device.example.org\n");
        },
        &["device", "sub"],
        "certificate_name_constraint",
        "permitted subtree violation",
    ),
    (
        "an unknown critical extension",
        |openssl| openssl.device("sub", "1.2.3.4=critical,ASN1:NULL\n"),
        &["device", "sub"],
        "certificate_critical_extension",
        "unhandled critical extension",
    ),
    (
        "an unknown critical extension of an intermediate",
        |openssl| openssl.device_below(P256, &format!("{CA}1.2.3.4=critical,ASN1:NULL\n")),
        &["device", "sub"],
        "certificate_critical_extension",
        "unhandled critical extension",
    ),
    (
        "no policy where one is demanded",
        |openssl| {
            let demanded = "policyConstraints=critical,requireExplicitPolicy:0\n";
            openssl.device_below(P256, &format!("{CA}{POLICY}{demanded}"));
        },
        &["device", "sub"],
        "certificate_policy",
        "no explicit policy",
    ),
    (
        "seven intermediates",
        |openssl| {
            for (name, issuer) in
                [("s1", "ca"), ("s2", "s1"), ("s3", "s2"), ("s4", "s3"), ("s5", "s4"), ("s6", "s5")]
            {
                openssl.ca(name, issuer, CA);
            }
            openssl.ca("sub", "s6", CA);
            openssl.device("sub", DEVICE);
        },
        &["device", "sub", "s6", "s5", "s4", "s3", "s2", "s1"],
        "certificate_chain_too_long",
        "certificate chain too long",
    ),
];

#[test]
fn each_fault_has_its_cause_and_the_command_of_its_remedy_shows_it() {
    let setup = certward_tests::Setup { bound_deployment: Some(Scene::DEPLOYMENT), ..Default::default() };
    let scene = Scene::with(setup);
    scene.run_one_way();
    let path = format!("/deployments/{}/tls/failures", Scene::DEPLOYMENT);
    let failures = || scene.api().get(&path).expect(200).json().as_array().unwrap().clone();
    let leaf = scene.leaf();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (case, make, chain, cause, shown) in ROWS {
        let openssl = Openssl::new();
        make(&openssl);
        openssl.chain(chain);
        scene.api().put_tls(Scene::DEPLOYMENT, &leaf.two_way(&openssl.read("ca.pem"))).expect(200);
        scene.api().wait_running(Scene::DEPLOYMENT);
        for version in ["-tls1_2", "-tls1_3"] {
            openssl.connect(&scene, version);
            seen += 1;
            let failure = wait_until(case, || {
                let failures = failures();
                (failures.len() == seen).then(|| failures[0].clone())
            });
            let printed = openssl.remedy(failure["remedy"].as_str().unwrap(), chain);
            if failure["cause"] != *cause || !printed.contains(shown) {
                wrong.push(format!("{case}, {version}: {}\n{printed}", failure["cause"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn critical_policies_and_names_in_another_form_are_served_and_let_in() {
    let setup = certward_tests::Setup { bound_deployment: Some(Scene::DEPLOYMENT), ..Default::default() };
    let scene = Scene::with(setup);
    let openssl = Openssl::new();
    // The same intermediate with another form of its name.
    openssl.issue("sub", "ca", &format!("{CA}{POLICY}"), "-sha256 -set_serial 7");
    openssl.run("req -new -key sub.key -subj /CN=SUB -out request");
    openssl.run("x509 -req -in request -CA ca.pem -CAkey ca.key -days 3650 -out SUB.pem -extfile extensions");
    fs::copy(openssl.path().join("sub.key"), openssl.path().join("SUB.key")).unwrap();
    openssl.key("server", P256);
    openssl.issue("server", "SUB", &format!("{DEVICE}{POLICY}subjectAltName=DNS:localhost\n"), "-sha256");
    let chain = openssl.read("server.pem") + &openssl.read("sub.pem");
    let server = Leaf::from_pem(&chain, &openssl.read("server.key"));
    scene.api().post_tls(Scene::DEPLOYMENT, &server.two_way(&openssl.read("ca.pem"))).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);

    openssl.device("SUB", &format!("{DEVICE}{POLICY}"));
    openssl.chain(&["device", "sub"]);
    for version in ["-tls1_2", "-tls1_3"] {
        // A new session, the remembered chain, the session again.
        for options in [&["-sess_out", "session"][..], &[], &["-sess_in", "session"][..]] {
            let (reached, printed) = reaches_broker(openssl.client(&scene, version).args(options));
            assert!(reached, "{version} {options:?}: {printed}");
            let resumed = printed.contains("Reused, TLS");
            assert_eq!(resumed, options.contains(&"-sess_in"), "{version} {options:?}: {printed}");
        }
    }
}
