//! The OpenAPI document equals the repository's. `CERTWARD_UPDATE_SNAPSHOTS=1` rewrites it.

use std::path::Path;

use serde_json::Value;

#[test]
fn the_document_is_the_one_in_the_repository() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/openapi.json");
    let document = certward_api::openapi();
    if std::env::var_os("CERTWARD_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, &document).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == document,
        "the API has changed: run with CERTWARD_UPDATE_SNAPSHOTS=1 and look at the difference"
    );
}

#[test]
fn it_is_openapi_3_1_and_complete() {
    let document: Value = serde_json::from_str(&certward_api::openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            let responses = operation["responses"].as_object().unwrap();
            assert!(operation["summary"].is_string(), "{method} {path}");
            if path.starts_with("/public_api/v1") {
                assert!(responses["401"]["headers"]["WWW-Authenticate"].is_object(), "{method} {path}");
                assert!(responses["429"]["headers"]["Retry-After"].is_object(), "{method} {path}");
            }
            for (status, response) in responses {
                let refused = status.starts_with('4') || status == "503" && path != "/readyz";
                let schema = &response["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(refused, schema == "#/components/schemas/Error", "{method} {path} {status}");
            }
        }
    }
    assert_eq!(operations, 30);
    for reference in certward_api::openapi().split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}
