use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};
use thiserror::Error;

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdError {
    /// Empty or too long.
    #[error("it must have 1 to 63 characters")]
    Length,
    /// A forbidden character, or `-` first.
    #[error("only a-z, 0-9 and '-' are allowed, and not '-' as the first character")]
    Character,
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() || text.len() > 63 {
        return Err(IdError::Length);
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.starts_with('-') || !text.bytes().all(allowed) {
        return Err(IdError::Character);
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Clones share the text: a node holds each id in several places.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads an id: 1 to 63 of `a-z 0-9 -`, not starting with `-`.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text).map(|()| Self(text.into()))
            }

            /// The id's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

text_id! {
    /// A deployment's id, opaque to clients.
    DeploymentId
}
text_id! {
    /// A project's id.
    ProjectId
}
text_id! {
    /// A node's id, kept in its data folder.
    NodeId
}

text_id! {
    /// An alert's id, the same for all its deliveries.
    AlertId
}
text_id! {
    /// An alert channel's id.
    ChannelId
}
text_id! {
    /// A CRL's id, chosen by the operator; unique in its deployment.
    CrlId
}

impl ProjectId {
    /// The project that always exists.
    pub fn default_project() -> Self {
        Self("default".into())
    }
}

/// The number of a change in the feed.
///
/// Every change of a deployment, of its hosts too, draws one: it only grows, even across a new
/// deployment of the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Default)]
#[serde(transparent)]
pub struct Generation(pub i64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An upload's id: the generation that accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct VersionId(pub i64);

impl From<Generation> for VersionId {
    fn from(accepted_at: Generation) -> Self {
        Self(accepted_at.0)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// 128 random bits that session tickets are bound to: drawn by every POST, and when tlsType, client
/// CAs or revocation change.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TrustScope(pub [u8; 16]);
