//! What nodes saw of devices: recorded in batches, within bounds, for a limited time.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use certward_pki::{ClientOffer, DeviceCertificate, DeviceId, IssuerPath, IssuerPathId, fingerprint};
use certward_store::{
    DEVICES_MAX, DEVICES_MIN, DeploymentRef, DeviceBatch, DeviceSighting, DeviceTotal, HOSTS_IN_USE_MAX,
    HostInUse, HostSighting, ISSUER_PATHS_MAX, OFFERS_A_DAY_MAX, OfferHour, RevokedWhat, SeenDevice,
    Timestamp,
};
use time::OffsetDateTime;

use crate::{
    on_both_engines,
    world::{World, id},
};

on_both_engines![
    a_device_is_recorded_and_listed_by_id,
    a_later_sighting_updates_a_device_and_an_earlier_one_does_not,
    what_a_deployment_may_have_is_bounded_and_the_rest_is_counted,
    paths_count_the_devices_that_are_valid_and_lately_seen,
    the_example_of_a_path_ends_last_and_goes_with_its_device,
    a_device_with_many_paths_leaves_room_for_others,
    offers_are_summed_over_the_hours_of_a_day_and_the_heaviest_are_kept,
    hosts_in_use_are_noted_forward_only,
    old_devices_are_forgotten_and_their_addresses_before,
    a_device_is_forgotten,
    devices_are_found_by_fingerprints_and_by_what_is_revoked,
    all_goes_with_the_deployment_and_nothing_is_recorded_for_one_that_is_gone,
    nothing_is_recorded_for_a_later_deployment_of_the_same_id,
    a_batch_of_many_deployments_is_recorded,
    many_nodes_record_at_once,
];

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn time(timestamp: Timestamp) -> OffsetDateTime {
    timestamp.to_time()
}

/// With an example that is the certificate of the device of this number.
pub(crate) fn path(number: u16, example_of: u32, not_after: Timestamp) -> Arc<IssuerPath> {
    let mut id = [7; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    Arc::new(IssuerPath {
        id: IssuerPathId(id),
        example: vec![certificate(example_of), vec![1, 2, 3]],
        example_not_after: time(not_after),
        client_ca: format!("{number:064x}").into(),
    })
}

fn certificate(number: u32) -> Vec<u8> {
    format!("certificate {number}").into_bytes()
}

fn device_id(number: u32) -> DeviceId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    DeviceId(id)
}

pub(crate) fn sighting(
    deployment: &DeploymentRef,
    number: u32,
    path: &Arc<IssuerPath>,
    at: Timestamp,
) -> DeviceSighting {
    DeviceSighting {
        deployment: deployment.clone(),
        device: Arc::new(DeviceCertificate {
            id: device_id(number),
            name: format!("device-{number}").into(),
            issuer: "CN=Devices".into(),
            serial: format!("{number:08x}").into(),
            fingerprint: fingerprint(&certificate(number)).into(),
            not_before: time(at.before(DAY)),
            not_after: path.example_not_after,
            path: Arc::clone(path),
        }),
        at,
        host: Some("mqtt.example.com".into()),
        tls_version: "1.3",
        address: IpAddr::from([192, 0, 2, 7]),
    }
}

pub(crate) fn offer_hour(deployment: &DeploymentRef, day: i64, groups: &[u16], weight: u64) -> OfferHour {
    OfferHour {
        deployment: deployment.clone(),
        day,
        offer: ClientOffer { groups: groups.to_vec(), ..ClientOffer::default() },
        sessions: 3,
        networks: 2,
        weight,
        largest: weight / 2,
    }
}

async fn record_devices(world: &World, devices: Vec<DeviceSighting>) {
    let batch = DeviceBatch { devices, ..DeviceBatch::default() };
    world.store.record_devices(&batch).await.expect("recorded");
}

async fn devices(world: &World, deployment: &DeploymentRef) -> Vec<SeenDevice> {
    world.store.read().devices(&deployment.id, None, 1_000).await.expect("read")
}

async fn total(world: &World, deployment: &DeploymentRef) -> DeviceTotal {
    world.store.read().device_total(&deployment.id).await.expect("read")
}

async fn now(world: &World) -> Timestamp {
    world.store.now().await.expect("the time")
}

