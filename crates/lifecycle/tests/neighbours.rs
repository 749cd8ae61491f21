//! Deployments, projects and keys: who may create, change and remove them.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use certward_lifecycle::{Denied, DeploymentError, KeyError, NewKey, ProjectError};
use certward_pki::HostName;
use certward_store::{ApiKey, Boundary, DeploymentId, DeploymentPatch, ProjectId, Scope};
use support::{Authority, Uploads, World};

fn project(id: &str) -> ProjectId {
    ProjectId::parse(id).unwrap()
}

async fn make_project(world: &World, id: &str) {
    world
        .lifecycle
        .create_project(&world.admin, Some(project(id)), "name".into(), String::new(), Boundary::default())
        .await
        .unwrap();
}

async fn limited_key(world: &World, scopes: &[Scope], to: &str) -> ApiKey {
    let projects = [project(to)];
    let made =
        world.lifecycle.create_key(&world.admin, &NewKey::new("limited", scopes, Some(&projects))).await;
    made.unwrap().0.key
}

#[tokio::test]
async fn a_deployment_is_made_once_and_goes_with_all_it_has() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let again = world.lifecycle.create_deployment(&world.admin, world.new_deployment("ge6a1a75")).await;
    assert!(matches!(again, Err(DeploymentError::Exists)));

    world.create(ca.one_way()).await;
    let version = world.deployment().await.tls.version().unwrap();
    world.lifecycle.remove_deployment(&world.admin, &world.this().await).await.unwrap();
    let store = world.lifecycle.store();
    assert!(store.read().deployment(&world.id).await.unwrap().is_none());
    assert!(store.read().private_key(&world.id, version).await.unwrap().is_none());

    let made =
        world.lifecycle.create_deployment(&world.admin, world.new_deployment("ge6a1a75")).await.unwrap();
    assert!(
        made.generation > certward_store::Generation(version.0),
        "generations only grow, also across a removal"
    );
}

