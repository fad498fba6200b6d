//! The device's side: a client on the codec alone, at one end of a pipe whose other end the server has.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use amqp::frame::{self, AMQP_HEADER, FrameKind};
use amqp::message::{Properties, write_application_properties, write_value};
use amqp::performative::{
    Attach, Begin, DeliveryState, Disposition, Flow, Open, Performative, Role, SenderSettleMode, Source,
    Target, Transfer,
};
use amqp::{encode, value::Value};
use hub::access::{Authorized, Operation, sas};
use hub::clock::Timestamp;
use hub::identity::{DeviceId, IdentityId, IfMatch};
use hub::records::{Filter, Kind};
use hub::secret::SymmetricKey;
use hub::settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use crate::amqp::serve;
use crate::app::App;
use crate::doubles::{HOST, KEY, START_SECS, app, hub_of, register};
use crate::listen::{Arrival, Drain, Stream};

/// A server with the devices `d` and `e`.
pub(super) struct Bench {
    pub(super) app: Arc<App>,
    drain: Drain,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::appending_for(Duration::ZERO).await
    }

    pub(super) async fn appending_for(delay: Duration) -> Self {
        let bench = Self::with_one_device(delay).await;
        register(&bench.app, "e").await;
        bench
    }

    /// A server with the device `d` alone.
    pub(super) async fn with_one_device(delay: Duration) -> Self {
        let (app, folder) = app(delay).await;
        Self {
            app,
            drain: Drain::new(),
            _folder: folder,
        }
    }

    /// A connection with a session on channel 0 and tokens of these devices.
    pub(super) async fn connect(&self, devices: &[&str]) -> Client {
        self.connect_until(devices, 86_400, 65_536).await
    }

    /// A connection that has said its open and no more.
    pub(super) async fn stranger(&self, frame_bytes: u32) -> Client {
        self.stranger_with(frame_bytes, Vec::new()).await
    }

    /// The same after a handshake with these certificates.
    pub(super) async fn stranger_with(&self, frame_bytes: u32, certificates: Vec<Vec<u8>>) -> Client {
        let mut client = self.silent_with(certificates);
        client.stream.write_all(&AMQP_HEADER).await.unwrap();
        client
            .say(
                0,
                &Performative::Open(Open {
                    hostname: Some(HOST.to_owned()),
                    max_frame_size: frame_bytes,
                    ..Open::default()
                }),
            )
            .await;
        client
    }

    /// A connection on which nothing was said.
    pub(super) fn silent(&self) -> Client {
        self.silent_with(Vec::new())
    }

    fn silent_with(&self, certificates: Vec<Vec<u8>>) -> Client {
        let (near, far) = tokio::io::duplex(1 << 20);
        let arrival = Arrival {
            stream: Stream::Memory(far, certificates),
            protocol: "amqp",
            peer: "192.0.2.1:7".parse().unwrap(),
            stranger: self.app.strangers.admit(),
            deadline: Instant::now() + Duration::from_secs(10),
            draining: self.drain.tracker().draining(),
        };
        tokio::spawn(serve(arrival, Arc::clone(&self.app)));
        Client {
            stream: near,
            input: Vec::new(),
            said: VecDeque::new(),
            next_delivery: 0,
        }
    }

    pub(super) async fn connect_until(&self, devices: &[&str], secs: i64, frame_bytes: u32) -> Client {
        let mut client = self.stranger(frame_bytes).await;
        client.begin(0).await;
        client.attach(0, Role::Sender, "cbs", 90, "$cbs").await;
        client.attach(0, Role::Receiver, "cbs", 91, "$cbs").await;
        client.grant(0, 91, 100).await;
        client.all().await;
        for device in devices {
            assert_eq!(client.put_token(device, secs).await, 200);
        }
        client
    }

    pub(super) fn service<O: Operation>(&self) -> Authorized<O> {
        hub_of(&self.app).gate().authorize_operator()
    }

    /// A token of a policy for the whole hub.
    pub(super) fn policy_token(&self, name: &str) -> String {
        let policy = hub_of(&self.app).gate().policies().get(name).unwrap();
        let expires = Timestamp::from_secs(START_SECS + 86_400);
        sas::create(HOST, expires, &policy.primary, Some(name))
            .as_str()
            .to_owned()
    }

    /// Puts network rules in force.
    pub(super) async fn set_network(&self, json: &str) {
        let network = serde_json::from_str(json).unwrap();
        let change = |settings| Ok(Settings { network, ..settings });
        let (hub, right) = (hub_of(&self.app), self.service());
        hub.update_settings(&right, change, &IfMatch::Absent)
            .await
            .unwrap();
    }

    /// Reasons of the ends of a device, oldest first.
    pub(super) fn endings(&self, device: &str) -> Vec<&'static str> {
        let mut records = self.app.records.recent(&Filter::default(), 100);
        records.sort_by_key(|record| record.number);
        let closed = records.iter().filter(|record| {
            record.outcome.kind == Kind::Closed && record.origin.device.as_deref() == Some(device)
        });
        closed.map(|record| record.outcome.reason).collect()
    }
}

