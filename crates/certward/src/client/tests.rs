use super::*;
use crate::api_types::FindingAnswer;

fn refused(status: u16, code: &str, retry_after: Option<u64>) -> String {
    let body = ErrorAnswer { code: code.into(), message: "It is so.".into(), ..ErrorAnswer::default() };
    let status = StatusCode::from_u16(status).unwrap();
    let typed = Box::new(Typed::about("north"));
    ClientError::Refused {
        status,
        retry_after: retry_after.map(Duration::from_secs),
        body: Box::new(body),
        typed,
    }
    .to_string()
}

#[test]
fn refusals_say_what_to_do_next() {
    for (text, says) in [
        (refused(401, "UNAUTHORIZED", None), "Check CERTWARD_API_KEY and CERTWARD_SECRET_KEY"),
        (refused(403, "NO_ACCESS", None), "`certward key list`"),
        (refused(404, "DEPLOYMENT_NOT_FOUND", None), "`certward deployment list`"),
        (refused(404, "TLS_NOT_FOUND", None), "`certward tls set north --cert FILE --key FILE`"),
        (refused(429, "RATE_LIMITED", Some(120)), "Try again in 120 s"),
        (refused(503, "UNAVAILABLE", None), "A later try may succeed"),
    ] {
        assert!(text.starts_with("deployment north: ") && text.contains(": It is so. "), "{text}");
        assert!(text.contains(says), "{text}");
    }
    for (key, says) in [
        (KeySource::File("renewals.json".to_owned()), "The key in renewals.json is unknown"),
        (KeySource::Login("prod".parse().unwrap()), "`certward login --name prod --url "),
    ] {
        let body =
            ErrorAnswer { code: "UNAUTHORIZED".into(), message: "No.".into(), ..ErrorAnswer::default() };
        let typed = Box::new(Typed { key, ..Typed::about("north") });
        let text = ClientError::Refused {
            status: StatusCode::UNAUTHORIZED,
            retry_after: None,
            body: Box::new(body),
            typed,
        }
        .to_string();
        assert!(text.contains(says) && !text.contains("CERTWARD_API_KEY"), "{text}");
    }
    let unreachable = ClientError::Unreachable {
        base: "http://127.0.0.1:8080/".into(),
        timed_out: false,
        cause: "refused".into(),
    };
    assert!(unreachable.to_string().contains("is `certward serve` running"), "{unreachable}");
}

#[test]
fn findings_are_shown_one_by_one() {
    let finding = |code: &str| FindingAnswer {
        code: code.into(),
        remedy: format!("mend {code}"),
        ..FindingAnswer::default()
    };
    let body = ErrorAnswer {
        code: "A".into(),
        message: "m".into(),
        details: vec![finding("A"), finding("B")],
        impact: None,
    };
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let text =
        ClientError::Refused { status, retry_after: None, body: Box::new(body), typed: Box::default() }
            .to_string();
    assert!(text.contains("Do: mend A\n") && text.ends_with("Do: mend B"), "{text}");
}

#[test]
fn a_proxy_is_never_asked_for_loopback() {
    for (text, loopback) in [
        ("http://127.0.0.1:1/", true),
        ("http://127.9.9.9/", true),
        ("http://[::1]:1/", true),
        ("http://localhost:1/", true),
        ("http://a.localhost/", true),
        ("http://192.0.2.1/", false),
        ("http://localhost.example/", false),
        ("http://[2001:db8::1]/", false),
    ] {
        assert_eq!(is_loopback(&Url::parse(text).unwrap()), loopback, "{text}");
    }
}
