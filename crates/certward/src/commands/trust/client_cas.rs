//! The client CAs of a deployment, and one of them by the first digits of its fingerprint.

use anyhow::bail;
use certward_store::DeploymentId;

use crate::{
    api_types::ClientCaAnswer,
    client::{Client, ClientError, ListPage},
    output::plain,
    usage::UsageError,
};

/// Digits of a fingerprint that are shown.
pub(super) const DIGITS_SHOWN: usize = 16;

pub(super) async fn page(client: &Client, id: &DeploymentId) -> Result<ListPage, ClientError> {
    client.list_page(&["deployments", id.as_str(), "tls", "client-cas"], "").await
}

/// The client CA whose fingerprint begins with `digits`.
pub(super) async fn find(client: &Client, id: &DeploymentId, digits: &str) -> anyhow::Result<ClientCaAnswer> {
    let digits = prefix(digits)?;
    let listed: Vec<ClientCaAnswer> = serde_json::from_value(page(client, id).await?.items.into())?;
    one_of(listed, &digits, id)
}

/// As `openssl x509 -fingerprint` prints it, too.
fn prefix(typed: &str) -> Result<String, UsageError> {
    let digits = typed.replace(':', "").to_ascii_lowercase();
    let is_prefix = (1..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_prefix { Ok(digits) } else { Err(not_a_fingerprint(typed)) }
}

fn not_a_fingerprint(typed: &str) -> UsageError {
    UsageError(format!(
        "{} is no fingerprint of a client CA, nor the beginning of one: 1 to 64 hexadecimal digits, as `certward trust \
         show` lists them",
        plain(typed)
    ))
}

fn one_of(listed: Vec<ClientCaAnswer>, digits: &str, id: &DeploymentId) -> anyhow::Result<ClientCaAnswer> {
    let mut found = listed.into_iter().filter(|ca| ca.fingerprint.starts_with(digits));
    match (found.next(), found.next()) {
        (Some(ca), None) => Ok(ca),
        (None, _) => bail!(
            "{id} has no client CA whose fingerprint begins with {digits}; `certward trust show {id}` lists them"
        ),
        (Some(_), Some(_)) => bail!(
            "several client CAs of {id} have a fingerprint that begins with {digits}: give more of its digits"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_digits_are_enough_if_they_are_those_of_one() {
        let id = DeploymentId::parse("d1").unwrap();
        let listed = || {
            let ca =
                |digits: &str| ClientCaAnswer { fingerprint: digits.repeat(32), ..ClientCaAnswer::default() };
            vec![ca("1f"), ca("1e"), ca("a0")]
        };
        for (typed, found) in [
            ("a", Ok("a0")),
            ("1F:1f", Ok("1f")),
            ("1e1e", Ok("1e")),
            ("1", Err("several client CAs of d1")),
            ("b", Err("d1 has no client CA whose fingerprint begins with b;")),
        ] {
            let one = one_of(listed(), &prefix(typed).unwrap(), &id);
            match found {
                Ok(digits) => assert_eq!(one.unwrap().fingerprint, digits.repeat(32), "{typed}"),
                Err(refusal) => assert!(one.unwrap_err().to_string().starts_with(refusal), "{typed}"),
            }
        }
        for typed in ["", ":", "x", "CN=a", &"0".repeat(65)] {
            assert!(prefix(typed).is_err(), "{typed}");
        }
    }
}
