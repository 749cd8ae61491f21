//! What a project's deployments may claim: CONTRACT.md ("Project boundaries").

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use certward_lifecycle::{
    BoundaryWarning, DeploymentError, Lifecycle, LifecycleSettings, NewDeployment, NewKey, OutOfBounds,
    ProjectChange, ProjectError, SystemEntropy, UpstreamField,
};
use certward_pki::HostName;
use certward_store::{
    ApiKey, Boundary, DeploymentId, DeploymentPatch, DeploymentSpec, HostSuffix, Project, ProjectId,
    ProxyProtocol, Scope, Upstream, UpstreamAllow, UpstreamList,
};
use support::World;

fn project(id: &str) -> ProjectId {
    ProjectId::parse(id).unwrap()
}

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn upstream(text: &str) -> Upstream {
    Upstream::parse(text).unwrap()
}

fn allow(texts: &[&str]) -> Option<UpstreamAllow> {
    Some(UpstreamAllow::parse(texts).unwrap())
}

fn suffixes(texts: &[&str]) -> Vec<HostSuffix> {
    texts.iter().map(|text| HostSuffix::parse(text).unwrap()).collect()
}

struct Stage {
    world: World,
    ours: ApiKey,
    theirs: ApiKey,
}

impl Stage {
    async fn new() -> Self {
        let world = World::new().await;
        for name in ["ours", "theirs"] {
            let made = world.lifecycle.create_project(
                &world.admin,
                Some(project(name)),
                String::new(),
                String::new(),
                Boundary::default(),
            );
            made.await.unwrap();
        }
        let key = async |of: &str, scopes: &[Scope]| {
            let of = [project(of)];
            world
                .lifecycle
                .create_key(&world.admin, &NewKey::new("key", scopes, Some(&of)))
                .await
                .unwrap()
                .0
                .key
        };
        let (ours, theirs) =
            (key("ours", &[Scope::Deployments]).await, key("theirs", &[Scope::Deployments]).await);
        Self { world, ours, theirs }
    }

    fn new_deployment(&self, id: &str, of: &str, upstream: &str, hosts: &[&str]) -> NewDeployment {
        NewDeployment {
            project: Some(project(of)),
            spec: DeploymentSpec {
                hosts: hosts.iter().map(|name| host(name)).collect(),
                ..DeploymentSpec::new(UpstreamList::parse(upstream).unwrap())
            },
            ..self.world.new_deployment(id)
        }
    }

    async fn make(
        &self,
        actor: &ApiKey,
        id: &str,
        upstream: &str,
        hosts: &[&str],
    ) -> Result<(), OutOfBounds> {
        let of = if *actor == self.theirs { "theirs" } else { "ours" };
        let new = self.new_deployment(id, of, upstream, hosts);
        refused(self.world.lifecycle.create_deployment(actor, new).await)
    }

    async fn change(&self, id: &str, change: DeploymentPatch) -> Result<(), OutOfBounds> {
        let this = self.world.that(id).await;
        refused(self.world.lifecycle.change_deployment(&self.ours, &this, change).await)
    }

    async fn set(&self, of: &str, change: ProjectChange) -> Result<Project, ProjectError> {
        self.world.lifecycle.change_project(&self.world.admin, &project(of), change).await
    }

