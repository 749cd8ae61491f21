//! The certificates of the public EMQX recipe, made by the openssl command line.

use std::{fs, path::Path, process::Command};

use crate::{Leaf, run};

/// The files that the recipe makes.
#[derive(Debug)]
pub struct Recipe {
    /// The server's CA.
    pub ca_pem: String,
    /// The server's leaf, without a chain.
    pub server: Leaf,
    /// The devices' CA: the server CA's subject, another key.
    pub client_ca_pem: String,
    /// A device's certificate: version 1, as the recipe has no `-extfile`.
    pub client: Leaf,
}

const SUBJECT: &str = "/C=CN/ST=Zhejiang/L=Hangzhou/O=EMQX/CN=RootCA";

/// As in the recipe, with the tests' names.
const OPENSSL_CNF: &str = "\
[req]
default_bits  = 2048
distinguished_name = req_distinguished_name
req_extensions = req_ext
x509_extensions = v3_req
prompt = no
[req_distinguished_name]
countryName = CN
stateOrProvinceName = Zhejiang
localityName = Hangzhou
organizationName = EMQX
commonName = Server certificate
[req_ext]
subjectAltName = @alt_names
[v3_req]
subjectAltName = @alt_names
[alt_names]
IP.1 = 127.0.0.1
DNS.1 = localhost
";

/// Follows the recipe in `folder`.
pub fn make(folder: &Path) -> Recipe {
    fs::write(folder.join("openssl.cnf"), OPENSSL_CNF).unwrap();
    authority(folder, "ca");
    authority(folder, "client-ca");

    openssl(folder, "genrsa -out server.key 2048");
    openssl(folder, "req -new -key server.key -config openssl.cnf -out server.csr");
    openssl(
        folder,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 3650 -sha256 \
         -extensions v3_req -extfile openssl.cnf",
    );
    openssl(folder, "genrsa -out client.key 2048");
    openssl(
        folder,
        "req -new -key client.key -out client.csr -subj /C=CN/ST=Zhejiang/L=Hangzhou/O=EMQX/CN=client",
    );
    openssl(
        folder,
        "x509 -req -days 3650 -in client.csr -CA client-ca.pem -CAkey client-ca.key -CAcreateserial -out client.pem",
    );
    Recipe {
        ca_pem: read(folder, "ca.pem"),
        server: Leaf::from_pem(&read(folder, "server.pem"), &read(folder, "server.key")),
        client_ca_pem: read(folder, "client-ca.pem"),
        client: Leaf::from_pem(&read(folder, "client.pem"), &read(folder, "client.key")),
    }
}

fn authority(folder: &Path, name: &str) {
    openssl(folder, &format!("genrsa -out {name}.key 2048"));
    openssl(
        folder,
        &format!("req -x509 -new -nodes -key {name}.key -sha256 -days 3650 -out {name}.pem -subj {SUBJECT}"),
    );
}

/// Runs openssl in `folder`; words are split at blanks.
pub fn openssl(folder: &Path, arguments: &str) {
    let output = run(Command::new("openssl").current_dir(folder).args(arguments.split_whitespace()));
    assert!(output.status.success(), "openssl {arguments}:\n{}", String::from_utf8_lossy(&output.stderr));
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}
