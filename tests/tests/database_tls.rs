//! TLS to PostgreSQL: which server is accepted as the database, and the errors.

use std::fs;

use certward_tests::{Authority, Certward, PostgresServer, Setup};

const PASSWORD: &str = "CANARY-password-of-the-database";

/// A server that requires TLS, with a certificate for this name.
fn server(authority: &Authority, name: &str) -> (PostgresServer, String) {
    let server = PostgresServer::start_on_tcp();
    let leaf = authority.server(&[name]);
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = leaf.write(folder.path(), "database");
    server.require_tls(&fs::read_to_string(certificate).unwrap(), &fs::read_to_string(key).unwrap());
    let database = server.database();
    let url = server.tcp_url(database.rsplit('/').next().unwrap());
    let url = url.replace("certward@127.0.0.1", &format!("certward:{PASSWORD}@localhost"));
    (server, url)
}

fn init(url: &str, parameters: &str) -> Result<(), String> {
    let store = format!("{url}?{parameters}");
    let certward = Certward::prepare(Setup { store: Some(store), ..Setup::default() });
    let output = certward.run_init(&[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains(PASSWORD), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    if output.status.success() { Ok(()) } else { Err(said) }
}

#[test]
fn a_database_that_shows_who_it_is_is_used_and_any_other_is_not() {
    let (ca, other) = (Authority::new("Database CA"), Authority::new("Other CA"));
    let folder = tempfile::tempdir().unwrap();
    let [ca_file, other_file] = [("ca.pem", &ca), ("other.pem", &other)].map(|(name, authority)| {
        let path = folder.path().join(name);
        fs::write(&path, authority.pem()).unwrap();
        path.display().to_string()
    });
    let (_right, right) = server(&ca, "localhost");
    let (_elsewhere, elsewhere) = server(&ca, "db.example.com");

    let refused = [
        (&right, format!("sslmode=verify-full&sslrootcert={other_file}"), "certificate"),
        (&right, "sslmode=verify-full".to_owned(), "certificate"),
        (&elsewhere, format!("sslmode=verify-full&sslrootcert={ca_file}"), "certificate"),
        (&right, "sslmode=disable".to_owned(), "pg_hba.conf"),
        (&right, "sslmode=verify-full&sslrootcert=/nowhere/ca.pem".to_owned(), "sslrootcert"),
    ];
    for (url, parameters, named) in refused {
        let said = init(url, &parameters).expect_err(&parameters);
        assert!(said.contains(named), "{parameters}: {said}");
    }
    init(&right, &format!("sslmode=verify-full&sslrootcert={ca_file}")).expect("the right one");
}
