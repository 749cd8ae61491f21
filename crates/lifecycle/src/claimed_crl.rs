//! A CRL that this node has claimed to fetch: what the server sent is judged, and recorded while
//! the claim stands.

use std::sync::Arc;

use certward_pki::{Crl, CrlJudgement, fingerprint};
use certward_store::{
    AuditOrigin, CRL_BYTES_IN_ALL_MAX, CrlContent, CrlFetchFailure, CrlFetching, DeploymentCrl, DueCrl,
    FetchConditions, StoreError, Timestamp,
};

use crate::{
    CrlError, Denied, Fetched, Lifecycle, Unfetched,
    crl_schedule::{CrlLife, next_fetch, retry_fetch},
    crls::{CrlChange, JudgedWith, entry},
};

/// What a fetch led to.
pub(crate) enum FetchEnd {
    /// The CRL in service is the server's.
    Unmodified(FetchConditions),
    /// Another one, which is accepted.
    Replaced(Box<FetchedCrl>),
    /// It was not fetched, or is refused.
    Failed(Unfetched),
}

/// A CRL that is accepted, unless the deployment changes before it is recorded.
pub(crate) struct FetchedCrl {
    pub(crate) crl: Crl,
    with: JudgedWith,
    conditions: FetchConditions,
}

/// A claimed CRL.
pub(crate) struct ClaimedCrl<'a> {
    pub(crate) lifecycle: &'a Lifecycle,
    pub(crate) due: &'a DueCrl,
    /// When the claim ends: the time of the next fetch while it stands.
    pub(crate) until: Timestamp,
}

impl ClaimedCrl<'_> {
    /// Asks the server, and judges what it sends.
    pub(crate) async fn fetch(&self, fetching: &CrlFetching) -> Result<FetchEnd, StoreError> {
        match self.lifecycle.crl_fetcher.fetch(&fetching.url, &fetching.conditions).await {
            Ok(Fetched::Unmodified) => Ok(FetchEnd::Unmodified(fetching.conditions.clone())),
            Ok(Fetched::Body { bytes, conditions }) => self.judge(bytes, conditions).await,
            Err(unfetched) => Ok(FetchEnd::Failed(unfetched)),
        }
    }

    async fn judge(&self, bytes: Vec<u8>, conditions: FetchConditions) -> Result<FetchEnd, StoreError> {
        let DueCrl { deployment, crl } = self.due;
        let is_in_service =
            |der: &[u8]| crl.content.as_ref().is_some_and(|content| content.fingerprint == fingerprint(der));
        if is_in_service(&bytes) {
            return Ok(FetchEnd::Unmodified(conditions));
        }
        let (bytes, policy) = (Arc::new(bytes), Some(crl.stale_policy));
        // In the turn of the key that set the address.
        let judged = self.lifecycle.judge_crl_of(&crl.put_by, deployment, &crl.id, &bytes, policy).await;
        Ok(match judged {
            // Sent in PEM.
            Ok((_, CrlJudgement { crl: Some(new), .. })) if is_in_service(&new.der) => {
                FetchEnd::Unmodified(conditions)
            }
            Ok((with, CrlJudgement { crl: Some(new), .. })) => {
                FetchEnd::Replaced(FetchedCrl { crl: new, with, conditions }.into())
            }
            Ok((_, refused)) => FetchEnd::Failed(refusal(&refused)),
            Err(CrlError::TooManyUploads) => FetchEnd::Failed(Unfetched {
                code: "busy",
                sentence: "too many uploads wait to be judged on this node".to_owned(),
            }),
            Err(error) => FetchEnd::Failed(not_stored(error)?),
        })
    }

    /// Records it, and when the CRL is fetched again. `None`: the claim stands no more, or the CRL
    /// would be judged otherwise now; nothing is recorded.
    pub(crate) async fn record(&self, end: FetchEnd) -> Result<Option<FetchEnd>, StoreError> {
        let mut tx = self.lifecycle.store().begin().await?;
        let deployment = tx.deployment(&self.due.deployment.id).await?;
        let Some(deployment) = deployment.filter(|there| self.due.deployment.means(there)) else {
            return Ok(None);
        };
        let crls = tx.crls(&deployment.id).await?;
        let stands = |crl: &&DeploymentCrl| {
            crl.id == self.due.crl.id && crl.fetching.as_ref().is_some_and(|it| it.next_at == self.until)
        };
        let Some((crl, fetching)) =
            crls.iter().find(stands).and_then(|crl| Some((crl, crl.fetching.as_ref()?)))
        else {
            return Ok(None);
        };
        let (now, random) = (tx.now(), self.random());
        let end = match end {
            FetchEnd::Replaced(new) if new.with != JudgedWith::of(&deployment, Some(crl), None) => {
                return Ok(None);
            }
            FetchEnd::Replaced(new) => {
                let life = CrlLife {
                    this_update: Timestamp::from_time(new.crl.this_update),
                    next_update: new.crl.next_update.map(Timestamp::from_time),
                };
                let change = CrlChange {
                    id: crl.id.clone(),
                    accepted: Some(new.crl.clone()),
                    stale_policy: crl.stale_policy,
                    fetching: Some(fetched(fetching, &new.conditions, now, next_fetch(life, now, random))),
                    put_by: crl.put_by.clone(),
                    put_at: crl.put_at,
                };
                // Of no change that an operator asked for: sessions end at once.
                match self.lifecycle.store_crl(&mut tx, &deployment, &crls, change, None).await {
                    Ok((stored, generation)) => {
                        let origin = AuditOrigin::certward();
                        tx.audit(entry(origin, "tls.crl-fetch", &deployment, &stored, generation));
                        FetchEnd::Replaced(new)
                    }
                    Err(error) => FetchEnd::Failed(not_stored(error)?),
                }
            }
            end => end,
        };
        let life = crl.content.as_ref().map(life_of);
        match &end {
            FetchEnd::Unmodified(conditions) => {
                // Always there: a CRL is unmodified only beside another one.
                let life = life.unwrap_or(CrlLife { this_update: now, next_update: None });
                let fetched = fetched(fetching, conditions, now, next_fetch(life, now, random));
                tx.set_crl_fetching(&deployment.id, &crl.id, &fetched).await?;
            }
            FetchEnd::Failed(unfetched) => {
                let failed = failed(fetching, unfetched, life, now, random);
                tx.set_crl_fetching(&deployment.id, &crl.id, &failed).await?;
            }
            FetchEnd::Replaced(_) => {}
        }
        tx.commit().await?;
        Ok(Some(end))
    }

    fn random(&self) -> u32 {
        let mut bytes = [0; 4];
        self.lifecycle.entropy.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }
}

