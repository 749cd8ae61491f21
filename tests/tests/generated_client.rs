//! A client that openapi-python-client makes of the OpenAPI document has types, and works.

use std::process::{Command, Output};

use certward_tests::{PythonTools, Scene, run, write_openapi};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Panics unless it succeeds.
fn output_of(command: &mut Command) -> String {
    let output = run(command);
    let text = text(&output);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

#[test]
fn a_typed_client_is_generated_without_warnings_and_works() {
    let tools = PythonTools::installed();
    let scene = Scene::new();
    let folder = scene.certward.folder();
    let (document, client) = (folder.join("openapi.json"), folder.join("certward_client"));
    write_openapi(&document);
    let generated = output_of(
        tools
            .program("openapi-python-client")
            .args(["generate", "--meta", "none", "--config"])
            .arg(PythonTools::file("client.yaml"))
            .arg("--path")
            .arg(&document)
            .arg("--output-path")
            .arg(&client),
    );
    assert!(!generated.to_lowercase().contains("warning"), "{generated}");

    let program = PythonTools::file("program.py");
    let mypy = || {
        let mut mypy = tools.program("mypy");
        mypy.arg("--strict").arg("--cache-dir").arg(folder.join("mypy")).current_dir(folder);
        mypy
    };
    let checked = output_of(mypy().args(["-p", "certward_client"]).env("MYPYPATH", folder));
    assert!(checked.contains("Success: no issues found"), "{checked}");
    let checked = output_of(mypy().arg(&program).env("MYPYPATH", folder));
    assert!(checked.contains("Success: no issues found"), "{checked}");
    // The check can fail: a text is no UploadType.
    let wrong = std::fs::read_to_string(&program)
        .unwrap()
        .replace("tls_type=UploadType.ONE_WAY", "tls_type=\"One-Way\"");
    let wrong_program = folder.join("wrong.py");
    std::fs::write(&wrong_program, wrong).unwrap();
    let refused = run(mypy().arg(&wrong_program).env("MYPYPATH", folder));
    assert!(text(&refused).contains("expected \"UploadType\""), "{}", text(&refused));

    let api = scene.api();
    let leaf = scene.authority.server(&["typed.example.com"]);
    let (certificate, key) = leaf.write(folder, "typed");
    let (_, other_key) = scene.leaf().write(folder, "other");
    let done = output_of(
        tools
            .program("python")
            .arg(&program)
            .arg(scene.broker.upstream())
            .args([certificate, key, other_key])
            .env("PYTHONPATH", folder)
            .env("CERTWARD_URL", api.base())
            .env("CERTWARD_API_KEY", &api.key)
            .env("CERTWARD_SECRET_KEY", &api.secret),
    );
    assert!(done.contains("done"), "{done}");
}
