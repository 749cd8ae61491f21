use std::{sync::Arc, time::Duration};

use certward_pki::{
    Circumstances, Finding, Judgement, Material, Replaced, TlsType, Upload, findings_as_of, fingerprint,
};
use certward_store::{
    ApiKey, AuditEntry, AuditOrigin, CertificateChange, CloseRate, Deployment, DeploymentRef, Scope,
    StoreError, Timestamp, TlsState, TrustScope, Tx, Version, VersionId,
};

use crate::{
    Handling, Impact, Lifecycle, Requester, TlsError, acting::Acting, client_cas::ClientCasChange, days_left,
    deployments::entry_points_differ, fingerprints, impact::ImpactUnread, judge_pool::TooMany, state,
    versions,
};

/// A certificate as shown to operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsView {
    /// None is set.
    Absent,
    /// Being deleted.
    Terminated,
    /// One is set.
    Set(Box<CertificateView>),
}

/// The newest upload and its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateView {
    /// One-way or two-way.
    pub tls_type: TlsType,
    /// The leaf's notAfter.
    pub not_after: Timestamp,
    /// Whole days until then, rounded down; negative afterwards.
    pub days_left: i64,
    /// Its status.
    pub status: Status,
    /// The leaf's common name.
    pub common_name: Option<String>,
    /// The upload's findings, as of now.
    pub warnings: Vec<Finding>,
}

/// An upload that is now the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedUpload {
    /// As shown.
    pub view: CertificateView,
    /// What it replaced.
    pub change: CertificateChange,
    /// What it does to devices, as far as known.
    pub impact: Option<Impact>,
}

/// An upload that is judged only.
#[derive(Debug)]
pub struct CheckedUpload {
    /// Findings and material.
    pub judgement: Judgement,
    /// What it would do to devices, as far as known. `None` too if the upload is refused.
    pub impact: Option<Impact>,
}

/// The newest upload's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Not yet proven on every counted node.
    Pending,
    /// Proven on every counted node.
    Running,
    /// Overdue, or no entry point.
    Failed {
        /// One plain sentence.
        reason: String,
    },
}

/// What is asked for, and where its upload comes from.
pub(crate) enum Change {
    Create(Arc<Upload>),
    Replace(Arc<Upload>),
    /// Without a version: the last one that was `running` before the newest.
    Rollback(Option<VersionId>),
    /// With leaf, chain and key of the newest.
    ClientCas(ClientCasChange),
}

/// What is judged, and then kept.
struct Proposal {
    upload: Arc<Upload>,
    restores: Option<VersionId>,
    /// The version whose stored key it has.
    key_of: Option<VersionId>,
}

/// Repeated if the deployment changes in between. Judging takes tens of milliseconds, so the second
/// attempt normally holds.
const JUDGEMENTS_MAX: u32 = 4;

/// For changes by other nodes.
const SETTLED_POLL: Duration = Duration::from_millis(250);

impl Lifecycle {
    /// The certificate as shown. `None`: gone, or another has its id.
    pub async fn tls(&self, deployment: &Deployment) -> Result<Option<TlsView>, StoreError> {
        let now = self.with_newest(&deployment.id).await?;
        let same = now.filter(|(now, _)| deployment.reference().means(now));
        Ok(same.map(|(now, newest)| match (now.tls, newest) {
            (TlsState::Terminated, _) => TlsView::Terminated,
            (state, Some(version)) => match Status::of(state) {
                Some(status) => TlsView::Set(Box::new(self.view(version, status))),
                None => TlsView::Absent,
            },
            (_, None) => TlsView::Absent,
        }))
    }

