//! The store: reachable, of this program's schema, sound, durable, with room; and the master key
//! opens it.

use std::{path::Path, time::Duration};

use certward_store::{
    AlertChannel, Boundaries, Clock, DeploymentId, MasterKeyRing, Reader, SchemaState, StoreError,
    StoreInspection, SystemClock, Timestamp,
};
use tokio::time::{Instant, timeout};

use super::{
    check::{Check, CheckKind},
    clock,
    inspected_deployment::InspectedDeployment,
};
use crate::{config::Config, store_remedy};

/// A store of 100,000 deployments takes about a second.
const INTEGRITY_TIMEOUT: Duration = Duration::from_secs(5);
/// A check that goes on holds its connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Of this program's schema, and opened by the master key.
pub(super) struct InspectedStore {
    inspection: StoreInspection,
    reader: Reader,
}

/// `None`: the checks say why.
pub(super) async fn open(config: &Config, now: Timestamp) -> (Option<InspectedStore>, Vec<Check>) {
    let mut checks = Vec::from_iter(free_space(&config.data_dir));
    let inspection = match StoreInspection::open(&config.store_address_of_node()).await {
        Ok(inspection) => inspection,
        Err(error) => {
            checks.push(fault(CheckKind::Store, config, error));
            return (None, checks);
        }
    };
    let is_known = of_inspection(config, &inspection, now, &mut checks).await;
    let keys = if is_known { opens_it(config, &inspection, &mut checks).await } else { None };
    match keys {
        Some(keys) => {
            let reader = inspection.read(&keys);
            (Some(InspectedStore { inspection, reader }), checks)
        }
        None => {
            close(&inspection).await;
            (None, checks)
        }
    }
}

/// Whether its rows can be read.
async fn of_inspection(
    config: &Config,
    inspection: &StoreInspection,
    now: Timestamp,
    checks: &mut Vec<Check>,
) -> bool {
    let is_known = match inspection.schema().await {
        Ok(SchemaState::Current) => {
            checks.push(Check::ok(
                CheckKind::Store,
                format!("the store answers ({})", place(config, inspection)),
            ));
            checks.push(Check::ok(CheckKind::StoreSchema, "the store has this program's schema"));
            true
        }
        Ok(SchemaState::Older { version, newest }) => {
            let sentence = format!(
                "the store has the schema {version}, and this program has {newest}: its start migrates it, and what is in the store is not \
                 checked before"
            );
            let fix = "take a backup before the upgrade: certward backup FILE";
            checks.push(Check::warning(CheckKind::StoreSchema, sentence, fix));
            false
        }
        Err(error @ StoreError::TooNew(_)) => {
            checks.push(fault(CheckKind::StoreSchema, config, error));
            false
        }
        Err(error) => {
            checks.push(fault(CheckKind::Store, config, error));
            return false;
        }
    };
    checks.push(integrity(config, inspection).await);
    match inspection.risks().await {
        Ok(risks) if risks.is_empty() => checks.extend(config.store.as_ref().map(|_| {
            Check::ok(CheckKind::StoreDurability, "PostgreSQL keeps acknowledged changes over a power loss")
        })),
        Ok(risks) => {
            checks.extend(risks.into_iter().map(|risk| Check::unknown(CheckKind::StoreDurability, risk)))
        }
        Err(error) => checks.push(fault(CheckKind::StoreDurability, config, error)),
    }
    if let Ok(Some(database)) = inspection.database_time().await {
        checks.extend(clock::against_database(database, SystemClock.now()));
    }
    if is_known {
        checks.push(match inspection.newest_time().await {
            Ok(newest) => clock::against_store(newest, now),
            Err(error) => fault(CheckKind::Store, config, error),
        });
    }
    is_known
}

async fn integrity(config: &Config, inspection: &StoreInspection) -> Check {
    let kind = CheckKind::StoreIntegrity;
    if config.store.is_some() {
        return Check::ok(kind, "PostgreSQL checks its pages itself, where checksums are on (pg_amcheck)");
    }
    match timeout(INTEGRITY_TIMEOUT, inspection.faults()).await {
        Ok(Ok(faults)) if faults.is_empty() => Check::ok(kind, "the store's file is sound"),
        Ok(Ok(faults)) => Check::error(
            kind,
            format!("the store's file is damaged: {}", faults.join("; ").replace('\n', " ")),
            "stop certward, and bring back a backup: certward restore FILE (docs/backup.md)",
        ),
        Ok(Err(error)) => fault(kind, config, error),
        Err(_) => Check::unknown(
            kind,
            format!(
                "the store's file is large: {} s were not enough to check it",
                INTEGRITY_TIMEOUT.as_secs()
            ),
        ),
    }
}

