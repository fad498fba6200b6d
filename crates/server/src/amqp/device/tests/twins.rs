//! Twins: requests, answers, and changes of desired properties.

use std::time::Duration;

use amqp::message::{Properties, SectionKind, write_data, write_message_annotations};
use amqp::performative::{Performative, Role, SenderSettleMode};
use amqp::{encode, value::Value};
use hub::bus::{Address, Mail};
use hub::tenancy::HubName;
use tokio::time::sleep;

use super::client::{Bench, Client, annotations, body, identity, section};

const NODE: &str = "/devices/d/twin";
const REPORTED: &str = "/properties/reported";
const NOTIFICATIONS: &str = "/notifications/twin/properties/desired";

fn request(operation: &str, resource: Option<&str>, id: &Value, text: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    write_message_annotations(&mut message, |entries| {
        entries.pair(
            |out| encode::symbol(out, "operation"),
            |out| encode::string(out, operation),
        );
        if let Some(resource) = resource {
            entries.pair(
                |out| encode::symbol(out, "resource"),
                |out| encode::string(out, resource),
            );
        }
    });
    let properties = Properties {
        correlation_id: Some(id.clone()),
        ..Properties::default()
    };
    properties.encode(&mut message);
    write_data(&mut message, text);
    message
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

async fn attached(bench: &Bench) -> Client {
    let mut client = bench.connect(&["d"]).await;
    attach(&mut client, "t", 0, NODE).await;
    client
}

/// The two links of a twin, with handles that follow each other.
async fn attach(client: &mut Client, name: &str, handle: u32, node: &str) {
    let settled = SenderSettleMode::Settled;
    client
        .attach_as(0, Role::Sender, name, handle, node, settled, None)
        .await;
    client
        .attach_as(0, Role::Receiver, name, handle + 1, node, settled, None)
        .await;
    client.grant(0, handle + 1, 100).await;
    client.all().await;
}

/// Status, version, correlation id and body of the next message.
async fn answer(client: &mut Client) -> (Option<i64>, Option<i64>, Value, String) {
    let (transfer, message) = client.message().await;
    assert_eq!((transfer.handle, transfer.settled), (1, Some(true)));
    let found = annotations(&message);
    let number = |name| found.map_get(name).and_then(Value::as_i64);
    let id = match section(&message, SectionKind::Properties) {
        Value::List(fields) => fields.get(5).cloned().unwrap_or_default(),
        _ => Value::Null,
    };
    (number("status"), number("version"), id, body(&message))
}

async fn patch(bench: &Bench, desired: &str) {
    let right = bench.service();
    let body = format!(r#"{{"properties":{{"desired":{desired}}}}}"#);
    bench
        .app
        .twins
        .patch(&right, &identity("d"), body.as_bytes(), None)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_in_order_and_in_the_types_of_their_ids() {
    let bench = Bench::new().await;
    let mut client = attached(&bench).await;
    let uuid = Value::Uuid([7; 16]);
    let requests = [
        request("PATCH", Some(REPORTED), &text("Patch1"), br#"{"a":1}"#),
        request("GET", None, &uuid, b" "),
        request("PATCH", Some(REPORTED), &Value::Ulong(3), b"{"),
        request("POST", None, &text("x"), b""),
    ];
    let requests: Vec<&[u8]> = requests.iter().map(Vec::as_slice).collect();
    client.send(0, 0, true, &requests).await;
    let nothing = String::new();
    assert_eq!(
        answer(&mut client).await,
        (Some(200), Some(2), text("Patch1"), nothing)
    );
    let whole = r#"{"desired":{"$version":1},"reported":{"a":1,"$version":2}}"#;
    assert_eq!(
        answer(&mut client).await,
        (Some(200), None, uuid, whole.to_owned())
    );
    for id in [Value::Ulong(3), text("x")] {
        let (status, _, found, body) = answer(&mut client).await;
        assert_eq!((status, found), (Some(400), id));
        let error: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(error["errorCode"].is_number() && error["message"].is_string());
    }
}

#[tokio::test(start_paused = true)]
async fn changes_come_to_those_who_asked_and_while_they_do() {
    let bench = Bench::new().await;
    let mut client = attached(&bench).await;
    patch(&bench, r#"{"a":1}"#).await;
    assert_eq!(client.all().await, Vec::<String>::new());
    client
        .send(
            0,
            0,
            true,
            &[&request("PUT", Some(NOTIFICATIONS), &text("p"), b" ")],
        )
        .await;
    assert_eq!(answer(&mut client).await.0, Some(200));
    patch(&bench, r#"{"a":null}"#).await;
    let change = answer(&mut client).await;
    let document = r#"{"a":null,"$version":3}"#.to_owned();
    assert_eq!(change, (None, Some(3), Value::Null, document));
    client
        .send(
            0,
            0,
            true,
            &[&request("DELETE", Some(NOTIFICATIONS), &text("q"), b" ")],
        )
        .await;
    assert_eq!(answer(&mut client).await.0, Some(200));
    patch(&bench, r#"{"b":1}"#).await;
    assert_eq!(client.all().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_settled_is_and_one_that_is_broken_is_rejected() {
    let bench = Bench::new().await;
    let mut client = attached(&bench).await;
    let good = request("GET", None, &text("g"), b" ");
    let first = client.send(0, 0, false, &[&good, &[1]]).await;
    let mut lines = client.all().await;
    lines.sort();
    let second = first + 1;
    let mut expected = vec![
        format!("{first}-{first} accepted"),
        format!("{second}-{second} rejected amqp:decode-error"),
        "message 0/1".to_owned(),
    ];
    expected.sort();
    assert_eq!(lines, expected);
}

#[tokio::test(start_paused = true)]
async fn answers_wait_half_a_minute_for_their_link() {
    for (wait, comes) in [(29, true), (33, false)] {
        let bench = Bench::new().await;
        let mut client = bench.connect(&["d"]).await;
        client.attach(0, Role::Sender, "t", 0, NODE).await;
        client.all().await;
        client
            .send(0, 0, true, &[&request("GET", None, &text("g"), b" ")])
            .await;
        client.all().await;
        sleep(Duration::from_secs(wait - 1)).await;
        client.attach(0, Role::Receiver, "t", 1, NODE).await;
        client.grant(0, 1, 100).await;
        let lines = client.all().await;
        assert_eq!(lines.contains(&"message 0/1".to_owned()), comes, "{wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_that_its_sender_left_behind_is_kept() {
    let bench = Bench::new().await;
    let mut client = attached(&bench).await;
    let report = request("PATCH", Some(REPORTED), &text("r"), br#"{"a":1}"#);
    let more = request("PATCH", Some(REPORTED), &text("s"), br#"{"b":2}"#);
    client.send(0, 0, true, &[&report, &more]).await;
    drop(client);
    sleep(Duration::from_secs(1)).await;
    let right = bench.service();
    let view = bench.app.twins.get(&right, &identity("d")).await.unwrap();
    let shown = format!("{:?}", view.twin);
    assert!(shown.contains("\"b\""), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_loses_the_changes_of_one_device_and_nothing_of_the_others() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d", "e"]).await;
    attach(&mut client, "d", 0, NODE).await;
    attach(&mut client, "e", 2, "/devices/e/twin").await;
    for handle in [0, 2] {
        let subscribe = request("PUT", Some(NOTIFICATIONS), &text("p"), b" ");
        client.send(0, handle, true, &[&subscribe]).await;
        client.message().await;
    }
    let send = |device: &str, version: u64, bytes: usize| {
        let address = Address {
            hub: HubName::parse("hub1").unwrap(),
            identity: identity(device),
        };
        let document = vec![b'x'; bytes].into();
        bench.app.bus.send(&address, Mail::Desired { version, document });
    };
    // The socket, the output and the mailbox are full before the last of them.
    for version in 0..99 {
        send("d", version, 32_768);
        sleep(Duration::from_millis(1)).await;
    }
    send("e", 2, 8);
    let mut ends = Vec::new();
    let mut lively = Vec::new();
    while let Ok(said) = tokio::time::timeout(Duration::from_secs(1), client.next()).await {
        match said.expect("the connection stays").1 {
            Performative::Detach(detach) => {
                let error = detach.error.expect("a reason");
                ends.push((detach.handle, error.condition));
            }
            Performative::Transfer(transfer) if transfer.handle == 3 => lively.push(transfer.delivery_id),
            _ => {}
        }
    }
    assert_eq!(
        ends,
        [
            (0, crate::amqp::fault::LIMIT.into()),
            (1, crate::amqp::fault::LIMIT.into())
        ]
    );
    assert_eq!(lively.len(), 1);
    assert_eq!(bench.endings("e"), <[&str; 0]>::default());
}