async fn a_device_is_recorded_and_listed_by_id(world: World) {
    let (a, now) = (world.deployment("a").await.reference(), now(&world).await);
    let path = path(1, 2, now.after(DAY));
    let mut nameless = sighting(&a, 3, &path, now);
    nameless.host = None;
    nameless.address = "2001:db8::1".parse().expect("an address");
    let first = sighting(&a, 2, &path, now);
    record_devices(&world, vec![nameless, sighting(&a, 1, &path, now), first.clone()]).await;
    let listed = devices(&world, &a).await;
    let ids: Vec<_> = listed.iter().map(|device| device.id).collect();
    assert_eq!(ids, [device_id(1), device_id(2), device_id(3)]);
    assert_eq!(
        listed[1],
        SeenDevice {
            deployment: a.id.clone(),
            id: device_id(2),
            name: "device-2".into(),
            issuer: "CN=Devices".into(),
            serial: "00000002".into(),
            fingerprint: first.device.fingerprint.to_string(),
            path: Some(path.id),
            client_ca: path.client_ca.to_string(),
            not_before: now.before(DAY),
            not_after: now.after(DAY),
            first_seen_at: now,
            last_seen_at: now,
            host: Some("mqtt.example.com".into()),
            tls_version: "1.3".into(),
            address: Some(IpAddr::from([192, 0, 2, 7])),
        }
    );
    assert_eq!((listed[2].host.as_deref(), listed[2].address), (None, "2001:db8::1".parse().ok()));
    let page = world.store.read().devices(&a.id, Some(device_id(1)), 1).await.expect("read");
    assert_eq!(page, [listed[1].clone()]);
    assert_eq!(total(&world, &a).await, DeviceTotal { known: 3, over: 0 });
    assert_eq!(world.store.read().device_total(&id("unknown")).await.expect("read"), DeviceTotal::default());
}

async fn a_later_sighting_updates_a_device_and_an_earlier_one_does_not(world: World) {
    let (a, first) = (world.deployment("a").await.reference(), now(&world).await);
    let path = path(1, 1, first.after(DAY));
    record_devices(&world, vec![sighting(&a, 1, &path, first)]).await;
    let later = DeviceSighting {
        host: Some("other.example.com".into()),
        tls_version: "1.2",
        address: IpAddr::from([192, 0, 2, 8]),
        ..sighting(&a, 1, &path, first.after(HOUR))
    };
    // A batch that holds a device twice records the newer one.
    record_devices(&world, vec![later.clone(), sighting(&a, 1, &path, first.after(HOUR / 2))]).await;
    record_devices(&world, vec![sighting(&a, 1, &path, first)]).await;
    let listed = devices(&world, &a).await;
    let [device] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((device.first_seen_at, device.last_seen_at), (first, first.after(HOUR)));
    assert_eq!((device.host.as_deref(), device.tls_version.as_str()), (Some("other.example.com"), "1.2"));
    assert_eq!(device.address, Some(later.address));
    assert_eq!(total(&world, &a).await, DeviceTotal { known: 1, over: 0 });
}

