//! What a simulated device says beside telemetry: it keeps its twin, answers methods and takes commands
//! (device-mqtt-https.md 7 to 9).
//!
//! Packets in, packets out, no I/O. It lives as long as the device, over all its connections.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use mqtt::packet::{Packet, Publish, QoS, SubAck};
use serde_json::{Map, Value, json};

use super::{Tally, packets};

/// Requests about the twin that wait for an answer; with more a device makes no further ones.
const REQUESTS_WAITING_MAX: usize = 16;

const TWIN_ANSWERS: &str = "$iothub/twin/res/";
const DESIRED_CHANGES: &str = "$iothub/twin/PATCH/properties/desired/";
const METHOD_CALLS: &str = "$iothub/methods/POST/";

/// What a device does beside sending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Roles {
    /// Keeps its twin: reports a property now and then, and what is desired of it.
    pub(crate) twins: bool,
    /// Answers methods with what they were given.
    pub(crate) methods: bool,
    /// Takes commands.
    pub(crate) commands: bool,
}

/// A request about the twin that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    /// For the whole twin.
    Get,
    /// To report something of the device's own.
    Report,
    /// To report what is desired.
    Answer,
}

/// One device's side of the conversation.
pub(super) struct Conversation {
    id: String,
    roles: Roles,
    waiting: BTreeMap<u64, Request>,
    last_request: u64,
    // The newest version of the desired properties that was answered.
    answered: u64,
}

impl Conversation {
    pub(super) fn new(id: &str, roles: Roles) -> Self {
        Self {
            id: id.to_owned(),
            roles,
            waiting: BTreeMap::new(),
            last_request: 0,
            answered: 0,
        }
    }

    /// A new connection: subscribes to what the roles need.
    pub(super) fn open(&mut self, packet_id: u16, out: &mut Vec<u8>) {
        self.waiting.clear();
        let commands = format!("devices/{}/messages/devicebound/#", self.id);
        let filters = [
            (self.roles.twins, format!("{TWIN_ANSWERS}#"), QoS::AtMostOnce),
            (self.roles.twins, format!("{DESIRED_CHANGES}#"), QoS::AtMostOnce),
            (self.roles.methods, format!("{METHOD_CALLS}#"), QoS::AtMostOnce),
            (self.roles.commands, commands, QoS::AtLeastOnce),
        ];
        let wanted: Vec<_> = filters
            .iter()
            .filter(|(is_wanted, ..)| *is_wanted)
            .map(|(_, filter, qos)| (filter.as_str(), *qos))
            .collect();
        if !wanted.is_empty() {
            packets::subscribe(packet_id, &wanted, out);
        }
    }

    /// The subscriptions stand: from now on no desired change is missed, so what was desired before is asked for.
    pub(super) fn handle_suback(&mut self, suback: &SubAck<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        if suback.codes.contains(&SubAck::FAILURE) {
            return Err("a subscription was not granted".to_owned());
        }
        if self.roles.twins {
            let rid = self.begin(Request::Get);
            packets::tell(&format!("$iothub/twin/GET/?$rid={rid}"), b"", out);
        }
        Ok(())
    }

    /// A message of the hub.
    pub(super) fn handle_publish(&mut self, publish: &Publish<'_>, tally: &Tally, out: &mut Vec<u8>) {
        let topic = publish.topic;
        if let Some(rest) = topic.strip_prefix(TWIN_ANSWERS) {
            self.handle_answer(rest, publish.payload, tally, out);
        } else if topic.starts_with(DESIRED_CHANGES) {
            self.answer_desired(publish.payload, tally, out);
        } else if let Some(rest) = topic.strip_prefix(METHOD_CALLS) {
            if let Some(rid) = rest.split_once("/?$rid=").map(|(_, rid)| rid) {
                packets::tell(
                    &format!("$iothub/methods/res/200/?$rid={rid}"),
                    publish.payload,
                    out,
                );
                tally.methods_answered.fetch_add(1, Ordering::Relaxed);
            }
        } else {
            tally.commands_taken.fetch_add(1, Ordering::Relaxed);
        }
        if publish.qos == QoS::AtLeastOnce {
            Packet::PubAck(publish.packet_id).encode(out);
        }
    }

