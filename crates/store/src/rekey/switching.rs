use sqlx::AnyConnection;

use crate::{
    AuditEntry, AuditOrigin, KeyHolder, MasterKey, MasterKeyId, NodeId, Rekey, RekeyError, Store, StoreError,
    Timestamp,
    repo::{node_process, rekey},
    sealed::{
        kept_audit_key,
        sealing::Sealer,
        secret::{self, identity_of, key_of},
    },
};

/// Which listed nodes must hold the new key.
#[derive(Debug, Clone, Copy)]
pub enum RekeyNodes<'a> {
    /// All but these, which are lost.
    AllBut(&'a [NodeId]),
    /// None: the caller has the embedded store for itself.
    None,
}

impl RekeyNodes<'_> {
    fn counts(&self, holder: &KeyHolder) -> bool {
        match self {
            Self::AllBut(lost) => !lost.contains(&holder.node),
            Self::None => false,
        }
    }

    /// Those of `holders` that do not fit.
    pub fn without(&self, holders: Vec<KeyHolder>, fits: impl Fn(&KeyHolder) -> bool) -> Vec<KeyHolder> {
        holders.into_iter().filter(|holder| self.counts(holder) && !fits(holder)).collect()
    }
}

impl Store {
    /// From the commit on all new records are sealed under `to`, by every node. The store holds
    /// both keys. Once switched, it only returns the change.
    ///
    /// # Errors
    /// [`RekeyError`]: nothing was changed.
    pub async fn switch_master_key(
        &self,
        from: &MasterKey,
        to: MasterKeyId,
        nodes: RekeyNodes<'_>,
    ) -> Result<Rekey, RekeyError> {
        let keys = self.inner.keys.clone();
        let sealer = keys.sealer(to)?;
        let mut tx = self.begin().await?;
        let now = tx.now();
        let switched = tx.step(async |conn| {
            let check = secret::check_to_switch(conn).await?;
            if let Some(rekey) = rekey::newest(conn).await? {
                if rekey.to == to {
                    return Ok(Ok((rekey, false)));
                }
                if rekey.finished_at.is_none() {
                    return Ok(Err(RekeyError::UnderWay(rekey.to)));
                }
            }
            if key_of(&check)? != MasterKeyId::of(from) {
                return Err(StoreError::WrongMasterKey);
            }
            if to == MasterKeyId::of(from) || rekey::replaced_at(conn, to).await?.is_some() {
                return Ok(Err(RekeyError::UsedBefore(to)));
            }
            let holders = node_process::key_holders(conn, now).await?;
            let missing = nodes.without(holders, |holder| holder.holds(to));
            if !missing.is_empty() {
                return Ok(Err(RekeyError::NotHeld(missing)));
            }
            let resealed = secret::reseal_check(&keys, &check, &sealer)?;
            let rekey = switch(conn, from, &sealer, &check, &resealed, now).await?;
            Ok(Ok((rekey, true)))
        });
        let (rekey, is_new) = switched.await??;
        if is_new {
            let detail = format!("from {}", rekey.from);
            let subject = rekey.to.to_string();
            tx.audit(AuditEntry {
                detail,
                ..AuditEntry::new(AuditOrigin::certward(), "rekey.switch", subject)
            });
            tx.commit().await?;
            keys.set_settled(None);
        }
        Ok(rekey)
    }

    /// After [`Store::reseal`]: ends the change, once no replica needs the key before. Once
    /// finished, it does nothing.
    ///
    /// # Errors
    /// [`RekeyError::NotHeld`] names the nodes whose replicas need it.
    pub async fn finish_rekey(&self, rekey: &Rekey, nodes: RekeyNodes<'_>) -> Result<(), RekeyError> {
        let mut tx = self.begin().await?;
        let (now, to) = (tx.now(), rekey.to);
        let finished = tx.step(async |conn| {
            let holders = node_process::key_holders(conn, now).await?;
            let behind = nodes.without(holders, |holder| holder.needs_only(to));
            match behind.is_empty() {
                true => Ok(Ok(rekey::mark_finished(conn, to, now).await?)),
                false => Ok(Err(RekeyError::NotHeld(behind))),
            }
        });
        if finished.await?? {
            let detail = format!("from {}", rekey.from);
            let subject = to.to_string();
            tx.audit(AuditEntry {
                detail,
                ..AuditEntry::new(AuditOrigin::certward(), "rekey.finish", subject)
            });
        }
        Ok(tx.commit().await?)
    }
}

async fn switch(
    conn: &mut AnyConnection,
    from: &MasterKey,
    to: &Sealer,
    check: &[u8],
    resealed: &[u8],
    now: Timestamp,
) -> Result<Rekey, StoreError> {
    let rekey = Rekey {
        from: MasterKeyId::of(from),
        to: to.id(),
        switched_at: now,
        resealed_at: None,
        finished_at: None,
    };
    let identity = rekey::identity(conn).await?.unwrap_or_else(|| identity_of(check));
    rekey::insert(conn, &rekey, &identity).await?;
    secret::replace_check(conn, resealed).await?;
    // Rows of the audit from before stay verifiable.
    kept_audit_key::keep(conn, from, to, now).await?;
    Ok(rekey)
}