async fn what_a_deployment_may_have_is_bounded_and_the_rest_is_counted(world: World) {
    let (a, b, at) =
        (world.deployment("a").await.reference(), world.deployment("b").await.reference(), now(&world).await);
    let one = path(1, 1, at.after(DAY));
    record_devices(&world, vec![sighting(&a, 1, &one, at), sighting(&b, 1, &one, at)]).await;
    world
        .tamper(&format!("UPDATE device_total SET known = {} WHERE deployment = 'a'", DEVICES_MAX - 1))
        .await;
    // One more, and those that are known.
    record_devices(&world, (1..=4).map(|number| sighting(&a, number, &one, at.after(HOUR))).collect()).await;
    let seen: Vec<_> = devices(&world, &a).await.iter().map(|device| device.last_seen_at).collect();
    assert_eq!(seen, [at.after(HOUR); 2]);
    assert_eq!(total(&world, &a).await, DeviceTotal { known: DEVICES_MAX, over: 2 });
    // Of all deployments.
    world.tamper("UPDATE device_total SET known = 900000 WHERE deployment = 'a'").await;
    world.tamper("UPDATE device_total SET known = 99999 WHERE deployment = 'b'").await;
    record_devices(&world, (1..=3).map(|number| sighting(&b, number, &one, at)).collect()).await;
    assert_eq!(total(&world, &b).await, DeviceTotal { known: 100_000, over: 1 });
    // One with few devices has room all the same.
    let few = world.deployment("few").await.reference();
    let known = DEVICES_MIN - 2;
    world.tamper(&format!("INSERT INTO device_total VALUES ('few', {known}, 0, 0)")).await;
    record_devices(&world, (1..=5).map(|number| sighting(&few, number, &one, at)).collect()).await;
    assert_eq!(total(&world, &few).await, DeviceTotal { known: DEVICES_MIN, over: 3 });
    world.tamper("UPDATE device_total SET known = 2 WHERE deployment = 'a'").await;
    world.tamper("UPDATE device_total SET known = 2 WHERE deployment = 'b'").await;

    let paths = ISSUER_PATHS_MAX as u16 + 3;
    record_devices(
        &world,
        (1..=paths)
            .map(|number| {
                sighting(&a, number.into(), &path(number, number.into(), at.after(DAY)), at.after(DAY))
            })
            .collect(),
    )
    .await;
    let without = devices(&world, &a).await.iter().filter(|device| device.path.is_none()).count();
    assert_eq!(without, 3);
    assert_eq!(total(&world, &a).await, DeviceTotal { known: paths.into(), over: 2 + 3 });

    let host = |number: usize| HostSighting {
        deployment: b.clone(),
        host: format!("h{number:04}.example.com").into(),
        at: at.after(Duration::from_secs(number as u64)),
    };
    for numbers in [0..HOSTS_IN_USE_MAX, HOSTS_IN_USE_MAX..HOSTS_IN_USE_MAX + 2] {
        let hosts = numbers.map(host).collect();
        world.store.record_devices(&DeviceBatch { hosts, ..DeviceBatch::default() }).await.expect("recorded");
    }
    let hosts = world.store.read().hosts_in_use(&b.id).await.expect("read");
    assert_eq!(
        (hosts.len(), &*hosts[0].host),
        (HOSTS_IN_USE_MAX, "h0002.example.com"),
        "those asked for last"
    );
    assert_eq!(total(&world, &b).await.over, 1 + 2);
    // The count begins again after a day without.
    world
        .tamper("UPDATE device_total SET unrecorded_at = unrecorded_at - 86400000 WHERE deployment = 'b'")
        .await;
    world.store.prune(HOUR).await.expect("pruned");
    assert_eq!((total(&world, &a).await.over, total(&world, &b).await.over), (5, 0));
}

async fn paths_count_the_devices_that_are_valid_and_lately_seen(world: World) {
    let (a, b, at) =
        (world.deployment("a").await.reference(), world.deployment("b").await.reference(), now(&world).await);
    let (one, two) = (path(1, 1, at.after(10 * DAY)), path(2, 4, at.after(HOUR)));
    let long_ago = sighting(&a, 3, &one, at.before(91 * DAY));
    record_devices(
        &world,
        vec![
            sighting(&a, 1, &one, at),
            sighting(&a, 2, &one, at.after(HOUR)),
            long_ago,
            sighting(&a, 4, &two, at),
            sighting(&b, 5, &one, at),
        ],
    )
    .await;
    let counted = async |now: Timestamp| {
        let paths = world.store.read().known_paths(&a.id, now).await.expect("read");
        paths.into_iter().map(|known| (known.path, known.devices)).collect::<Vec<_>>()
    };
    assert_eq!(counted(at).await, [((*one).clone(), 2), ((*two).clone(), 1)]);
    assert_eq!(counted(at.after(2 * HOUR)).await, [((*one).clone(), 2), ((*two).clone(), 0)]);
    assert_eq!(counted(at.before(2 * DAY)).await[0].1, 1, "seen before, and valid then");
    let of_path = async |now: Timestamp, limit| {
        let found = world.store.read().devices_of_path(&a.id, one.id, now, limit).await.expect("read");
        found.into_iter().map(|device| device.id).collect::<Vec<_>>()
    };
    assert_eq!(of_path(at, 10).await, [device_id(2), device_id(1)]);
    assert_eq!(of_path(at, 1).await, [device_id(2)]);
    assert_eq!(of_path(at.after(11 * DAY), 10).await, []);
}

