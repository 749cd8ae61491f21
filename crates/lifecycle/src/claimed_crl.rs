//! A CRL that this node has claimed to fetch: what the server sent is judged, and recorded while
//! the claim stands.

use aws_lc_rs::digest::{SHA256, digest};
use certward_pki::{Crl, CrlCircumstances, CrlJudgement, judge_crl};
use certward_store::{
    AuditEntry, AuditOrigin, CRL_BYTES_IN_ALL_MAX, CrlContent, CrlFetchFailure, CrlFetching, CrlRevision,
    Deployment, DeploymentCrl, DueCrl, FetchConditions, StoreError, Timestamp, Tx,
};

use crate::{
    Fetched, Lifecycle, Unfetched,
    crl_schedule::{CrlLife, next_fetch, retry_fetch},
    judge_pool::TooMany,
};

/// What a fetch led to.
pub(crate) enum FetchEnd {
    /// The CRL in service is the server's.
    Unmodified(FetchConditions),
    /// Another one, which is accepted.
    Replaced(Box<Crl>, FetchConditions),
    /// It was not fetched, or is refused.
    Failed(Unfetched),
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
        let store = self.lifecycle.store();
        let in_service = store.read().served_crl(&deployment.id, &crl.id).await?.map(|served| served.der);
        if in_service.as_ref() == Some(&bytes) {
            return Ok(FetchEnd::Unmodified(conditions));
        }
        let newest = match store.read().deployment(&deployment.id).await?.and_then(|it| it.tls.version()) {
            Some(version) => store.read().version(&deployment.id, version).await?,
            None => None,
        };
        let client_cas = newest.map_or_else(Vec::new, |newest| newest.client_cas);
        let (now, stale) = (store.now().await?.to_time(), crl.stale_policy);
        let judge = move || {
            let in_service = in_service.as_deref();
            let circumstances = CrlCircumstances { now, client_cas: &client_cas, in_service, stale };
            let judgement = judge_crl(&bytes, &circumstances);
            // Sent in PEM.
            let is_same = judgement.crl.as_ref().is_some_and(|crl| Some(crl.der.as_slice()) == in_service);
            (judgement, is_same)
        };
        // In the turn of the key that set the address.
        Ok(match self.lifecycle.judge_pool.run(&crl.put_by, judge).await {
            Ok((_, true)) => FetchEnd::Unmodified(conditions),
            Ok((CrlJudgement { crl: Some(crl), .. }, false)) => FetchEnd::Replaced(crl.into(), conditions),
            Ok((refused, false)) => FetchEnd::Failed(refusal(&refused)),
            Err(TooMany) => FetchEnd::Failed(Unfetched {
                code: "busy",
                sentence: "too many uploads wait to be judged on this node".to_owned(),
            }),
        })
    }

    /// Records it, and when the CRL is fetched again. `None`: the claim stands no more, and nothing
    /// is recorded.
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
        let others =
            crls.iter().filter(|other| other.id != crl.id).filter_map(|other| other.content.as_ref());
        let room = CRL_BYTES_IN_ALL_MAX.saturating_sub(others.map(|content| content.bytes).sum());
        let end = match end {
            FetchEnd::Replaced(new, _) if new.der.len() as u64 > room => FetchEnd::Failed(too_many_bytes()),
            end => end,
        };
        let (now, random) = (tx.now(), self.random());
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
            FetchEnd::Replaced(new, conditions) => {
                let content = content_of(new, self.revision());
                let next_at = next_fetch(life_of(&content), now, random);
                let fetching = Some(fetched(fetching, conditions, now, next_at));
                let crl = DeploymentCrl { content: Some(content), fetching, ..crl.clone() };
                replace(&mut tx, &deployment, crl, &new.der).await?;
            }
        }
        tx.commit().await?;
        Ok(Some(end))
    }

    fn random(&self) -> u32 {
        let mut bytes = [0; 4];
        self.lifecycle.entropy.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn revision(&self) -> CrlRevision {
        let mut bytes = [0; 16];
        self.lifecycle.entropy.fill(&mut bytes);
        CrlRevision(bytes)
    }
}

/// Nodes carry it out; status, version and proofs stay.
async fn replace(
    tx: &mut Tx,
    deployment: &Deployment,
    crl: DeploymentCrl,
    der: &[u8],
) -> Result<(), StoreError> {
    let id = &deployment.id;
    let generation = tx.draw_generation(id).await?;
    let crl = DeploymentCrl { generation, ..crl };
    // Of no change that an operator asked for: sessions end at once.
    tx.set_close_rate(id, None).await?;
    tx.put_crl(id, &crl, Some(der)).await?;
    tx.set_tls(id, generation, &deployment.tls).await?;
    let (number, entries) =
        crl.content.as_ref().map_or((None, 0), |content| (content.number.as_deref(), content.entries));
    let number = number.unwrap_or("none");
    tx.audit(AuditEntry {
        detail: format!("CRL {}, number {number}, {entries} entries, generation {generation}", crl.id),
        project: Some(deployment.project.clone()),
        deployment: Some(id.clone()),
        ..AuditEntry::new(AuditOrigin::certward(), "tls.crl-fetch", id.as_str())
    });
    Ok(())
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

fn content_of(crl: &Crl, revision: CrlRevision) -> CrlContent {
    CrlContent {
        revision,
        bytes: crl.der.len() as u64,
        fingerprint: digest(&SHA256, &crl.der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        signer_spki: crl.signer_spki.clone(),
        issuer: crl.issuer.to_string(),
        number: crl.number.as_deref().map(str::to_owned),
        entries: crl.entries as u64,
        this_update: Timestamp::from_time(crl.this_update),
        next_update: crl.next_update.map(Timestamp::from_time),
    }
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

fn too_many_bytes() -> Unfetched {
    let mib = CRL_BYTES_IN_ALL_MAX / (1024 * 1024);
    Unfetched { code: "no_room", sentence: format!("the CRLs of the deployment would have over {mib} MiB") }
}
