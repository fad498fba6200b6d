//! Bodies against recorded ones (service-rest.md 5.1, 5.2, 13.2; device-mqtt-https.md 8.1, 8.4).

use serde_json::Value;

use super::body::{Sections, reported_patch};
use super::change::{Effect, Request, whole};
use super::{Twin, TwinJson, TwinView, device_json};
use crate::bus::Mail;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::identity::{
    Authentication, Device, DeviceId, Etag, Found, GenerationId, IdentityId, IdentityRef, IfMatch, Live,
    Module, ModuleId, Placement, Status, Thumbprint,
};
use crate::limits::{Fidelity, Limit, Limits};
use crate::store::{Collection, Key, Version};
use crate::tenancy::HubName;

const THUMBPRINT: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

struct Bench {
    found: Found,
    twin: Twin,
    limits: Limits,
}

impl Bench {
    fn new(module: Option<Module>) -> Self {
        let id = DeviceId::parse("d1").unwrap();
        let device = Device {
            authentication_updated: Timestamp::NEVER,
            id: id.clone(),
            generation: GenerationId::from_ticks(637_612_875_239_479_543),
            etag: Etag::from_counter(612_044_513),
            status: Status::Enabled,
            status_reason: None,
            status_updated: Timestamp::NEVER,
            authentication: Authentication::CertificateAuthority,
            placement: Placement::Leaf { parent: None },
        };
        let found = Found {
            key: Key::new(Collection::Devices, &HubName::parse("hub1").unwrap(), "d1"),
            device,
            module,
            version: Version(1),
        };
        let twin = Twin::fresh(&found.identity());
        Self {
            found,
            twin,
            limits: Limits::new(Fidelity::Native),
        }
    }

    fn id(&self) -> IdentityId {
        self.found.identity().id()
    }

    fn judge(&mut self, request: &Request) -> Result<Option<Effect>, Error> {
        let mut twin = self.twin.clone();
        let now = "2021-07-07T20:45:24.131397Z".parse().unwrap();
        let effect = request.judge(&mut twin, &self.id(), now, &self.limits)?;
        self.twin = twin;
        Ok(effect)
    }

    fn sections(&self, body: &str) -> Sections {
        Sections::from_json(body.as_bytes(), &self.limits).unwrap()
    }

    fn patch(&mut self, body: &str) -> Effect {
        let request = Request::Patch(self.sections(body), IfMatch::Absent);
        self.judge(&request).unwrap().unwrap()
    }

    fn put(&mut self, body: &str) -> Effect {
        let request = Request::Replace(self.sections(body), IfMatch::Absent);
        self.judge(&request).unwrap().unwrap()
    }

    fn report(&mut self, patch: &str, expected: Option<u64>) -> Result<Effect, Error> {
        let patch = reported_patch(patch.as_bytes(), &self.limits)?;
        self.judge(&Request::Report(patch, expected)).map(Option::unwrap)
    }

    fn json(&self) -> String {
        let view = TwinView {
            found: self.found.clone(),
            twin: self.twin.clone(),
        };
        serde_json::to_string(&TwinJson::new(&view, &Live::default())).unwrap()
    }

    fn event(&self, effect: &Effect) -> String {
        text(&effect.event(&self.twin, &self.id()).unwrap())
    }