async fn a_device_with_many_paths_leaves_room_for_others(world: World) {
    let (a, at) = (world.deployment("a").await.reference(), now(&world).await);
    let other = path(0, 2, at.after(DAY));
    record_devices(&world, vec![sighting(&a, 2, &other, at)]).await;
    let last = ISSUER_PATHS_MAX as u16 + 20;
    for number in 1..=last {
        let at = at.after(Duration::from_secs(number.into()));
        record_devices(&world, vec![sighting(&a, 1, &path(number, 1, at.after(DAY)), at)]).await;
    }
    let new = path(last + 1, 3, at.after(DAY));
    record_devices(&world, vec![sighting(&a, 3, &new, at)]).await;
    let paths = world.store.read().known_paths(&a.id, at).await.expect("read");
    let with_devices: Vec<_> =
        paths.iter().filter(|known| known.devices > 0).map(|known| known.path.id).collect();
    assert_eq!(with_devices, [other.id, path(last, 1, at).id, new.id]);
    assert_eq!(world.store.read().device_total(&a.id).await.expect("read").over, 0);
}

async fn the_example_of_a_path_ends_last_and_goes_with_its_device(world: World) {
    let (a, at) = (world.deployment("a").await.reference(), now(&world).await);
    let examples = async || {
        let paths = world.store.read().known_paths(&a.id, at).await.expect("read");
        paths.into_iter().map(|known| known.path.example[0].clone()).collect::<Vec<_>>()
    };
    record_devices(&world, vec![sighting(&a, 1, &path(1, 1, at.after(2 * DAY)), at)]).await;
    record_devices(&world, vec![sighting(&a, 2, &path(1, 2, at.after(DAY)), at)]).await;
    assert_eq!(examples().await, [certificate(1)]);
    record_devices(&world, vec![sighting(&a, 3, &path(1, 3, at.after(3 * DAY)), at)]).await;
    assert_eq!(examples().await, [certificate(3)]);
    let forget = async |number| {
        let mut tx = world.begin().await;
        assert!(tx.forget_device(&a.id, device_id(number)).await.expect("forgotten"));
        tx.commit().await.expect("committed");
    };
    forget(1).await;
    assert_eq!(examples().await, [certificate(3)]);
    forget(3).await;
    assert!(examples().await.is_empty());
    record_devices(&world, vec![sighting(&a, 2, &path(1, 2, at.after(DAY)), at.after(HOUR))]).await;
    assert_eq!(examples().await, [certificate(2)]);
    // An example that is no recorded device's goes with the last device.
    record_devices(&world, vec![sighting(&a, 2, &path(1, 9, at.after(5 * DAY)), at.after(2 * HOUR))]).await;
    assert_eq!(examples().await, [certificate(9)]);
    forget(2).await;
    assert!(examples().await.is_empty());
    // Too large.
    let large = IssuerPath { example: vec![vec![0; 40_000]], ..(*path(1, 4, at.after(DAY))).clone() };
    record_devices(&world, vec![sighting(&a, 4, &Arc::new(large), at)]).await;
    assert_eq!(devices(&world, &a).await[0].path, None);
}

async fn offers_are_summed_over_the_hours_of_a_day_and_the_heaviest_are_kept(world: World) {
    let a = world.deployment("a").await.reference();
    let today = now(&world).await.day();
    let record = async |offers: Vec<OfferHour>| {
        let batch = DeviceBatch { offers, ..DeviceBatch::default() };
        world.store.record_devices(&batch).await.expect("recorded");
    };
    let listed = async |since| world.store.read().offer_days(&a.id, since).await.expect("read");
    // Two hours in one batch, and one more.
    let late = OfferHour { sessions: 9, networks: 1, ..offer_hour(&a, today, &[29], 500) };
    record(vec![offer_hour(&a, today, &[29], 100), late, offer_hour(&a, today - 1, &[29], 7)]).await;
    record(vec![offer_hour(&a, today, &[29], 20), offer_hour(&a, today, &[23], 10_000)]).await;
    let summed = |day: &certward_store::OfferDay| {
        (day.offer.groups.clone(), day.sessions, day.networks, day.weight, day.largest, day.hours)
    };
    let found = listed(today).await;
    assert_eq!(
        found.iter().map(summed).collect::<Vec<_>>(),
        [(vec![23], 3, 2, 10_000, 5_000, 1), (vec![29], 9, 2, 620, 310, 3)]
    );
    assert_eq!(listed(today - 1).await.len(), 3);
    assert_eq!(listed(today + 1).await, []);
    // A stranger's many offers weigh little.
    let strangers = (0..OFFERS_A_DAY_MAX as u16).map(|n| offer_hour(&a, today, &[1000 + n], 3)).collect();
    record(strangers).await;
    let kept = listed(today).await;
    assert_eq!(kept.len(), OFFERS_A_DAY_MAX);
    assert_eq!(kept[1].offer.groups, [29]);
    assert_eq!(total(&world, &a).await, DeviceTotal { known: 0, over: 2 });
    world.tamper(&format!("UPDATE offer_day SET day = day - 91 WHERE day = {today}")).await;
    world.store.prune(HOUR).await.expect("pruned");
    assert_eq!(listed(0).await.len(), 1);
}

