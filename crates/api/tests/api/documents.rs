//! `/openapi.json` and `/docs`.

use std::{collections::BTreeSet, fs, path::Path};

use certward_store::Role;

use crate::support::World;

const PATHS: [(&str, &str); 2] =
    [("/openapi.json", "application/json"), ("/docs", "text/html; charset=utf-8")];

#[tokio::test]
async fn they_need_no_key_no_store_and_no_request_of_the_limits() {
    let world = World::new().await;
    world.lifecycle.store().close().await;
    for (path, content_type) in PATHS {
        for _ in 0..100 {
            let answer = world.request("GET", path).without("Authorization").send().await;
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{path}");
            assert_eq!(answer.header("ratelimit-limit"), None);
        }
        let head = world.request("HEAD", path).without("Authorization").send().await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        assert!(head.header("content-length").unwrap().parse::<u64>().unwrap() > 10_000, "{path}");
        let post = world.request("POST", path).without("Authorization").send().await;
        assert_eq!((post.status, post.header("allow")), (405, Some("GET,HEAD")), "{path}");
    }
    let document = world.request("GET", "/openapi.json").send().await;
    assert_eq!(document.text, certward_api::openapi());
}

#[tokio::test]
async fn a_client_that_has_them_is_not_sent_them_again() {
    let world = World::new().await;
    for (path, _) in PATHS {
        let first = world.request("GET", path).send().await;
        let etag = first.header("etag").unwrap();
        let again = world.request("GET", path).header("If-None-Match", etag).send().await;
        assert_eq!(
            (again.status, again.text.as_str(), again.header("etag")),
            (304, "", Some(etag)),
            "{path}"
        );
        assert_eq!(again.header("cache-control"), Some("no-cache"));
        let other = world.request("GET", path).header("If-None-Match", "\"x\"").send().await;
        assert_eq!((other.status, &other.text), (200, &first.text), "{path}");
    }
}

#[tokio::test]
async fn the_page_needs_no_script_and_no_other_host_and_its_links_lead_somewhere() {
    let world = World::new().await;
    let page = world.request("GET", "/docs").send().await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    for part in ["<script", "<link", "<img", "src=", "@import", "url(", " style=", " onload="] {
        assert!(!page.text.contains(part), "{part}");
    }
    let names: BTreeSet<&str> =
        page.text.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let links = page.text.split(" href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut count = 0;
    for link in links {
        count += 1;
        assert!(link.strip_prefix('#').is_some_and(|name| names.contains(name)), "{link}");
    }
    assert!(count > 100, "{count}");
    for name in ["get-deploymentsidtls", "tlscertificate", "upload", "utctime"] {
        assert!(names.contains(name), "{name}");
    }
}

#[tokio::test]
async fn a_node_without_the_api_has_no_document_of_it() {
    let world = World::bound(|settings| settings.role = Role::Gateway, |_| {}).await;
    for (path, _) in PATHS {
        assert_eq!(world.request("GET", path).outcome().await, (404, "NOT_FOUND".to_owned()), "{path}");
    }
}

#[test]
fn the_guide_for_programs_names_every_operation() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.md")).unwrap();
    let document: serde_json::Value = serde_json::from_str(certward_api::openapi()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let row = format!("| {} | `{path}` |", method.to_uppercase());
            let is_beside = item["get"]["tags"][0] == "beside the base";
            assert!(is_beside || guide.contains(&row), "docs/api.md has no row {row}");
        }
    }
}
