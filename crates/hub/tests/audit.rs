//! The audit trail: what is told, in which order, and what a check finds (docs/formats/audit.md).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::sync::Arc;
use std::time::Duration;

use doubles::modules::module_id;
use doubles::{HOST, PRIMARY, SECONDARY, World, id, in_an_hour, key, put, sas_body};
use hub::access::{Authorized, Caller, Credential, Provenance, operation, sas};
use hub::audit::{Checker, Filter, Line, Trail};
use hub::clock::Clock;
use hub::description::Descriptions;
use hub::entropy::SystemEntropy;
use hub::identity::{BulkRequest, IfMatch};
use hub::limits::Limit;
use hub::secret::MasterKey;
use hub::secret::ledger::{self, Rotator};
use hub::store::{Collection, Expect, Store, StoreError, Write, chain};
use hub::tenancy::HubName;
use serde_json::Value;

fn hub() -> HubName {
    HubName::parse("hub1").unwrap()
}

fn trail(world: &World) -> Trail {
    Trail::new(world.store.clone(), world.clock.clone(), world.limits.clone())
}

fn owner(world: &World) -> Authorized<operation::Management> {
    world.gate.authorize_operator()
}

async fn entries(world: &World, filter: &Filter) -> Vec<Value> {
    let page = trail(world)
        .page(&owner(world), filter, None, 1_000)
        .await
        .unwrap();
    let mut entries: Vec<Value> = page
        .lines
        .iter()
        .map(|line| serde_json::from_str(line.entry()).unwrap())
        .collect();
    entries.reverse();
    entries
}