async fn hosts_in_use_are_noted_forward_only(world: World) {
    let (a, at) = (world.deployment("a").await.reference(), now(&world).await);
    let host = |name: &str, at| HostSighting { deployment: a.clone(), host: name.into(), at };
    let record = async |hosts: Vec<HostSighting>| {
        let batch = DeviceBatch { hosts, ..DeviceBatch::default() };
        world.store.record_devices(&batch).await.expect("recorded");
    };
    let listed = async || world.store.read().hosts_in_use(&a.id).await.expect("read");
    let old = at.before(91 * DAY);
    record(vec![host("b.example.com", at), host("a.example.com", old), host("b.example.com", old)]).await;
    record(vec![host("b.example.com", at.before(HOUR))]).await;
    let in_use = |name: &str, at| HostInUse { host: name.into(), at };
    assert_eq!(listed().await, [in_use("a.example.com", old), in_use("b.example.com", at)]);
    record(vec![host("b.example.com", at.after(HOUR))]).await;
    world.store.prune(HOUR).await.expect("pruned");
    assert_eq!(listed().await, [in_use("b.example.com", at.after(HOUR))]);
}

async fn old_devices_are_forgotten_and_their_addresses_before(world: World) {
    let (a, b, at) =
        (world.deployment("a").await.reference(), world.deployment("b").await.reference(), now(&world).await);
    let (one, two) = (path(1, 1, at.after(DAY)), path(2, 2, at.after(DAY)));
    record_devices(
        &world,
        vec![
            sighting(&a, 1, &one, at.before(91 * DAY)),
            sighting(&a, 2, &two, at.before(89 * DAY)),
            sighting(&a, 3, &one, at.before(8 * DAY)),
            sighting(&a, 4, &two, at.before(6 * DAY)),
            sighting(&b, 1, &one, at.before(100 * DAY)),
        ],
    )
    .await;
    world.store.prune(HOUR).await.expect("pruned");
    let left: Vec<_> =
        devices(&world, &a).await.iter().map(|device| (device.id, device.address.is_some())).collect();
    assert_eq!(left, [(device_id(2), false), (device_id(3), false), (device_id(4), true)]);
    assert_eq!(total(&world, &a).await.known, 3);
    assert_eq!((devices(&world, &b).await, total(&world, &b).await.known), (vec![], 0));
    let paths = world.store.read().known_paths(&a.id, at).await.expect("read");
    let paths: Vec<_> = paths.into_iter().map(|known| known.path.id).collect();
    assert_eq!(paths, [two.id], "its example was the first device's");
    assert_eq!(world.store.read().known_paths(&b.id, at).await.expect("read"), []);
}

async fn a_device_is_forgotten(world: World) {
    let (a, at) = (world.deployment("a").await.reference(), now(&world).await);
    let one = path(1, 1, at.after(DAY));
    record_devices(&world, vec![sighting(&a, 1, &one, at), sighting(&a, 2, &one, at)]).await;
    let forget = async |deployment: &str, number| {
        let mut tx = world.begin().await;
        let forgotten = tx.forget_device(&id(deployment), device_id(number)).await.expect("answered");
        tx.commit().await.expect("committed");
        forgotten
    };
    for (deployment, number, known) in [("a", 9, false), ("b", 2, false), ("a", 2, true), ("a", 2, false)] {
        assert_eq!(forget(deployment, number).await, known, "{deployment} {number}");
    }
    assert_eq!(devices(&world, &a).await.len(), 1);
    assert_eq!(total(&world, &a).await.known, 1);
    // Seen again, it is known again.
    record_devices(&world, vec![sighting(&a, 2, &one, at)]).await;
    assert_eq!(total(&world, &a).await.known, 2);
}

