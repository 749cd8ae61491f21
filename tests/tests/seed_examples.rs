//! The request examples of the page that defines the API, sent literally.

use std::process::Command;

use certward_tests::{Scene, run};
use serde_json::Value;

/// The page's JSON lacks a quotation mark and the closing brace.
const EXAMPLES: [(&str, &str); 4] = [
    ("GET", "curl -u key:secret -X GET {api}/deployments/ge6a1a75/tls"),
    (
        "POST",
        r#"curl -u key:secret -X POST -H 'Content-Type: application/json' -d '{"tlsType": "one-way", "cert": "-----BEGIN CERTIFICATE-----\nMII...tH6j7afSg==\n-----END CERTIFICATE-----},"key":"-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA5bdg8Rt5A7...AjQzYRdov4inpzw==\n-----END RSA PRIVATE KEY-----"' {api}/deployments/ge6a1a75/tls"#,
    ),
    (
        "PUT",
        r#"curl -u key:secret -X PUT -H 'Content-Type: application/json' -d '{"tlsType": "one-way", "cert": "-----BEGIN CERTIFICATE-----\nMII...tH6j7afSg==\n-----END CERTIFICATE-----},"key":"-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA5bdg8Rt5A7...AjQzYRdov4inpzw==\n-----END RSA PRIVATE KEY-----"' {api}/deployments/ge6a1a75/tls"#,
    ),
    ("DELETE", "curl -u key:secret -X DELETE {api}/deployments/ge6a1a75/tls"),
];

fn example(method: &str) -> &'static str {
    EXAMPLES.iter().find(|(name, _)| *name == method).unwrap().1
}

fn repaired(example: &str) -> String {
    example
        .replace("-----END CERTIFICATE-----},", r#"-----END CERTIFICATE-----","#)
        .replace("-----END RSA PRIVATE KEY-----\"'", "-----END RSA PRIVATE KEY-----\"}'")
}

/// Fills in key, secret and base address; curl also prints the status.
fn run_line(scene: &Scene, line: &str) -> (u16, String) {
    let api = scene.api();
    let line = line
        .replace("key:secret", &format!("{}:{}", api.key, api.secret))
        .replace("{api}", &api.base())
        .replacen("curl ", "curl -sS -w '\\n%{http_code}' ", 1);
    let output = run(Command::new("bash").arg("-c").arg(line));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

#[test]
fn the_broken_json_of_post_and_put_is_400_and_says_where() {
    let scene = Scene::new();
    for method in ["POST", "PUT"] {
        if method == "PUT" {
            scene.run_one_way();
        }
        let (status, body) = run_line(&scene, example(method));
        assert_eq!(status, 400, "{method}: {body}");
        let error: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(error["code"], "INVALID_JSON", "{method}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("column") || message.contains("byte"),
            "{method} does not say where: {message}"
        );
        assert!(
            message.contains("a quote is missing after -----END CERTIFICATE-----"),
            "{method}: {message}"
        );
        assert!(!body.contains("AjQzYRdov4inpzw"), "{method} gives the key back: {body}");
    }
}

#[test]
fn the_repaired_json_is_422_and_names_the_shortened_pem() {
    let scene = Scene::new();
    for method in ["POST", "PUT"] {
        if method == "PUT" {
            scene.run_one_way();
        }
        let (status, body) = run_line(&scene, &repaired(example(method)));
        assert_eq!(status, 422, "{method}: {body}");
        let error: Value = serde_json::from_str(&body).unwrap();
        let details = error["details"].as_array().unwrap();
        for field in ["cert", "key"] {
            let finding = details.iter().find(|finding| finding["field"] == field);
            let finding = finding.unwrap_or_else(|| panic!("{method}: nothing about {field}: {body}"));
            let text = format!("{} {}", finding["message"], finding["remedy"]).to_lowercase();
            assert!(
                ["shorten", "abbreviat", "cut", "elided", "..."].iter().any(|word| text.contains(word)),
                "{method}: {field} is not said to be shortened: {text}"
            );
        }
        assert!(!body.contains("AjQzYRdov4inpzw"), "{method} gives the key back: {body}");
    }
}

#[test]
fn the_examples_without_a_body_do_what_the_page_says() {
    let scene = Scene::new();
    scene.run_one_way();

    let (status, body) = run_line(&scene, example("GET"));
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["tlsType"], "one-way");
    assert_eq!(answer["status"], "running");
    assert_eq!(answer["expire"], "2040-01-01 00:00:00");

    assert_eq!(run_line(&scene, example("DELETE")), (204, String::new()));
    let gone = certward_tests::wait_until("end of the deletion", || {
        let (status, body) = run_line(&scene, example("GET"));
        assert_eq!(status, 200);
        (body == "{}").then_some(body)
    });
    assert_eq!(gone, "{}");
}
