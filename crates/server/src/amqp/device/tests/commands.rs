//! Commands: handed out for credit, settled as the client says, free again when their lock or link ends.

use std::time::Duration;

use amqp::performative::{DeliveryState, Role, SenderSettleMode};
use amqp::value::Value;
use hub::bus::Address;
use hub::commands::Command;
use hub::tenancy::HubName;
use tokio::time::sleep;

use super::client::{Bench, Client, annotations, body, identity};

const NODE: &str = "/devices/d/messages/devicebound";

async fn send(bench: &Bench, text: &'static str) {
    let command = Command {
        to: NODE.to_owned(),
        body: text.into(),
        ..Command::default()
    };
    let right = bench.service();
    bench
        .app
        .commands
        .send(&right, &identity("d"), command)
        .await
        .unwrap();
}

async fn depth(bench: &Bench) -> u64 {
    let address = Address {
        hub: HubName::parse("hub1").unwrap(),
        identity: identity("d"),
    };
    bench.app.commands.depth(&address).await.unwrap()
}

async fn receiving(bench: &Bench, credit: u32) -> Client {
    let mut client = bench.connect(&["d"]).await;
    client.attach(0, Role::Receiver, "c", 0, NODE).await;
    assert_eq!(client.line().await, "attached 0/0");
    client.grant(0, 0, credit).await;
    client
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_waits_is_answered_with_accepted_whatever_it_was() {
    let bench = Bench::new().await;
    let mut client = receiving(&bench, 10).await;
    send(&bench, "one").await;
    let (transfer, message) = client.message().await;
    assert_eq!((body(&message).as_str(), transfer.settled), ("one", Some(false)));
    assert_eq!(transfer.delivery_tag.unwrap().len(), 16);
    assert_eq!(
        annotations(&message).map_get("iothub-deliverycount"),
        Some(&Value::Ubyte(0))
    );
    let id = transfer.delivery_id.unwrap();
    client.dispose(0, id, false, DeliveryState::Released).await;
    // The answer, and the command anew.
    let lines = client.all_with_messages().await;
    assert!(lines.contains(&format!("{id}-{id} accepted")), "{lines:?}");
    assert!(lines.contains(&"message 0/0 one count 1".to_owned()), "{lines:?}");
    client
        .dispose(0, id + 1, false, DeliveryState::Rejected { error: None })
        .await;
    assert_eq!(client.all().await, [format!("{0}-{0} accepted", id + 1)]);
    assert_eq!(depth(&bench).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_ended_is_lost_and_the_command_comes_again() {
    let bench = Bench::new().await;
    let mut client = receiving(&bench, 10).await;
    send(&bench, "one").await;
    let (transfer, _) = client.message().await;
    sleep(Duration::from_secs(61)).await;
    bench.app.commands.end_locks();
    let (again, message) = client.message().await;
    assert_eq!(
        annotations(&message).map_get("iothub-deliverycount"),
        Some(&Value::Ubyte(0))
    );
    assert_ne!(again.delivery_tag, transfer.delivery_tag);
    let (old, new) = (transfer.delivery_id.unwrap(), again.delivery_id.unwrap());
    client.dispose(0, old, false, DeliveryState::Accepted).await;
    assert_eq!(
        client.all().await,
        [format!("{old}-{old} rejected com.microsoft:message-lock-lost")]
    );
    client.dispose(0, new, true, DeliveryState::Accepted).await;
    assert_eq!(client.all().await, Vec::<String>::new());
    assert_eq!(depth(&bench).await, 0);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_handed_out_than_there_is_credit_and_the_rest_is_free() {
    let bench = Bench::new().await;
    for text in ["one", "two", "three"] {
        send(&bench, text).await;
    }
    let mut client = receiving(&bench, 2).await;
    assert_eq!(client.all().await, ["message 0/0", "message 0/0"]);
    client.detach(0, 0).await;
    assert_eq!(client.all().await, ["detached 0/0 -"]);
    let mut next = receiving(&bench, 10).await;
    assert_eq!(
        next.all_with_messages().await,
        [
            "message 0/0 one count 0",
            "message 0/0 two count 0",
            "message 0/0 three count 0"
        ]
    );
    drop(next);
    sleep(Duration::from_secs(1)).await;
    let mut last = receiving(&bench, 1).await;
    assert_eq!(last.all_with_messages().await, ["message 0/0 one count 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_wants_them_settled_has_them_completed() {
    let bench = Bench::new().await;
    let mut client = bench.connect(&["d"]).await;
    client
        .attach_as(0, Role::Receiver, "c", 0, NODE, SenderSettleMode::Settled, None)
        .await;
    client.grant(0, 0, 10).await;
    client.all().await;
    send(&bench, "one").await;
    let (transfer, _) = client.message().await;
    assert_eq!(transfer.settled, Some(true));
    client.all().await;
    assert_eq!(depth(&bench).await, 0);
}

/// Credit that nothing came for goes back whenever the drain begins, and a command that comes later waits for new credit.
#[tokio::test(start_paused = true)]
async fn a_drain_gives_back_what_the_queue_does_not_use() {
    let bench = Bench::new().await;
    let mut client = receiving(&bench, 10).await;
    assert_eq!(client.all().await, Vec::<String>::new());
    client.drain(0, 0, 0, 10).await;
    assert_eq!(client.drained(0).await, (10, 0));
    send(&bench, "one").await;
    assert_eq!(client.all().await, Vec::<String>::new());
    client.drain(0, 0, 10, 5).await;
    let (_, message) = client.message().await;
    assert_eq!(body(&message), "one");
    assert_eq!(client.drained(0).await, (15, 0));
    send(&bench, "two").await;
    assert_eq!(client.all().await, Vec::<String>::new());
}