    /// Reports a property, unless many reports wait.
    pub(super) fn report(&mut self, messages_sent: u64, out: &mut Vec<u8>) {
        if self.roles.twins && self.waiting.len() < REQUESTS_WAITING_MAX {
            self.send_report(Request::Report, &json!({ "messagesSent": messages_sent }), out);
        }
    }

    fn handle_answer(&mut self, rest: &str, payload: &[u8], tally: &Tally, out: &mut Vec<u8>) {
        let Some((status, query)) = rest.split_once("/?") else {
            return;
        };
        let rid = query.split('&').find_map(|pair| pair.strip_prefix("$rid="));
        let Some(request) = rid
            .and_then(|rid| rid.parse().ok())
            .and_then(|rid: u64| self.waiting.remove(&rid))
        else {
            return;
        };
        if !status.starts_with('2') {
            let said = String::from_utf8_lossy(payload);
            tally.count_refused_request(&format!("{}: the twin answered {status}: {said}", self.id));
            return;
        }
        match request {
            Request::Get => {
                let twin: Value = serde_json::from_slice(payload).unwrap_or_default();
                if let Some(desired) = twin.get("desired").and_then(Value::as_object) {
                    self.report_desired(desired.clone(), out);
                }
            }
            Request::Report => {
                tally.properties_reported.fetch_add(1, Ordering::Relaxed);
            }
            Request::Answer => {
                tally.desired_answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn answer_desired(&mut self, payload: &[u8], tally: &Tally, out: &mut Vec<u8>) {
        match serde_json::from_slice::<Map<String, Value>>(payload) {
            Ok(desired) => self.report_desired(desired, out),
            Err(error) => {
                tally.count_refused_request(&format!("{}: a desired change is no JSON: {error}", self.id));
            }
        }
    }

    /// Reports what is desired as it is, once for each version.
    fn report_desired(&mut self, mut desired: Map<String, Value>, out: &mut Vec<u8>) {
        let version = desired
            .remove("$version")
            .and_then(|version| version.as_u64())
            .unwrap_or(0);
        if version > self.answered {
            self.answered = version;
            if !desired.is_empty() {
                self.send_report(Request::Answer, &Value::Object(desired), out);
            }
        }
    }

    fn send_report(&mut self, request: Request, properties: &Value, out: &mut Vec<u8>) {
        let rid = self.begin(request);
        let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid={rid}");
        packets::tell(&topic, properties.to_string().as_bytes(), out);
    }

    fn begin(&mut self, request: Request) -> u64 {
        self.last_request += 1;
        self.waiting.insert(self.last_request, request);
        self.last_request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Roles = Roles {
        twins: true,
        methods: true,
        commands: true,
    };

    /// The packets of a device, read one after the other: topic and payload, or the packet as it is debugged.
    fn said(mut bytes: &[u8]) -> Vec<(String, String)> {
        let mut all = Vec::new();
        while let Some((packet, length)) = Packet::parse(bytes, 100_000).unwrap() {
            all.push(match packet {
                Packet::Publish(publish) => (
                    publish.topic.to_owned(),
                    String::from_utf8_lossy(publish.payload).into_owned(),
                ),
                Packet::Subscribe(subscribe) => {
                    let filters: Vec<_> = subscribe.filters.into_iter().map(|(filter, _)| filter).collect();
                    ("SUBSCRIBE".to_owned(), filters.join(" "))
                }
                other => (format!("{other:?}"), String::new()),
            });
            bytes = &bytes[length..];
        }
        all
    }

    fn publish<'a>(topic: &'a str, qos: QoS, payload: &'a str) -> Publish<'a> {
        Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id: 9,
            payload: payload.as_bytes(),
        }
    }

    fn hear(
        conversation: &mut Conversation,
        tally: &Tally,
        topic: &str,
        payload: &str,
    ) -> Vec<(String, String)> {
        let mut out = Vec::new();
        conversation.handle_publish(&publish(topic, QoS::AtMostOnce, payload), tally, &mut out);
        said(&out)
    }

    fn pair(topic: &str, payload: &str) -> Vec<(String, String)> {
        vec![(topic.to_owned(), payload.to_owned())]
    }

    #[test]
    fn what_is_desired_is_reported_once() {
        let (mut device, tally, mut out) = (Conversation::new("d1", ALL), Tally::default(), Vec::new());
        device.open(1, &mut out);
        assert_eq!(
            said(&out),
            pair(
                "SUBSCRIBE",
                "$iothub/twin/res/# $iothub/twin/PATCH/properties/desired/# $iothub/methods/POST/# devices/d1/messages/devicebound/#"
            )
        );
        out.clear();
        let suback = SubAck {
            packet_id: 1,
            codes: &[0, 0, 0, 1],
        };
        device.handle_suback(&suback, &mut out).unwrap();
        assert_eq!(said(&out), pair("$iothub/twin/GET/?$rid=1", ""));
        let twin = r#"{"desired":{"a":1.5,"$version":3},"reported":{"$version":1}}"#;
        let report = pair("$iothub/twin/PATCH/properties/reported/?$rid=2", r#"{"a":1.5}"#);
        assert_eq!(
            hear(&mut device, &tally, "$iothub/twin/res/200/?$rid=1", twin),
            report
        );
        // A notification of the version that the GET showed already.
        let desired = "$iothub/twin/PATCH/properties/desired/?$version=3";
        assert_eq!(
            hear(&mut device, &tally, desired, r#"{"a":1.5,"$version":3}"#),
            []
        );
        let desired = "$iothub/twin/PATCH/properties/desired/?$version=4";
        assert_eq!(
            hear(&mut device, &tally, desired, r#"{"a":null,"$version":4}"#),
            pair("$iothub/twin/PATCH/properties/reported/?$rid=3", r#"{"a":null}"#)
        );
        assert_eq!(
            hear(&mut device, &tally, "$iothub/twin/res/204/?$rid=2&$version=2", ""),
            []
        );
        assert_eq!(
            hear(&mut device, &tally, "$iothub/twin/res/400/?$rid=3", "{}"),
            []
        );
        assert_eq!(tally.desired_answered.load(Ordering::Relaxed), 1);
        assert_eq!(tally.refused_requests.load(Ordering::Relaxed), 1);
        // The next connection asks again, and answers nothing twice.
        out.clear();
        device.handle_suback(&suback, &mut out).unwrap();
        let twin = r#"{"desired":{"$version":4},"reported":{"a":1.5,"$version":2}}"#;
        assert_eq!(
            hear(&mut device, &tally, "$iothub/twin/res/200/?$rid=4", twin),
            []
        );
    }

    #[test]
    fn methods_are_echoed_and_commands_acknowledged() {
        let (mut device, tally, mut out) = (Conversation::new("d1", ALL), Tally::default(), Vec::new());
        assert_eq!(
            hear(
                &mut device,
                &tally,
                "$iothub/methods/POST/reboot/?$rid=1f",
                "[1.0]"
            ),
            pair("$iothub/methods/res/200/?$rid=1f", "[1.0]")
        );
        let topic = "devices/d1/messages/devicebound/%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound";
        device.handle_publish(&publish(topic, QoS::AtLeastOnce, "on"), &tally, &mut out);
        assert_eq!(said(&out), [("PubAck(9)".to_owned(), String::new())]);
        assert_eq!(tally.methods_answered.load(Ordering::Relaxed), 1);
        assert_eq!(tally.commands_taken.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_device_without_roles_subscribes_to_nothing() {
        let (mut device, mut out) = (Conversation::new("d1", Roles::default()), Vec::new());
        device.open(1, &mut out);
        device.report(5, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn reports_that_nobody_answers_end() {
        let mut device = Conversation::new("d1", ALL);
        let mut out = Vec::new();
        for number in 0..100 {
            device.report(number, &mut out);
        }
        assert_eq!(said(&out).len(), REQUESTS_WAITING_MAX);
    }
}