pub(super) fn identity(device: &str) -> IdentityId {
    IdentityId::device(DeviceId::parse(device).unwrap())
}

/// One connection.
pub(super) struct Client {
    stream: DuplexStream,
    input: Vec<u8>,
    said: VecDeque<(u16, Performative, Vec<u8>)>,
    next_delivery: u32,
}

impl Client {
    pub(super) async fn say(&mut self, channel: u16, performative: &Performative) {
        self.say_with(channel, performative, &[]).await;
    }

    pub(super) async fn say_with(&mut self, channel: u16, performative: &Performative, payload: &[u8]) {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, channel, performative, payload);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Bytes as they are.
    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(super) async fn begin(&mut self, channel: u16) {
        let begin = Begin {
            next_outgoing_id: 0,
            incoming_window: 5_000,
            outgoing_window: 5_000,
            ..Begin::default()
        };
        self.say(channel, &Performative::Begin(begin)).await;
    }

    pub(super) async fn attach(&mut self, channel: u16, role: Role, name: &str, handle: u32, address: &str) {
        self.attach_as(
            channel,
            role,
            name,
            handle,
            address,
            SenderSettleMode::Mixed,
            None,
        )
        .await;
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the fields of an attach, in one line of a test"
    )]
    pub(super) async fn attach_as(
        &mut self,
        channel: u16,
        role: Role,
        name: &str,
        handle: u32,
        address: &str,
        mode: SenderSettleMode,
        properties: Option<Value>,
    ) {
        let attach = Attach {
            name: name.to_owned(),
            handle,
            role,
            snd_settle_mode: mode,
            rcv_settle_mode: amqp::performative::ReceiverSettleMode::First,
            source: Some(Source::of(address)),
            target: Some(Target::of(address)),
            incomplete_unsettled: false,
            initial_delivery_count: (role == Role::Sender).then_some(0),
            max_message_size: None,
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            properties,
        };
        self.say(channel, &Performative::Attach(attach)).await;
    }

    pub(super) async fn grant(&mut self, channel: u16, handle: u32, credit: u32) {
        self.flow(channel, handle, 0, credit, false).await;
    }

    /// Gives credit that is to be used or given back; `count` is how many messages were received before.
    pub(super) async fn drain(&mut self, channel: u16, handle: u32, count: u32, credit: u32) {
        self.flow(channel, handle, count, credit, true).await;
    }

    async fn flow(&mut self, channel: u16, handle: u32, count: u32, credit: u32, drain: bool) {
        let flow = Flow {
            next_incoming_id: Some(1),
            incoming_window: 5_000,
            next_outgoing_id: 1,
            outgoing_window: 5_000,
            handle: Some(handle),
            delivery_count: Some(count),
            link_credit: Some(credit),
            available: None,
            drain,
            echo: false,
            properties: None,
        };
        self.say(channel, &Performative::Flow(flow)).await;
    }

    /// Sends messages on one link in one write; gives the id of the first.
    pub(super) async fn send(&mut self, channel: u16, handle: u32, settled: bool, messages: &[&[u8]]) -> u32 {
        let first = self.next_delivery;
        let mut bytes = Vec::new();
        for message in messages {
            let transfer = Transfer {
                delivery_id: Some(self.next_delivery),
                delivery_tag: Some(self.next_delivery.to_be_bytes().to_vec()),
                settled: Some(settled),
                ..transfer(handle)
            };
            self.next_delivery += 1;
            write_frame(&mut bytes, channel, &Performative::Transfer(transfer), message);
        }
        self.stream.write_all(&bytes).await.unwrap();
        first
    }

    /// Sends one message in frames of so many bytes; gives its id.
    pub(super) async fn send_in_frames(
        &mut self,
        channel: u16,
        handle: u32,
        message: &[u8],
        bytes: usize,
    ) -> u32 {
        let id = self.next_delivery;
        self.next_delivery += 1;
        let mut chunks = message.chunks(bytes).peekable();
        let mut is_first = true;
        while let Some(chunk) = chunks.next() {
            let transfer = Transfer {
                delivery_id: is_first.then_some(id),
                delivery_tag: is_first.then(|| id.to_be_bytes().to_vec()),
                more: chunks.peek().is_some(),
                ..transfer(handle)
            };
            is_first = false;
            self.say_with(channel, &Performative::Transfer(transfer), chunk)
                .await;
        }
        id
    }

    /// Sends a message and, in the same write, what is no frame.
    pub(super) async fn send_and_break(&mut self, channel: u16, handle: u32, message: &[u8]) {
        let mut bytes = Vec::new();
        let transfer = Transfer {
            delivery_id: Some(self.next_delivery),
            delivery_tag: Some(vec![1]),
            ..transfer(handle)
        };
        write_frame(&mut bytes, channel, &Performative::Transfer(transfer), message);
        bytes.extend_from_slice(&[0; 8]);
        self.stream.write_all(&bytes).await.unwrap();
    }

    pub(super) async fn detach(&mut self, channel: u16, handle: u32) {
        let detach = amqp::performative::Detach {
            handle,
            closed: true,
            error: None,
        };
        self.say(channel, &Performative::Detach(detach)).await;
    }

    /// As `all`, with the bodies of messages and how often they were abandoned.
    pub(super) async fn all_with_messages(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(Some((channel, performative, payload))) =
            tokio::time::timeout(Duration::from_secs(1), self.next()).await
        {
            let Some(mut line) = line(channel, &performative) else {
                continue;
            };
            if matches!(performative, Performative::Transfer(_)) {
                let found = annotations(&payload);
                let count = found.map_get("iothub-deliverycount").and_then(Value::as_i64);
                line = format!("{line} {} count {}", body(&payload), count.unwrap_or(-1));
            }
            all.push(line);
        }
        all
    }

    pub(super) async fn dispose(&mut self, channel: u16, id: u32, settled: bool, state: DeliveryState) {
        let disposition = Disposition {
            role: Role::Receiver,
            first: id,
            last: None,
            settled,
            state: Some(state),
            batchable: false,
        };
        self.say(channel, &Performative::Disposition(disposition)).await;
    }

    /// Puts the token of a device; gives the status.
    pub(super) async fn put_token(&mut self, device: &str, secs: i64) -> i64 {
        let expires = Timestamp::from_secs(START_SECS + secs);
        let key = SymmetricKey::parse(KEY).unwrap();
        let audience = format!("{HOST}/devices/{device}");
        let token = sas::create(&audience, expires, &key, None);
        self.put(&audience, &token).await
    }

    /// Puts a token for an audience; gives the status.
    pub(super) async fn put(&mut self, audience: &str, token: &str) -> i64 {
        self.put_without(audience, token, "").await
    }

    /// The same in a request that lacks a property.
    pub(super) async fn put_without(&mut self, audience: &str, token: &str, left_out: &str) -> i64 {
        let mut message = Vec::new();
        Properties {
            message_id: Some(Value::Ulong(1)),
            ..Properties::default()
        }
        .encode(&mut message);
        write_application_properties(&mut message, |entries| {
            for (name, value) in [
                ("operation", "put-token"),
                ("type", "servicebus.windows.net:sastoken"),
                ("name", audience),
            ] {
                if name == left_out {
                    continue;
                }
                entries.pair(|out| encode::string(out, name), |out| encode::string(out, value));
            }
        });
        write_value(&mut message, &Value::String(token.to_owned()));
        self.send(0, 90, false, &[&message]).await;
        loop {
            let (_, performative, payload) = self.next().await.expect("the answer to a token");
            if matches!(performative, Performative::Transfer(_)) {
                return application(&payload)
                    .map_get("status-code")
                    .and_then(Value::as_i64)
                    .unwrap();
            }
        }
    }

    /// What the server says next; nothing when it has closed. Waits for it as long as virtual time lasts.
    pub(super) async fn next(&mut self) -> Option<(u16, Performative, Vec<u8>)> {
        loop {
            if let Some(said) = self.said.pop_front() {
                return Some(said);
            }
            if self.input.starts_with(b"AMQP") {
                self.input.drain(..8);
            }
            while let Ok(Some(header)) = frame::parse_header(&self.input) {
                let size = usize::try_from(header.size).unwrap();
                if self.input.len() < size {
                    break;
                }
                let whole: Vec<u8> = self.input.drain(..size).collect();
                let body = &whole[usize::from(header.doff) * 4..];
                if !body.is_empty() {
                    let (performative, length) = Performative::decode(body).unwrap();
                    self.said
                        .push_back((header.channel, performative, body[length..].to_vec()));
                }
            }
            if !self.said.is_empty() {
                continue;
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Messages with these ids were sent in another way.
    pub(super) fn skip_deliveries(&mut self, count: u32) {
        self.next_delivery += count;
    }

    /// Everything until the server closes.
    pub(super) async fn bytes_to_the_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    /// Lines for what comes within a second.
    pub(super) async fn all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(said) = tokio::time::timeout(Duration::from_secs(1), self.next()).await {
            let Some((channel, performative, _)) = said else {
                all.push("closed".to_owned());
                break;
            };
            all.extend(line(channel, &performative));
        }
        all
    }

    /// The next line.
    pub(super) async fn line(&mut self) -> String {
        loop {
            match self.next().await {
                None => return "closed".to_owned(),
                Some((channel, performative, _)) => {
                    if let Some(line) = line(channel, &performative) {
                        return line;
                    }
                }
            }
        }
    }

    /// The count of deliveries and the credit with which the next drain of a link ends.
    pub(super) async fn drained(&mut self, handle: u32) -> (u32, u32) {
        loop {
            let (_, performative, _) = self.next().await.expect("the end of a drain");
            if let Performative::Flow(flow) = performative
                && flow.handle == Some(handle)
                && flow.drain
            {
                return (flow.delivery_count.unwrap(), flow.link_credit.unwrap());
            }
        }
    }

    /// The next message on any link, with its transfer.
    pub(super) async fn message(&mut self) -> (Transfer, Vec<u8>) {
        let mut whole = Vec::new();
        let mut first = None;
        loop {
            let (_, performative, payload) = self.next().await.expect("a message");
            if let Performative::Transfer(transfer) = performative {
                whole.extend_from_slice(&payload);
                let more = transfer.more;
                let first = first.get_or_insert(transfer);
                if !more {
                    return (first.clone(), whole);
                }
            }
        }
    }
}

pub(super) fn transfer(handle: u32) -> Transfer {
    Transfer {
        handle,
        delivery_id: None,
        delivery_tag: None,
        message_format: Some(0),
        settled: Some(false),
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    }
}

fn write_frame(out: &mut Vec<u8>, channel: u16, performative: &Performative, payload: &[u8]) {
    let start = frame::begin(out, FrameKind::Amqp, channel);
    performative.encode(out);
    out.extend_from_slice(payload);
    frame::finish(out, start);
}

/// The application properties of a message.
pub(super) fn application(message: &[u8]) -> Value {
    section(message, amqp::message::SectionKind::ApplicationProperties)
}

pub(super) fn annotations(message: &[u8]) -> Value {
    section(message, amqp::message::SectionKind::MessageAnnotations)
}

pub(super) fn section(message: &[u8], kind: amqp::message::SectionKind) -> Value {
    let mut sections = amqp::message::Sections::new(message).map(Result::unwrap);
    let found = sections.find(|section| section.kind == kind);
    found.map_or(Value::Null, |section| Value::decode(section.value).unwrap().0)
}

pub(super) fn body(message: &[u8]) -> String {
    let sections = amqp::message::Sections::new(message).map(Result::unwrap);
    let data = sections.filter_map(|section| match section.kind {
        amqp::message::SectionKind::Data => section.data(),
        _ => None,
    });
    String::from_utf8(data.collect::<Vec<_>>().concat()).unwrap()
}

/// Attaches, detaches, dispositions and ends, with what matters of them; flows are not shown.
fn line(channel: u16, performative: &Performative) -> Option<String> {
    let condition = |error: &Option<amqp::performative::Error>| {
        error
            .as_ref()
            .map_or("-".to_owned(), |error| error.condition.clone())
    };
    Some(match performative {
        Performative::Attach(attach) => {
            let is_refused = attach.source.is_none() && attach.target.is_none();
            let word = if is_refused { "refused" } else { "attached" };
            format!("{word} {channel}/{}", attach.handle)
        }
        Performative::Detach(detach) => {
            format!(
                "detached {channel}/{} {}",
                detach.handle,
                condition(&detach.error)
            )
        }
        Performative::Disposition(disposition) => {
            let state = match &disposition.state {
                Some(DeliveryState::Accepted) => "accepted".to_owned(),
                Some(DeliveryState::Rejected { error }) => format!("rejected {}", condition(error)),
                other => format!("{other:?}"),
            };
            let last = disposition.last.unwrap_or(disposition.first);
            let settled = if disposition.settled { "" } else { " unsettled" };
            format!("{}-{last} {state}{settled}", disposition.first)
        }
        Performative::Transfer(transfer) => {
            format!("message {channel}/{}", transfer.handle)
        }
        Performative::Close(close) => format!("close {}", condition(&close.error)),
        Performative::End(end) => format!("end {}", condition(&end.error)),
        _ => return None,
    })
}
