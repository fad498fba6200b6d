//! Every topic with every kind of credential: who is let in is worked out from the tables of demands and operations.

use std::sync::Arc;
use std::time::Duration;

use hub::identity::{IdentityId, ModuleId};
use hub::limits::Limit;
use mqtt::packet::{Connect, Filters, Packet, Publish, QoS, Subscribe};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

use crate::app::App;
use crate::credentials::{self, Credential, identity};
use crate::demand::Demand;
use crate::doubles::{HOST, app};
use crate::listen::{Arrival, Drain, Stream};

use super::demand::{TOPICS, Topic, Way};
use super::serve;

/// Those who connect: each kind of login, as a device and as a module.
const IDENTITIES: [&str; 7] = ["d", "d/m", "e", "t", "t/m", "c", "c/m"];

#[tokio::test(start_paused = true)]
async fn every_topic_with_every_credential() {
    let (app, _folder) = app(Duration::ZERO).await;
    let credentials = credentials::all(&app).await;
    // All of them come from one address, and most are wrong.
    for limit in [
        Limit::FailedLoginsPerMinuteMax,
        Limit::FailedAuthenticationsPerMinuteMax,
    ] {
        app.limits.set(limit, 1_000_000);
    }
    let (mut wrong, mut tried, mut open) = (Vec::new(), 0, 0);
    for own in IDENTITIES {
        let own = identity(own);
        for credential in &credentials {
            let may_connect = credential.meets(Demand::Itself, Some(&own));
            let (mut client, is_connected) = connect(&app, &own, credential).await;
            tried += 1;
            open += u32::from(is_connected);
            if is_connected != may_connect {
                wrong.push(format!(
                    "{own} with {}: connected {is_connected}",
                    credential.name
                ));
            }
            if !is_connected {
                continue;
            }
            // Its own topics, and those of others.
            for (topic, of) in TOPICS
                .iter()
                .flat_map(|topic| IDENTITIES.map(|of| (topic, identity(of))))
            {
                let text = topic.filled(&of);
                let expected = matches!(super::demand::demand_of(topic.way, &text, &own), Demand::Itself);
                // Whatever the table says: what names somebody is that one's alone.
                let is_foreign = topic.text.contains("{id}") && text != topic.filled(&own);
                let passed = client.tries(topic, &text).await;
                tried += 1;
                if passed != expected || (passed && is_foreign) {
                    wrong.push(format!("{own} with {}: {text}: {passed}", credential.name));
                }
                if client.is_closed {
                    client = connect(&app, &own, credential).await.0;
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {tried}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // Keys and policies with DeviceConnect for those with keys, certificates for the others: nobody else got in.
    assert_eq!(open, 3 * 3 + 4);
}

struct Client {
    stream: DuplexStream,
    input: Vec<u8>,
    is_closed: bool,
}

async fn connect(app: &Arc<App>, own: &IdentityId, credential: &Credential) -> (Client, bool) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let drain = Drain::new();
    let arrival = Arrival {
        stream: Stream::Memory(far, credential.certificates.clone()),
        protocol: "mqtt",
        peer: "192.0.2.1:7".parse().unwrap(),
        stranger: app.strangers.admit(),
        deadline: Instant::now() + Duration::from_secs(10),
        draining: drain.tracker().draining(),
    };
    tokio::spawn(serve(arrival, Arc::clone(app)));
    let mut client = Client {
        stream: near,
        input: Vec::new(),
        is_closed: false,
    };
    let module = own
        .module
        .as_ref()
        .map(|module| format!("/{}", ModuleId::as_str(module)));
    let name = format!(
        "{HOST}/{}{}/?api-version=2021-04-12",
        own.device,
        module.unwrap_or_default()
    );
    client
        .send(&Packet::Connect(Connect {
            client_id: &own.to_string(),
            clean_session: true,
            keep_alive_secs: 60,
            will: None,
            username: Some(&name),
            password: credential.token.as_deref().map(str::as_bytes),
        }))
        .await;
    let is_connected = client.next().await == "CONNACK 0";
    (client, is_connected)
}

impl Client {
    /// Whether a topic is taken; the connection may be closed afterwards.
    async fn tries(&mut self, topic: &Topic, text: &str) -> bool {
        match topic.way {
            Way::Publish => {
                self.send(&Packet::Publish(Publish {
                    dup: false,
                    qos: QoS::AtMostOnce,
                    retain: false,
                    topic: text,
                    packet_id: 0,
                    payload: b"{}",
                }))
                .await;
                self.send(&Packet::PingReq).await;
                loop {
                    match self.next().await.as_str() {
                        "PINGRESP" => return true,
                        "closed" => return false,
                        // The answer to a request for the twin.
                        _ => {}
                    }
                }
            }
            Way::Subscribe => {
                let filters = Filters::to_bytes(&[(text, QoS::AtMostOnce)]);
                let filters = Filters::from_bytes(&filters).unwrap();
                self.send(&Packet::Subscribe(Subscribe {
                    packet_id: 9,
                    filters,
                }))
                .await;
                loop {
                    match self.next().await.as_str() {
                        "SUBACK 0" => return true,
                        "SUBACK 128" | "closed" => return false,
                        _ => {}
                    }
                }
            }
        }
    }

    async fn send(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        // A server that has closed is found out by the next read.
        let _ = self.stream.write_all(&bytes).await;
    }

    async fn next(&mut self) -> String {
        loop {
            if let Some((packet, length)) = Packet::parse(&self.input, 400_000).unwrap() {
                let text = match &packet {
                    Packet::ConnAck(ack) => format!("CONNACK {}", ack.code as u8),
                    Packet::SubAck(ack) => format!("SUBACK {}", ack.codes[0]),
                    Packet::PingResp => "PINGRESP".to_owned(),
                    _ => "other".to_owned(),
                };
                self.input.drain(..length);
                return text;
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => {
                    self.is_closed = true;
                    return "closed".to_owned();
                }
                Ok(_) => {}
            }
        }
    }
}
