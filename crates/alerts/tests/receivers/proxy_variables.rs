use std::process::Command;

use serde_json::json;

use crate::{
    receiver::{Receiver, authority, outbound},
    webhook::{SECRET, post},
};

/// Tells the child where to post.
const URL_VARIABLE: &str = "ALERTS_TEST_URL";

/// Variables are of a process, and other tests run in this one.
#[test]
fn variables_of_proxies_are_ignored() {
    let receiver = Receiver::http(None, SECRET, &json!({}));
    let proxy = Receiver::http(None, SECRET, &json!({"answer": 200}));
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "proxy_variables::posts_in_a_process_of_its_own", "--ignored", "--nocapture"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        let value = format!("http://127.0.0.1:{}", proxy.port);
        child.env(name, &value).env(name.to_lowercase(), &value);
    }
    for name in ["NO_PROXY", "no_proxy", "REQUEST_METHOD"] {
        child.env_remove(name);
    }
    child.env(URL_VARIABLE, format!("http://127.0.0.1:{}/", receiver.port));
    let output = child.output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && out.contains("1 passed"), "{out}");
    assert_eq!(receiver.record().len(), 1);
    assert_eq!(proxy.record().len(), 0, "{:?}", proxy.record());
}

#[tokio::test]
#[ignore = "run by variables_of_proxies_are_ignored"]
async fn posts_in_a_process_of_its_own() {
    let Ok(url) = std::env::var(URL_VARIABLE) else { return };
    let (authority, _) = authority();
    assert_eq!(post(&outbound(&authority), &url).await, Ok(()));
}
