//! The data folder and its files belong to the process: no links, no other owner. A refusal leaves
//! the link's target unchanged.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, lchown, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use certward_store::{Address, MasterKey, MasterKeyError, NotOwn, Replica, Store, StoreError, SystemClock};
use tempfile::TempDir;

use crate::{block_on, world::master_key};

/// Neither root nor the tests' user.
const STRANGER: u32 = 47_111;

/// The files of a data folder that certward or SQLite opens.
const FILES: [&str; 9] = [
    "lock",
    "store.db",
    "store.db-wal",
    "store.db-shm",
    "store.db-journal",
    "requests.db",
    "requests.db-wal",
    "requests.db-shm",
    "requests.db-journal",
];

/// With a foreign file elsewhere.
struct Stage {
    data: TempDir,
    elsewhere: TempDir,
}

impl Stage {
    async fn new() -> Self {
        let stage = Self { data: tempfile::tempdir().unwrap(), elsewhere: tempfile::tempdir().unwrap() };
        stage.init().await.unwrap();
        fs::write(stage.victim(), "somebody's").unwrap();
        fs::set_permissions(stage.victim(), fs::Permissions::from_mode(0o644)).unwrap();
        stage
    }

    fn victim(&self) -> PathBuf {
        self.elsewhere.path().join("victim")
    }

    fn address(&self) -> Address {
        Address::Embedded(self.data.path().to_owned())
    }

    async fn init(&self) -> Result<(), StoreError> {
        let store = Store::init(&self.address(), &master_key(), Arc::new(SystemClock)).await?;
        store.close().await;
        Ok(())
    }

    /// By each way to open the store.
    async fn opened(&self) -> Vec<Result<(), StoreError>> {
        let (address, key) = (self.address(), master_key());
        let clock = || Arc::new(SystemClock);
        let mut results = vec![Store::is_initialised(&address).await.map(drop), self.init().await];
        for result in
            [Store::open(&address, &key, clock()).await, Store::open_beside(&address, &key, clock()).await]
        {
            results.push(match result {
                Ok(store) => {
                    store.close().await;
                    Ok(())
                }
                Err(error) => Err(error),
            });
        }
        results
    }

    #[track_caller]
    fn assert_victim_untouched(&self, story: &str) {
        let mode = fs::metadata(self.victim()).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode, fs::read(self.victim()).unwrap()), (0o644, b"somebody's".to_vec()), "{story}");
    }
}

/// False without the privilege.
fn give_away(path: &Path) -> bool {
    lchown(path, Some(STRANGER), Some(STRANGER)).is_ok()
}

fn is_link(error: &StoreError) -> bool {
    matches!(error, StoreError::NotOwn(NotOwn::Link(_)))
}

fn is_strangers(error: &StoreError) -> bool {
    matches!(error, StoreError::NotOwn(NotOwn::Owner { owner: STRANGER, .. }))
}

fn is_of_another_kind(error: &StoreError) -> bool {
    matches!(error, StoreError::NotOwn(NotOwn::Kind(_)))
}

#[test]
fn a_file_that_is_a_link_or_another_users_or_no_file_is_refused() {
    type Plant = fn(&Stage, &Path) -> bool;
    type Expected = fn(&StoreError) -> bool;
    let cases: [(&str, Plant, Expected); 4] = [
        ("a link", |stage, path| symlink(stage.victim(), path).is_ok(), is_link),
        (
            "a link to nothing",
            |stage, path| symlink(stage.elsewhere.path().join("new"), path).is_ok(),
            is_link,
        ),
        ("another user's", |_, path| fs::write(path, "").is_ok() && give_away(path), is_strangers),
        ("a folder", |_, path| fs::create_dir(path).is_ok(), is_of_another_kind),
    ];
    block_on(async {
        let stage = Stage::new().await;
        for file in FILES {
            let path = stage.data.path().join(file);
            let kept = fs::read(&path).ok();
            for (story, plant, expected) in cases {
                let story = format!("{file} is {story}");
                let _ = fs::remove_file(&path);
                if plant(&stage, &path) {
                    for (way, result) in stage.opened().await.into_iter().enumerate() {
                        match result {
                            // A dangling link and a folder are no database.
                            Ok(()) if way == 0 && file == "store.db" => {}
                            // Opened beside another process, the store uses that one's lock.
                            Ok(()) if way == 3 && file == "lock" => {}
                            Err(StoreError::NotInitialised) if file == "store.db" => {}
                            Err(error) if expected(&error) => {}
                            // Opening a folder for writing fails earlier.
                            Err(StoreError::Unavailable(_)) if path.is_dir() => {}
                            other => panic!("{story}, way {way}: {other:?}"),
                        }
                    }
                }
                let _ = fs::remove_dir(&path);
                let _ = fs::remove_file(&path);
                stage.assert_victim_untouched(&story);
                assert_eq!(
                    fs::read_dir(stage.elsewhere.path()).unwrap().count(),
                    1,
                    "{story}: nothing is made"
                );
            }
            if let Some(bytes) = kept {
                fs::write(&path, bytes).unwrap();
            }
        }
        assert!(stage.opened().await.iter().all(Result::is_ok), "all is as it was");
    });
}