    /// As [`Lifecycle::tls`], once settled or after `wait`.
    pub async fn tls_settled(
        &self,
        deployment: &Deployment,
        wait: Duration,
    ) -> Result<Option<TlsView>, StoreError> {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let view = self.tls(deployment).await?;
            if view.as_ref().is_none_or(TlsView::is_settled) || tokio::time::Instant::now() >= deadline {
                return Ok(view);
            }
            let poll = (tokio::time::Instant::now() + SETTLED_POLL).min(deadline);
            // Local changes wake it; remote ones time out.
            let _elapsed = tokio::time::timeout_at(poll, self.store.changed()).await;
        }
    }

    /// Judges and rehearses without storing; queued by API key. Strict, a severe impact is recorded
    /// as an alert.
    ///
    /// # Errors
    /// [`TlsError::TooManyUploads`], [`TlsError::Store`]; strict, [`TlsError::ImpactSevere`].
    pub async fn check_tls(
        &self,
        actor: &ApiKey,
        deployment: &Deployment,
        upload: Arc<Upload>,
        handling: Handling,
    ) -> Result<CheckedUpload, TlsError> {
        let replaced = match deployment.tls.version() {
            Some(version) => self.store.read().version(&deployment.id, version).await?.map(Arc::new),
            None => None,
        };
        let judgement = self.judged(actor, deployment, replaced.clone(), upload).await?;
        let impact = match (&judgement.material, &replaced) {
            (Some(material), Some(replaced)) => {
                self.admitted_impact(actor, deployment, replaced, material, handling).await?
            }
            _ => None,
        };
        Ok(CheckedUpload { judgement, impact })
    }

    async fn judged(
        &self,
        actor: &ApiKey,
        deployment: &Deployment,
        replaced: Option<Arc<Version>>,
        upload: Arc<Upload>,
    ) -> Result<Judgement, TlsError> {
        let (lifecycle, deployment) = (self.clone(), deployment.clone());
        let judge = move || lifecycle.judge(&deployment, replaced.as_deref(), &upload);
        self.judge_pool.run(actor, judge).await.map_err(|TooMany| TlsError::TooManyUploads)
    }

    async fn admitted_impact(
        &self,
        actor: &ApiKey,
        deployment: &Deployment,
        replaced: &Version,
        material: &Material,
        handling: Handling,
    ) -> Result<Option<Impact>, TlsError> {
        match self.impact(actor, deployment, replaced, material).await? {
            Some(severe) if severe.is_severe() && handling == Handling::Strict => {
                self.record_stopped_change(actor, deployment, material, &severe).await?;
                Err(TlsError::ImpactSevere(severe.into()))
            }
            impact => Ok(impact),
        }
    }

    fn judge(&self, deployment: &Deployment, replaced: Option<&Version>, upload: &Upload) -> Judgement {
        let circumstances = Circumstances {
            now: self.store.clock().now().to_time(),
            hosts: &deployment.spec.hosts,
            entry_point: self.node_view.entry_point(deployment),
            replaces: replaced.and_then(as_replaced),
            profile: deployment.spec.profile,
        };
        let mut judgement = certward_pki::judge(upload, &circumstances);
        if let Some(Err(reason)) =
            judgement.material.as_ref().map(|material| self.rehearsal.rehearse(material))
        {
            judgement.material = None;
            judgement.findings.insert(0, Finding::not_servable(&reason));
        }
        judgement
    }

    /// POST: sets the first certificate. Durable on return.
    pub async fn create_tls<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        deployment: &DeploymentRef,
        upload: Arc<Upload>,
        handling: Handling,
    ) -> Result<AcceptedUpload, TlsError> {
        self.accept(&Change::Create(upload), actor.into(), deployment, handling, None).await
    }

    /// PUT: replaces the certificate. Nodes end the sessions that lose trust at `close_rate`;
    /// `None`: at once. Durable on return.
    pub async fn replace_tls<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        deployment: &DeploymentRef,
        upload: Arc<Upload>,
        handling: Handling,
        close_rate: Option<CloseRate>,
    ) -> Result<AcceptedUpload, TlsError> {
        self.accept(&Change::Replace(upload), actor.into(), deployment, handling, close_rate).await
    }

    /// Makes an earlier version the newest upload: `version`, or the last one that was `running`
    /// before the newest. Judged as it stands now, as a new upload is. `close_rate` as in
    /// [`Lifecycle::replace_tls`]. Durable on return.
    pub async fn roll_back_tls<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        deployment: &DeploymentRef,
        version: Option<VersionId>,
        handling: Handling,
        close_rate: Option<CloseRate>,
    ) -> Result<AcceptedUpload, TlsError> {
        self.accept(&Change::Rollback(version), actor.into(), deployment, handling, close_rate).await
    }

    /// DELETE: erases all keys; nodes end all sessions at `close_rate`, `None`: at once. Durable on
    /// return.
    pub async fn delete_tls<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        deployment: &DeploymentRef,
        close_rate: Option<CloseRate>,
    ) -> Result<CertificateChange, TlsError> {
        let mut acting = self.begin_as(actor.into(), Scope::Tls).await?;
        let deployment = acting.deployment(deployment).await?.ok_or(TlsError::NoDeployment)?;
        deployment.tls.version().ok_or(TlsError::NotFound)?;
        let Acting { mut tx, origin, .. } = acting;
        let change = fingerprints::removal(&mut tx, &deployment).await?;
        let Deployment { id, project, .. } = deployment;
        let generation = tx.draw_generation(&id).await?;
        tx.erase_keys(&id).await?;
        let holders = tx.count_nodes(&id).await?;
        let next = if holders == 0 { TlsState::Absent } else { TlsState::Terminated };
        tx.set_tls(&id, generation, &next).await?;
        tx.set_close_rate(&id, close_rate).await?;
        tx.withdraw_used_client_cas(&project, &id, &[]).await?;
        tx.audit(AuditEntry {
            detail: format!("generation {generation}"),
            project: Some(project),
            certificate: change.clone(),
            deployment: Some(id.clone()),
            ..AuditEntry::new(origin, "tls.delete", id.as_str())
        });
        tx.commit().await?;
        Ok(change)
    }

    /// Judges outside of the transaction, the only writer; again if the deployment changed, or what
    /// the proposal rests on.
    pub(crate) async fn accept(
        &self,
        change: &Change,
        actor: Requester<'_>,
        wanted: &DeploymentRef,
        handling: Handling,
        close_rate: Option<CloseRate>,
    ) -> Result<AcceptedUpload, TlsError> {
        let found = self.store.read().deployment(&wanted.id).await?.filter(|found| wanted.means(found));
        let mut judged_for = found.ok_or(TlsError::NoDeployment)?;
        for _ in 0..JUDGEMENTS_MAX {
            change.admits(&judged_for.tls)?;
            let proposal = self.proposal(change, &judged_for).await?;
            let CheckedUpload { judgement, impact } =
                self.check_tls(actor.key, &judged_for, Arc::clone(&proposal.upload), handling).await?;
            let Judgement { findings, material, .. } = judgement;
            let Some(material) = material else { return Err(TlsError::Refused(findings)) };

            let mut acting = self.begin_as(actor, Scope::Tls).await?;
            let deployment = acting.deployment(wanted).await?.ok_or(TlsError::NoDeployment)?;
            change.admits(&deployment.tls)?;
            // A strict change is compared with what it replaces.
            let is_compared =
                handling == Handling::Lenient || judged_for.tls.version() == deployment.tls.version();
            if is_compared
                && judged_alike(&judged_for, &deployment)
                && proposal.holds(&mut acting.tx, &judged_for, &deployment).await?
            {
                if let Change::ClientCas(_) = change
                    && let Some(there) =
                        self.newest_if_same_cas(&mut acting.tx, &deployment, &material).await?
                {
                    return Ok(self.unchanged(there, deployment.tls, findings));
                }
                if change.may_end_sessions() {
                    acting.tx.set_close_rate(&deployment.id, close_rate).await?;
                }
                let kept = self.keep(change, &proposal, acting, &deployment, findings, &material).await?;
                // Compared with another version, it says nothing of this change.
                let impact = impact.filter(|_| judged_for.tls.version() == deployment.tls.version());
                return Ok(AcceptedUpload { impact, ..kept });
            }
            judged_for = deployment;
        }
        Err(TlsError::KeepsChanging)
    }

    async fn proposal(&self, change: &Change, deployment: &Deployment) -> Result<Proposal, TlsError> {
        match change {
            Change::Create(upload) | Change::Replace(upload) => {
                Ok(Proposal { upload: Arc::clone(upload), restores: None, key_of: None })
            }
            Change::Rollback(wanted) => {
                let target = self.rollback_target(deployment, *wanted).await?;
                let version = target.version;
                let upload = self.stored_upload(&target, &target.client_cas).await?;
                Ok(Proposal { upload: upload.into(), restores: Some(version), key_of: Some(version) })
            }
            Change::ClientCas(change) => {
                let newest = deployment.tls.version().ok_or(TlsError::NotFound)?;
                let newest = self.store.read().version(&deployment.id, newest).await?;
                let newest = newest.ok_or(TlsError::NotFound)?;
                let kept = change.kept(&newest)?;
                let upload = change.add_to(self.stored_upload(&newest, &kept).await?, &kept);
                Ok(Proposal { upload: upload.into(), restores: None, key_of: Some(newest.version) })
            }
        }
    }

    /// A version as an upload, with these client CAs.
    async fn stored_upload(&self, version: &Version, client_cas: &[Vec<u8>]) -> Result<Upload, TlsError> {
        let key = self.store.read().private_key(&version.deployment, version.version).await?;
        let key = key.ok_or(TlsError::VersionErased(version.version))?;
        Ok(Upload::of_stored(version.tls_type, &version.chain, &key, client_cas))
    }

    /// The newest version, if it has the same client CAs.
    async fn newest_if_same_cas(
        &self,
        tx: &mut Tx,
        deployment: &Deployment,
        material: &Material,
    ) -> Result<Option<Version>, StoreError> {
        let Some(newest) = deployment.tls.version() else { return Ok(None) };
        let newest = tx.version(&deployment.id, newest).await?;
        Ok(newest.filter(|newest| {
            state::keeps_client_cas(newest, material)
                && state::anchors(material).all(|anchor| newest.client_cas.iter().any(|ca| ca == anchor))
        }))
    }

    /// The change has changed nothing; `findings` are of its judgement.
    fn unchanged(&self, newest: Version, state: TlsState, findings: Vec<Finding>) -> AcceptedUpload {
        // A newest version has a status.
        let status = Status::of(state).unwrap_or(Status::Pending);
        let view = self.view(Version { findings, ..newest }, status);
        AcceptedUpload { view, change: CertificateChange::default(), impact: None }
    }

    async fn keep(
        &self,
        change: &Change,
        proposal: &Proposal,
        Acting { mut tx, actor, origin }: Acting,
        deployment: &Deployment,
        findings: Vec<Finding>,
        material: &Material,
    ) -> Result<AcceptedUpload, TlsError> {
        let id = &deployment.id;
        let replaced = match deployment.tls.version() {
            Some(version) => tx.version(id, version).await?,
            None => None,
        };
        tx.withdraw_stopped_change(id, &fingerprint(material.bundle.leaf())).await?;
        let client_cas: Vec<String> = state::anchors(material).map(fingerprint).collect();
        tx.withdraw_used_client_cas(&deployment.project, id, &client_cas).await?;
        let generation = tx.draw_generation(id).await?;
        let version = Version {
            deployment: id.clone(),
            version: generation.into(),
            tls_type: material.tls_type(),
            chain: ders(material.bundle.chain()),
            client_cas: material.client_trust.as_ref().map_or_else(Vec::new, |trust| ders(trust.anchors())),
            trust_scope: state::trust_scope(replaced.as_ref(), material, self.fresh_scope()),
            common_name: material.bundle.common_name().map(str::to_owned),
            not_after: Timestamp::from_time(material.bundle.not_after()),
            findings,
            created_at: tx.now(),
            proven: false,
            accepted_by: Some(actor.key),
            restores: proposal.restores,
        };
        tx.insert_version(&version, material.bundle.key()).await?;
        let pending = state::pending(version.version, tx.now(), self.settings.prove_within);
        tx.set_tls(id, generation, &pending).await?;
        tx.count_nodes(id).await?;
        let certificate = fingerprints::replacement(replaced.as_ref(), &version);
        tx.audit(AuditEntry {
            certificate: certificate.clone(),
            ..change.audit(origin, deployment, &version, material)
        });
        tx.commit().await?;
        Ok(AcceptedUpload { view: self.view(version, Status::Pending), change: certificate, impact: None })
    }

    /// As of now: an upload may end, or become valid, after it was accepted.
    fn view(&self, version: Version, status: Status) -> CertificateView {
        let now = self.store.clock().now();
        let Version { findings, chain, client_cas, .. } = &version;
        CertificateView {
            tls_type: version.tls_type,
            not_after: version.not_after,
            days_left: days_left(version.not_after, now),
            status,
            warnings: findings_as_of(findings, chain, client_cas, now.to_time()),
            common_name: version.common_name,
        }
    }

    fn fresh_scope(&self) -> TrustScope {
        let mut scope = [0; 16];
        self.entropy.fill(&mut scope);
        TrustScope(scope)
    }
}