#[tokio::test]
async fn a_drawn_id_looks_like_those_of_the_public_service() {
    let world = World::new().await;
    let mut new = world.new_deployment("unused");
    new.id = None;
    let made = world.lifecycle.create_deployment(&world.admin, new).await.unwrap();
    assert_eq!(made.id.as_str().len(), 8);
    assert!(made.id.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
}

#[tokio::test]
async fn a_host_of_another_is_refused_and_nothing_is_half_done() {
    let world = World::new().await;
    make_project(&world, "other").await;
    let mut new = world.new_deployment("second");
    new.project = Some(project("other"));
    new.spec.hosts =
        vec![HostName::parse("mine.example.org").unwrap(), HostName::parse("*.example.com").unwrap()];
    let refused = world.lifecycle.create_deployment(&world.admin, new.clone()).await;
    let Err(DeploymentError::HostTaken(host)) = refused else { panic!("{refused:?}") };
    assert_eq!(host.as_str(), "*.example.com");
    let second = DeploymentId::parse("second").unwrap();
    assert!(world.lifecycle.store().read().deployment(&second).await.unwrap().is_none());

    new.spec.hosts.pop();
    world.lifecycle.create_deployment(&world.admin, new).await.unwrap();
    let hosts = Some(vec![HostName::parse("ge6a1a75.example.com").unwrap()]);
    let change = DeploymentPatch { hosts, ..DeploymentPatch::default() };
    let refused = world.lifecycle.change_deployment(&world.admin, &world.that("second").await, change).await;
    assert!(matches!(refused, Err(DeploymentError::HostTaken(_))));
    let kept = world.lifecycle.store().read().deployment(&second).await.unwrap().unwrap();
    assert_eq!(kept.spec.hosts, [HostName::parse("mine.example.org").unwrap()]);
}

#[tokio::test]
async fn what_a_key_does_not_see_does_not_exist_for_it() {
    let world = World::new().await;
    make_project(&world, "other").await;
    let key = limited_key(&world, &[Scope::Deployments, Scope::Admin], "other").await;
    let lifecycle = &world.lifecycle;
    let made = lifecycle.create_deployment(&key, world.new_deployment("hidden")).await;
    assert!(matches!(made, Err(DeploymentError::NoProject)), "the default project");
    let changed = lifecycle.change_deployment(&key, &world.this().await, DeploymentPatch::default()).await;
    assert!(matches!(changed, Err(DeploymentError::NotFound)));
    assert!(matches!(
        lifecycle.remove_deployment(&key, &world.this().await).await,
        Err(DeploymentError::NotFound)
    ));
    let removed = lifecycle.remove_project(&key, &ProjectId::default_project()).await;
    assert!(matches!(removed, Err(ProjectError::NotFound)));
    assert!(matches!(lifecycle.revoke_key(&key, &world.admin).await, Err(KeyError::NotFound)));
}

#[tokio::test]
async fn a_project_is_removed_only_when_it_is_empty() {
    let world = World::new().await;
    let lifecycle = &world.lifecycle;
    let default = ProjectId::default_project();
    assert!(matches!(lifecycle.remove_project(&world.admin, &default).await, Err(ProjectError::Default)));
    make_project(&world, "other").await;
    let again = lifecycle.create_project(
        &world.admin,
        Some(project("other")),
        String::new(),
        String::new(),
        Boundary::default(),
    );
    assert!(matches!(again.await, Err(ProjectError::Exists)));

    let mut new = world.new_deployment("second");
    new.project = Some(project("other"));
    lifecycle.create_deployment(&world.admin, new).await.unwrap();
    let other = project("other");
    assert!(matches!(lifecycle.remove_project(&world.admin, &other).await, Err(ProjectError::NotEmpty(1))));
    lifecycle.remove_deployment(&world.admin, &world.that("second").await).await.unwrap();
    lifecycle.remove_project(&world.admin, &other).await.unwrap();
    assert!(matches!(lifecycle.remove_project(&world.admin, &other).await, Err(ProjectError::NotFound)));
}

#[tokio::test]
async fn a_key_grants_only_what_it_has() {
    let world = World::new().await;
    make_project(&world, "other").await;
    let lifecycle = &world.lifecycle;
    let (other, default) = ([project("other")], [ProjectId::default_project()]);
    let tls = limited_key(&world, &[Scope::Tls], "other").await;
    let admin = limited_key(&world, &[Scope::Admin], "other").await;
    type Case<'a> = (&'a ApiKey, &'a [Scope], Option<&'a [ProjectId]>, fn(&KeyError) -> bool);
    let refused: [Case<'_>; 5] = [
        (&tls, &[Scope::Admin], Some(&other), no_admin),
        (&tls, &[Scope::Tls, Scope::Deployments], Some(&other), no_admin),
        (&tls, &[Scope::Tls], Some(&other), no_admin),
        (&admin, &[Scope::Tls], None, |error| matches!(error, KeyError::GrantsMore)),
        (&admin, &[Scope::Tls], Some(&default), |error| matches!(error, KeyError::NoProject(_))),
    ];
    for (actor, scopes, projects, expected) in refused {
        let error = lifecycle.create_key(actor, &NewKey::new("more", scopes, projects)).await.unwrap_err();
        assert!(expected(&error), "{actor} {scopes:?} {projects:?}: {error:?}");
    }
    lifecycle.create_key(&admin, &NewKey::new("less", &[Scope::TlsRead], Some(&other))).await.unwrap();
}

fn no_admin(error: &KeyError) -> bool {
    matches!(error, KeyError::Denied(Denied::NoScope(Scope::Admin)))
}

#[tokio::test]
async fn the_last_admin_key_stays() {
    let world = World::new().await;
    let lifecycle = &world.lifecycle;
    assert!(matches!(lifecycle.revoke_key(&world.admin, &world.admin).await, Err(KeyError::LastAdmin)));
    make_project(&world, "other").await;
    let limited = limited_key(&world, &[Scope::Admin], "other").await;
    let revoked = lifecycle.revoke_key(&world.admin, &world.admin).await;
    assert!(matches!(revoked, Err(KeyError::LastAdmin)), "an admin of one project is not one of everything");
    let new = NewKey::new("second", &[Scope::Admin], None);
    let second = lifecycle.create_key(&world.admin, &new).await.unwrap().0.key;
    lifecycle.revoke_key(&second, &world.admin).await.unwrap();
    lifecycle.revoke_key(&second, &limited).await.unwrap();
    assert!(matches!(lifecycle.revoke_key(&second, &limited).await, Err(KeyError::NotFound)));
}