#[test]
fn a_folder_of_another_user_is_refused_and_left_as_it_is() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
        if !give_away(&data) {
            return;
        }
        let address = Address::Embedded(data.clone());
        let key = master_key();
        let init = || Store::init(&address, &key, Arc::new(SystemClock));
        assert!(is_strangers(&init().await.unwrap_err()));
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o7777, 0o755);
        chown(&data, Some(0), Some(0)).unwrap();
        init().await.unwrap().close().await;
    });
}

#[test]
fn a_link_to_the_folder_is_followed_unless_another_user_made_it() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let (data, link) = (folder.path().join("data"), folder.path().join("link"));
        fs::create_dir(&data).unwrap();
        symlink(&data, &link).unwrap();
        let address = Address::Embedded(link.clone());
        let key = master_key();
        let init = || Store::init(&address, &key, Arc::new(SystemClock));
        init().await.unwrap().close().await;
        if give_away(&link) {
            assert!(is_strangers(&init().await.unwrap_err()));
        }
    });
}

#[test]
fn a_snapshot_is_neither_opened_nor_made_through_a_link() {
    block_on(async {
        let stage = Stage::new().await;
        let store = Store::open(&stage.address(), &master_key(), Arc::new(SystemClock)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let snapshot = Replica::at(folder.path(), &master_key());
        for file in ["snapshot.db", "snapshot.db-wal", "snapshot.db-shm"] {
            let path = folder.path().join(file);
            symlink(stage.victim(), &path).unwrap();
            assert!(is_link(&snapshot.open().await.unwrap_err()), "{file}");
            snapshot.make(&store).await.unwrap();
            assert!(!fs::symlink_metadata(folder.path().join("snapshot.db")).unwrap().is_symlink());
            snapshot.discard().await.unwrap();
            stage.assert_victim_untouched(file);
        }
        let path = Replica::file_in(folder.path());
        fs::write(&path, "").unwrap();
        if give_away(&path) {
            assert!(is_strangers(&snapshot.open().await.unwrap_err()));
        }
        store.close().await;
    });
}

#[test]
fn a_master_key_is_roots_or_the_users_and_in_the_data_folder_no_link() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("mounted"), folder.path().join("master.key"));
    MasterKey::generate().write_new(&path).unwrap();
    symlink(&path, &link).unwrap();
    // As Kubernetes mounts a secret with a configured path.
    assert!(MasterKey::read(&link).is_ok());
    assert!(matches!(MasterKey::read_own(&link), Err(MasterKeyError::NotOwn(NotOwn::Link(_)))));
    assert!(MasterKey::read_own(&path).is_ok());
    assert!(MasterKey::generate().write_new(&link).is_err());
    if give_away(&path) {
        for refused in [MasterKey::read(&link), MasterKey::read(&path), MasterKey::read_own(&path)] {
            let error = refused.unwrap_err();
            let is_owner = matches!(&error, MasterKeyError::NotOwn(NotOwn::Owner { owner: STRANGER, .. }));
            assert!(is_owner || matches!(error, MasterKeyError::NotOwn(NotOwn::Link(_))), "{error}");
        }
    }
}