async fn devices_are_found_by_fingerprints_and_by_what_is_revoked(world: World) {
    let (a, b, now) =
        (world.deployment("a").await.reference(), world.deployment("b").await.reference(), now(&world).await);
    let path = path(1, 2, now.after(DAY));
    let mut seen: Vec<_> = (0..6).map(|number| sighting(&a, number, &path, now)).collect();
    let other = Arc::make_mut(&mut seen[5].device);
    (other.issuer, other.name) = ("CN=Others".into(), "device-4".into());
    seen.push(sighting(&b, 9, &path, now));
    record_devices(&world, seen).await;
    let reader = world.store.read();
    let wanted: Vec<_> = [3, 9, 77].map(|number| fingerprint(&certificate(number))).to_vec();
    let found = reader.devices_with(&a.id, &wanted).await.expect("read");
    assert_eq!(found.iter().map(|device| device.id).collect::<Vec<_>>(), [device_id(3)]);
    assert!(reader.devices_with(&a.id, &[]).await.expect("read").is_empty());

    let issuer = || "CN=Devices".to_owned();
    let serial = |number: u32| format!("{number:08x}");
    let name = |number: u32| format!("device-{number}");
    let by_certificate = |number: u32| RevokedWhat::Certificate {
        device: device_id(number),
        fingerprint: String::new(),
        issuer: issuer(),
        serial: serial(number),
    };
    let cases: [(Vec<RevokedWhat>, &[u32]); 9] = [
        (vec![], &[]),
        (vec![by_certificate(1)], &[1]),
        (vec![by_certificate(9)], &[]),
        (vec![RevokedWhat::Serial { issuer: issuer(), serial: serial(2) }], &[2]),
        (vec![RevokedWhat::Serial { issuer: issuer(), serial: serial(5) }], &[]),
        (vec![RevokedWhat::Name { name: name(4), issuer: None }], &[4, 5]),
        (vec![RevokedWhat::Name { name: name(4), issuer: Some(issuer()) }], &[4]),
        (
            vec![
                by_certificate(1),
                RevokedWhat::Name { name: name(4), issuer: Some(issuer()) },
                RevokedWhat::Serial { issuer: issuer(), serial: serial(1) },
                RevokedWhat::Name { name: name(3), issuer: None },
                by_certificate(0),
            ],
            &[0, 1, 3, 4],
        ),
        // More than are looked up at once.
        (
            (0..1_000).map(|number| RevokedWhat::Name { name: name(number), issuer: None }).collect(),
            &[0, 1, 2, 3, 4, 5],
        ),
    ];
    for (revoked, expected) in cases {
        let found = reader.devices_refused_by(&a.id, &revoked, 100).await.expect("read");
        assert_eq!(found, expected.iter().map(|number| device_id(*number)).collect::<Vec<_>>());
        let some = reader.devices_refused_by(&a.id, &revoked, 1).await.expect("read");
        assert_eq!(some, found[..found.len().min(1)]);
    }
}

async fn all_goes_with_the_deployment_and_nothing_is_recorded_for_one_that_is_gone(world: World) {
    let (a, b, at) =
        (world.deployment("a").await.reference(), world.deployment("b").await.reference(), now(&world).await);
    let one = path(1, 1, at.after(DAY));
    let batch = DeviceBatch {
        devices: vec![sighting(&a, 1, &one, at), sighting(&b, 1, &one, at)],
        offers: vec![offer_hour(&a, 1, &[29], 5), offer_hour(&b, at.day(), &[29], 5)],
        hosts: [&a, &b]
            .map(|id| HostSighting { deployment: id.clone(), host: "mqtt.example.com".into(), at })
            .to_vec(),
    };
    world.store.record_devices(&batch).await.expect("recorded");
    let mut tx = world.begin().await;
    tx.remove_deployment(&a.id).await.expect("removed");
    tx.commit().await.expect("committed");
    world.store.record_devices(&batch).await.expect("what is left");
    let left = "SELECT CAST((SELECT count(*) FROM device WHERE deployment = 'a')
        + (SELECT count(*) FROM issuer_path WHERE deployment = 'a')
        + (SELECT count(*) FROM device_total WHERE deployment = 'a')
        + (SELECT count(*) FROM offer_day WHERE deployment = 'a')
        + (SELECT count(*) FROM host_use WHERE deployment = 'a') AS TEXT)";
    assert_eq!(world.asked(left).await, "0");
    assert_eq!(devices(&world, &b).await.len(), 1);
    assert_eq!(world.store.read().offer_days(&b.id, 0).await.expect("read")[0].hours, 2);
    world.store.record_devices(&DeviceBatch::default()).await.expect("nothing to record");
}

