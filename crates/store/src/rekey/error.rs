use thiserror::Error;

use crate::{KeyHolder, MasterKeyId, StoreError};

/// Why a master key was not switched. Nothing was changed.
#[derive(Debug, Error)]
pub enum RekeyError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nodes that could not open what is sealed under the new key.
    #[error("{} of the listed nodes do not hold the new master key", .0.len())]
    NotHeld(Vec<KeyHolder>),
    /// A key of an earlier rekey: old copies are sealed under it.
    #[error("the master key {0} was in use before")]
    UsedBefore(MasterKeyId),
    /// Another change is not finished.
    #[error("a rekey to {0} is under way")]
    UnderWay(MasterKeyId),
}
