//! schemathesis sends what the OpenAPI document permits, and what it forbids, and finds no answer
//! that the document does not have. What it may not expect is in `tests/python/schemathesis.toml`.

use certward_tests::{Certward, PythonTools, Setup, effort, run, write_openapi};
use serde_json::json;

/// The same requests in every short run; the long one draws, and prints its seed.
const SEED: &str = "20261130";

#[test]
fn every_answer_is_one_that_the_document_has() {
    let tools = PythonTools::installed();
    let certward = Certward::start_with(Setup { log_level: "error", ..Setup::default() });
    let (folder, api) = (certward.folder(), certward.api());
    // The document's examples are in it.
    api.send("POST", "/projects", Some(&json!({"projectID": "north"}))).expect(201);
    let document = folder.join("openapi.json");
    write_openapi(&document);
    let served = api.try_send_at("GET", "/openapi.json", "", "").unwrap().expect(200);
    assert_eq!(served.body, std::fs::read_to_string(&document).unwrap(), "certward openapi prints another");
    let examples = effort().api_examples.to_string();
    let soak = effort().api_examples > 100;
    // Those beside the base have no links, and so no sequences of requests.
    for (which, base, phases) in [
        ("--exclude-tag", api.base(), "examples,coverage,fuzzing,stateful"),
        ("--include-tag", format!("http://{}", api.address), "coverage,fuzzing"),
    ] {
        let mut command = tools.program("schemathesis");
        command.arg("--config-file").arg(PythonTools::file("schemathesis.toml")).arg("run").arg(&document);
        command.args([which, "beside the base", "--url", &base, "--phases", phases]);
        command.args(["--max-examples", &examples, "--continue-on-failure", "--no-color"]);
        command.args(["--auth", &format!("{}:{}", api.key, api.secret)]);
        if !soak {
            command.args(["--seed", SEED]);
        }
        let output = run(command.current_dir(folder));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(" generated, ") && text.contains(" passed"), "{text}");
    }
    assert!(!certward.log().contains("panicked"), "{}", certward.log());
}
