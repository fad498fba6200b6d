//! Random operations against a model that is simple enough to be seen to be right.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use hub::access::Authenticated;
use hub::error::Code;
use hub::identity::{Draft, IfMatch};
use hub::store::{Collection, Key, Store};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::bench::{Bench, Fault, json as json_of};
use crate::doubles::{device, id};

const NAME: &str = "d1";

/// What a caller knows of the state that it changes.
#[derive(Debug, Clone, Copy)]
enum Knows {
    Nothing,
    Current,
    Stale,
}

#[derive(Debug, Clone)]
enum Step {
    Patch(Option<Value>, Option<Value>, Knows),
    Replace(Option<Value>, Option<Value>, Knows),
    Report(Value, Knows),
    Delete,
    Create,
    /// Somebody writes the identity.
    Rekey,
    /// Just before the next batch another writer moves the identity's document, or the twin's.
    Race(Collection),
    /// The batch of this step fails.
    Fail(Box<Step>),
    /// A connection of an earlier device of the name reports.
    Ghost(Value),
}

#[derive(Debug, Clone, PartialEq)]
struct Model {
    tags: Option<Value>,
    desired: Value,
    reported: Value,
    desired_version: u64,
    reported_version: u64,
    version: u64,
    etag: u64,
}

impl Model {
    fn fresh() -> Self {
        Self {
            tags: None,
            desired: json!({}),
            reported: json!({}),
            desired_version: 1,
            reported_version: 1,
            version: 2,
            etag: 1,
        }
    }
}

