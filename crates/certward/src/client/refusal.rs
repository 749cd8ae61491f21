use std::time::Duration;

use reqwest::StatusCode;

use crate::{
    api_types::{ErrorAnswer, FindingAnswer},
    findings,
    output::plain,
    wording::{self, KeySource, Typed},
};

/// What the API refused, of which deployment, and what to do next.
pub(super) fn text(
    status: StatusCode,
    retry_after: Option<Duration>,
    body: &ErrorAnswer,
    typed: &Typed,
) -> String {
    if !body.details.is_empty() {
        // It is the answer's own code and message.
        return of_upload(&body.details, typed);
    }
    let about = about(typed);
    let message = wording::error_message(&body.code, &body.message, typed);
    let text = format!("{about}{}: {}", plain(&body.code), plain(&message));
    match next(status, retry_after, &body.code, typed) {
        Some(next) => format!("{text} {next}"),
        None => text,
    }
}

/// An upload, finding by finding.
pub(super) fn of_upload(findings: &[FindingAnswer], typed: &Typed) -> String {
    format!("{}refused: {}", about(typed), findings::counted(findings, typed))
}

fn about(typed: &Typed) -> String {
    typed.deployment.as_ref().map(|id| format!("deployment {}: ", plain(id))).unwrap_or_default()
}

fn next(status: StatusCode, retry_after: Option<Duration>, code: &str, typed: &Typed) -> Option<String> {
    let id = typed.deployment.as_deref().map_or_else(|| "ID".to_owned(), plain);
    Some(match (status.as_u16(), code) {
        (401, _) => wrong_key(&typed.key),
        (403, _) => {
            "Use a key that may; with a key of the scope admin, `certward key list` shows what each may."
                .to_owned()
        }
        (429, _) => match retry_after {
            Some(wait) => format!("Try again in {} s.", wait.as_secs()),
            None => "Try again later.".to_owned(),
        },
        (503, _) => "A later try may succeed.".to_owned(),
        (_, "DEPLOYMENT_NOT_FOUND") => {
            "`certward deployment list` shows those that this key sees.".to_owned()
        }
        (_, "DEPLOYMENT_EXISTS") => format!("`certward deployment show {id}` shows it."),
        (_, "TLS_NOT_FOUND") => format!("`certward tls set {id} --cert FILE --key FILE` sets one."),
        (_, "VERSION_NOT_FOUND") => format!("`certward tls versions {id}` lists those that are kept."),
        (_, "VERSION_ERASED") => format!(
            "Choose another one with --to, as `certward tls versions {id}` lists them, or upload certificate and key again: \
             certward tls set {id} --cert FILE --key FILE."
        ),
        (_, "VERSION_IN_SERVICE") => format!(
            "`certward tls versions {id}` lists all; its key can be erased once a newer version is running."
        ),
        (_, "TLS_ALREADY_EXISTS") => {
            format!("`certward tls show {id}` shows it; run the command again to replace it.")
        }
        (_, "DEPLOYMENT_QUOTA") => "`certward deployment list` shows them.".to_owned(),
        (_, "LAST_ADMIN_KEY") => "`certward key create --name NAME --scope admin` makes one.".to_owned(),
        (_, "PROJECT_NOT_EMPTY") => "`certward deployment list` shows them.".to_owned(),
        _ => return None,
    })
}

fn wrong_key(source: &KeySource) -> String {
    let why = "is unknown or revoked or has ended, or the secret is another's";
    match source {
        KeySource::Given => {
            format!(
                "Check CERTWARD_API_KEY and CERTWARD_SECRET_KEY (or --api-key and --secret-key): the key {why}."
            )
        }
        KeySource::Typed => format!("Type both again: the key {why}."),
        KeySource::File(name) => format!("The key in {} {why}.", plain(name)),
        KeySource::Login(name) => format!(
            "The key of the login {name} {why}; `certward login --name {name} --url URL` stores another."
        ),
    }
}
