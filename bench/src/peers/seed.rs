use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use certward_pki::{HostName, PrivateKey};
use certward_store::{
    Address, Deployment, DeploymentId, DeploymentSpec, Generation, MasterKey, Store, SystemClock, TlsState,
    TrustScope, Version,
};
use certward_tests::Certward;
use tokio::runtime;
use zeroize::Zeroizing;

use super::Member;

const AT_ONCE: usize = 2_000;

/// Copies `template`, which the API made, into a stopped certward's store, with sealed keys: a
/// minute instead of hours for a hundred thousand requests.
pub(crate) fn seed(
    certward: &Certward,
    template: &str,
    members: &mut dyn Iterator<Item = Member>,
) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let data = certward.data();
        let key = MasterKey::read(&data.join("master.key"))?;
        let store = Store::open(&Address::Embedded(data), &key, Arc::new(SystemClock)).await?;
        let template = Template::read(&store, template).await?;
        let mut members = members.peekable();
        while members.peek().is_some() {
            let mut tx = store.begin().await?;
            for member in members.by_ref().take(AT_ONCE) {
                let id = DeploymentId::parse(member.id())?;
                let generation = tx.draw_generation(&id).await?;
                let deployment = template.deployment(&id, &member.host, generation)?;
                let taken = tx.insert_deployment(&deployment).await?;
                ensure!(taken.is_ok(), "the host {} is taken", member.host);
                let key = PrivateKey::from_pkcs8_der(Zeroizing::new(member.leaf.key_der.clone()));
                tx.insert_version(&template.version(id, generation, member)?, &key).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    })
}

struct Template {
    deployment: Deployment,
    version: Version,
}

impl Template {
    async fn read(store: &Store, id: &str) -> Result<Self> {
        let id = DeploymentId::parse(id)?;
        let deployment = store.read().deployment(&id).await?.context("the template is missing")?;
        let version = deployment.tls.version().context("the template has no certificate")?;
        let version =
            store.read().version(&id, version).await?.context("the template's certificate is missing")?;
        Ok(Self { deployment, version })
    }

    fn deployment(&self, id: &DeploymentId, host: &str, generation: Generation) -> Result<Deployment> {
        Ok(Deployment {
            id: id.clone(),
            spec: DeploymentSpec { hosts: vec![HostName::parse(host)?], ..self.deployment.spec.clone() },
            born: generation,
            generation,
            tls: TlsState::Running { version: generation.into() },
            ..self.deployment.clone()
        })
    }

    fn version(&self, deployment: DeploymentId, version: Generation, member: Member) -> Result<Version> {
        let mut scope = [0; 16];
        aws_lc_rs::rand::fill(&mut scope)?;
        let Member { host, leaf } = member;
        Ok(Version {
            deployment,
            version: version.into(),
            chain: std::iter::once(leaf.der).chain(leaf.intermediates).collect(),
            trust_scope: TrustScope(scope),
            common_name: Some(host),
            proven: true,
            ..self.version.clone()
        })
    }
}