    fn mail(&self, effect: &Effect) -> Option<(u64, String)> {
        match effect.mail(&self.twin).unwrap() {
            None => None,
            Some(Mail::Desired { version, document }) => Some((version, text(&document))),
            Some(other) => panic!("{other:?}"),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_fresh_device_twin_reads_as_recorded() {
    let mut bench = Bench::new(None);
    assert_eq!(
        bench.json(),
        r#"{"deviceId":"d1","etag":"AAAAAAAAAAE=","deviceEtag":"NjEyMDQ0NTEz","status":"enabled","statusUpdateTime":"0001-01-01T00:00:00Z","connectionState":"Disconnected","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,"authenticationType":"certificateAuthority","x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"version":2,"properties":{"desired":{"$metadata":{"$lastUpdated":"2021-07-07T20:45:23.947954Z"},"$version":1},"reported":{"$metadata":{"$lastUpdated":"2021-07-07T20:45:23.947954Z"},"$version":1}},"capabilities":{"iotEdge":false}}"#
    );
    bench.found.device.status_reason = Some("x".into());
    bench.found.device.authentication = Authentication::SelfSigned {
        primary: Some(Thumbprint::parse(THUMBPRINT).unwrap()),
        secondary: None,
    };
    bench
        .judge(&Request::Announce("dtmi:com:example:T;1".into()))
        .unwrap();
    let json = bench.json();
    for part in [
        r#""status":"enabled","statusReason":"x","statusUpdateTime""#,
        &format!(
            r#""authenticationType":"selfSigned","x509Thumbprint":{{"primaryThumbprint":"{THUMBPRINT}","#
        ),
        r#""modelId":"dtmi:com:example:T;1","version":2,"#,
    ] {
        assert!(json.contains(part), "{part} in {json}");
    }
}

#[test]
fn a_fresh_module_twin_has_no_age_and_no_capabilities() {
    let bench = Bench::new(Some(Module {
        authentication_updated: Timestamp::NEVER,
        device: DeviceId::parse("d1").unwrap(),
        id: ModuleId::parse("m1").unwrap(),
        generation: GenerationId::from_ticks(637_612_875_239_479_544),
        etag: Etag::from_counter(1),
        authentication: Authentication::CertificateAuthority,
        managed_by: None,
    }));
    let json = bench.json();
    let start =
        r#"{"deviceId":"d1","moduleId":"m1","etag":"AAAAAAAAAAE=","deviceEtag":"MQ==","status":"enabled","#;
    assert!(json.starts_with(start), "{json}");
    let end = r#""version":2,"properties":{"desired":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1},"reported":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1}}}"#;
    assert!(json.ends_with(end), "{json}");
    let lifecycle = text(&whole(&bench.twin, &bench.id()).unwrap());
    assert_eq!(
        lifecycle,
        r#"{"deviceId":"d1","moduleId":"m1","etag":"AAAAAAAAAAE=","version":2,"properties":{"desired":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1},"reported":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1}}}"#
    );
}

#[test]
fn a_patch_of_desired_properties_as_recorded() {
    let mut bench = Bench::new(None);
    let effect = bench.patch(r#"{"properties":{"desired":{"username":"userA"}}}"#);
    let stamp = r#""$lastUpdated":"2021-07-07T20:45:24.131397Z","$lastUpdatedVersion":2"#;
    let desired = format!(
        r#""desired":{{"username":"userA","$metadata":{{{stamp},"username":{{{stamp}}}}},"$version":2}}"#
    );
    let json = bench.json();
    assert!(json.contains(&desired), "{json}");
    assert!(json.contains(r#""etag":"AAAAAAAAAAI=","#) && json.contains(r#""version":3,"properties""#));
    assert_eq!(
        bench.event(&effect),
        format!(r#"{{"version":3,"properties":{{{desired}}}}}"#)
    );
    assert_eq!(
        bench.mail(&effect),
        Some((2, r#"{"username":"userA","$version":2}"#.to_owned()))
    );
}

#[test]
fn removals_are_told_as_they_were_sent() {
    let mut bench = Bench::new(None);
    bench.patch(r#"{"properties":{"desired":{"a":{"b":1,"c":2},"d":[1,{"e":1.0}]}}}"#);
    let effect = bench.patch(r#"{"tags":{"t":1},"properties":{"desired":{"a":{"b":null,"z":{}}}}}"#);
    assert_eq!(
        bench.mail(&effect),
        Some((3, r#"{"a":{"b":null,"z":{}},"$version":3}"#.to_owned()))
    );
    let stamp = r#""$lastUpdated":"2021-07-07T20:45:24.131397Z","$lastUpdatedVersion":3"#;
    assert_eq!(
        bench.event(&effect),
        format!(
            r#"{{"version":4,"tags":{{"t":1}},"properties":{{"desired":{{"a":{{"b":null,"z":{{}}}},"$metadata":{{{stamp},"a":{{{stamp},"z":{{{stamp}}}}}}},"$version":3}}}}}}"#
        )
    );
    // Everything is removed by name, so that a device that merges ends with nothing.
    let effect = bench.patch(r#"{"tags":null,"properties":{"desired":null}}"#);
    assert_eq!(
        bench.mail(&effect),
        Some((4, r#"{"a":null,"d":null,"$version":4}"#.to_owned()))
    );
    let json = bench.json();
    assert!(
        json.contains(r#""version":5,"tags":{},"properties":{"desired":{"$metadata""#),
        "{json}"
    );
}

#[test]
fn a_replacement_is_told_whole() {
    let mut bench = Bench::new(None);
    bench.patch(r#"{"tags":{"t":1},"properties":{"desired":{"a":1}}}"#);
    let effect = bench.put(r#"{"properties":{"desired":{"b":{"c":1,"n":null}}}}"#);
    assert_eq!(
        bench.mail(&effect),
        Some((3, r#"{"b":{"c":1},"$version":3}"#.to_owned()))
    );
    let event: Value = serde_json::from_str(&bench.event(&effect)).unwrap();
    assert_eq!(event["deviceId"], "d1");
    assert_eq!(event["etag"], "AAAAAAAAAAM=");
    assert_eq!(event["version"], 4);
    assert_eq!(event["tags"], serde_json::json!({}));
    assert_eq!(event["properties"]["desired"]["b"]["c"], 1);
    assert!(event["properties"]["desired"].get("a").is_none());
    assert_eq!(event["properties"]["reported"]["$version"], 1);
    let mut fresh = Bench::new(None);
    fresh.put("{}");
    assert!(
        !fresh.json().contains("tags"),
        "tags that were never set stay absent"
    );
}

#[test]
fn reports_move_the_version_and_not_the_etag() {
    let mut bench = Bench::new(None);
    assert_eq!(
        text(&device_json::twin(&bench.twin).unwrap()),
        r#"{"desired":{"$version":1},"reported":{"$version":1}}"#
    );
    let effect = bench.report(r#"{"a":1,"b":null}"#, Some(1)).unwrap();
    assert_eq!(bench.mail(&effect), None);
    let stamp = r#""$lastUpdated":"2021-07-07T20:45:24.131397Z""#;
    assert_eq!(
        bench.event(&effect),
        format!(
            r#"{{"version":3,"properties":{{"reported":{{"a":1,"b":null,"$metadata":{{{stamp},"a":{{{stamp}}}}},"$version":2}}}}}}"#
        )
    );
    assert!(bench.json().contains(r#""etag":"AAAAAAAAAAE=""#));
    assert_eq!(
        text(&device_json::twin(&bench.twin).unwrap()),
        r#"{"desired":{"$version":1},"reported":{"a":1,"$version":2}}"#
    );
    let error = bench.report("{}", Some(1)).unwrap_err();
    assert_eq!(error.code().status(), 412);
    bench.report("{}", None).unwrap();
    assert_eq!(bench.twin.reported_version(), 3, "an empty patch is a write");
}

#[test]
fn sections_over_their_size_are_refused_in_the_recorded_words() {
    let mut bench = Bench::new(None);
    bench.limits.set(Limit::TagsBytesMax, 10);
    bench.limits.set(Limit::TwinPropertiesBytesMax, 20);
    for (body, text) in [
        (
            r#"{"tags":{"a":"0123456789"}}"#,
            "'Tags' size should be less than 10 bytes.",
        ),
        (
            r#"{"properties":{"desired":{"a":"01234567890123456789"}}}"#,
            "'Properties.Desired' size should be less than 20 bytes.",
        ),
    ] {
        for request in [
            Request::Patch(bench.sections(body), IfMatch::Absent),
            Request::Replace(bench.sections(body), IfMatch::Any),
        ] {
            let error = bench.judge(&request).unwrap_err();
            assert_eq!(error.code().number(), 403_100);
            assert_eq!(error.message(), text);
        }
    }
    let error = bench.report(r#"{"a":"01234567890123456789"}"#, None).unwrap_err();
    assert_eq!(
        error.message(),
        "'Properties.Reported' size should be less than 20 bytes."
    );
    assert_eq!(bench.twin, Twin::fresh(&IdentityRef::Device(&bench.found.device)));
}
