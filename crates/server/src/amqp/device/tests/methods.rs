//! Methods: while both links are there, by a UUID each.

use std::sync::Arc;
use std::time::Duration;

use amqp::message::{Properties, SectionKind, write_application_properties, write_data};
use amqp::performative::{DeliveryState, Role};
use amqp::{encode, value::Value};
use hub::methods::{MethodAnswer, MethodCall};
use tokio::task::JoinHandle;

use super::client::{Bench, Client, application, body, identity, section};

const NODE: &str = "/devices/d/methods/devicebound";

fn call(bench: &Bench, connect_secs: u64) -> JoinHandle<Result<MethodAnswer, &'static str>> {
    let (app, right) = (Arc::clone(&bench.app), bench.service());
    let call = MethodCall {
        name: "m".into(),
        payload: (&b"[1.0]"[..]).into(),
        response_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(connect_secs),
    };
    tokio::spawn(async move {
        let answered = app.methods.invoke(&right, &identity("d"), call).await;
        answered.map_err(|error| error.code().name())
    })
}

async fn serving(bench: &Bench) -> Client {
    let mut client = bench.connect(&["d"]).await;
    client.attach(0, Role::Sender, "m", 0, NODE).await;
    client.attach(0, Role::Receiver, "m", 1, NODE).await;
    client.grant(0, 1, 100).await;
    client.all().await;
    client
}

fn answer_to(call: &[u8], status: &Value) -> Vec<u8> {
    let Value::List(fields) = section(call, SectionKind::Properties) else {
        panic!("no properties");
    };
    let Some(id @ Value::Uuid(_)) = fields.get(5) else {
        panic!("not a UUID: {fields:?}");
    };
    let mut answer = Vec::new();
    let properties = Properties {
        correlation_id: Some(id.clone()),
        ..Properties::default()
    };
    properties.encode(&mut answer);
    write_application_properties(&mut answer, |entries| {
        entries.pair(
            |out| encode::string(out, "IoThub-status"),
            |out| status.encode(out),
        );
    });
    write_data(&mut answer, b"{\"a\": 1}");
    answer
}

#[tokio::test(start_paused = true)]
async fn a_call_and_its_answer() {
    let bench = Bench::new().await;
    let mut client = serving(&bench).await;
    let caller = call(&bench, 0);
    let (transfer, message) = client.message().await;
    assert_eq!(transfer.handle, 1);
    assert_eq!(
        application(&message)
            .map_get("IoThub-methodname")
            .and_then(Value::as_str),
        Some("m")
    );
    assert_eq!(body(&message), "[1.0]");
    let answer = answer_to(&message, &Value::Int(207));
    let id = client.send(0, 0, false, &[&answer]).await;
    assert_eq!(client.line().await, format!("{id}-{id} accepted"));
    let answered = caller.await.unwrap().unwrap();
    assert_eq!(
        (answered.status, &answered.payload[..]),
        (207, &b"{\"a\": 1}"[..])
    );
    // What is answered to nobody is taken and dropped.
    let id = client.send(0, 0, false, &[&answer]).await;
    assert_eq!(client.line().await, format!("{id}-{id} accepted"));
}

#[tokio::test(start_paused = true)]
async fn callers_wait_until_both_links_are_there() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d"]).await;
    client.attach(0, Role::Receiver, "m", 1, NODE).await;
    client.grant(0, 1, 100).await;
    client.all().await;
    assert_eq!(call(&bench, 0).await.unwrap(), Err("DeviceNotOnline"));
    let waiting = call(&bench, 20);
    client.all().await;
    client.attach(0, Role::Sender, "m", 0, NODE).await;
    let (_, message) = client.message().await;
    client
        .send(0, 0, true, &[&answer_to(&message, &Value::Int(200))])
        .await;
    assert_eq!(waiting.await.unwrap().unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_on_the_way_reaches_the_caller() {
    let bench = Bench::new().await;
    let mut client = serving(&bench).await;
    let refused = call(&bench, 0);
    let (transfer, _) = client.message().await;
    client
        .dispose(
            0,
            transfer.delivery_id.unwrap(),
            true,
            DeliveryState::Rejected { error: None },
        )
        .await;
    assert_eq!(refused.await.unwrap(), Err("GenericBadGateway"));
    let strange = call(&bench, 0);
    let (_, message) = client.message().await;
    client
        .send(0, 0, true, &[&answer_to(&message, &Value::Null)])
        .await;
    assert_eq!(strange.await.unwrap(), Err("GenericBadGateway"));
    let gone = call(&bench, 0);
    client.message().await;
    client.detach(0, 0).await;
    assert_eq!(gone.await.unwrap(), Err("DeviceConnectionClosedRemotely"));
    let late = call(&bench, 0);
    assert_eq!(late.await.unwrap(), Err("DeviceNotOnline"));
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_credit_and_not_too_many_of_them() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d"]).await;
    client.attach(0, Role::Sender, "m", 0, NODE).await;
    client.attach(0, Role::Receiver, "m", 1, NODE).await;
    client.all().await;
    let callers: Vec<_> = (0..17).map(|_| call(&bench, 0)).collect();
    assert_eq!(client.all().await, Vec::<String>::new());
    client.grant(0, 1, 100).await;
    assert_eq!(client.all().await.len(), 16);
    let newer = bench.connect(&["d"]).await;
    let mut client_too = newer;
    client_too.attach(0, Role::Receiver, "m", 1, NODE).await;
    client_too.all().await;
    let mut results = Vec::new();
    for caller in callers {
        results.push(caller.await.unwrap().unwrap_err());
    }
    results.sort_unstable();
    let displaced = results
        .iter()
        .filter(|code| **code == "ConnectionForcefullyClosedOnNewConnection");
    assert_eq!(displaced.count(), 16);
    assert!(results.contains(&"DeviceMaximumInflightMethodExceeded"));
}
