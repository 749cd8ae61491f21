use std::collections::HashSet;

use certward_store::{ApiKeyRecord, CrlContent, DeploymentCrl, Ending, EndingKind, Timestamp, Version};

/// What ends of an upload: each certificate once. An unreadable one is left out.
pub(crate) fn of_version(version: &Version) -> Vec<Ending> {
    let chain = version.chain.iter().enumerate().map(|(index, der)| {
        let kind = if index == 0 { EndingKind::Leaf } else { EndingKind::Intermediate };
        (kind, der)
    });
    let client_cas = version.client_cas.iter().map(|der| (EndingKind::ClientCa, der));
    let mut seen = HashSet::new();
    let endings = chain.chain(client_cas).filter_map(|(kind, der)| of_certificate(kind, der));
    endings.filter(|ending| seen.insert((ending.kind, ending.item.clone()))).collect()
}

/// `None` if it is not an X.509 certificate.
pub fn of_certificate(kind: EndingKind, der: &[u8]) -> Option<Ending> {
    let facts = certward_pki::describe(der)?;
    Some(Ending {
        kind,
        item: certward_pki::fingerprint(der),
        subject: facts.subject,
        begins_at: Timestamp::from_time(facts.not_before),
        ends_at: Timestamp::from_time(facts.not_after),
    })
}

/// Those of accepted CRLs that say when the next one comes; each once.
pub(crate) fn of_crls(crls: &[DeploymentCrl]) -> Vec<Ending> {
    let ending = |content: &CrlContent| {
        Some(Ending {
            kind: EndingKind::Crl,
            item: content.fingerprint.clone(),
            subject: content.issuer.clone(),
            begins_at: content.this_update,
            ends_at: content.next_update?,
        })
    };
    let mut seen = HashSet::new();
    let endings = crls.iter().filter_map(|crl| ending(crl.content.as_ref()?));
    endings.filter(|ending| seen.insert(ending.item.clone())).collect()
}

/// `None` if it does not end.
pub(crate) fn of_key(key: &ApiKeyRecord) -> Option<Ending> {
    Some(Ending {
        kind: EndingKind::ApiKey,
        item: key.key.to_string(),
        subject: key.name.clone(),
        begins_at: key.created_at,
        ends_at: key.expires_at?,
    })
}