fn fetched(
    before: &CrlFetching,
    conditions: &FetchConditions,
    now: Timestamp,
    next_at: Timestamp,
) -> CrlFetching {
    let conditions = conditions.clone();
    CrlFetching { conditions, fetched_at: Some(now), next_at, failure: None, ..before.clone() }
}

fn failed(
    before: &CrlFetching,
    unfetched: &Unfetched,
    life: Option<CrlLife>,
    now: Timestamp,
    random: u32,
) -> CrlFetching {
    let (count, since) =
        before.failure.as_ref().map_or((1, now), |before| (before.count.saturating_add(1), before.since));
    let (code, sentence) = (unfetched.code.to_owned(), unfetched.sentence.clone());
    CrlFetching {
        failure: Some(CrlFetchFailure { code, sentence, count, since }),
        next_at: retry_fetch(life, count, now, random),
        ..before.clone()
    }
}

fn life_of(content: &CrlContent) -> CrlLife {
    CrlLife { this_update: content.this_update, next_update: content.next_update }
}

/// By its code alone: the messages of findings hold texts of what was sent.
fn refusal(refused: &CrlJudgement) -> Unfetched {
    let error = refused.findings.iter().find(|finding| finding.is_error());
    match error.map(|finding| finding.code.doc()) {
        Some(doc) => Unfetched {
            code: doc.name,
            sentence: format!("what the CRL's server sent is refused: {}", doc.meaning.trim_end_matches('.')),
        },
        None => Unfetched { code: "refused", sentence: "what the CRL's server sent is refused".to_owned() },
    }
}

/// What was wrong with it, or with the store.
fn not_stored(error: CrlError) -> Result<Unfetched, StoreError> {
    match error {
        CrlError::Store(error) | CrlError::Denied(Denied::Store(error)) => Err(error),
        CrlError::NoRoom { .. } => {
            let mib = CRL_BYTES_IN_ALL_MAX / (1024 * 1024);
            let sentence = format!("the CRLs of the deployment would have over {mib} MiB");
            Ok(Unfetched { code: "no_room", sentence })
        }
        CrlError::StoreFull => Ok(Unfetched { code: "no_room", sentence: error.to_string() }),
        other => Ok(Unfetched { code: "refused", sentence: other.to_string() }),
    }
}
