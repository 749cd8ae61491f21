//! A deployment's CRLs: uploaded, or fetched from an address by one node for all.
//!
//! A CRL is judged before the transaction, with the client CAs of the newest upload and the CRL in
//! service; what it was judged with is compared in the transaction. A change is no version. What is
//! fetched and not accepted leaves the CRL in service.

use std::sync::Arc;

use certward_pki::{
    Crl, CrlCircumstances, CrlJudgement, Finding, StalePolicy, are_of_one_crl_series, fingerprint, judge_crl,
};
use certward_store::{
    ApiKey, AuditEntry, AuditOrigin, CRL_BYTES_IN_ALL_MAX, CRL_BYTES_OF_ALL_MAX, CRLS_MAX, CloseRate,
    CrlContent, CrlFetching, CrlId, CrlRevision, CrlUrl, Deployment, DeploymentCrl, DeploymentRef,
    EndingKind, EndingOwner, FeedPosition, Generation, Scope, StoreError, Timestamp, Tx, VersionId,
};
use thiserror::Error;

use crate::{Denied, Lifecycle, Lifetime, Requester, acting::Acting, expiry::listing, judge_pool::TooMany};

/// Repeated if the deployment changes in between.
const JUDGEMENTS_MAX: u32 = 4;

/// Where a CRL comes from.
#[derive(Debug, Clone)]
pub enum NewCrl {
    /// DER, or PEM with the certificates of its issuer beside it; at most 16 MiB.
    Upload(Arc<Vec<u8>>),
    /// An address that it is fetched from, at once and before each nextUpdate.
    Address(CrlUrl),
}

/// A CRL as it is stored now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedCrl {
    /// Without its DER.
    pub crl: DeploymentCrl,
    /// Warnings and notices of an upload, most important first.
    pub findings: Vec<Finding>,
    /// Nodes that have carried it out follow the CRL.
    pub generation: Generation,
}

/// Why a CRL was not changed.
#[derive(Debug, Error)]
pub enum CrlError {
    /// No such deployment.
    #[error("the deployment does not exist")]
    NoDeployment,
    /// The deployment has no such CRL.
    #[error("the CRL does not exist")]
    NotFound,
    /// Most important first; the first is an error.
    #[error("the CRL is refused")]
    Refused(Vec<Finding>),
    /// The one in service is stale, and would refuse all certificates of its issuer from now on.
    #[error("the CRL in service is stale: hard, it would refuse all certificates of its CA")]
    StaleInService,
    /// See [`CRLS_MAX`].
    #[error("a deployment has at most 20 CRLs")]
    TooMany,
    /// See [`CRL_BYTES_IN_ALL_MAX`].
    #[error("the CRLs of a deployment have at most 64 MiB in all, and there is room for {room} bytes")]
    NoRoom {
        /// Bytes that this one may have.
        room: u64,
    },
    /// See [`CRL_BYTES_OF_ALL_MAX`].
    #[error("the CRLs of all deployments have at most 1 GiB")]
    StoreFull,
    /// Client CAs or the CRL changed during each judgement.
    #[error("client CAs or the CRL changed during each judgement")]
    KeepsChanging,
    /// Not allowed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The key's queue is full.
    #[error("too many uploads of this API key wait already")]
    TooManyUploads,
    /// The store failed; the change may have been made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a CRL was judged with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JudgedWith {
    newest: Option<VersionId>,
    in_service: Option<CrlRevision>,
    stale_policy: StalePolicy,
}

/// A change of one CRL, to be stored.
pub(crate) struct CrlChange {
    pub(crate) id: CrlId,
    /// `None`: the content stays.
    pub(crate) accepted: Option<Crl>,
    pub(crate) stale_policy: StalePolicy,
    pub(crate) fetching: Option<CrlFetching>,
    pub(crate) put_by: ApiKey,
    pub(crate) put_at: Timestamp,
}