impl From<ImpactUnread> for TlsError {
    fn from(unread: ImpactUnread) -> Self {
        match unread {
            ImpactUnread::TooMany => Self::TooManyUploads,
            ImpactUnread::Store(error) => Self::Store(error),
        }
    }
}

impl Status {
    /// `None`: no version is the newest.
    fn of(state: TlsState) -> Option<Self> {
        match state {
            TlsState::Pending { .. } => Some(Self::Pending),
            TlsState::Running { .. } => Some(Self::Running),
            TlsState::Failed { reason, .. } => Some(Self::Failed { reason }),
            TlsState::Absent | TlsState::Terminated => None,
        }
    }
}

impl TlsView {
    /// Whether it is set, and not proven by every counted node.
    pub fn is_unproven(&self) -> bool {
        matches!(self, Self::Set(certificate) if certificate.status != Status::Running)
    }

    fn is_settled(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Terminated => false,
            Self::Set(certificate) => certificate.status != Status::Pending,
        }
    }
}

impl Change {
    /// Adding client CAs ends none, and leaves the pace of those that an earlier change ends.
    fn may_end_sessions(&self) -> bool {
        !matches!(self, Self::ClientCas(ClientCasChange::Add(_)))
    }

    /// A deletion counts as no certificate.
    fn admits(&self, state: &TlsState) -> Result<(), TlsError> {
        match (self, state.version()) {
            (Self::Create(_), Some(_)) => Err(TlsError::AlreadyExists),
            (Self::Replace(_) | Self::Rollback(_) | Self::ClientCas(_), None) => Err(TlsError::NotFound),
            (Self::Create(_), None)
            | (Self::Replace(_) | Self::Rollback(_) | Self::ClientCas(_), Some(_)) => Ok(()),
        }
    }