async fn told(world: &World) -> Vec<String> {
    let entries = entries(world, &Filter::default()).await;
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    entries
        .iter()
        .map(|entry| {
            let details: Vec<&str> = entry["details"]
                .as_array()
                .map(|details| details.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            format!(
                "{} {} {} [{}]",
                text(entry, "actor"),
                text(entry, "operation"),
                text(entry, "subject"),
                details.join(", ")
            )
        })
        .collect()
}

#[tokio::test]
async fn every_change_of_an_identity_is_told_with_what_changed() {
    let world = World::new().await;
    put(&world, "d1", &sas_body("enabled"), IfMatch::Absent).await;
    put(&world, "d1", &sas_body("disabled"), IfMatch::Any).await;
    let other = sas_body("disabled").replace(PRIMARY, SECONDARY);
    put(&world, "d1", &other, IfMatch::Any).await;
    let ca = r#"{"status":"enabled","statusReason":"x","authentication":{"type":"certificateAuthority"}}"#;
    put(&world, "d1", ca, IfMatch::Any).await;
    world
        .registry
        .delete(&world.operator(), &id("d1"), &IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(
        told(&world).await,
        [
            "operator device.create device:d1 [credentials sas]",
            "operator device.update device:d1 [status enabled -> disabled]",
            "operator device.update device:d1 [primary key]",
            "operator device.update device:d1 [credentials sas -> certificateAuthority, status disabled -> enabled, status reason]",
            "operator device.delete device:d1 []",
        ]
    );
}

#[tokio::test]
async fn who_called_and_from_where_is_told() {
    let world = World::new().await;
    let from = Provenance {
        peer: "[2001:db8::1]:50000".parse().unwrap(),
        protocol: "https",
        tracking_id: "0123".into(),
    };
    let from = Arc::new(from);
    let write = world.operator().coming_from(from.clone());
    let draft = world.draft(&sas_body("enabled"), "d1");
    world
        .registry
        .put(&write, &id("d1"), &draft, IfMatch::Absent)
        .await
        .unwrap();
    let read = world.operator().coming_from(from);
    world.registry.get(&read, &id("d1")).await.unwrap();
    for entry in entries(&world, &Filter::default()).await {
        assert_eq!(entry["from"], "[2001:db8::1]:50000");
        assert_eq!(entry["protocol"], "https");
        assert_eq!(entry["trackingId"], "0123");
        assert_eq!(entry["outcome"], "done");
        assert_eq!(entry["time"], world.clock.now().to_string());
    }
}

#[tokio::test]
async fn keys_do_not_go_out_untold() {
    let world = World::new().await;
    put(&world, "d1", &sas_body("enabled"), IfMatch::Absent).await;
    put(
        &world,
        "d2",
        r#"{"authentication":{"type":"certificateAuthority"}}"#,
        IfMatch::Absent,
    )
    .await;
    put(&world, "d3", &sas_body("enabled"), IfMatch::Absent).await;
    let before = told(&world).await.len();
    world.registry.get(&world.operator(), &id("d2")).await.unwrap();
    assert_eq!(
        told(&world).await.len(),
        before,
        "a device without keys has nothing to tell of"
    );
    world.registry.get(&world.operator(), &id("d1")).await.unwrap();
    world.registry.list(&world.operator(), None).await.unwrap();
    assert_eq!(
        told(&world).await[before..],
        [
            "operator device.keys.read device:d1 []",
            "operator devices.keys.read hub:hub1 [2 devices, d1 to d3]",
        ]
    );
    // The document can be read, the entry cannot be written.
    let writing_fails = world.store.clone();
    world
        .store
        .race(move |_| writing_fails.fail(Some(StoreError::Full("no room".into()))));
    assert!(world.registry.get(&world.operator(), &id("d1")).await.is_err());
}

#[tokio::test]
async fn edge_devices_are_told_of_as_themselves() {
    let world = World::new().await;
    let body = sas_body("enabled").replacen('{', r#"{"capabilities":{"iotEdge":true},"#, 1);
    put(&world, "edge", &body, IfMatch::Absent).await;
    let token = sas::create(&format!("{HOST}/devices/edge"), in_an_hour(), &key(PRIMARY), None);
    let caller = world
        .gate
        .authorize_modules(&Credential::sas(&token), &id("edge"), "devices/edge/modules/m")
        .await
        .unwrap();
    let draft =
        hub::identity::ModuleDraft::from_json(b"{}", &id("edge"), &module_id("m"), &world.limits).unwrap();
    world
        .registry
        .put_module(&caller, &id("edge"), &module_id("m"), &draft, IfMatch::Absent)
        .await
        .unwrap();
    let told = told(&world).await;
    assert_eq!(
        told.last().unwrap(),
        "device:edge module.create module:edge/m [credentials sas]"
    );
    // Of the device and of the two modules that come with it.
    assert_eq!(told.len(), 4, "{told:?}");
}

#[tokio::test]
async fn bulk_tells_of_what_was_applied_and_of_nothing_else() {
    let world = World::new().await;
    let body: Vec<String> = (0..50)
        .map(|n| format!(r#"{{"id":"d{n}","importMode":"create"}}"#))
        .collect();
    for _ in 0..2 {
        let request =
            BulkRequest::from_json(format!("[{}]", body.join(",")).as_bytes(), &world.limits).unwrap();
        world
            .registry
            .bulk(&world.operator(), request, &world.twins)
            .await;
    }
    assert_eq!(told(&world).await.len(), 50);
    let report = trail(&world).check(&owner(&world), None).await.unwrap();
    assert!(report.is_sound, "{report:?}");
    assert_eq!(report.entries, 50);
}

#[tokio::test]
async fn filters_choose_and_pages_follow_each_other() {
    let world = World::new().await;
    for n in 0..30 {
        put(&world, &format!("d{n}"), &sas_body("enabled"), IfMatch::Absent).await;
        world.clock.advance(Duration::from_secs(1));
    }
    world.registry.get(&world.operator(), &id("d7")).await.unwrap();
    let count = async |filter: Filter| entries(&world, &filter).await.len();
    let text = |text: &str| Some(text.to_owned());
    let any = Filter::default;
    assert_eq!(
        count(Filter {
            identity: text("d7"),
            ..any()
        })
        .await,
        2
    );
    assert_eq!(
        count(Filter {
            identity: text("d"),
            ..any()
        })
        .await,
        0
    );
    assert_eq!(
        count(Filter {
            operation: text("device.keys"),
            ..any()
        })
        .await,
        1
    );
    assert_eq!(
        count(Filter {
            operation: text("device"),
            ..any()
        })
        .await,
        31
    );
    assert_eq!(
        count(Filter {
            operation: text("dev"),
            ..any()
        })
        .await,
        0
    );
    assert_eq!(
        count(Filter {
            actor: text("operator"),
            ..any()
        })
        .await,
        31
    );
    assert_eq!(
        count(Filter {
            actor: text("policy:service"),
            ..any()
        })
        .await,
        0
    );
    let from = hub::clock::Timestamp::from_secs(doubles::NOW_SECS + 10);
    let to = from.plus(Duration::from_secs(5));
    assert_eq!(
        count(Filter {
            from: Some(from),
            to: Some(to),
            ..any()
        })
        .await,
        5
    );

    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page = trail(&world)
            .page(&owner(&world), &any(), before, 7)
            .await
            .unwrap();
        seen.extend(page.lines.iter().map(Line::position));
        before = page.before;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=31).rev().collect::<Vec<u64>>());
}

async fn with_entries(count: u64) -> World {
    let world = World::new().await;
    for n in 0..count {
        put(&world, &format!("d{n}"), &sas_body("enabled"), IfMatch::Absent).await;
    }
    world
}

/// What a check says after somebody wrote the store by hand.
async fn after(world: &World, writes: Vec<Write>) -> Vec<String> {
    world.store.apply(writes).await.unwrap();
    trail(world).check(&owner(world), None).await.unwrap().problems
}

#[tokio::test]
async fn what_was_tampered_with_is_found() {
    let key = |position| chain::key(Collection::Audit, &hub(), position);
    let delete = |position| Write::Delete {
        key: key(position),
        expect: Expect::Present,
    };

    let world = with_entries(5).await;
    let stored = world.store.get(&key(3)).await.unwrap().unwrap().body;
    let text = String::from_utf8(stored[32..].to_vec())
        .unwrap()
        .replace("operator", "policy:x");
    let put = Write::Put {
        key: key(3),
        body: [&stored[..32], text.as_bytes()].concat().into(),
        expect: Expect::Present,
    };
    assert_eq!(
        after(&world, vec![put]).await,
        ["entry 3 was changed: entry 4 holds another hash of it"]
    );

    let world = with_entries(5).await;
    assert_eq!(
        after(&world, vec![delete(3)]).await,
        ["entries between 2 and 4 are missing"]
    );

    let world = with_entries(5).await;
    let problems = after(&world, vec![delete(1), delete(2)]).await;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("entries 1 to 2 are missing"), "{problems:?}");

    // The end cannot be told from inside, but from a head that was kept elsewhere.
    let world = with_entries(5).await;
    let head = trail(&world).head(&hub()).await.unwrap().unwrap();
    assert_eq!(head.position, 5);
    assert!(after(&world, vec![delete(5)]).await.is_empty());
    let report = trail(&world).check(&owner(&world), Some(head)).await.unwrap();
    assert_eq!(report.problems, ["entry 5, which was seen earlier, is missing"]);
}

#[tokio::test]
async fn an_export_is_checked_without_the_server() {
    let world = with_entries(3).await;
    let lines = trail(&world).lines(&owner(&world), 0).await.unwrap();
    let exported: Vec<String> = lines
        .iter()
        .map(|(_, line)| serde_json::to_string(line.as_ref().unwrap()).unwrap())
        .collect();
    let check = |lines: &[String]| {
        let mut checker = Checker::default();
        for line in lines {
            match Line::parse(line).and_then(|line| line.stored()) {
                Ok((key, stored)) => checker.entry(&key, &stored),
                Err(error) => checker.problem(error.to_string()),
            }
        }
        checker.finish(true)
    };
    let report = check(&exported);
    assert!(report.is_sound && report.entries == 3, "{report:?}");
    assert_eq!(report.head, trail(&world).head(&hub()).await.unwrap());
    let mut changed = exported.clone();
    changed[1] = changed[1].replace("operator", "policy:x");
    assert!(!check(&changed).is_sound);
    assert!(!check(&[exported[0].clone(), exported[2].clone()]).is_sound);
    assert!(!check(&["{}".to_owned()]).is_sound);
    let whole = exported.join("");
    assert!(!whole.contains(PRIMARY) && !whole.contains(SECONDARY));
}

#[tokio::test]
async fn retention_takes_the_oldest_and_says_so() {
    let world = with_entries(40).await;
    world.limits.set(Limit::AuditEntriesMax, 10);
    let trail = trail(&world);
    trail.sweep(&hub()).await.unwrap();
    let bounds = trail.bounds(&hub()).await.unwrap().unwrap();
    assert_eq!(bounds.last, 41);
    assert!(bounds.last - bounds.first < 20, "{bounds:?}");
    let report = trail.check(&owner(&world), None).await.unwrap();
    assert!(report.is_sound, "{report:?}");
    assert_eq!(report.pruned, Some(bounds.first - 1));

    world.limits.set(Limit::AuditEntriesMax, 1_000);
    world.limits.set(Limit::AuditAgeSecsMax, 3_600);
    world.clock.advance(Duration::from_secs(2 * 86_400));
    put(&world, "new", &sas_body("enabled"), IfMatch::Absent).await;
    trail.sweep(&hub()).await.unwrap();
    let operations = told(&world).await;
    assert_eq!(
        operations,
        [
            "operator device.create device:new [credentials sas]",
            "operator audit.prune audit:41 []"
        ]
    );
    assert!(trail.check(&owner(&world), None).await.unwrap().is_sound);
}

#[tokio::test]
async fn notes_about_the_hub_are_told_of_by_name() {
    let world = World::new().await;
    let clock: Arc<dyn Clock> = world.clock.clone();
    let notes = Descriptions::new(hub(), world.store.clone(), clock, world.limits.clone());
    let tags = |pairs: &[(&str, &str)]| {
        let owned = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect::<std::collections::BTreeMap<_, _>>()
    };
    let write = async |new: &[(&str, &str)], comment: Option<&str>| {
        let before = notes.get().await.unwrap();
        let comment = comment.map(str::to_owned);
        notes.put(&owner(&world), &before, tags(new), comment).await
    };
    write(&[("env", "canary-1"), ("team", "a")], None).await.unwrap();
    write(&[("env", "canary-2"), ("team", "a")], Some("canary-3"))
        .await
        .unwrap();
    // Nothing new, nothing told.
    write(&[("env", "canary-2"), ("team", "a")], Some("canary-3"))
        .await
        .unwrap();
    write(&[("env", "canary-2")], None).await.unwrap();
    let told = told(&world).await;
    assert_eq!(
        told,
        [
            "operator setting.update hub:hub1 [tags env, team]",
            "operator setting.update hub:hub1 [tags env, comment]",
            "operator setting.update hub:hub1 [tags team, comment]",
        ]
    );
    // Either both are written or neither is.
    world.store.fail(Some(StoreError::Full("no room".into())));
    let before = hub::description::Description::default();
    assert!(
        notes
            .put(&owner(&world), &before, tags(&[]), Some("x".to_owned()))
            .await
            .is_err()
    );
    world.store.fail(None);
    assert_eq!(notes.get().await.unwrap().comment, None);
}

#[tokio::test]
async fn another_master_key_is_told_of_in_the_same_commit() {
    let world = World::new().await;
    let caller = Caller::operator();
    let elsewhere = HubName::parse("hub2").unwrap();
    let rotate = async |by: &Rotator<'_>| {
        let next = MasterKey::generate(&SystemEntropy);
        ledger::admit(&*world.store, &world.vault, &hub(), next.id(), by)
            .await
            .unwrap();
        // It is at hand from now on, as the server sees to.
        world.vault.adopt(&next).unwrap();
        next.id()
    };
    let plain = Rotator::new(&caller, world.clock.now());
    let (first, own) = (rotate(&plain).await, hub());
    let (second, third) = (
        rotate(&plain.clone().of_hub(&own)).await,
        rotate(&plain.clone().of_hub(&elsewhere)).await,
    );
    // What is in force already is no change.
    ledger::admit(&*world.store, &world.vault, &hub(), third, &plain)
        .await
        .unwrap();
    assert_eq!(
        told(&world).await,
        [
            format!("operator master-key.rotate hub:hub1 [master key {first}]"),
            format!("operator master-key.rotate hub:hub1 [master key {second}]"),
            format!(
                "operator master-key.rotate hub:hub1 [master key {third}, asked for in hub hub2, which has the same master key]"
            ),
        ]
    );
}
