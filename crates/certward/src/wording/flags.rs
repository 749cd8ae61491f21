//! Properties and routes of the API, and what is typed instead.

/// Properties with a name of their own, and routes, with what to type instead.
pub(super) const WORDS: [(&str, &str); 29] = [
    ("GET /projects", "`certward project list`"),
    ("tlsType", "the type of TLS"),
    ("keyPassword", "--key-password-file"),
    ("cacert", "--client-ca"),
    ("cert", "--cert"),
    ("deploymentID", "the id"),
    ("deploymentName", "--name"),
    ("projectID", "--project"),
    ("projectName", "--name"),
    ("wsUpstream", "--ws-upstream"),
    ("proxyProtocol", "--proxy-protocol"),
    ("proxyIdentity", "--proxy-identity"),
    ("connectionRate", "--connection-rate"),
    ("recordBytes", "--record-bytes"),
    ("maxSessionAge", "--max-session-age"),
    ("closeRate", "--rate"),
    ("upstreamAllow", "--upstream-allow"),
    ("hostSuffixes", "--host-suffix"),
    ("expiresAt", "--expires"),
    ("upstream", "--upstream"),
    ("hosts", "--host"),
    ("profile", "--profile"),
    ("connections", "--connections"),
    ("projects", "--project"),
    ("scopes", "--scope"),
    ("url", "--webhook"),
    ("secret", "--secret-file"),
    ("password", "--password-file"),
    ("to", "--to"),
];

/// From here the words of [`WORDS`] are English too: they are replaced only behind `The property`.
pub(super) const ALSO_ENGLISH_FROM: usize = 19;

/// The flag of a property, or its name where it has none.
pub(super) fn flag(property: &str) -> String {
    match property {
        "key" => "--key".to_owned(),
        "certificate" => "--cert".to_owned(),
        "crl" => "--file".to_owned(),
        "fingerprint" | "issuer" | "serial" | "reason" | "stale" => format!("--{property}"),
        "host" | "port" => "--mail".to_owned(),
        "from" | "security" | "username" | "name" | "description" | "within" | "type" => {
            format!("--{property}")
        }
        _ => WORDS.iter().find(|(word, _)| *word == property).map_or(property, |(_, flag)| flag).to_owned(),
    }
}