/// Perhaps of another project.
async fn nothing_is_recorded_for_a_later_deployment_of_the_same_id(world: World) {
    let (before, at) = (world.deployment("a").await.reference(), now(&world).await);
    let mut tx = world.begin().await;
    tx.remove_deployment(&before.id).await.expect("removed");
    tx.commit().await.expect("committed");
    let later = world.deployment("a").await.reference();
    let one = path(1, 1, at.after(DAY));
    let batch = |of: &[&DeploymentRef]| DeviceBatch {
        devices: of.iter().zip(1..).map(|(of, number)| sighting(of, number, &one, at)).collect(),
        offers: of.iter().map(|of| offer_hour(of, at.day(), &[29], 5)).collect(),
        hosts: of
            .iter()
            .map(|of| HostSighting { deployment: (*of).clone(), host: "mqtt.example.com".into(), at })
            .collect(),
    };
    world.store.record_devices(&batch(&[&before])).await.expect("left out");
    let reader = world.store.read();
    assert_eq!(devices(&world, &later).await, []);
    assert_eq!(reader.offer_days(&later.id, 0).await.expect("read"), []);
    assert_eq!(reader.hosts_in_use(&later.id).await.expect("read"), []);
    assert_eq!(total(&world, &later).await, DeviceTotal::default());
    // Beside those of the present one.
    world.store.record_devices(&batch(&[&before, &later])).await.expect("recorded");
    let listed: Vec<_> = devices(&world, &later).await.iter().map(|device| device.id).collect();
    assert_eq!(listed, [device_id(2)]);
    assert_eq!(reader.offer_days(&later.id, 0).await.expect("read")[0].hours, 1);
}

/// More than a transaction takes.
async fn a_batch_of_many_deployments_is_recorded(world: World) {
    let at = now(&world).await;
    let one = path(1, 1, at.after(DAY));
    let mut of = Vec::new();
    for number in 0..120 {
        of.push(world.deployment(&format!("d{number}")).await.reference());
    }
    record_devices(&world, of.iter().map(|of| sighting(of, 1, &one, at)).collect()).await;
    for of in &of {
        assert_eq!(total(&world, of).await.known, 1, "{of:?}");
    }
}

/// Beside pruning, deletion and forgetting: none of them fails, and the count is right.
async fn many_nodes_record_at_once(world: World) {
    let (a, b, at) =
        (world.deployment("a").await.reference(), world.deployment("b").await.reference(), now(&world).await);
    let c = world.deployment("c").await.reference();
    let one = path(1, 1, at.after(DAY));
    let mut tasks = Vec::new();
    for node in 0..6_u32 {
        let (store, ids, one) = (world.store.clone(), [a.clone(), b.clone(), c.clone()], Arc::clone(&one));
        tasks.push(tokio::spawn(async move {
            for round in 0..4_u32 {
                let numbers = (0..200).map(|number| (number * 7 + node * 50 + round) % 400);
                let devices = numbers.collect::<BTreeSet<_>>().into_iter().flat_map(|number| {
                    let at = if number % 5 == 0 { at.before(91 * DAY) } else { at };
                    ids.each_ref().map(|of| sighting(of, number, &one, at.after(HOUR * round)))
                });
                let devices = devices.collect();
                let batch = DeviceBatch { devices, ..DeviceBatch::default() };
                store.record_devices(&batch).await.expect("recorded");
                if node % 2 == 0 {
                    store.prune(HOUR).await.expect("pruned");
                }
                let mut tx = store.begin().await.expect("a transaction");
                tx.forget_device(&ids[1].id, device_id(node * 11)).await.expect("answered");
                tx.commit().await.expect("committed");
            }
        }));
    }
    let mut tx = world.begin().await;
    tx.deployment(&c.id).await.expect("locked");
    tx.remove_deployment(&c.id).await.expect("removed");
    tx.commit().await.expect("committed");
    for task in tasks {
        task.await.expect("no panic");
    }
    for deployment in [&a, &b] {
        let listed = devices(&world, deployment).await.len();
        assert!(listed > 100, "{listed}");
        assert_eq!(total(&world, deployment).await, DeviceTotal { known: listed as u64, over: 0 });
    }
    assert_eq!(devices(&world, &c).await, []);
}