impl Lifecycle {
    /// Sets a CRL, in place of one with its id. One that is set to an address keeps its content
    /// until the first fetch. Without a policy it has the one of the CRL before, or is soft. Nodes
    /// end the sessions that it revokes at `close_rate`; `None`: at once. Durable on return.
    pub async fn set_crl<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        wanted: &DeploymentRef,
        id: &CrlId,
        new: NewCrl,
        policy: Option<StalePolicy>,
        close_rate: Option<CloseRate>,
    ) -> Result<AcceptedCrl, CrlError> {
        let actor = actor.into();
        for _ in 0..JUDGEMENTS_MAX {
            let judged = match &new {
                NewCrl::Upload(bytes) => Some(self.judge_crl_of(actor.key, wanted, id, bytes, policy).await?),
                NewCrl::Address(_) => None,
            };
            let (with, accepted, mut findings) = match judged {
                None => (None, None, Vec::new()),
                Some((_, CrlJudgement { findings, crl: None })) => return Err(CrlError::Refused(findings)),
                Some((with, CrlJudgement { findings, crl })) => (Some(with), crl, findings),
            };
            if let Some(crl) = &accepted {
                findings.extend(self.others_of_its_series(wanted, id, crl).await?);
                findings.sort_by_key(|finding| (finding.severity, finding.code));
            }
            let mut acting = self.begin_as(actor, Scope::Tls).await?;
            let deployment = acting.deployment(wanted).await?.ok_or(CrlError::NoDeployment)?;
            let Acting { mut tx, actor, origin } = acting;
            let there = tx.crls(&deployment.id).await?;
            let before = there.iter().find(|crl| crl.id == *id);
            let now = JudgedWith::of(&deployment, before, policy);
            if with.is_some_and(|with| with != now) {
                continue;
            }
            let fetching = match &new {
                NewCrl::Upload(_) => None,
                NewCrl::Address(url) => Some(fetching_from(url, before, tx.now())),
            };
            let id = id.clone();
            let (put_by, put_at, stale_policy) = (actor.key, tx.now(), now.stale_policy);
            let change = CrlChange { id, accepted, stale_policy, fetching, put_by, put_at };
            let (crl, generation) = self.store_crl(&mut tx, &deployment, &there, change, close_rate).await?;
            tx.audit(entry(origin, "tls.crl-set", &deployment, &crl, generation));
            tx.commit().await?;
            return Ok(AcceptedCrl { crl, findings, generation });
        }
        Err(CrlError::KeepsChanging)
    }

    /// Removes a CRL. What it alone revoked is accepted again. Returns the generation that nodes
    /// carry out.
    pub async fn remove_crl<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        wanted: &DeploymentRef,
        id: &CrlId,
    ) -> Result<Generation, CrlError> {
        let mut acting = self.begin_as(actor.into(), Scope::Tls).await?;
        let deployment = acting.deployment(wanted).await?.ok_or(CrlError::NoDeployment)?;
        let Acting { mut tx, origin, .. } = acting;
        let mut there = tx.crls(&deployment.id).await?;
        let at = there.iter().position(|crl| crl.id == *id).ok_or(CrlError::NotFound)?;
        let removed = there.remove(at);
        let generation = tx.draw_generation(&deployment.id).await?;
        tx.remove_crl(&deployment.id, id).await?;
        tx.set_tls(&deployment.id, generation, &deployment.tls).await?;
        self.list_crls(&mut tx, &deployment, &there).await?;
        tx.audit(entry(origin, "tls.crl-remove", &deployment, &removed, generation));
        tx.commit().await?;
        Ok(generation)
    }

    /// A deployment's CRLs, by id. `None`: the deployment is gone, or another has its id.
    pub async fn crls(&self, wanted: &DeploymentRef) -> Result<Option<Vec<DeploymentCrl>>, StoreError> {
        let store = self.store.read();
        let found = store.crls(&wanted.id).await?;
        let there = store.deployment(&wanted.id).await?;
        Ok(there.filter(|there| wanted.means(there)).map(|_| found))
    }

    /// In the turn of `key`.
    pub(crate) async fn judge_crl_of(
        &self,
        key: &ApiKey,
        wanted: &DeploymentRef,
        id: &CrlId,
        bytes: &Arc<Vec<u8>>,
        policy: Option<StalePolicy>,
    ) -> Result<(JudgedWith, CrlJudgement), CrlError> {
        // One snapshot: the parts of a CRL are many rows.
        let reading = self.store.reading(FeedPosition::START).await?;
        let store = reading.read();
        let deployment = store.deployment(&wanted.id).await?.filter(|found| wanted.means(found));
        let deployment = deployment.ok_or(CrlError::NoDeployment)?;
        let client_cas = match deployment.tls.version() {
            Some(version) => store.version(&wanted.id, version).await?.map(|version| version.client_cas),
            None => None,
        };
        let there = store.crls(&wanted.id).await?;
        let with = JudgedWith::of(&deployment, there.iter().find(|crl| crl.id == *id), policy);
        let in_service = store.served_crl(&wanted.id, id).await?;
        drop(reading);
        let (bytes, now, stale) = (Arc::clone(bytes), self.store.clock().now().to_time(), with.stale_policy);
        let judge = move || {
            let circumstances = CrlCircumstances {
                now,
                client_cas: client_cas.as_deref().unwrap_or_default(),
                in_service: in_service.as_ref().map(|served| served.der.as_slice()),
                stale,
            };
            judge_crl(&bytes, &circumstances)
        };
        let judgement = self.judge_pool.run(key, judge).await.map_err(|TooMany| CrlError::TooManyUploads)?;
        Ok((with, judgement))
    }

    /// A warning about each other CRL that `crl` would replace under its id.
    async fn others_of_its_series(
        &self,
        wanted: &DeploymentRef,
        id: &CrlId,
        crl: &Crl,
    ) -> Result<Vec<Finding>, StoreError> {
        let has_its_signer = |there: &DeploymentCrl| {
            there.content.as_ref().is_some_and(|content| content.signer_spki == crl.signer_spki)
        };
        let reading = self.store.reading(FeedPosition::START).await?;
        let store = reading.read();
        let there = store.crls(&wanted.id).await?;
        let mut warnings = Vec::new();
        for other in there.iter().filter(|there| there.id != *id && has_its_signer(there)) {
            let served = store.served_crl(&wanted.id, &other.id).await?;
            if served.is_some_and(|served| are_of_one_crl_series(&served.der, &crl.der)) {
                warnings.push(Finding::crl_issuer_twice(other.id.as_str()));
            }
        }
        Ok(warnings)
    }

    /// Draws a generation if nodes must read it. The deployment is locked and has `there`.
    pub(crate) async fn store_crl(
        &self,
        tx: &mut Tx,
        deployment: &Deployment,
        there: &[DeploymentCrl],
        change: CrlChange,
        close_rate: Option<CloseRate>,
    ) -> Result<(DeploymentCrl, Generation), CrlError> {
        let CrlChange { id, accepted, stale_policy, fetching, put_by, put_at } = change;
        let before = there.iter().find(|crl| crl.id == id);
        if before.is_none() && there.len() >= CRLS_MAX {
            return Err(CrlError::TooMany);
        }
        let kept = before.and_then(|before| before.content.clone());
        let accepted = accepted.map(|crl| {
            let content = self.content_of(&crl);
            (content, crl.der)
        });
        let accepted = accepted.filter(|(content, _)| !is_same(kept.as_ref(), content));
        let has_other_policy = before.is_some_and(|before| before.stale_policy != stale_policy);
        let is_stale = |content: &CrlContent| content.next_update.is_some_and(|end| end < tx.now());
        let is_hardened = has_other_policy && stale_policy == StalePolicy::Hard;
        if accepted.is_none() && is_hardened && kept.as_ref().is_some_and(is_stale) {
            return Err(CrlError::StaleInService);
        }
        let (content, der, must_be_read) = match (accepted, kept) {
            (Some((content, der)), _) => (Some(content), Some(der), true),
            (None, Some(kept)) if has_other_policy => {
                (Some(CrlContent { revision: self.drawn_revision(), ..kept }), None, true)
            }
            (None, kept) => (kept, None, false),
        };
        let others = there.iter().filter(|crl| crl.id != id).filter_map(|crl| crl.content.as_ref());
        let room = CRL_BYTES_IN_ALL_MAX.saturating_sub(others.map(|content| content.bytes).sum());
        if content.as_ref().is_some_and(|content| content.bytes > room) {
            return Err(CrlError::NoRoom { room });
        }
        if let (Some(content), Some(_)) = (&content, &der) {
            let replaced = before.and_then(|before| before.content.as_ref()).map_or(0, |kept| kept.bytes);
            let others = tx.crl_bytes_of_all().await?.saturating_sub(replaced);
            if others + content.bytes > CRL_BYTES_OF_ALL_MAX {
                return Err(CrlError::StoreFull);
            }
        }
        let generation = match must_be_read {
            true => tx.draw_generation(&deployment.id).await?,
            false => deployment.generation,
        };
        let own_generation = match (must_be_read, before) {
            (false, Some(before)) => before.generation,
            _ => generation,
        };
        let crl =
            DeploymentCrl { id, generation: own_generation, content, stale_policy, fetching, put_by, put_at };
        tx.put_crl(&deployment.id, &crl, der.as_deref()).await?;
        if must_be_read {
            tx.set_tls(&deployment.id, generation, &deployment.tls).await?;
            // Without one, sessions that an earlier change ends at a rate keep their turns.
            if close_rate.is_some() {
                tx.set_close_rate(&deployment.id, close_rate).await?;
            }
            let others = there.iter().filter(|there| there.id != crl.id).cloned();
            let all: Vec<_> = others.chain([crl.clone()]).collect();
            self.list_crls(tx, deployment, &all).await?;
        }
        Ok((crl, generation))
    }

    /// When they end.
    pub(crate) async fn list_crls(
        &self,
        tx: &mut Tx,
        deployment: &Deployment,
        all: &[DeploymentCrl],
    ) -> Result<(), StoreError> {
        let (rules, now) = (&self.settings.expiry_rules, tx.now());
        let planned: Vec<_> = listing::of_crls(all)
            .into_iter()
            .map(|ending| {
                let due = rules.first(EndingKind::Crl, Lifetime::of(&ending), now);
                (ending, due)
            })
            .collect();
        tx.set_endings(&EndingOwner::crls_of(&deployment.id, &deployment.project), &planned).await
    }

    fn content_of(&self, crl: &Crl) -> CrlContent {
        CrlContent {
            revision: self.drawn_revision(),
            bytes: crl.der.len() as u64,
            fingerprint: fingerprint(&crl.der),
            signer_spki: crl.signer_spki.clone(),
            issuer: crl.issuer.to_string(),
            number: crl.number.as_deref().map(str::to_owned),
            entries: crl.entries as u64,
            this_update: Timestamp::from_time(crl.this_update),
            next_update: crl.next_update.map(Timestamp::from_time),
        }
    }

    fn drawn_revision(&self) -> CrlRevision {
        let mut revision = [0; 16];
        self.entropy.fill(&mut revision);
        CrlRevision(revision)
    }
}

