use certward_pki::{describe, describe_name};
use certward_store::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    inspected_endpoint::{HOSTS_MAX, InspectedEndpoint},
    seen_server::SeenServer,
    trust::DeviceTrust,
};
use crate::{
    api_time,
    api_types::{DeploymentAnswer, ServedCertificate},
    chain_tree,
    output::plain,
    style::{Style, Tone},
    table::TextTable,
};

/// What the API says of a deployment, beside what was seen.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeploymentReport {
    #[serde(rename = "deploymentID")]
    id: String,
    /// `none` without a certificate.
    status: String,
    /// Whether each endpoint serves a certificate that ends when the newest upload does. Not while
    /// one is being proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    newest_served: Option<bool>,
    /// Wildcards, which have no address, and hosts above the limit.
    not_looked_at: Vec<String>,
}

/// One endpoint. Without `error` the rest is known.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointReport {
    endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    versions: Vec<VersionReport>,
    two_way: bool,
    client_cas: Vec<String>,
    /// Whether the server has the leaf's key.
    signature_verified: bool,
    /// Why a device would refuse it; absent if it would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    untrusted: Option<String>,
    #[serde(skip)]
    is_trust_of_file: bool,
    /// Until when the leaf is valid, in words.
    #[serde(skip)]
    end: String,
    /// As sent, leaf first.
    chain: Vec<ServedCertificate>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionReport {
    version: &'static str,
    cipher_suites: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
}

impl EndpointReport {
    pub(super) fn of(
        endpoint: &InspectedEndpoint,
        seen: Result<SeenServer, String>,
        trust: &DeviceTrust,
        now: Timestamp,
    ) -> Self {
        let about = Self {
            endpoint: endpoint.address(),
            server_name: endpoint.server_name.clone(),
            is_trust_of_file: trust.is_of_file,
            ..Self::default()
        };
        let SeenServer { address, versions, record } = match seen {
            Ok(served) => served,
            Err(error) => return Self { error: Some(error), ..about },
        };
        let chain: Vec<ServedCertificate> =
            record.chain.iter().filter_map(|der| describe(der)).map(ServedCertificate::from).collect();
        let versions = versions.into_iter().map(|seen| VersionReport {
            version: seen.version,
            cipher_suites: seen
                .suites
                .iter()
                .map(|suite| iana_name(&format!("{:?}", suite.suite())))
                .collect(),
            group: seen.group.map(|group| format!("{group:?}")),
        });
        let name = endpoint.verified_name();
        let verified = name.map(|name| trust.verify(&record.chain, &name, now));
        Self {
            address: Some(address.to_string()),
            versions: versions.collect(),
            two_way: record.asked_by.is_some(),
            client_cas: record.asked_by.iter().flatten().map(|name| ca_name(name)).collect(),
            signature_verified: record.signature_verified,
            untrusted: verified.and_then(Result::err),
            end: chain.first().map(|leaf| api_time::end_with_words(&leaf.expire, now)).unwrap_or_default(),
            chain,
            ..about
        }
    }

    pub(super) fn is_seen(&self) -> bool {
        self.error.is_none()
    }

    /// Seen, and with its key.
    pub(super) fn is_sound(&self) -> bool {
        self.is_seen() && self.signature_verified
    }

    fn serves(&self, expire: &str) -> bool {
        self.chain.first().is_some_and(|leaf| leaf.expire == expire)
    }