    fn audit(
        &self,
        origin: AuditOrigin,
        deployment: &Deployment,
        version: &Version,
        material: &Material,
    ) -> AuditEntry {
        let action = match self {
            Self::Create(_) => "tls.create",
            Self::Replace(_) => "tls.replace",
            Self::Rollback(_) => "tls.rollback",
            Self::ClientCas(change) => change.audited_action(),
        };
        let restores = version.restores.map(|restored| format!(" restores {restored},")).unwrap_or_default();
        AuditEntry {
            project: Some(deployment.project.clone()),
            deployment: Some(deployment.id.clone()),
            detail: format!(
                "version {},{restores} {}, {} client CAs, expires {}",
                version.version,
                version.tls_type,
                version.client_cas.len(),
                material.bundle.not_after(),
            ),
            ..AuditEntry::new(origin, action, deployment.id.as_str())
        }
    }
}

impl Proposal {
    /// Whether it would be the same for `now`: the newest upload may give it the client CAs, the
    /// version to restore, or the key, which may be erased since.
    async fn holds(
        &self,
        tx: &mut Tx,
        judged_for: &Deployment,
        now: &Deployment,
    ) -> Result<bool, StoreError> {
        let rests_on_newest = self.upload.keeps_client_trust() || self.key_of.is_some();
        if rests_on_newest && judged_for.tls.version() != now.tls.version() {
            return Ok(false);
        }
        match self.key_of {
            Some(version) => versions::has_key(tx, &now.id, version).await,
            None => Ok(true),
        }
    }
}

/// See [`Circumstances`].
fn judged_alike(one: &Deployment, other: &Deployment) -> bool {
    one.spec.profile == other.spec.profile && !entry_points_differ(one, other)
}

/// A version has a leaf.
fn as_replaced(version: &Version) -> Option<Replaced<'_>> {
    let leaf = version.chain.first()?;
    Some(Replaced { leaf, tls_type: version.tls_type, client_cas: &version.client_cas })
}

fn ders<T: AsRef<[u8]>>(certificates: &[T]) -> Vec<Vec<u8>> {
    certificates.iter().map(|certificate| certificate.as_ref().to_vec()).collect()
}
