use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac;

use crate::{
    Address, Clock, MasterKeyRing, Project, Store, StoreError,
    engine::{
        durability,
        pool::{Engine, step},
        schema,
    },
    postgres::listen::ChangeListener,
    repo::project,
    sealed::secret::{self, StoreKey},
    shared::{Opened, StoreInner},
    topic::Topic,
};

impl Store {
    /// Opens and migrates a store made by [`Store::init`].
    ///
    /// # Errors
    /// [`StoreError::NotInitialised`], [`StoreError::WrongMasterKey`],
    /// [`StoreError::MasterKeyReplaced`], [`StoreError::RekeyNeedsKey`], [`StoreError::InUse`],
    /// [`StoreError::TooNew`].
    pub async fn open(
        address: &Address,
        keys: impl Into<MasterKeyRing>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Self::open_on(Engine::open(address, false).await?, keys.into(), clock).await
    }

    /// As [`Store::open`], except [`StoreError::InUse`], while another process holds the folder;
    /// see [`Store::adopt_folder`]. SQLite allows both.
    pub async fn open_beside(
        address: &Address,
        keys: impl Into<MasterKeyRing>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Self::open_on(Engine::open_beside(address).await?, keys.into(), clock).await
    }

    /// To read beside a process that uses the store: takes no lock and migrates nothing.
    ///
    /// # Errors
    /// As [`Store::open`], except [`StoreError::InUse`]; [`StoreError::TooOld`].
    pub async fn open_to_read(
        address: &Address,
        keys: impl Into<MasterKeyRing>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let engine = Engine::open_beside(address).await?;
        match engine.version().await? {
            0 => return Err(StoreError::NotInitialised),
            version if version < schema::STORE.newest() => return Err(StoreError::TooOld(version)),
            _ => {}
        }
        let mut conn = engine.read().await?;
        step(schema::STORE.refuse_newer(&mut conn)).await?;
        drop(conn);
        Self::with(engine, keys.into(), clock).await
    }

    async fn open_on(engine: Engine, keys: MasterKeyRing, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        bring_up_to_date(&engine).await?;
        Self::with(engine, keys, clock).await
    }

    /// As [`Store::open`], tried once, of a store that is [`Store::away`]; once reached, it
    /// recovers by itself.
    pub async fn reach(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.inner.reaching.lock().await;
        let Some(address) = self.inner.address.as_ref().filter(|_| self.inner.opened.get().is_none()) else {
            return Ok(());
        };
        let engine = Engine::open(address, false).await?;
        bring_up_to_date(&engine).await?;
        let opened = Opened::with(engine, &self.inner).await?;
        let _ = self.inner.opened.set(opened);
        self.inner.wake_ups.wake(Topic::Changes);
        Ok(())
    }

    /// As [`Store::open`], but an empty store first gets schema, `default` project and check value.
    pub async fn init(
        address: &Address,
        keys: impl Into<MasterKeyRing>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let engine = Engine::open(address, true).await?;
        engine.migrate_requests().await?;
        let keys = keys.into();
        // Concurrent nodes initialise once.
        let mut tx = engine.begin().await?;
        schema::STORE.migrate(&mut tx).await?;
        if !secret::is_initialised(&mut tx).await? {
            let now = engine.now(&mut tx, clock.as_ref()).await?;
            secret::init(&mut tx, &keys.configured(), now).await?;
            project::insert(&mut tx, &Project::default_at(now)).await?;
        }
        tx.commit().await?;
        Self::with(engine, keys, clock).await
    }

    async fn with(engine: Engine, keys: MasterKeyRing, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let inner = StoreInner::new(None, keys, clock);
        let opened = Opened::with(engine, &inner).await?;
        let inner = StoreInner { opened: OnceLock::from(opened), ..inner };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether `init` has run.
    ///
    /// # Errors
    /// [`StoreError::InUse`].
    pub async fn is_initialised(address: &Address) -> Result<bool, StoreError> {
        let engine = match Engine::open(address, false).await {
            Err(StoreError::NotInitialised) => return Ok(false),
            engine => engine?,
        };
        let initialised = async {
            if engine.version().await? == 0 {
                return Ok(false);
            }
            let mut conn = engine.read().await?;
            step(secret::is_initialised(&mut conn)).await
        };
        let initialised = initialised.await;
        engine.close().await;
        initialised
    }
}

impl Opened {
    pub(crate) async fn with(engine: Engine, inner: &StoreInner) -> Result<Self, StoreError> {
        let mut conn = engine.read().await?;
        let key = step(secret::api_secrets_key(&mut conn, &inner.keys)).await?;
        inner.keys.set_settled(step(StoreKey::read(&mut conn)).await?.settled());
        for risk in step(durability::risks(&mut conn)).await? {
            tracing::warn!("{risk}");
        }
        drop(conn);
        if let Some(tracker) = engine.tracker() {
            tracker.remember().await;
        }
        let listener = engine.tracker().map(|tracker| {
            ChangeListener::start(Arc::clone(tracker), inner.wake_ups.clone(), inner.notify_source.clone())
        });
        Ok(Self { engine, pepper: hmac::Key::new(hmac::HMAC_SHA256, &key), listener })
    }
}

async fn bring_up_to_date(engine: &Engine) -> Result<(), StoreError> {
    if engine.version().await? == 0 {
        return Err(StoreError::NotInitialised);
    }
    engine.migrate_requests().await?;
    engine.migrate_store().await
}