/// RFC 7386, section 2, word for word.
fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let members = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            members.shift_remove(name);
        } else {
            merge_patch(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// The world, its model, and what the device and readers must have been told since.
struct Run {
    bench: Bench,
    model: Option<Model>,
    proof: Option<Authenticated>,
    ghosts: Vec<Authenticated>,
    mail: Vec<(u64, Value)>,
    told: Vec<(String, u64)>,
}

impl Run {
    async fn new() -> Self {
        Self {
            bench: Bench::new().await,
            model: None,
            proof: None,
            ghosts: Vec::new(),
            mail: Vec::new(),
            told: Vec::new(),
        }
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Patch(tags, desired, knows) => self.patch(tags.as_ref(), desired.as_ref(), *knows).await,
            Step::Replace(tags, desired, knows) => {
                self.replace(tags.as_ref(), desired.as_ref(), *knows).await;
            }
            Step::Report(patch, knows) => self.report(patch, *knows).await,
            Step::Create => self.create().await,
            Step::Delete => self.delete().await,
            Step::Rekey => {
                let (registry, write) = (&self.bench.registry, &self.bench.world.operator());
                let draft = Draft::default();
                let put = registry.put(write, &id(NAME), &draft, IfMatch::Any).await;
                assert_eq!(put.is_ok(), self.model.is_some());
            }
            Step::Race(collection) => {
                let key = Key::new(*collection, &self.bench.hub(), NAME);
                self.bench.world.store.race(move |store| {
                    if store.get(&key).now_or_never().unwrap().unwrap().is_some() {
                        store.touch(&key);
                    }
                });
            }
            Step::Fail(step) => self.fail(step).await,
            Step::Ghost(patch) => {
                for ghost in &self.ghosts {
                    let report = self.bench.twins.report(ghost, &bytes(patch), None).await;
                    assert_eq!(report.unwrap_err().code(), Code::DeviceNotFound);
                }
            }
        }
        self.check().await;
    }

    async fn patch(&mut self, tags: Option<&Value>, desired: Option<&Value>, knows: Knows) {
        let outcome = self.send(tags, desired, knows, false).await;
        if !self.expect(outcome, knows) {
            return;
        }
        let Some(model) = &mut self.model else { return };
        if tags.is_none() && desired.is_none() {
            return;
        }
        model.version += 1;
        model.etag += 1;
        if let Some(tags) = tags {
            match &mut model.tags {
                None if tags.is_null() => {}
                there => merge_patch(
                    there.get_or_insert_with(|| json!({})),
                    &if tags.is_null() { Value::Null } else { tags.clone() },
                ),
            }
            if model.tags == Some(Value::Null) {
                model.tags = Some(json!({}));
            }
        }
        let version = model.version;
        if let Some(desired) = desired {
            model.desired_version += 1;
            let mut document = match desired {
                Value::Null => {
                    let names = model.desired.as_object().unwrap().keys();
                    names.map(|name| (name.clone(), Value::Null)).collect()
                }
                Value::Object(patch) => patch.clone(),
                other => panic!("{other}"),
            };
            merge_patch(&mut model.desired, &Value::Object(document.clone()));
            document.insert("$version".into(), model.desired_version.into());
            self.mail.push((model.desired_version, Value::Object(document)));
        }
        self.told.push(("updateTwin".into(), version));
    }

    async fn replace(&mut self, tags: Option<&Value>, desired: Option<&Value>, knows: Knows) {
        let outcome = self.send(tags, desired, knows, true).await;
        if !self.expect(outcome, knows) {
            return;
        }
        let Some(model) = &mut self.model else { return };
        let whole = |value: Option<&Value>| {
            let mut target = json!({});
            if let Some(value @ Value::Object(_)) = value {
                merge_patch(&mut target, value);
            }
            target
        };
        model.version += 1;
        model.etag += 1;
        model.desired_version += 1;
        let given = tags.is_some_and(Value::is_object);
        if model.tags.is_some() || given {
            model.tags = Some(whole(tags));
        }
        model.desired = whole(desired);
        let mut document = model.desired.clone();
        document["$version"] = model.desired_version.into();
        self.mail.push((model.desired_version, document));
        self.told.push(("replaceTwin".into(), model.version));
    }

    async fn send(
        &self,
        tags: Option<&Value>,
        desired: Option<&Value>,
        knows: Knows,
        replace: bool,
    ) -> Result<(), Code> {
        let mut body = Map::new();
        if let Some(tags) = tags {
            body.insert("tags".into(), tags.clone());
        }
        if let Some(desired) = desired {
            body.insert(
                "properties".into(),
                json!({ "desired": desired, "reported": {"no": 1} }),
            );
        }
        let body = Value::Object(body).to_string();
        let etag = self.model.as_ref().map_or(1, |model| model.etag);
        let text = |counter: u64| {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(counter.to_be_bytes());
            Some(format!("\"{text}\""))
        };
        let if_match = match knows {
            Knows::Nothing => None,
            Knows::Current => text(etag),
            Knows::Stale => text(etag + 1),
        };
        let twins = &self.bench.twins;
        let service = &self.bench.service();
        let written = if replace {
            twins
                .replace(service, &device(NAME), body.as_bytes(), if_match.as_deref())
                .await
        } else {
            twins
                .patch(service, &device(NAME), body.as_bytes(), if_match.as_deref())
                .await
        };
        written.map(|_| ()).map_err(|error| error.code())
    }

    /// Whether the call must have succeeded; that it did as it must.
    fn expect(&self, outcome: Result<(), Code>, knows: Knows) -> bool {
        let expected = match (&self.model, knows) {
            (None, _) => Err(Code::DeviceNotFound),
            (Some(_), Knows::Stale) => Err(Code::PreconditionFailed),
            (Some(_), _) => Ok(()),
        };
        assert_eq!(outcome, expected);
        expected.is_ok()
    }

    async fn report(&mut self, patch: &Value, knows: Knows) {
        let (Some(model), Some(proof)) = (&mut self.model, &self.proof) else {
            return;
        };
        let expected = match knows {
            Knows::Nothing => None,
            Knows::Current => Some(model.reported_version),
            Knows::Stale => Some(model.reported_version - 1),
        };
        let report = self.bench.twins.report(proof, &bytes(patch), expected).await;
        match (report, knows) {
            (Ok(version), Knows::Nothing | Knows::Current) => {
                merge_patch(&mut model.reported, patch);
                model.reported_version += 1;
                model.version += 1;
                assert_eq!(version, model.reported_version);
                self.told.push(("updateTwin".into(), model.version));
            }
            (Err(error), Knows::Stale) => assert_eq!(error.code(), Code::PreconditionFailed),
            (outcome, knows) => panic!("{outcome:?} though the device knows {knows:?}"),
        }
    }

    async fn create(&mut self) {
        if self.model.is_some() {
            return;
        }
        self.bench.create(NAME).await;
        self.model = Some(Model::fresh());
        self.proof = Some(self.bench.connect(NAME).await);
        self.told.push(("createDeviceIdentity".into(), 2));
    }

    async fn delete(&mut self) {
        let Some(model) = self.model.take() else { return };
        self.bench.delete(NAME).await;
        self.ghosts.extend(self.proof.take());
        self.told.push(("deleteDeviceIdentity".into(), model.version));
    }

    /// A write whose batch fails has not happened; one that is refused before is refused all the same.
    async fn fail(&mut self, step: &Step) {
        self.bench.store.fail_next(Some(Fault::Before));
        let (there, down) = (self.model.is_some(), Code::ServiceUnavailable);
        match step {
            Step::Patch(tags, desired, knows) => {
                let expected = match knows {
                    _ if !there => Err(Code::DeviceNotFound),
                    Knows::Stale => Err(Code::PreconditionFailed),
                    _ if tags.is_none() && desired.is_none() => Ok(()),
                    _ => Err(down),
                };
                let outcome = self.send(tags.as_ref(), desired.as_ref(), *knows, false).await;
                assert_eq!(outcome, expected);
            }
            Step::Report(patch, _) => {
                if let Some(proof) = &self.proof {
                    let report = self.bench.twins.report(proof, &bytes(patch), None).await;
                    assert_eq!(report.unwrap_err().code(), down);
                }
            }
            _ => {}
        }
        self.bench.store.fail_next(None);
    }

    async fn check(&mut self) {
        let mail: Vec<_> = self
            .bench
            .bus
            .take()
            .into_iter()
            .map(|(_, n, doc)| (n, doc))
            .collect();
        assert_eq!(mail, std::mem::take(&mut self.mail));
        let told = self.bench.log.take();
        let told: Vec<_> = told
            .into_iter()
            .map(|event| (event.operation, event.body["version"].as_u64().unwrap()))
            .collect();
        assert_eq!(told, std::mem::take(&mut self.told));
        let view = self.bench.twins.get(&self.bench.service(), &device(NAME)).await;
        let Some(model) = &self.model else {
            assert_eq!(view.unwrap_err().code(), Code::DeviceNotFound);
            return;
        };
        let view = view.unwrap();
        let json = json_of(&view);
        assert_eq!(json.get("tags"), model.tags.as_ref());
        assert_eq!(json["version"], model.version);
        assert_eq!(view.twin.etag().counter(), model.etag);
        let sections = [
            ("desired", &model.desired, model.desired_version),
            ("reported", &model.reported, model.reported_version),
        ];
        let device: Value =
            serde_json::from_slice(&self.bench.twins.read(self.proof.as_ref().unwrap()).await.unwrap())
                .unwrap();
        for (name, expected, version) in sections {
            let mut section = json["properties"][name].clone();
            let members = section.as_object_mut().unwrap();
            let metadata = members.shift_remove("$metadata").unwrap();
            assert_eq!(device[name], section);
            assert_eq!(section["$version"], version);
            let mut expected = expected.clone();
            check_metadata(&expected, &metadata, name == "desired");
            expected["$version"] = version.into();
            assert_eq!(section, expected);
        }
    }
}

fn bytes(patch: &Value) -> Vec<u8> {
    patch.to_string().into_bytes()
}

/// The metadata mirrors the values, and what lies around a write is never older than the write.
fn check_metadata(value: &Value, metadata: &Value, versions: bool) {
    let own = |metadata: &Value| metadata["$lastUpdatedVersion"].as_u64();
    assert!(metadata["$lastUpdated"].is_string());
    let names = |value: &Value| -> BTreeSet<String> {
        let members = value.as_object().into_iter().flatten();
        members
            .map(|(name, _)| name.clone())
            .filter(|name| !name.starts_with('$'))
            .collect()
    };
    assert_eq!(names(value), names(metadata));
    assert!(versions || own(metadata).is_none());
    for name in names(value) {
        assert!(own(&metadata[&name]) <= own(metadata));
        assert_eq!(own(&metadata[&name]).is_some(), versions);
        check_metadata(&value[&name], &metadata[&name], versions);
    }
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..3_i64).prop_map(Value::from),
        Just(json!(1.5)),
        Just(json!([1, {"k": "v"}])),
        "[a-c]{0,3}".prop_map(Value::from),
    ]
}

