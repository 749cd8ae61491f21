//! aws-lc-rs is the only cryptography; default features of dependencies bring others.

use std::process::Command;

use certward_tests::{run, workspace_root};

/// Banned, with the reason.
const BANNED: [(&str, &str); 6] = [
    ("ring", "a second cryptography; two of them make rustls panic at first use"),
    ("openssl", "C code that parses hostile input"),
    ("openssl-sys", "C code that parses hostile input"),
    ("native-tls", "whatever TLS the machine has"),
    ("rustls-pemfile", "unmaintained (RUSTSEC-2025-0134)"),
    ("webpki", "unmaintained; rustls-webpki is its successor"),
];

#[test]
fn no_banned_crate_is_in_the_build() {
    for (name, reason) in BANNED {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = run(Command::new(cargo).current_dir(workspace_root()).args([
            "tree",
            "--workspace",
            "--locked",
            "--offline",
            "--all-features",
            "--edges",
            "normal,build,dev",
            "--target",
            "x86_64-unknown-linux-gnu",
            "--invert",
            name,
        ]));
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(out.trim().is_empty(), "{name} is in the build ({reason}):\n{out}");
        let absent = err.contains("nothing to print") || err.contains("did not match any packages");
        assert!(absent, "cargo tree did not answer for {name}:\n{err}");
    }
}