impl JudgedWith {
    pub(crate) fn of(
        deployment: &Deployment,
        crl: Option<&DeploymentCrl>,
        policy: Option<StalePolicy>,
    ) -> Self {
        let content = crl.and_then(|crl| crl.content.as_ref());
        Self {
            newest: deployment.tls.version(),
            in_service: content.map(|content| content.revision),
            stale_policy: policy.or(crl.map(|crl| crl.stale_policy)).unwrap_or_default(),
        }
    }
}

/// The same bytes, accepted for the same signer.
fn is_same(kept: Option<&CrlContent>, new: &CrlContent) -> bool {
    kept.is_some_and(|kept| (&kept.fingerprint, &kept.signer_spki) == (&new.fingerprint, &new.signer_spki))
}

/// At once, also if it is set again.
fn fetching_from(url: &CrlUrl, before: Option<&DeploymentCrl>, now: Timestamp) -> CrlFetching {
    let same = before.and_then(|before| before.fetching.as_ref()).filter(|fetching| fetching.url == *url);
    match same {
        Some(fetching) => CrlFetching { next_at: now, ..fetching.clone() },
        None => CrlFetching {
            url: url.clone(),
            conditions: Default::default(),
            fetched_at: None,
            next_at: now,
            failure: None,
        },
    }
}

pub(crate) fn entry(
    origin: AuditOrigin,
    action: &'static str,
    deployment: &Deployment,
    crl: &DeploymentCrl,
    generation: Generation,
) -> AuditEntry {
    let source = match &crl.fetching {
        None => "uploaded".to_owned(),
        // An address may have a secret behind its host.
        Some(fetching) => format!("from {}", fetching.url.as_url().host_str().unwrap_or_default()),
    };
    let content = match &crl.content {
        None => "not fetched yet".to_owned(),
        Some(content) => {
            let number = content.number.as_deref().unwrap_or("none");
            let end = content.next_update.map_or_else(|| "never".to_owned(), |end| end.to_time().to_string());
            format!("number {number}, {} entries, next update {end}", content.entries)
        }
    };
    let policy = crl.stale_policy.as_str();
    AuditEntry {
        detail: format!("CRL {}, {source}, {content}, {policy} when stale, generation {generation}", crl.id),
        project: Some(deployment.project.clone()),
        deployment: Some(deployment.id.clone()),
        ..AuditEntry::new(origin, action, deployment.id.as_str())
    }
}
