use certward_store::{Deployment, Project, ProjectId, Scope, Store, StoreError, Timestamp, TlsState};

use crate::{
    on_both_engines,
    world::{World, deployment, project},
};

on_both_engines![
    the_default_project_is_there_from_the_start,
    a_project_is_added_once_and_removed,
    a_key_that_sees_only_a_removed_project_sees_nothing,
    a_deployment_made_at_once_with_the_removal_of_its_project_is_never_left_alone,
    makers_and_changers_in_one_project_never_wait_in_a_circle,
];

fn others() -> Project {
    Project {
        id: project("others"),
        name: "Others".into(),
        description: "of another team\0".into(),
        created_at: Timestamp(5),
        boundary: certward_store::Boundary::default(),
    }
}

async fn the_default_project_is_there_from_the_start(world: World) {
    let projects = world.store.read().projects().await.expect("read");
    assert_eq!(projects.len(), 1);
    assert_eq!(projects[0].id, ProjectId::default_project());
}

async fn a_project_is_added_once_and_removed(world: World) {
    let mut tx = world.begin().await;
    assert!(tx.insert_project(&others()).await.expect("written"));
    assert!(!tx.insert_project(&Project { name: "again".into(), ..others() }).await.expect("written"));
    let kept = Project { description: "of another team\u{fffd}".into(), ..others() };
    assert_eq!(tx.project(&project("others")).await.expect("read"), Some(kept.clone()));
    assert_eq!(tx.deployments_in(&project("others")).await.expect("counted"), 0);
    tx.commit().await.expect("committed");
    assert_eq!(world.store.read().projects().await.expect("read")[1], kept);
    let mut tx = world.begin().await;
    tx.remove_project(&project("others")).await.expect("removed");
    tx.commit().await.expect("committed");
    assert_eq!(world.store.read().projects().await.expect("read").len(), 1);
}

async fn a_key_that_sees_only_a_removed_project_sees_nothing(world: World) {
    let mut tx = world.begin().await;
    tx.insert_project(&others()).await.expect("written");
    let projects = [project("others")];
    let (record, _) = tx.insert_api_key("k", &[Scope::Tls], Some(&projects), None).await.expect("written");
    assert_eq!(record.projects, Some(projects.to_vec()));
    tx.remove_project(&project("others")).await.expect("removed");
    // A new project of the same name is another one.
    tx.insert_project(&others()).await.expect("written");
    let record = tx.api_key(&record.key).await.expect("read").expect("there");
    assert_eq!(record.projects, Some(Vec::new()));
    assert!(!record.sees(&project("others")));
}

async fn a_deployment_made_at_once_with_the_removal_of_its_project_is_never_left_alone(world: World) {
    let mut tx = world.begin().await;
    tx.insert_project(&others()).await.expect("written");
    tx.commit().await.expect("committed");
    let store = world.store.clone();
    let make = tokio::spawn(async move {
        let mut tx = store.begin().await.expect("a transaction");
        if tx.project(&project("others")).await.expect("read").is_none() {
            return false;
        }
        tx.insert_deployment(&deployment("a", "others", &[])).await.expect("written").expect("free");
        tx.commit().await.expect("committed");
        true
    });
    let store = world.store.clone();
    let remove = tokio::spawn(async move {
        let mut tx = store.begin().await.expect("a transaction");
        tx.project_to_remove(&project("others")).await.expect("read").expect("there");
        if tx.deployments_in(&project("others")).await.expect("counted") > 0 {
            return false;
        }
        tx.remove_project(&project("others")).await.expect("removed");
        tx.commit().await.expect("committed");
        true
    });
    let (made, removed) = (make.await.expect("no panic"), remove.await.expect("no panic"));
    assert!(made != removed, "made: {made}, removed: {removed}");
}

async fn makers_and_changers_in_one_project_never_wait_in_a_circle(world: World) {
    let workers = (0..6).map(|worker| {
        let store = world.store.clone();
        tokio::spawn(async move {
            for turn in 0..20 {
                let name = if (worker + turn) % 2 == 0 { "a" } else { "b" };
                make_or_change(&store, &deployment(name, "default", &[])).await?;
            }
            Ok::<_, StoreError>(())
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.expect("no panic").expect("nobody was told to give way");
    }
}

async fn make_or_change(store: &Store, wanted: &Deployment) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    // A creation reads the project first.
    if wanted.id.as_str() == "a" {
        tx.project(&wanted.project).await?;
    }
    let found = tx.deployment(&wanted.id).await?;
    let generation = tx.draw_generation(&wanted.id).await?;
    let deployment = Deployment { generation, ..wanted.clone() };
    match found {
        None => drop(tx.insert_deployment(&deployment).await?),
        Some(_) => {
            drop(tx.update_deployment(&deployment).await?);
            // The second change of a row in one transaction checks its foreign key again.
            tx.set_tls(&deployment.id, generation, &TlsState::Absent).await?;
        }
    }
    if generation.0 % 5 == 0 {
        tx.remove_deployment(&deployment.id).await?;
    }
    tx.commit().await
}