/// Prints what the bound of a deployment costs; no assertion on time.
#[test]
#[ignore = "takes a minute: scripts/soak"]
fn as_many_devices_as_a_deployment_may_have() {
    let _server = certward_test_support::PostgresServer::shared();
    for engine in ["SQLite", "PostgreSQL"] {
        crate::block_on(async {
            let world = if engine == "SQLite" { World::sqlite().await } else { World::postgres().await };
            fill_to_the_bound(&world, engine).await;
        });
    }
}

#[allow(clippy::print_stdout, reason = "what it measures is for people")]
async fn fill_to_the_bound(world: &World, engine: &str) {
    const PATHS: u32 = 20;
    const BYTES_A_DEVICE_MAX: u64 = 1_024;
    let (a, at) = (world.deployment("a").await.reference(), now(world).await);
    let paths: Vec<_> =
        (0..PATHS).map(|path_number| path(path_number as u16, path_number, at.after(DAY))).collect();
    let before = stored_bytes(world).await;
    let count = DEVICES_MAX as u32;
    timed(engine, "recorded", async {
        for first in (0..count).step_by(10_000) {
            let devices = (first..first + 10_000).map(|number| like_real(&a, number, &paths, at)).collect();
            record_devices(world, devices).await;
        }
    })
    .await;
    let bytes = (stored_bytes(world).await - before) / DEVICES_MAX;
    println!("{engine}: {bytes} bytes a device");
    assert!(bytes < BYTES_A_DEVICE_MAX, "{bytes} bytes a device");
    let again = (0..10_000).map(|number| like_real(&a, number, &paths, at.after(HOUR))).collect();
    timed(engine, "10,000 of them seen again", record_devices(world, again)).await;
    let reader = world.store.read();
    let known = timed(engine, "paths counted", reader.known_paths(&a.id, at)).await.expect("read");
    assert_eq!(known.len(), PATHS as usize);
    assert_eq!(known.iter().map(|known| known.devices).sum::<u64>(), DEVICES_MAX);
    let of_path = reader.devices_of_path(&a.id, paths[3].id, at, 20);
    assert_eq!(timed(engine, "20 of a path", of_path).await.expect("read").len(), 20);
    let page = reader.devices(&a.id, Some(device_id(u32::MAX / 2)), 1_000);
    assert_eq!(timed(engine, "a page of 1,000", page).await.expect("read").len(), 1_000);
    timed(engine, "removed with the deployment", async {
        let mut tx = world.begin().await;
        tx.remove_deployment(&a.id).await.expect("removed");
        tx.commit().await.expect("committed");
    })
    .await;
    assert_eq!(devices(world, &a).await, []);
}

/// With ids in no order, and texts of usual lengths.
fn like_real(
    deployment: &DeploymentRef,
    number: u32,
    paths: &[Arc<IssuerPath>],
    at: Timestamp,
) -> DeviceSighting {
    let path = &paths[number as usize % paths.len()];
    let plain = sighting(deployment, number, path, at);
    let device = DeviceCertificate {
        // Odd: a permutation.
        id: device_id(number.wrapping_mul(0x9e37_79b1)),
        name: format!("CN=meter-{number:08},OU=North,O=Example Utilities").into(),
        issuer: format!("CN=Example Device CA {},O=Example Utilities,C=DE", path.id).into(),
        serial: format!("{number:08x}").repeat(4).into(),
        ..(*plain.device).clone()
    };
    DeviceSighting { device: Arc::new(device), ..plain }
}

#[allow(clippy::print_stdout, reason = "what it measures is for people")]
async fn timed<T>(engine: &str, what: &str, work: impl Future<Output = T>) -> T {
    let begin = std::time::Instant::now();
    let done = work.await;
    println!("{engine}: {what} in {:?}", begin.elapsed());
    done
}

async fn stored_bytes(world: &World) -> u64 {
    let sql = match world.is_postgres() {
        true => "SELECT pg_database_size(current_database())::text",
        false => {
            "SELECT CAST((SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size) AS TEXT)"
        }
    };
    world.asked(sql).await.parse().expect("a number")
}
