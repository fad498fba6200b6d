//! One connection with one session, and what is done on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::types::definitions::Error;
use fe2o3_amqp::types::messaging::{
    ApplicationProperties, Batch, Body, Data, MessageId, Outcome, Properties, Source,
};
use fe2o3_amqp::types::primitives::{SimpleValue, Value};
use fe2o3_amqp::{Connection, Receiver, Sendable, Sender, Session};
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::message::{self, AnyMessage};
use crate::refusal::{self, Refusal};
use crate::request::{Message, NewReceiver, Opening, Settle};

type Answer = Result<serde_json::Value, Refusal>;

pub(crate) struct Line {
    session: SessionHandle<()>,
    cbs: Option<(Sender, Receiver)>,
    tokens: u32,
    senders: HashMap<String, Sender>,
    receivers: HashMap<String, Receiver>,
    connection: ConnectionHandle<()>,
}

impl Line {
    pub(crate) async fn open(opening: Opening) -> Result<Self, Refusal> {
        let stream = tls(&opening).await?;
        let sasl = match (opening.user, opening.password) {
            (Some(username), Some(password)) => SaslProfile::Plain { username, password },
            _ => SaslProfile::Anonymous,
        };
        // "amqp": TLS is below already.
        let mut builder = Connection::builder().container_id("fe2o3-peer").scheme("amqp");
        builder = builder.hostname(opening.virtual_host.as_str()).sasl_profile(sasl);
        if let Some(bytes) = opening.max_frame_size {
            builder = builder.max_frame_size(bytes);
        }
        let mut connection = builder.open_with_stream(stream).await?;
        let session = Session::begin(&mut connection).await.map_err(Refusal::here)?;
        Ok(Self {
            session,
            cbs: None,
            tokens: 0,
            senders: HashMap::new(),
            receivers: HashMap::new(),
            connection,
        })
    }

    pub(crate) async fn close(mut self) -> Result<(), fe2o3_amqp::connection::Error> {
        self.connection.close().await
    }

    pub(crate) async fn put_token(&mut self, audience: String, token: String) -> Answer {
        if self.cbs.is_none() {
            let sender = Sender::attach(&mut self.session, "cbs-requests", "$cbs").await?;
            let receiver = Receiver::attach(&mut self.session, "cbs-answers", "$cbs").await?;
            self.cbs = Some((sender, receiver));
        }
        let (requests, answers) = self
            .cbs
            .as_mut()
            .ok_or_else(|| Refusal::here("no link for tokens"))?;
        self.tokens += 1;
        let text = |text: &str| SimpleValue::String(text.to_owned());
        let operation = ApplicationProperties::builder()
            .insert("operation", text("put-token"))
            .insert("type", text("servicebus.windows.net:sastoken"))
            .insert("name", SimpleValue::String(audience))
            .build();
        let fields = Properties {
            message_id: Some(MessageId::String(format!("put-{}", self.tokens))),
            reply_to: Some("cbs".to_owned()),
            ..Properties::default()
        };
        let request = fe2o3_amqp::types::messaging::Message::builder()
            .properties(fields)
            .application_properties(operation)
            .value(token)
            .build();
        told(requests.send(request).await?);
        let answer = answers.recv::<Body<Value>>().await?;
        answers.accept(&answer).await.map_err(Refusal::here)?;
        let answer: AnyMessage = answer.into_message();
        let status = answer
            .application_properties
            .and_then(|mut map| map.0.swap_remove("status-code"));
        let status = match status {
            Some(SimpleValue::Int(status)) => Some(status),
            _ => None,
        };
        let correlation = match answer.properties.and_then(|fields| fields.correlation_id) {
            Some(MessageId::String(text)) => Some(text),
            _ => None,
        };
        Ok(json!({ "status": status, "correlation": correlation }))
    }

    pub(crate) async fn attach_sender(&mut self, link: String, address: String) -> Answer {
        let sender = Sender::attach(&mut self.session, link.clone(), address).await?;
        self.senders.insert(link, sender);
        Ok(serde_json::Value::Null)
    }

