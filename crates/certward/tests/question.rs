//! The question before devices are disconnected.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use stage::{Answer, Run, Script, finish, pseudo_terminal::PseudoTerminal};

const DEPLOYMENT: Answer =
    (200, "", r#"{"deploymentID":"d1","connected":3,"hosts":["a.example","b.example"]}"#);
const DONE: Answer = (204, "", "");
const LIMITED: Answer = (429, "Retry-After: 9\r\n", r#"{"code":"RATE_LIMITED","message":"No."}"#);
const UNKNOWN: Answer = (404, "", r#"{"code":"DEPLOYMENT_NOT_FOUND","message":"No."}"#);
const GET: &str = "GET /public_api/v1/deployments/d1";
const COMMANDS: [(&[&str], &str); 2] = [
    (&["deployment", "remove", "d1"], "DELETE /public_api/v1/deployments/d1"),
    (&["tls", "delete", "d1"], "DELETE /public_api/v1/deployments/d1/tls"),
];

/// A person answers, if `answer` is given.
fn at_a_terminal(api: &Script, arguments: &[&str], flags: &[&str], answer: Option<&str>) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = PseudoTerminal::start(api.client(folder.path()).args(arguments).args(flags));
    if let Some(answer) = answer {
        terminal.answer("Go on? [y/N] ", answer);
    }
    terminal.finish()
}

#[test]
fn a_person_is_asked_in_numbers_and_anything_but_yes_is_no() {
    for (arguments, change) in COMMANDS {
        for (answer, goes_on) in
            [("y", true), ("YES", true), ("", false), ("n", false), ("yess", false), ("\u{4}", false)]
        {
            let api = Script::new(vec![DEPLOYMENT, DONE]);
            let run = at_a_terminal(&api, arguments, &[], Some(answer));
            assert!(run.stderr.contains("3 devices connected now"), "{}", run.stderr);
            assert!(run.stderr.contains("a.example, b.example"), "{}", run.stderr);
            assert_eq!(run.code, if goes_on { 0 } else { 1 }, "{answer:?}: {}", run.stderr);
            let asked = api.asked_lines();
            assert_eq!(asked, if goes_on { vec![GET, change] } else { vec![GET] }, "{answer:?}");
        }
    }
}

#[test]
fn yes_and_scripts_are_not_asked() {
    for (arguments, change) in COMMANDS {
        for flag in ["--yes", "-y"] {
            let api = Script::new(vec![DONE]);
            assert_eq!(at_a_terminal(&api, arguments, &[flag], None).code, 0);
            assert_eq!(api.asked_lines(), [change]);
        }
        let (folder, api) = (tempfile::tempdir().unwrap(), Script::new(vec![DONE]));
        let run = finish(api.client(folder.path()).args(arguments));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        assert_eq!(api.asked_lines(), [change]);
    }
}

#[test]
fn without_numbers_it_is_asked_still_and_what_is_not_there_is_said() {
    for (arguments, change) in COMMANDS {
        let api = Script::new(vec![LIMITED, DONE]);
        let run = at_a_terminal(&api, arguments, &[], Some("y"));
        assert!(run.code == 0 && run.stderr.contains("all its devices. Go on?"), "{}", run.stderr);
        assert_eq!(api.asked_lines(), [GET, change]);
        let api = Script::new(vec![UNKNOWN]);
        let run = at_a_terminal(&api, arguments, &[], None);
        assert!(run.code == 1 && run.stderr.contains("DEPLOYMENT_NOT_FOUND"), "{}", run.stderr);
    }
}
