use certward_store::{
    AlertChannel, AlertReceiver, ApiKeyRecord, AuditEntry, AuditOrigin, ChannelId, ProjectId, Scope,
    StoreError,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{AlertMessage, Denied, Lifecycle, Requester, Undelivered, acting::Acting};

/// Of each project, and of the operator.
const CHANNELS_MAX: u64 = 20;

/// A channel to create.
#[derive(Debug, Clone)]
pub struct NewAlertChannel {
    /// For people.
    pub name: String,
    /// Whose alerts; `None`: those of all projects and the operator's.
    pub project: Option<ProjectId>,
    /// Where to.
    pub receiver: AlertReceiver,
}

/// Why a channel was not created, removed or tried.
#[derive(Debug, Error)]
pub enum AlertChannelError {
    /// Only a key that sees all projects may have one for all.
    #[error("the key does not see all projects")]
    LimitedKey,
    /// No such project, or not visible.
    #[error("the project {0} does not exist")]
    NoProject(ProjectId),
    /// No such channel, or not visible.
    #[error("the channel does not exist")]
    NotFound,
    /// There are so many already.
    #[error("there are {0} channels of the project already")]
    TooMany(u64),
    /// No network may be reached.
    #[error("alert_allow is empty")]
    NothingAllowed,
    /// Not allowed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed; the change may have been made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lifecycle {
    /// For the secret of a webhook.
    pub fn drawn_key(&self) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        self.entropy.fill(key.as_mut_slice());
        key
    }

    /// Adds a channel; from now on it receives the alerts that are recorded.
    pub async fn create_alert_channel<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        new: NewAlertChannel,
    ) -> Result<AlertChannel, AlertChannelError> {
        let Acting { mut tx, actor, origin } = self.begin_as(actor.into(), Scope::Admin).await?;
        match &new.project {
            None if actor.projects.is_some() => return Err(AlertChannelError::LimitedKey),
            None => {}
            Some(project) if tx.project(project).await?.is_some() && actor.sees(project) => {}
            Some(project) => return Err(AlertChannelError::NoProject(project.clone())),
        }
        if !self.alert_sender.may_reach_any() {
            return Err(AlertChannelError::NothingAllowed);
        }
        if tx.count_alert_channels(new.project.as_ref()).await? >= CHANNELS_MAX {
            return Err(AlertChannelError::TooMany(CHANNELS_MAX));
        }
        let id = self.drawn_text(|text| ChannelId::parse(text).ok());
        let NewAlertChannel { name, project, receiver } = new;
        let channel = AlertChannel { id, project, name, receiver, created_at: tx.now() };
        tx.insert_alert_channel(&channel).await?;
        tx.audit(entry(origin, "alert-channel.create", &channel));
        tx.commit().await?;
        Ok(channel)
    }

    /// Removes a channel with its deliveries.
    pub async fn remove_alert_channel<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        id: &ChannelId,
    ) -> Result<(), AlertChannelError> {
        let Acting { mut tx, actor, origin } = self.begin_as(actor.into(), Scope::Admin).await?;
        let channel = tx.alert_channel(id).await?.filter(|channel| sees(&actor, channel));
        let channel = channel.ok_or(AlertChannelError::NotFound)?;
        tx.remove_alert_channel(id).await?;
        tx.audit(entry(origin, "alert-channel.remove", &channel));
        Ok(tx.commit().await?)
    }

    /// The channels that a key sees, oldest first.
    pub async fn alert_channels(&self, actor: &ApiKeyRecord) -> Result<Vec<AlertChannel>, StoreError> {
        let mut channels = self.store.read().alert_channels().await?;
        channels.retain(|channel| sees(actor, channel));
        Ok(channels)
    }

    /// Sends a test message, once.
    pub async fn test_alert_channel(
        &self,
        actor: &ApiKeyRecord,
        id: &ChannelId,
    ) -> Result<Result<(), Undelivered>, AlertChannelError> {
        let channel = self.store.read().alert_channel(id).await?.filter(|channel| sees(actor, channel));
        let channel = channel.ok_or(AlertChannelError::NotFound)?;
        let now = self.store.clock().now();
        let id = self.drawn_text(|text| Some(format!("test-{text}")));
        let message = AlertMessage::test(id, &channel.id, now);
        Ok(self.alert_sender.send(&channel.receiver, &message, now).await)
    }
}

/// The operator's channels are for keys that see all projects.
fn sees(actor: &ApiKeyRecord, channel: &AlertChannel) -> bool {
    match &channel.project {
        Some(project) => actor.sees(project),
        None => actor.projects.is_none(),
    }
}

fn entry(origin: AuditOrigin, action: &'static str, channel: &AlertChannel) -> AuditEntry {
    let kind = match channel.receiver {
        AlertReceiver::Webhook { .. } => "webhook",
        AlertReceiver::Mail { .. } => "mail",
    };
    let of = channel.project.as_ref().map_or("all projects", |project| project.as_str());
    AuditEntry {
        detail: format!("{kind}, {of}"),
        project: channel.project.clone(),
        ..AuditEntry::new(origin, action, channel.id.as_str())
    }
}