async fn opens_it(
    config: &Config,
    inspection: &StoreInspection,
    checks: &mut Vec<Check>,
) -> Option<MasterKeyRing> {
    // Its own check says what is wrong.
    let keys = config.read_master_keys().ok()?.ring();
    match inspection.verify(&keys).await {
        Ok(()) => {
            checks.push(Check::ok(CheckKind::MasterKey, "the master key opens the store"));
            Some(keys)
        }
        Err(error @ StoreError::WrongMasterKey) => {
            let sentence = format!("{error}: {}", config.master_key_place());
            let fix = "name the file of the one it was made with by master_key_file, or bring that file back";
            checks.push(Check::error(CheckKind::MasterKey, sentence, fix));
            None
        }
        Err(error) => {
            checks.push(fault(CheckKind::MasterKey, config, error));
            None
        }
    }
}

fn place(config: &Config, inspection: &StoreInspection) -> String {
    match inspection.primary() {
        Some(primary) => format!("PostgreSQL, {primary} is the primary"),
        None => config.data_dir.join("store.db").display().to_string(),
    }
}

fn fault(kind: CheckKind, config: &Config, error: StoreError) -> Check {
    let place = match &config.store {
        Some(_) => "PostgreSQL".to_owned(),
        None => config.data_dir.display().to_string(),
    };
    let fix = store_remedy::of(&error).to_owned();
    let fix = match (&error, &config.store) {
        (StoreError::Unavailable(_), Some(store)) => {
            let url = store.servers().url_without_password().unwrap_or_default();
            format!("see that it runs and can be reached: psql '{}' -c 'SELECT 1'", url.replace('\'', "%27"))
        }
        _ => fix,
    };
    Check::error(kind, format!("{error} ({place})"), fix)
}

/// Of the data folder's file system; none without a folder.
fn free_space(folder: &Path) -> Option<Check> {
    let space = rustix::fs::statvfs(folder).ok()?;
    Some(judge_space(folder, space.f_bavail.saturating_mul(space.f_frsize)))
}

const MIB: u64 = 1024 * 1024;

/// Backups need as much as the store; the log of a day's changes is some MiB.
fn judge_space(folder: &Path, bytes: u64) -> Check {
    let (kind, mib, shown) = (CheckKind::DiskSpace, bytes / MIB, folder.display());
    let sentence = format!("{mib} MiB are free for {shown}");
    let fix = format!("make room: df -h {shown}");
    match mib {
        ..16 => Check::error(kind, format!("{sentence}: changes will be refused"), fix),
        16..256 => Check::warning(kind, sentence, fix),
        _ => Check::ok(kind, sentence),
    }
}

/// A store that hangs.
pub(super) fn silent(config: &Config, within: Duration) -> Check {
    fault(CheckKind::Store, config, StoreError::Unavailable(format!("it did not answer within {within:?}")))
}

async fn close(inspection: &StoreInspection) {
    let _ = timeout(CLOSE_TIMEOUT, inspection.close()).await;
}

impl InspectedStore {
    /// The first `most` by their ids, as many as are read until then, and how many more there are.
    pub(super) async fn deployments(
        &self,
        only: Option<&DeploymentId>,
        most: u32,
        until: Instant,
    ) -> Result<(Vec<InspectedDeployment>, u64), StoreError> {
        let (found, mut left_out) = match only {
            Some(id) => (Vec::from_iter(self.reader.deployment(id).await?), 0),
            None => {
                let found = self.reader.deployments_after(None, most).await?;
                let all = self.inspection.deployments().await?;
                let left_out = all.saturating_sub(found.len() as u64);
                (found, left_out)
            }
        };
        let mut looked = Vec::with_capacity(found.len());
        for deployment in found {
            if Instant::now() >= until {
                left_out += 1;
                continue;
            }
            let upload = match deployment.tls.version() {
                Some(version) => self.reader.version(&deployment.id, version).await?,
                None => None,
            };
            looked.push(InspectedDeployment { deployment, upload });
        }
        Ok((looked, left_out))
    }

    /// Unreadable ones forbid nothing here: the node says so.
    pub(super) async fn boundaries(&self) -> Boundaries {
        self.reader.boundaries(None).await.ok().flatten().unwrap_or_default()
    }

    pub(super) async fn alert_channels(&self) -> Result<Vec<AlertChannel>, StoreError> {
        self.reader.alert_channels().await
    }

    pub(super) async fn close(&self) {
        close(&self.inspection).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn a_disk_that_fills_is_said_before_it_is_full() {
        for (mib, verdict) in [
            (0, Verdict::Error),
            (15, Verdict::Error),
            (16, Verdict::Warning),
            (255, Verdict::Warning),
            (256, Verdict::Ok),
        ] {
            assert_eq!(judge_space(Path::new("/data"), mib * MIB).verdict, verdict, "{mib}");
        }
        assert!(free_space(Path::new("/")).is_some());
        assert!(free_space(Path::new("/does/not/exist")).is_none());
    }
}