    pub(crate) async fn attach_receiver(&mut self, wanted: NewReceiver) -> Answer {
        let mut source = Source::builder().address(wanted.address);
        if let Some(selector) = wanted.selector {
            source = source.add_to_filter(SELECTOR, described(selector, wanted.by_number));
        }
        let receiver = Receiver::builder()
            .name(wanted.link.clone())
            .source(source.build())
            .credit_mode(CreditMode::Manual)
            .attach(&mut self.session)
            .await?;
        self.receivers.insert(wanted.link, receiver);
        Ok(serde_json::Value::Null)
    }

    pub(crate) async fn send(&mut self, link: &str, message: Message) -> Answer {
        let outcome = self.sender(link)?.send(message::to_send(message)?).await?;
        Ok(told(outcome))
    }

    pub(crate) async fn send_batch(&mut self, link: &str, messages: Vec<Message>) -> Answer {
        let sections: Result<Vec<Data>, Refusal> = messages.into_iter().map(message::to_batch).collect();
        let batch = fe2o3_amqp::types::messaging::Message::builder()
            .body(Batch::new(sections?))
            .build();
        let sendable = Sendable::builder()
            .message(batch)
            .message_format(BATCH_FORMAT)
            .build();
        Ok(told(self.sender(link)?.send(sendable).await?))
    }

    pub(crate) async fn credit(&mut self, link: &str, credit: u32) -> Answer {
        self.receiver(link)?
            .set_credit(credit)
            .await
            .map_err(Refusal::here)?;
        Ok(serde_json::Value::Null)
    }

    pub(crate) async fn drain(&mut self, link: &str) -> Answer {
        self.receiver(link)?.drain().await.map_err(Refusal::here)?;
        Ok(serde_json::Value::Null)
    }

    pub(crate) async fn receive(&mut self, link: &str, within_ms: u64, settle: Settle) -> Answer {
        let receiver = self.receiver(link)?;
        let waited =
            tokio::time::timeout(Duration::from_millis(within_ms), receiver.recv::<Body<Value>>()).await;
        let Ok(delivery) = waited else {
            return Ok(serde_json::Value::Null);
        };
        let delivery = delivery?;
        let settled = match settle {
            Settle::Accept => receiver.accept(&delivery).await,
            Settle::Release => receiver.release(&delivery).await,
            Settle::Reject => receiver.reject(&delivery, None::<Error>).await,
        };
        settled.map_err(Refusal::here)?;
        serde_json::to_value(message::received(delivery.into_message())?).map_err(Refusal::here)
    }

    fn sender(&mut self, link: &str) -> Result<&mut Sender, Refusal> {
        self.senders
            .get_mut(link)
            .ok_or_else(|| Refusal::here(format!("no sender is called {link}")))
    }

    fn receiver(&mut self, link: &str) -> Result<&mut Receiver, Refusal> {
        self.receivers
            .get_mut(link)
            .ok_or_else(|| Refusal::here(format!("no receiver is called {link}")))
    }
}

async fn tls(opening: &Opening) -> Result<TlsStream<TcpStream>, Refusal> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&opening.ca_file).map_err(Refusal::here)? {
        roots
            .add(certificate.map_err(Refusal::here)?)
            .map_err(Refusal::here)?;
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("localhost", opening.port))
        .await
        .map_err(Refusal::here)?;
    let name = ServerName::try_from("localhost").map_err(Refusal::here)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(Refusal::here)
}

fn described(selector: String, by_number: bool) -> Described<Value> {
    let descriptor = if by_number {
        Descriptor::Code(SELECTOR_NUMBER)
    } else {
        Descriptor::Name(SELECTOR.into())
    };
    Described {
        descriptor,
        value: Value::String(selector),
    }
}

/// `accepted`, or what else became of a message.
fn told(outcome: Outcome) -> serde_json::Value {
    match outcome {
        Outcome::Accepted(_) => json!({ "state": "accepted" }),
        Outcome::Rejected(rejected) => {
            json!({ "state": "rejected", "condition": rejected.error.as_ref().map(refusal::condition) })
        }
        Outcome::Released(_) => json!({ "state": "released" }),
        Outcome::Modified(_) => json!({ "state": "modified" }),
    }
}

const SELECTOR: &str = "apache.org:selector-filter:string";
const SELECTOR_NUMBER: u64 = 0x0000_468c_0000_0004;

/// The format of a message whose data sections are messages.
const BATCH_FORMAT: u32 = 0x8001_3700;
