use certward_store::{ApiKey, DeploymentId, ProjectId};

use crate::{auth::BASE, path_id::PathId};

/// A change that a request asks for, as the audit names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditedAction {
    pub(crate) name: &'static str,
    /// As the path names it, if that is an id; it may not exist.
    pub(crate) subject: String,
    pub(crate) deployment: Option<DeploymentId>,
}

/// New keys have 16 characters. A longer text may be a secret key in the wrong place.
const API_KEY_LENGTH_MAX: usize = 32;

impl AuditedAction {
    /// `None`: the route changes nothing.
    pub(crate) fn of(method: &str, route: &str, path: &str) -> Option<Self> {
        let name = name(method, route.strip_prefix(BASE)?)?;
        let id = PathId::of(path);
        let deployment = match name.split_once('.') {
            Some(("tls" | "deployment" | "device" | "sessions", _)) => {
                id.parse(|text| DeploymentId::parse(text).ok())
            }
            _ => None,
        };
        let subject = match (&deployment, name.split_once('.')) {
            (Some(deployment), _) => Some(deployment.to_string()),
            (None, Some(("project" | "alert-channel", _))) => {
                id.parse(|text| ProjectId::parse(text).ok()).map(|id| id.to_string())
            }
            (None, Some(("key", _))) => id
                .parse(|text| ApiKey::parse(text).filter(|key| key.as_str().len() <= API_KEY_LENGTH_MAX))
                .map(|key| key.to_string()),
            _ => None,
        };
        Some(Self { name, subject: subject.unwrap_or_default(), deployment })
    }
}

fn name(method: &str, route: &str) -> Option<&'static str> {
    Some(match (method, route) {
        ("POST", "/projects") => "project.create",
        ("PATCH", "/projects/{id}") => "project.change",
        ("DELETE", "/projects/{id}") => "project.remove",
        ("POST", "/deployments") => "deployment.create",
        ("PATCH", "/deployments/{id}") => "deployment.change",
        ("DELETE", "/deployments/{id}") => "deployment.remove",
        ("POST", "/deployments/{id}/tls" | "/deployments//tls") => "tls.create",
        ("PUT", "/deployments/{id}/tls" | "/deployments//tls") => "tls.replace",
        ("DELETE", "/deployments/{id}/tls" | "/deployments//tls") => "tls.delete",
        ("POST", "/deployments/{id}/tls/rollback" | "/deployments//tls/rollback") => "tls.rollback",
        ("DELETE", "/deployments/{id}/tls/versions/{version}" | "/deployments//tls/versions/{version}") => {
            "tls.version-erase"
        }
        ("POST", "/deployments/{id}/tls/client-cas" | "/deployments//tls/client-cas") => "tls.client-ca-add",
        (
            "DELETE",
            "/deployments/{id}/tls/client-cas/{fingerprint}" | "/deployments//tls/client-cas/{fingerprint}",
        ) => "tls.client-ca-remove",
        ("POST", "/deployments/{id}/tls/revocations") => "tls.revoke",
        ("DELETE", "/deployments/{id}/tls/revocations/{revocation}") => "tls.unrevoke",
        ("PUT", "/deployments/{id}/tls/crls/{crl}") => "tls.crl-set",
        ("DELETE", "/deployments/{id}/tls/crls/{crl}") => "tls.crl-remove",
        ("DELETE", "/deployments/{id}/devices/{device}") => "device.forget",
        ("DELETE", "/deployments/{id}/sessions") => "sessions.close",
        ("POST", "/keys") => "key.create",
        ("DELETE", "/keys/{key}") => "key.revoke",
        ("POST", "/alert-channels") => "alert-channel.create",
        ("DELETE", "/alert-channels/{id}") => "alert-channel.remove",
        ("POST", "/alert-channels/{id}/test") => "alert-channel.test",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::operations;

    #[test]
    fn every_route_that_changes_something_has_an_action() {
        let changes =
            operations().into_iter().filter(|(method, path)| *method != "GET" && !path.ends_with("/check"));
        let mut count = 0;
        for (method, path) in changes {
            count += 1;
            let route = path.strip_prefix(BASE).unwrap();
            assert!(name(method, route).is_some(), "{method} {path}");
        }
        assert!(count > 10);
        for (method, path) in [("GET", "/deployments/{id}/tls"), ("POST", "/deployments/{id}/tls/check")] {
            assert_eq!(name(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn the_subject_is_an_id_or_nothing() {
        let of = |method, route: &str, path: &str| {
            let action =
                AuditedAction::of(method, &format!("{BASE}{route}"), &format!("{BASE}{path}")).unwrap();
            (action.subject, action.deployment.map(|id| id.to_string()))
        };
        let north = ("north".to_owned(), Some("north".to_owned()));
        assert_eq!(of("PUT", "/deployments/{id}/tls", "/deployments/north/tls"), north);
        let nothing = (String::new(), None);
        assert_eq!(of("PUT", "/deployments/{id}/tls", "/deployments/My%20secret/tls"), nothing);
        assert_eq!(of("POST", "/deployments", "/deployments"), nothing);
        assert_eq!(of("DELETE", "/projects/{id}", "/projects/p1"), ("p1".to_owned(), None));
        assert_eq!(of("DELETE", "/keys/{key}", "/keys/abcdefgh12345678").0, "abcdefgh12345678");
        let secret = format!("/keys/{}", "0a".repeat(32));
        assert_eq!(of("DELETE", "/keys/{key}", &secret), nothing, "a secret key in the wrong place");
    }
}
