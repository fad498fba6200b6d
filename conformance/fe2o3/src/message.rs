//! Messages as JSON and as the client knows them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fe2o3_amqp::types::messaging::annotations::OwnedKey;
use fe2o3_amqp::types::messaging::message::__private::Serializable;
use fe2o3_amqp::types::messaging::{ApplicationProperties, Body, Data, MessageId, Properties};
use fe2o3_amqp::types::primitives::{Binary, SimpleValue, Symbol, Value};

use crate::refusal::Refusal;
use crate::request::Message;

/// With the one kind of body that Azure's clients send.
pub(crate) type DataMessage = fe2o3_amqp::types::messaging::Message<Data>;

/// With any body.
pub(crate) type AnyMessage = fe2o3_amqp::types::messaging::Message<Body<Value>>;

pub(crate) fn to_send(message: Message) -> Result<DataMessage, Refusal> {
    let body = STANDARD.decode(&message.body).map_err(Refusal::here)?;
    let fields = Properties {
        to: message.to,
        message_id: message.message_id.map(MessageId::String),
        content_type: message.content_type.map(Symbol::from),
        ..Properties::default()
    };
    let properties = message
        .properties
        .into_iter()
        .map(|(name, value)| (name, SimpleValue::String(value)));
    let properties = ApplicationProperties(properties.collect());
    let builder = fe2o3_amqp::types::messaging::Message::builder().properties(fields);
    let builder = builder.application_properties((!properties.0.is_empty()).then_some(properties));
    Ok(builder.data(Binary::from(body)).build())
}

/// The sections of a message in one data section of a batch.
pub(crate) fn to_batch(message: Message) -> Result<Data, Refusal> {
    let sections = serde_amqp::to_vec(&Serializable(to_send(message)?)).map_err(Refusal::here)?;
    Ok(Data(Binary::from(sections)))
}

pub(crate) fn received(message: AnyMessage) -> Result<Message, Refusal> {
    let Body::Data(sections) = message.body else {
        return Err(Refusal::here("a message without data was received"));
    };
    let body: Vec<u8> = sections.into_iter().flat_map(|data| data.0.into_vec()).collect();
    let fields = message.properties.unwrap_or_default();
    let properties = message
        .application_properties
        .map(|properties| properties.0)
        .unwrap_or_default();
    let annotations = message
        .message_annotations
        .map(|annotations| annotations.0)
        .unwrap_or_default();
    Ok(Message {
        body: STANDARD.encode(body),
        to: fields.to,
        message_id: fields.message_id.map(|id| match id {
            MessageId::String(text) => text,
            other => format!("{other:?}"),
        }),
        content_type: fields.content_type.map(|symbol| symbol.to_string()),
        properties: properties
            .into_iter()
            .map(|(name, value)| (name, property(value)))
            .collect(),
        annotations: annotations
            .into_iter()
            .map(|(name, value)| (key(name), annotation(value)))
            .collect(),
    })
}

fn property(value: SimpleValue) -> String {
    match value {
        SimpleValue::String(text) => text,
        other => format!("{other:?}"),
    }
}

fn key(key: OwnedKey) -> String {
    match key {
        OwnedKey::Symbol(symbol) => symbol.to_string(),
        OwnedKey::Ulong(number) => number.to_string(),
    }
}

fn annotation(value: Value) -> serde_json::Value {
    match value {
        Value::String(text) => text.into(),
        Value::Long(number) => number.into(),
        Value::Int(number) => number.into(),
        Value::Ubyte(number) => number.into(),
        Value::Uint(number) => number.into(),
        Value::Ulong(number) => number.into(),
        Value::Timestamp(time) => time.milliseconds().into(),
        other => format!("{other:?}").into(),
    }
}