    fn text(&self, style: Style) -> String {
        let head = match (&self.server_name, &self.address) {
            (Some(name), Some(address)) => format!("{} at {address}", plain(name)),
            (None, Some(address)) => format!("no server name, at {address}"),
            (Some(name), None) => format!("{} at {}", plain(name), plain(&self.endpoint)),
            (None, None) => plain(&self.endpoint),
        };
        if let Some(error) = &self.error {
            return format!("{head}\n  {} {}", style.paint(Tone::Bad, "not seen:"), plain(error));
        }
        let mut rows: Vec<(String, String)> = self
            .versions
            .iter()
            .map(|seen| {
                let group = seen.group.as_ref().map_or_else(String::new, |group| format!(" with {group}"));
                (format!("TLS {}", seen.version), format!("{}{group}", seen.cipher_suites.join(", ")))
            })
            .collect();
        rows.push(("devices".to_owned(), self.devices()));
        rows.push(("trust".to_owned(), self.trust()));
        rows.push(("ends".to_owned(), self.end.clone()));
        if !self.signature_verified {
            rows.push(("key".to_owned(), "the server did not prove that it has the leaf's key".to_owned()));
        }
        let mut rows = rows.into_iter();
        let Some((name, text)) = rows.next() else { return head };
        let mut table = TextTable::new([name.as_str(), text.as_str()]);
        for (name, text) in rows {
            table.row([name.as_str(), text.as_str()]);
        }
        let facts: Vec<String> = table.text().lines().map(|line| format!("  {line}")).collect();
        let tree = chain_tree::draw(&self.chain, None, style);
        format!("{head}\n{}\n\n{tree}", facts.join("\n"))
    }

    fn devices(&self) -> String {
        match (self.two_way, self.client_cas.is_empty()) {
            (false, _) => "one-way: asked for no certificate".to_owned(),
            (true, true) => "two-way: asked for a certificate of any CA".to_owned(),
            (true, false) => format!("two-way: asked for a certificate of {}", self.client_cas.join("; ")),
        }
    }

    fn trust(&self) -> String {
        let (whose, other) = match self.is_trust_of_file {
            true => ("the CAs of --server-ca", ""),
            false => ("this machine's CAs", "; --server-ca FILE names those of the devices"),
        };
        match &self.untrusted {
            None => format!("accepted with {whose}"),
            Some(why) => format!("refused with {whose}: {why}{other}"),
        }
    }
}

impl DeploymentReport {
    pub(super) fn of(
        deployment: &DeploymentAnswer,
        not_looked_at: Vec<String>,
        seen: &[EndpointReport],
    ) -> Self {
        let tls = deployment.tls.as_ref();
        let status = tls.and_then(|tls| tls.status.clone()).unwrap_or_else(|| "none".to_owned());
        let expire = tls.and_then(|tls| tls.expire.as_deref()).filter(|_| status == "running");
        let mut seen = seen.iter().filter(|seen| seen.is_seen()).peekable();
        let newest_served =
            expire.filter(|_| seen.peek().is_some()).map(|expire| seen.all(|seen| seen.serves(expire)));
        Self { id: deployment.id.clone(), status, newest_served, not_looked_at }
    }

    pub(super) fn is_newest_served(&self) -> bool {
        self.newest_served != Some(false)
    }

    fn text(&self, style: Style) -> String {
        let Self { id, status, newest_served, not_looked_at } = self;
        let id = plain(id);
        if status == "none" {
            return format!(
                "{id}: no certificate is set; `certward tls set {id} --cert FILE --key FILE` sets one"
            );
        }
        let served = match newest_served {
            None => String::new(),
            Some(true) => ", and what is served ends when that certificate does".to_owned(),
            Some(false) => format!(", but {}", style.paint(Tone::Bad, "another certificate is served")),
        };
        let left_out = match not_looked_at.is_empty() {
            true => String::new(),
            false => format!(
                "\nnot looked at: {} (only {HOSTS_MAX} hosts are, and wildcards only with --at HOST:PORT, for they \
                 have no address)",
                plain(&not_looked_at.join(", "))
            ),
        };
        format!("{id}: {}{served}{left_out}", plain(status))
    }
}

pub(super) fn json(deployment: Option<&DeploymentReport>, endpoints: &[EndpointReport]) -> Value {
    json!({ "deployment": deployment, "endpoints": endpoints })
}

pub(super) fn text(
    deployment: Option<&DeploymentReport>,
    endpoints: &[EndpointReport],
    style: Style,
) -> String {
    let deployment = deployment.map(|deployment| deployment.text(style));
    let parts: Vec<String> =
        deployment.into_iter().chain(endpoints.iter().map(|endpoint| endpoint.text(style))).collect();
    parts.join("\n\n")
}

/// rustls puts the version into the names of TLS 1.3's.
fn iana_name(name: &str) -> String {
    name.replacen("TLS13_", "TLS_", 1)
}

fn ca_name(der: &[u8]) -> String {
    describe_name(der).map_or_else(|| "(an unreadable name)".to_owned(), String::from)
}