    async fn warnings(&self, id: &str) -> Vec<BoundaryWarning> {
        let id = DeploymentId::parse(id).unwrap();
        let deployment = self.world.lifecycle.store().read().deployment(&id).await.unwrap().unwrap();
        self.world.lifecycle.boundary_warnings(&deployment).await.unwrap()
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, DeploymentError>) -> Result<(), OutOfBounds> {
    match result {
        Ok(_) => Ok(()),
        Err(DeploymentError::OutOfBounds(why)) => Err(why),
        // The caller cannot tell which.
        Err(DeploymentError::HostTaken(host)) => Err(OutOfBounds::HostOfAnother(host)),
        Err(other) => panic!("{other}"),
    }
}

fn taken(list: UpstreamField, text: &str) -> Result<(), OutOfBounds> {
    Err(OutOfBounds::UpstreamTaken { list, upstream: upstream(text) })
}

fn upstreams(text: &str) -> DeploymentPatch {
    DeploymentPatch { upstream: Some(UpstreamList::parse(text).unwrap()), ..DeploymentPatch::default() }
}

fn hosts(names: &[&str]) -> DeploymentPatch {
    DeploymentPatch {
        hosts: Some(names.iter().map(|name| host(name)).collect()),
        ..DeploymentPatch::default()
    }
}

#[tokio::test]
async fn an_address_of_another_projects_deployment_is_refused_however_it_is_written() {
    let stage = Stage::new().await;
    stage.make(&stage.theirs, "theirs", "broker.example:1883,10.0.0.1:1883", &[]).await.unwrap();
    for text in
        ["broker.example:1883", "Broker.Example.:01883", "free:1,10.0.0.1:1883", "[::ffff:10.0.0.1]:1883"]
    {
        let named = text.rsplit(',').next().unwrap();
        assert_eq!(
            stage.make(&stage.ours, "ours", text, &[]).await,
            taken(UpstreamField::Upstream, named),
            "{text}"
        );
    }
    stage.make(&stage.ours, "ours", "broker.example:1884", &[]).await.unwrap();
    assert_eq!(
        stage.change("ours", upstreams("10.0.0.1:1883")).await,
        taken(UpstreamField::Upstream, "10.0.0.1:1883")
    );
    let ws = Some(Some(UpstreamList::parse("10.0.0.1:1883").unwrap()));
    let ws = DeploymentPatch { ws_upstream: ws, ..DeploymentPatch::default() };
    assert_eq!(stage.change("ours", ws).await, taken(UpstreamField::WsUpstream, "10.0.0.1:1883"));
    // Within a project addresses may be shared.
    stage.make(&stage.theirs, "theirs2", "10.0.0.1:1883", &[]).await.unwrap();
}

#[tokio::test]
async fn an_admin_lets_projects_share_a_broker_and_what_is_shared_stays_and_is_a_warning() {
    let stage = Stage::new().await;
    stage.make(&stage.theirs, "theirs", "10.0.0.1:1883", &[]).await.unwrap();
    stage.make(&stage.world.admin, "ours", "10.0.0.1:1883", &[]).await.unwrap();
    let shared = [BoundaryWarning::UpstreamShared(UpstreamField::Upstream, upstream("10.0.0.1:1883"))];
    assert_eq!(stage.warnings("ours").await, shared);
    assert_eq!(stage.warnings("theirs").await, shared);
    // Other changes, and the order, are not checked.
    let named = DeploymentPatch { name: Some("a name".into()), ..DeploymentPatch::default() };
    stage.change("ours", named).await.unwrap();
    // A PROXY header is: devices could pass for another project's.
    let told = DeploymentPatch { proxy_protocol: Some(ProxyProtocol::V2), ..DeploymentPatch::default() };
    assert_eq!(stage.change("ours", told).await, taken(UpstreamField::Upstream, "10.0.0.1:1883"));
    stage.change("ours", upstreams("[::ffff:10.0.0.1]:1883,10.0.0.2:1883")).await.unwrap();
    stage.change("ours", upstreams("10.0.0.2:1883")).await.unwrap();
    assert_eq!(stage.warnings("ours").await, []);
    assert_eq!(
        stage.change("ours", upstreams("10.0.0.1:1883")).await,
        taken(UpstreamField::Upstream, "10.0.0.1:1883")
    );
    let of = [project("ours")];
    let (limited, _) = stage
        .world
        .lifecycle
        .create_key(&stage.world.admin, &NewKey::new("limited", &[Scope::Admin], Some(&of)))
        .await
        .unwrap();
    assert_eq!(
        stage.make(&limited.key, "again", "10.0.0.1:1883", &[]).await,
        taken(UpstreamField::Upstream, "10.0.0.1:1883")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_projects_that_ask_for_an_address_at_once_one_gets_it() {
    let stage = Stage::new().await;
    for round in 0..10 {
        let address = format!("broker{round}.example:1883");
        let (ours, theirs) = (format!("ours{round}"), format!("theirs{round}"));
        let (first, second) = tokio::join!(
            stage.make(&stage.ours, &ours, &address, &[]),
            stage.make(&stage.theirs, &theirs, &address, &[])
        );
        assert_eq!(u8::from(first.is_ok()) + u8::from(second.is_ok()), 1, "{first:?} {second:?}");
    }
}

#[tokio::test]
async fn what_a_project_may_not_connect_to_is_refused_and_what_it_had_is_a_warning() {
    let stage = Stage::new().await;
    stage.make(&stage.ours, "old", "192.0.2.1:1883", &[]).await.unwrap();
    let rule = ProjectChange { upstream_allow: Some(allow(&["10.0.0.0/8"])), ..ProjectChange::default() };
    assert_eq!(stage.set("ours", rule).await.unwrap().boundary.upstream_allow, allow(&["10.0.0.0/8"]));
    let not_allowed = |text| {
        Err(OutOfBounds::UpstreamNotAllowed { list: UpstreamField::Upstream, upstream: upstream(text) })
    };
    assert_eq!(
        stage.make(&stage.ours, "new", "10.0.0.1:1,192.0.2.2:1883", &[]).await,
        not_allowed("192.0.2.2:1883")
    );
    // The admin must keep the rule.
    assert_eq!(
        stage.make(&stage.world.admin, "new", "192.0.2.2:1883", &[]).await,
        not_allowed("192.0.2.2:1883")
    );
    stage.make(&stage.ours, "new", "10.0.0.1:1883", &[]).await.unwrap();
    assert_eq!(stage.change("new", upstreams("192.0.2.2:1883")).await, not_allowed("192.0.2.2:1883"));
    stage.make(&stage.theirs, "theirs", "192.0.2.2:1883", &[]).await.unwrap();
    let warning = BoundaryWarning::UpstreamNotAllowed(UpstreamField::Upstream, upstream("192.0.2.1:1883"));
    assert_eq!(stage.warnings("old").await, [warning]);
    stage.change("old", hosts(&["a.example.com"])).await.unwrap();
    let none = ProjectChange { upstream_allow: Some(None), ..ProjectChange::default() };
    stage.set("ours", none).await.unwrap();
    assert_eq!(stage.warnings("old").await, []);
}

#[tokio::test]
async fn a_project_with_suffixes_claims_under_them_alone_and_nobody_else_does() {
    let stage = Stage::new().await;
    let rule = ProjectChange { host_suffixes: Some(suffixes(&["ours.example"])), ..ProjectChange::default() };
    stage.set("ours", rule).await.unwrap();
    stage
        .make(&stage.ours, "ours", "a:1", &["ours.example", "*.ours.example", "x.y.ours.example"])
        .await
        .unwrap();
    for name in ["b.example", "xours.example", "*.example.org"] {
        assert_eq!(
            stage.make(&stage.ours, "ours2", "a:1", &["a.ours.example", name]).await,
            Err(OutOfBounds::HostNotAllowed(host(name)))
        );
    }
    for name in ["b.ours.example", "a.b.c.ours.example", "*.b.ours.example"] {
        assert_eq!(
            stage.make(&stage.theirs, "theirs", "b:1", &["b.example", name]).await,
            Err(OutOfBounds::HostOfAnother(host(name)))
        );
    }
    stage.make(&stage.theirs, "theirs", "b:1", &["theirs.example.com"]).await.unwrap();
    let rule = ProjectChange { host_suffixes: Some(suffixes(&["example"])), ..ProjectChange::default() };
    let refused = stage.set("theirs", rule).await;
    assert!(
        matches!(&refused, Err(ProjectError::SuffixTaken(suffix)) if suffix.as_str() == "example"),
        "{refused:?}"
    );
    let rule = ProjectChange { host_suffixes: Some(suffixes(&["theirs.org"])), ..ProjectChange::default() };
    let refused = stage.set("theirs", rule).await;
    assert!(matches!(refused, Err(ProjectError::SuffixInUse { outside: 1, of_others: 0 })), "{refused:?}");
    assert_eq!(stage.warnings("ours").await, []);
}

#[tokio::test]
async fn a_wildcard_over_a_public_suffix_is_an_admins_to_allow() {
    let stage = Stage::new().await;
    for name in ["*.co.uk", "*.github.io"] {
        let refused = Err(OutOfBounds::HostPublicSuffix(host(name)));
        assert_eq!(stage.make(&stage.ours, "ours", "a:1", &[name]).await, refused);
        assert_eq!(stage.make(&stage.world.admin, "ours", "a:1", &[name]).await, refused);
    }
    stage.make(&stage.ours, "plant", "a:1", &["*.factory.local", "co.uk"]).await.unwrap();
    let plant = stage.world.that("plant").await;
    stage.world.lifecycle.remove_deployment(&stage.ours, &plant).await.unwrap();
    let rule =
        ProjectChange { host_suffixes: Some(suffixes(&["github.io", "uk"])), ..ProjectChange::default() };
    stage.set("ours", rule).await.unwrap();
    stage.make(&stage.ours, "named", "a:1", &["*.github.io"]).await.unwrap();
    // Under the suffix, but not named.
    let refused = Err(OutOfBounds::HostPublicSuffix(host("*.co.uk")));
    assert_eq!(stage.make(&stage.ours, "under", "a:1", &["*.co.uk"]).await, refused);
    // Hosts outlast the rule.
    let rule = ProjectChange { host_suffixes: Some(Vec::new()), ..ProjectChange::default() };
    stage.set("ours", rule).await.unwrap();
    stage.change("named", hosts(&["*.github.io", "a.example.com"])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_has_as_many_deployments_as_the_quota_says() {
    let stage = Stage::new().await;
    let settings = LifecycleSettings { deployments_per_project_max: 3, ..support::settings() };
    let gateway = &stage.world.gateway;
    let store = stage.world.lifecycle.store().clone();
    let lifecycle =
        Lifecycle::new(store, gateway.clone(), gateway.clone(), std::sync::Arc::new(SystemEntropy), settings);
    let make = async |actor: &ApiKey, id: &str| {
        let new = stage.new_deployment(id, "ours", "a:1", &[]);
        refused(lifecycle.create_deployment(actor, new).await)
    };
    let made = futures_join(&make, &stage.ours).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 3, "{made:?}");
    assert!(made.iter().flat_map(|made| made.as_ref().err()).all(|why| *why == OutOfBounds::Quota(3)));
    assert_eq!(make(&stage.world.admin, "one-more").await, Err(OutOfBounds::Quota(3)));
    // A change needs no room.
    let first = (0..6).find(|at| made[*at].is_ok()).map(|at| format!("d{at}")).unwrap();
    stage.change(&first, hosts(&["a.example.com"])).await.unwrap();
    lifecycle.remove_deployment(&stage.ours, &stage.world.that(&first).await).await.unwrap();
    make(&stage.ours, "one-more").await.unwrap();
}

async fn futures_join(
    make: &impl AsyncFn(&ApiKey, &str) -> Result<(), OutOfBounds>,
    actor: &ApiKey,
) -> [Result<(), OutOfBounds>; 6] {
    let (a, b, c, d, e, f) = tokio::join!(
        make(actor, "d0"),
        make(actor, "d1"),
        make(actor, "d2"),
        make(actor, "d3"),
        make(actor, "d4"),
        make(actor, "d5")
    );
    [a, b, c, d, e, f]
}