fn object() -> impl Strategy<Value = Value> {
    let value = leaf().prop_recursive(3, 12, 4, |inner| {
        prop::collection::hash_map("[a-d]", inner, 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    });
    prop::collection::hash_map("[a-d]", value, 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn section() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(Value::Null)),
        6 => object().prop_map(Some),
    ]
}

fn knows() -> impl Strategy<Value = Knows> {
    prop_oneof![4 => Just(Knows::Nothing), 2 => Just(Knows::Current), 1 => Just(Knows::Stale)]
}

fn step() -> impl Strategy<Value = Step> {
    let plain = prop_oneof![
        4 => (section(), section(), knows()).prop_map(|(tags, desired, knows)| Step::Patch(tags, desired, knows)),
        2 => (section(), section(), knows()).prop_map(|(tags, desired, knows)| Step::Replace(tags, desired, knows)),
        4 => (object(), knows()).prop_map(|(patch, knows)| Step::Report(patch, knows)),
        1 => Just(Step::Delete),
        2 => Just(Step::Create),
        1 => Just(Step::Rekey),
        1 => Just(Step::Race(Collection::Devices)),
        1 => Just(Step::Race(Collection::Twins)),
        1 => object().prop_map(Step::Ghost),
    ];
    (plain, 0..8_u8).prop_map(|(step, dice)| match dice {
        0 => Step::Fail(Box::new(step)),
        _ => step,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn twins_behave_as_their_model(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            run.take(&Step::Create).await;
            for step in &steps {
                run.take(step).await;
            }
        });
    }
}
