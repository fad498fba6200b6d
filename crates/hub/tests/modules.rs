//! Modules in the registry (service-rest.md 4).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::sync::{Arc, Mutex};

use doubles::modules::{module, module_id};
use doubles::{NOW_SECS, World, device, id, put};
use futures_util::future::{join, join_all};
use hub::BoxFuture;
use hub::clock::{Clock as _, Timestamp};
use hub::error::{Code, Error};
use hub::identity::{
    Authentication, Change, Companion, IfMatch, Live, Module, ModuleDraft, ModuleJson, Registry, Wanted, find,
};
use hub::limits::Limit;
use hub::store::{Collection, Expect, Key, Range, Store, StoreError, Write};
use hub::tenancy::HubName;

const EDGE: &str = r#"{"capabilities":{"iotEdge":true}}"#;

async fn world() -> World {
    let world = World::new().await;
    put(&world, "d", "{}", IfMatch::Absent).await;
    world.bus.take();
    world
}

fn json(module: &Module, live: &Live) -> String {
    serde_json::to_string(&ModuleJson::new(module, live)).unwrap()
}

fn primary(module: &Module) -> String {
    match &module.authentication {
        Authentication::Sas { primary, .. } => primary.expose().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn code<T>(result: Result<T, Error>) -> Code {
    result.err().unwrap().code()
}

fn hub() -> HubName {
    HubName::parse("hub1").unwrap()
}

async fn stored_modules(store: &dyn Store) -> usize {
    let range = Range {
        collection: Collection::Modules,
        hub: hub(),
        prefix: String::new(),
        after: None,
        limit: 1_000,
    };
    store.scan(&range).await.unwrap().len()
}

#[tokio::test]
async fn a_new_module_has_keys_and_reads_as_recorded() {
    let world = world().await;
    let created = world.put_module("d", "m", "{}", IfMatch::Absent).await.unwrap();
    let Authentication::Sas { primary, secondary } = &created.authentication else {
        panic!("{created:?}");
    };
    assert_eq!((primary.expose().len(), secondary.expose().len()), (44, 44));
    let expected = format!(
        r#"{{"moduleId":"m","managedBy":null,"deviceId":"d","generationId":"{}","etag":"{}","connectionState":"Disconnected","connectionStateUpdatedTime":"0001-01-01T00:00:00Z","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,"authentication":{{"symmetricKey":{{"primaryKey":"{}","secondaryKey":"{}"}},"x509Thumbprint":{{"primaryThumbprint":null,"secondaryThumbprint":null}},"type":"sas"}}}}"#,
        created.generation,
        created.etag,
        primary.expose(),
        secondary.expose(),
    );
    assert_eq!(json(&created, &Live::default()), expected);
    assert!(created.generation.as_ticks() > Timestamp::from_secs(NOW_SECS).as_ticks());
    let read = world.get_module("d", "m").await.unwrap();
    assert_eq!(json(&read, &Live::default()), expected);
    let live = Live {
        connected: true,
        commands: 3,
        ..Live::default()
    };
    let connected = json(&read, &live);
    assert!(connected.contains(r#""connectionState":"Connected""#));
    assert!(connected.contains(r#""cloudToDeviceMessageCount":3"#));
}

#[tokio::test]
async fn put_without_if_match_creates_and_with_it_updates() {
    let world = world().await;
    let put = async |if_match: Option<&str>| world.put_module("d", "m", "{}", IfMatch::parse(if_match)).await;
    let missing = put(Some("\"*\"")).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::ModuleNotFound, "d/m"));
    let managed = r#"{"managedBy":"somebody"}"#;
    let first = world
        .put_module("d", "m", managed, IfMatch::parse(Some("\"\"")))
        .await;
    let first = first.unwrap();
    assert_eq!(first.managed_by.as_deref(), Some("somebody"));
    assert_eq!(code(put(None).await), Code::ModuleAlreadyExistsOnDevice);
    let second = put(Some("*")).await.unwrap();
    assert_eq!(second.etag, first.etag.next());
    assert_eq!(second.generation, first.generation);
    assert_eq!(second.managed_by, None, "omitted managedBy clears it");
    assert_eq!(first.authentication_updated, Timestamp::NEVER);
    assert_eq!(second.authentication_updated, world.clock.now());
    assert_ne!(
        primary(&first),
        primary(&second),
        "omitted authentication draws new keys"
    );
    let stale = put(Some(&first.etag.quoted())).await.unwrap_err();
    assert_eq!(stale.code(), Code::PreconditionFailed);
    assert!(put(Some(&second.etag.quoted())).await.is_ok());
}

#[tokio::test]
async fn a_module_leaves_the_document_of_its_device_as_it_is() {
    let world = world().await;
    let before = world.registry.get(&world.operator(), &id("d")).await.unwrap();
    world.put_module("d", "m", "{}", IfMatch::Absent).await.unwrap();
    world.delete_module("d", "m", Some("*")).await.unwrap();
    let after = world.registry.get(&world.operator(), &id("d")).await.unwrap();
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    let statistics = world.registry.statistics(&world.operator()).await.unwrap();
    assert_eq!(statistics.total_device_count, 1, "modules are not counted");
}

#[tokio::test]
async fn bodies_are_checked() {
    let world = world().await;
    let long = format!(r#"{{"managedBy":"{}"}}"#, "x".repeat(129));
    let read = |body: &str| ModuleDraft::from_json(body.as_bytes(), &id("d"), &module_id("m"), &world.limits);
    for (body, code) in [
        ("", Code::DeserializationError),
        (
            r#"{"authentication":{"symmetricKey":"SECRETKEY"}}"#,
            Code::DeserializationError,
        ),
        (r#"{"deviceId":"x"}"#, Code::ArgumentInvalid),
        (r#"{"moduleId":"x"}"#, Code::ArgumentInvalid),
        (
            r#"{"authentication":{"symmetricKey":{"primaryKey":"SECRETKEY","secondaryKey":"SECRETKEY"}}}"#,
            Code::ArgumentInvalid,
        ),
        (&long, Code::ArgumentInvalid),
    ] {
        let error = read(body).unwrap_err();
        assert_eq!(error.code(), code, "{body}");
        assert!(!format!("{error:?}").contains("SECRETKEY"), "{error:?}");
    }
    let whole =
        r#"{"moduleId":"m","deviceId":"d","etag":"x","connectionState":"Connected","status":"disabled"}"#;
    assert!(read(whole).is_ok(), "clients send whole documents back");
    let none = read(r#"{"authentication":{"type":"None"}}"#).unwrap();
    assert!(
        matches!(none.authentication, Wanted::NewKeys),
        "none silently means sas"
    );
    let certificate = read(r#"{"authentication":{"type":"certificateAuthority"}}"#).unwrap();
    assert!(matches!(
        certificate.authentication,
        Wanted::Given(Authentication::CertificateAuthority)
    ));
    world.limits.set(Limit::RegistryBodyBytesMax, 1);
    assert_eq!(code(read("{}")), Code::GenericRequestEntityTooLarge);
}

#[tokio::test]
async fn deleting_asks_for_an_etag_and_a_new_module_is_another_one() {
    let world = world().await;
    let first = world.put_module("d", "m", "{}", IfMatch::Absent).await.unwrap();
    let missing = world.delete_module("d", "m", None).await.unwrap_err();
    assert_eq!(
        (missing.code(), missing.message()),
        (Code::PreconditionFailed, "Etag missing")
    );
    let stale = first.etag.next().quoted();
    assert_eq!(
        code(world.delete_module("d", "m", Some(&stale)).await),
        Code::PreconditionFailed
    );
    world
        .delete_module("d", "m", Some(&first.etag.quoted()))
        .await
        .unwrap();
    assert_eq!(
        code(world.delete_module("d", "m", Some("*")).await),
        Code::ModuleNotFound
    );
    assert_eq!(code(world.get_module("d", "m").await), Code::ModuleNotFound);
    let second = world.put_module("d", "m", "{}", IfMatch::Absent).await.unwrap();
    assert!(second.generation > first.generation);
}

#[tokio::test]
async fn a_missing_device_is_named_as_such() {
    let world = world().await;
    for result in [
        world.put_module("x", "m", "{}", IfMatch::Absent).await.err(),
        world.put_module("x", "m", "{}", IfMatch::Any).await.err(),
        world.get_module("x", "m").await.err(),
        world.delete_module("x", "m", Some("*")).await.err(),
        world.registry.list_modules(&world.caller(), &id("x")).await.err(),
    ] {
        let error = result.unwrap();
        assert_eq!((error.code(), error.message()), (Code::DeviceNotFound, "x"));
    }
}

#[tokio::test]
async fn lists_hold_the_modules_of_one_device() {
    let world = world().await;
    put(&world, "d1", "{}", IfMatch::Absent).await;
    assert!(world.modules("d").await.is_empty());
    world.limits.set(Limit::ModulesPerDeviceMax, 1_000);
    for number in 0..101 {
        let name = format!("m{number:03}");
        world.put_module("d", &name, "{}", IfMatch::Absent).await.unwrap();
    }
    world.put_module("d1", "m", "{}", IfMatch::Absent).await.unwrap();
    let names = world.modules("d").await;
    assert_eq!((names.len(), names[100].as_str()), (101, "m100"));
    assert_eq!(world.modules("d1").await, ["m"]);
}

#[tokio::test]
async fn sixty_creations_at_once_end_with_exactly_fifty() {
    let world = world().await;
    let registry = world.polite_registry();
    let (writer, draft) = (world.caller(), ModuleDraft::default());
    let names: Vec<_> = (0..60).map(|number| module_id(&format!("m{number}"))).collect();
    let d = id("d");
    let creations = names
        .iter()
        .map(|name| registry.put_module(&writer, &d, name, &draft, IfMatch::Absent));
    let outcomes = join_all(creations).await;
    let refused: Vec<Code> = outcomes
        .into_iter()
        .filter_map(Result::err)
        .map(|error| error.code())
        .collect();
    assert_eq!(refused, [Code::TooManyModulesOnDevice; 10]);
    assert_eq!(world.modules("d").await.len(), 50);
    world.delete_module("d", "m0", Some("*")).await.ok();
    world.delete_module("d", "m1", Some("*")).await.ok();
    assert!(
        world
            .put_module("d", "again", "{}", IfMatch::Absent)
            .await
            .is_ok()
    );
}

/// Whichever is first by whatever number of steps: no module is left without its device.
#[tokio::test]
async fn a_creation_against_the_deletion_of_its_device() {
    let (mut created, mut refused) = (0, 0);
    for head_start in 0..24_u32 {
        let world = world().await;
        world.put_module("d", "old", "{}", IfMatch::Absent).await.unwrap();
        let registry = world.polite_registry();
        let (writer, draft, d, m) = (world.caller(), ModuleDraft::default(), id("d"), module_id("new"));
        let creation = async {
            for _ in head_start..12 {
                tokio::task::yield_now().await;
            }
            registry
                .put_module(&writer, &d, &m, &draft, IfMatch::Absent)
                .await
        };
        let deletion = async {
            for _ in 12..head_start {
                tokio::task::yield_now().await;
            }
            registry.delete(&world.operator(), &d, &IfMatch::Any).await
        };
        let (creation, deletion) = join(creation, deletion).await;
        deletion.unwrap();
        match creation {
            Ok(_) => created += 1,
            Err(error) => {
                assert_eq!(error.code(), Code::DeviceNotFound);
                refused += 1;
            }
        }
        assert_eq!(stored_modules(&*world.store).await, 0, "head start {head_start}");
    }
    assert!(created > 0 && refused > 0, "{created} {refused}");
}

#[tokio::test]
async fn an_update_does_not_bring_a_deleted_module_back() {
    let world = world().await;
    world.put_module("d", "m", "{}", IfMatch::Absent).await.unwrap();
    let key = Key::new(Collection::Modules, &hub(), "d/m");
    world.store.race(move |store| {
        drop(store.apply(vec![Write::Delete {
            key,
            expect: Expect::Present,
        }]));
    });
    let lost = world.put_module("d", "m", "{}", IfMatch::Any).await;
    assert_eq!(code(lost), Code::ModuleNotFound);
}

#[tokio::test]
async fn the_edge_runtimes_modules_come_and_go_with_the_edge_device() {
    let world = world().await;
    put(&world, "e", EDGE, IfMatch::Absent).await;
    assert_eq!(world.modules("e").await, ["$edgeAgent", "$edgeHub"]);
    let agent = world.get_module("e", "$edgeAgent").await.unwrap();
    let text = json(&agent, &Live::default());
    assert!(
        text.starts_with(r#"{"moduleId":"$edgeAgent","managedBy":"iotEdge","deviceId":"e","#),
        "{text}"
    );
    assert!(
        text.ends_with(r#""authentication":{"symmetricKey":{"primaryKey":null,"secondaryKey":null},"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"none"}}"#),
        "{text}"
    );
    // The other modules stay when it becomes a leaf, and an update that changes nothing makes none.
    world.put_module("e", "m", "{}", IfMatch::Absent).await.unwrap();
    put(&world, "e", "{}", IfMatch::Any).await;
    assert_eq!(world.modules("e").await, ["m"]);
    put(&world, "e", EDGE, IfMatch::Any).await;
    let again = world.get_module("e", "$edgeAgent").await.unwrap();
    assert!(again.generation > agent.generation);
    let scope = r#"{"capabilities":{"iotEdge":true},"deviceScope":"ms-azure-iot-edge://e-"}"#;
    put(&world, "e", scope, IfMatch::Any).await;
    let same = world.get_module("e", "$edgeAgent").await.unwrap();
    assert_eq!((same.generation, same.etag), (again.generation, again.etag));
    assert_eq!(world.modules("e").await, ["$edgeAgent", "$edgeHub", "m"]);
}

#[tokio::test]
async fn the_edge_runtimes_modules_are_not_counted() {
    let world = World::new().await;
    world.limits.set(Limit::ModulesPerDeviceMax, 1);
    put(&world, "e", EDGE, IfMatch::Absent).await;
    world.put_module("e", "m", "{}", IfMatch::Absent).await.unwrap();
    let second = world.put_module("e", "n", "{}", IfMatch::Absent).await;
    assert_eq!(code(second), Code::TooManyModulesOnDevice);
    assert_eq!(world.limits.hits(Limit::ModulesPerDeviceMax), 1);
}

#[tokio::test]
async fn ids_of_the_edge_runtime_are_not_for_service_clients() {
    let world = World::new().await;
    put(&world, "e", EDGE, IfMatch::Absent).await;
    for (name, if_match, expected) in [
        ("$edgeAgent", IfMatch::Absent, Code::ArgumentInvalid),
        (
            "$edgeAgent",
            IfMatch::Any,
            Code::SystemModuleModifyUnauthorizedAccess,
        ),
        ("$other", IfMatch::Absent, Code::ArgumentInvalid),
        ("$other", IfMatch::Any, Code::ModuleNotFound),
    ] {
        let result = world.put_module("e", name, "{}", if_match).await;
        assert_eq!(code(result), expected, "{name}");
    }
    assert_eq!(
        code(world.delete_module("e", "$edgeHub", Some("*")).await),
        Code::SystemModuleModifyUnauthorizedAccess
    );
    assert_eq!(
        code(world.delete_module("e", "$other", Some("*")).await),
        Code::ModuleNotFound
    );
}

#[tokio::test]
async fn only_writes_that_can_end_a_connection_ask_to_check_again() {
    let world = world().await;
    let module = world.put_module("d", "m", "{}", IfMatch::Absent).await.unwrap();
    assert_eq!(world.bus.take(), ["d/m"], "a namesake's connection may linger");
    let same = json(&module, &Live::default());
    let managed = same.replace("\"managedBy\":null", "\"managedBy\":\"x\"");
    world.put_module("d", "m", &managed, IfMatch::Any).await.unwrap();
    assert_eq!(world.bus.take(), Vec::<String>::new());
    world.put_module("d", "m", "{}", IfMatch::Any).await.unwrap();
    assert_eq!(world.bus.take(), ["d/m"], "new keys");
    // What befalls the device befalls its modules; its keys are its own affair.
    put(&world, "d", "{}", IfMatch::Any).await;
    assert_eq!(world.bus.take(), ["d"]);
    put(&world, "d", r#"{"status":"disabled"}"#, IfMatch::Any).await;
    let mut told = world.bus.take();
    told.sort();
    assert_eq!(told, ["d", "d/m"]);
    put(&world, "d", r#"{"status":"disabled"}"#, IfMatch::Any).await;
    assert_eq!(world.bus.take(), ["d"]);
    world.delete_module("d", "m", Some("*")).await.unwrap();
    assert_eq!(world.bus.take(), ["d/m"]);
    world.put_module("d", "m", "{}", IfMatch::Absent).await.unwrap();
    world.bus.take();
    world
        .registry
        .delete(&world.operator(), &id("d"), &IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(world.bus.take(), ["d/m", "d"]);
}

/// Notes what became durable, and keeps a document beside each identity.
#[derive(Default)]
struct Shadow(Mutex<Vec<String>>);

impl Companion for Shadow {
    fn writes<'a>(
        &'a self,
        hub: &'a HubName,
        change: Change<'a>,
    ) -> BoxFuture<'a, Result<Vec<Write>, StoreError>> {
        let key = Key::new(Collection::Twins, hub, change.identity().id().to_string());
        let write = match change {
            Change::Created { .. } => Some(Write::Put {
                key,
                body: "{}".into(),
                expect: Expect::Absent,
            }),
            Change::Updated { .. } => None,
            Change::Deleted { .. } => Some(Write::Delete {
                key,
                expect: Expect::Present,
            }),
        };
        Box::pin(async move { Ok(write.into_iter().collect()) })
    }

    fn done(&self, _: &HubName, change: Change<'_>) {
        let word = match change {
            Change::Created { .. } => "created",
            Change::Updated { .. } => "updated",
            Change::Deleted { .. } => "deleted",
        };
        let line = format!("{word} {}", change.identity().id());
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test]
async fn companions_hear_of_each_module_and_last_of_the_device() {
    let mut world = World::new().await;
    let shadow = Arc::new(Shadow::default());
    let entropy = Arc::new(doubles::CountingEntropy::default());
    world.registry = Registry::new(
        world.store.clone(),
        world.vault.clone(),
        world.bus.clone(),
        world.clock.clone(),
        entropy,
        world.limits.clone(),
    )
    .with_companion(shadow.clone());
    let told = || std::mem::take(&mut *shadow.0.lock().unwrap());
    let before = world.store.len();
    put(&world, "e", EDGE, IfMatch::Absent).await;
    assert_eq!(
        told(),
        ["created e", "created e/$edgeAgent", "created e/$edgeHub"]
    );
    world.put_module("e", "m", "{}", IfMatch::Absent).await.unwrap();
    world.put_module("e", "m", "{}", IfMatch::Any).await.unwrap();
    assert_eq!(told(), ["created e/m", "updated e/m"]);
    put(&world, "e", "{}", IfMatch::Any).await;
    assert_eq!(
        told(),
        ["updated e", "deleted e/$edgeAgent", "deleted e/$edgeHub"]
    );
    world.put_module("e", "n", "{}", IfMatch::Absent).await.unwrap();
    world.delete_module("e", "n", Some("*")).await.unwrap();
    assert_eq!(told(), ["created e/n", "deleted e/n"]);
    let all = world
        .registry
        .delete(&world.operator(), &id("e"), &IfMatch::Any)
        .await;
    all.unwrap();
    assert_eq!(told(), ["deleted e/m", "deleted e"]);
    assert_eq!(world.store.len(), before);
}

#[tokio::test]
async fn find_gives_the_module_its_device_and_its_own_version() {
    let world = world().await;
    let created = world.put_module("d", "m", "{}", IfMatch::Absent).await.unwrap();
    let of_module = find(&*world.store, &hub(), &module("d", "m"))
        .await
        .unwrap()
        .unwrap();
    let of_device = find(&*world.store, &hub(), &device("d")).await.unwrap().unwrap();
    assert_eq!(of_module.identity().id(), module("d", "m"));
    assert_eq!(of_module.identity().generation(), created.generation);
    assert_eq!(of_module.device.id, id("d"));
    assert_eq!(&*of_module.key.id, "d/m");
    let document = world.store.get(&of_module.key).await.unwrap().unwrap();
    assert_eq!(of_module.version, document.version);
    assert!(of_device.module.is_none());
    for unknown in [module("d", "x"), module("x", "m"), device("x")] {
        assert!(find(&*world.store, &hub(), &unknown).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_damaged_record_is_reported_and_not_served() {
    let world = world().await;
    let put = Write::Put {
        key: Key::new(Collection::Modules, &hub(), "d/m"),
        body: "{\"v\":9}".into(),
        expect: Expect::Any,
    };
    world.store.apply(vec![put]).await.unwrap();
    let error = world.get_module("d", "m").await.unwrap_err();
    assert_eq!(error.code(), Code::ServerError);
    assert!(error.detail().unwrap().contains("'d/m'"));
    assert!(
        world
            .registry
            .list_modules(&world.caller(), &id("d"))
            .await
            .is_err()
    );
}
